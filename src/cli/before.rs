//! The earlier look, to compare with: from a file, or one of those that are kept.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::ring::Ring;
use crate::config::Span;
use crate::error::{Error, Result};
use crate::render::{self, Out};
use crate::snapshot::{Looks, Snapshot};

/// The largest snapshot that is read, in bytes: a thousand services take a tenth of it.
const MAX_SNAPSHOT: u64 = 64 << 20;

/// What `--since` names.
#[derive(Debug, Clone, PartialEq)]
pub enum Since {
    File(PathBuf),
    Ago(Span),
}

/// A time where it reads as one; a file of such a name is `./10m`.
pub fn parse(text: &str) -> std::result::Result<Since, String> {
    Ok(text.parse().map_or_else(|_| Since::File(text.into()), Since::Ago))
}

/// The look to judge, and the one before it, from files: the later one is judged.
pub fn from_files(from: &[PathBuf], since: Option<&Since>) -> Result<Looks> {
    let mut files: Vec<&Path> = from.iter().map(PathBuf::as_path).collect();
    match since {
        Some(Since::Ago(_)) => {
            return Err(Error::usage("--from judges a saved look: --since names the file of an earlier one")
                .hint("--from LATER --since EARLIER"));
        }
        Some(Since::File(file)) => files.push(file),
        None => {}
    }
    if files.len() > 2 {
        return Err(Error::usage("two looks can be compared, not more").hint("--from LATER --from EARLIER"));
    }
    let mut all = files.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    all.sort_by_key(|s| s.taken_at);
    let Some(now) = all.pop() else { return Err(Error::usage("no look to judge")) };
    let before = all.pop();
    if let Some(b) = &before {
        comparable(b, &now)?;
    }
    Ok(Looks { now, before })
}

/// The earlier look that a look of now is compared with. None that is kept: that is said, no more.
pub fn before(since: &Since, ring: Option<&Ring>, now: Timestamp, out: &Out) -> Result<Option<Snapshot>> {
    let age = match since {
        Since::File(file) => return read(file).map(Some),
        Since::Ago(age) => age.0,
    };
    let found = ring.map(|r| r.since(age, now)).transpose();
    let said = |s: &Snapshot| {
        let old = now.duration_since(s.taken_at).unsigned_abs();
        (old < age).then(|| format!("note: the oldest look that is kept is {} s old\n", old.as_secs()))
    };
    let text = match &found {
        Ok(Some(Some(s))) => said(s),
        Ok(_) => Some("note: no earlier look with this configuration is kept to compare with\n".to_owned()),
        Err(e) => Some(format!("note: no earlier look: {}\n", render::text::line(&e.message))),
    };
    if let Some(text) = text.filter(|_| !out.quiet) {
        out.note(&text);
    }
    Ok(found.ok().flatten().flatten())
}

/// Counters of two hosts have nothing to do with one another.
pub fn comparable(before: &Snapshot, now: &Snapshot) -> Result<()> {
    if before.vantage.host != now.vantage.host {
        let (a, b) = (&before.vantage.host, &now.vantage.host);
        return Err(Error::usage(format!(
            "the looks are from two hosts, {a} and {b}: they can't be compared"
        )));
    }
    if before.taken_at >= now.taken_at {
        return Err(Error::usage("the look to compare with is not an earlier one"));
    }
    Ok(())
}

/// Reads a plain file, and no more of it than a snapshot can be.
pub fn read(path: &Path) -> Result<Snapshot> {
    let bad = |why: String| Error::file(format!("{} can't be read: {why}", path.display()));
    // Not blocking: a pipe that nobody writes to would be waited for.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|e| bad(e.to_string()))?;
    let meta = file.metadata().map_err(|e| bad(e.to_string()))?;
    if !meta.is_file() {
        return Err(bad("it is no plain file".into()));
    }
    if meta.len() > MAX_SNAPSHOT {
        return Err(bad(format!("it has more than {} MiB", MAX_SNAPSHOT >> 20)));
    }
    let mut text = String::new();
    file.take(MAX_SNAPSHOT).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    Snapshot::from_json(&text).map_err(|mut e| {
        e.message = format!("{}: {}", path.display(), e.message);
        e
    })
}
