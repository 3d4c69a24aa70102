//! The recent looks, kept in the state folder: so that `--since 10m` has something to compare with.
//! Small, only its owner's, and never in the way: what can't be kept or read costs a line of `-v`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;

use super::before;
use super::save::Saved;
use crate::config::{Config, Env};
use crate::error::{Error, Result};
use crate::render;
use crate::snapshot::Snapshot;

/// How many are kept, of how many bytes together, and how far apart: who looks every second shall not
/// push out the look of ten minutes ago.
const MOST: usize = 48;
const BYTES: u64 = 16 << 20;
const APART: Duration = Duration::from_secs(15);
/// A folder that does not answer is not waited for.
const LIMIT: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Ring {
    folder: PathBuf,
    /// Of the configuration: looks at other stacks are none to compare with.
    key: String,
}

/// Longer than any run takes to write.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// A look that is kept, by its file's name.
struct Kept {
    path: PathBuf,
    mine: bool,
    at: Timestamp,
    bytes: u64,
}

impl Ring {
    /// `$MCP_IR_STATE_DIR`, else the machine's own where we may write to it, else the user's.
    pub fn of(config: &Config, env: &Env) -> Option<Self> {
        let shared = Path::new("/var/lib/mcp-ir");
        let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        let state = match env.var("MCP_IR_STATE_DIR") {
            Some(folder) => PathBuf::from(folder),
            None if rustix::fs::access(shared, writable).is_ok() => shared.to_owned(),
            None => env.home.as_ref()?.join(".local/state/mcp-ir"),
        };
        let mut hash = DefaultHasher::new();
        serde_json::to_string(config).ok()?.hash(&mut hash);
        Some(Self { folder: state.join("looks"), key: format!("{:016x}", hash.finish()) })
    }

    /// Keeps this look, and drops the oldest ones.
    pub fn keep(&self, now: &Snapshot) -> Result<()> {
        let (ring, at, text) = (self.clone(), now.taken_at, render::text::json(&now.to_compact_json()?));
        within(&self.folder, move || ring.write(at, &text))
    }

    fn write(&self, at: Timestamp, text: &str) -> Result<()> {
        let bad =
            |e: std::io::Error| Error::file(format!("{} can't be written to: {e}", self.folder.display()));
        self.tidy();
        let mut all = self.all();
        let near = |k: &&Kept| k.mine && at.duration_since(k.at).unsigned_abs() < APART;
        if all.iter().any(|k| near(&k)) || text.len() as u64 > BYTES / 4 {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(bad)?;
        // Room first: a full disk is no reason to keep what is old.
        all.sort_by_key(|k| k.at);
        let (mut left, mut bytes) =
            (all.len() + 1, all.iter().map(|k| k.bytes).sum::<u64>() + text.len() as u64);
        for old in &all {
            if left <= MOST && bytes <= BYTES {
                break;
            }
            fs::remove_file(&old.path).map_err(bad)?;
            (left, bytes) = (left - 1, bytes - old.bytes);
        }
        let name = format!("look-{}-{}.json", self.key, at.as_millisecond());
        Saved::begin(&self.folder.join(name), 0o600)?.end_unsynced(text)
    }

    /// The newest that is at least so old; else the oldest there is. What can't be read is passed over.
    pub fn since(&self, age: Duration, now: Timestamp) -> Result<Option<Snapshot>> {
        let ring = self.clone();
        within(&self.folder, move || {
            let mut all: Vec<Kept> = ring.all().into_iter().filter(|k| k.mine && k.at < now).collect();
            all.sort_by_key(|k| k.at);
            let old = all.partition_point(|k| now.duration_since(k.at).unsigned_abs() >= age);
            let (older, younger) = all.split_at(old);
            Ok(older.iter().rev().chain(younger).find_map(|k| before::read(&k.path).ok()))
        })
    }

    /// What a run began to write that was ended meanwhile.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let begun = entry.file_name().to_string_lossy().starts_with(".look-");
            let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if begun && age().is_some_and(|a| a > LEFT_BEHIND) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn all(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|e| self.kept(&e)).collect()
    }

    fn kept(&self, entry: &fs::DirEntry) -> Option<Kept> {
        let name = entry.file_name().into_string().ok()?;
        let (key, at) = name.strip_prefix("look-")?.strip_suffix(".json")?.split_once('-')?;
        let at = Timestamp::from_millisecond(at.parse().ok()?).ok()?;
        let bytes = entry.metadata().ok()?.len();
        Some(Kept { path: entry.path(), mine: key == self.key, at, bytes })
    }
}

/// Left behind where it does not return.
fn within<T: Send + 'static>(folder: &Path, call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, wait) = mpsc::sync_channel(1);
    let bad = |why: String| Error::file(format!("{}: {why}", folder.display()));
    let thread = std::thread::Builder::new().name("looks".into());
    thread.spawn(move || drop(done.send(call()))).map_err(|e| bad(format!("no thread: {e}")))?;
    wait.recv_timeout(LIMIT).map_err(|_| bad("does not answer".into()))?
}

#[cfg(test)]
mod tests;
