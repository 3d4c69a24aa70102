//! What was changed of late, by files alone: units and their drop-ins, files of settings, dpkg's log,
//! a deployment's git folder. Asked only where something is wrong. One part that hangs hides no other.

mod deployment;
mod packages;
mod settings;
mod units;

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::blocking;
use super::host::rooted;
use crate::config::Deploy;
use crate::snapshot::changes::{Change, ChangeKind, Changes};
use crate::snapshot::{FailKind, Failure};

/// Whose files are looked at. Bounded by who asks.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Configured names, and their units.
    pub units: Vec<(String, String)>,
    /// Configured names, and their containers: their engine is asked elsewhere.
    pub containers: Vec<(String, String)>,
    /// PostgreSQL servers of this host: name, unit, data folder.
    pub postgres: Vec<(String, Option<String>, Option<String>)>,
    /// Redis servers with a unit here, and that unit.
    pub redis: Vec<(String, String)>,
    /// Names of services, and what tells of their deployments.
    pub deployments: Vec<(String, Deploy)>,
    /// Older ones are left out.
    pub since: Timestamp,
}

/// A file of one zone has a few thousand bytes.
const ZONE: u64 = 64 << 10;

type Part = Box<dyn FnOnce(&Root) -> Vec<Change> + Send>;

/// The machine's root, as it is found from here.
struct Root {
    folder: PathBuf,
    since: Timestamp,
}

/// Everything by the deadline; what did not come home in time is said to be missed.
pub async fn look(proc: &str, asked: Asked, deadline: Instant) -> Changes {
    within(rooted(proc, "/"), proc.to_owned(), asked, deadline).await
}

async fn within(folder: PathBuf, proc: String, asked: Asked, deadline: Instant) -> Changes {
    let Asked { units, postgres, redis, deployments, since, .. } = asked;
    let names: Vec<(String, String)> = units.clone();
    let servers = (postgres.first().map(|p| p.0.clone()), redis.first().map(|r| r.0.clone()));
    let mut parts: Vec<(String, Part)> = vec![
        (
            "its boot".into(),
            Box::new(move |root| booted(&proc).filter(|c| root.is_young(c.at)).into_iter().collect()),
        ),
        (
            "units".into(),
            Box::new(move |root| units.iter().flat_map(|(name, unit)| units::of(root, name, unit)).collect()),
        ),
        ("files of settings".into(), Box::new(move |root| settings::of(root, &postgres, &redis))),
        ("packages".into(), Box::new(move |root| packages::of(root, &names, &servers))),
    ];
    let mut programs = Vec::new();
    for (name, deploy) in deployments {
        let what = format!("deployment of {name}");
        match deploy {
            Deploy::Folder(place) => {
                parts.push((
                    what,
                    Box::new(move |root| deployment::of(root, &name, &place).into_iter().collect()),
                ));
            }
            Deploy::Program(p) => programs.push(async move {
                let told = deployment::told(&name, &p.argv, deadline).await;
                (what, told.map(|c| Some(c).filter(|c| c.at >= since).into_iter().collect()))
            }),
        }
    }
    let parts = parts.into_iter().map(|(what, part)| {
        let root = Root { folder: folder.clone(), since };
        async move { (what, blocking(deadline, "what changed", move || Ok(part(&root))).await) }
    });
    let (parts, programs) = tokio::join!(join_all(parts), join_all(programs));
    let mut out = Changes::default();
    for (what, part) in parts.into_iter().chain(programs) {
        match part {
            Ok(changes) => out.all.extend::<Vec<Change>>(changes),
            Err(f) => out.missed.push(format!("{what}: {}", f.detail)),
        }
    }
    out
}

/// When the machine came up, by the kernel.
fn booted(proc: &str) -> Option<Change> {
    let text = fs::read_to_string(Path::new(proc).join("stat")).ok()?;
    let at = text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Change {
        at: Timestamp::from_second(at).ok()?,
        kind: ChangeKind::Boot,
        subject: None,
        what: "this machine came up".into(),
        path: None,
    })
}

impl Root {
    /// Where a path of that machine is found from here.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// Not too old; one of later than now is told from the others by who judges.
    fn is_young(&self, at: Timestamp) -> bool {
        at >= self.since
    }

    /// When a file was written; of a link, when it was made.
    fn written(&self, path: &str) -> Option<Timestamp> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::symlink_metadata(self.path(path)).ok()?;
        Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or_default()).ok()
    }

    fn is_link(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok_and(|m| m.is_symlink())
    }

    /// The end of a plain file, and no more of it than that; a pipe in its place is not waited for.
    fn tail(&self, path: &str, bytes: u64) -> Result<String, Failure> {
        let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let failed = |e: std::io::Error| super::io_failure(&e, path);
        let mut file =
            OpenOptions::new().read(true).custom_flags(no_wait).open(self.path(path)).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(Failure::new(FailKind::Unsupported, format!("{path}: not a file")));
        }
        let from = meta.len().saturating_sub(bytes);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut out = Vec::new();
        file.take(bytes).read_to_end(&mut out).map_err(failed)?;
        let text = String::from_utf8_lossy(&out);
        // The first line was cut.
        Ok(if from == 0 { text.into_owned() } else { text.split_once('\n').map_or("", |t| t.1).to_owned() })
    }

    /// The machine's own zone: a link to a file of zones there, or that file itself; else the reader's.
    fn zone(&self) -> TimeZone {
        let mut file = self.path("/etc/localtime");
        if let Ok(to) = fs::read_link(&file) {
            file =
                if to.is_absolute() { self.path(&to.to_string_lossy()) } else { self.path("/etc").join(to) };
        }
        let plain = fs::metadata(&file).is_ok_and(|m| m.is_file() && m.len() < ZONE);
        let read = || TimeZone::tzif("localtime", &fs::read(&file).ok()?).ok();
        plain.then(read).flatten().unwrap_or_else(TimeZone::system)
    }

    /// The names in a folder, a bounded number of them, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let all = fs::read_dir(self.path(folder)).into_iter().flatten().flatten().take(200);
        let mut names: Vec<String> = all.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests;
