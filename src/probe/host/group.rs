//! The memory of a control group, and whose limit it meets first: its own, or that of a group above it.
//! cgroup v1 has a hierarchy for memory; on v2 there is one for all.

use std::fs;
use std::path::{Path, PathBuf};

use super::memory::{malformed, read, stall};
use crate::snapshot::memory::GroupUse;
use crate::snapshot::{FailKind, Failure};

/// Where control groups are mounted here: `/proc` names them as this process's own root sees them.
pub const MOUNTED: &str = "/sys/fs/cgroup";
/// From so much of the limit on, what is only kept of files is told apart: that file costs more to read.
const NEAR: f64 = 0.8;
/// A limit beyond this is the kernel's word for none.
const NONE: u64 = 1 << 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// Where a controller keeps what it knows of a process: cgroup v1 has a hierarchy for each, v2 one for all.
#[derive(Debug)]
pub struct Seat {
    pub version: Version,
    /// The folder of the whole hierarchy.
    pub root: PathBuf,
    /// The process's own group in it, from a slash on.
    pub path: String,
}

impl Seat {
    /// `groups` is the text of `/proc/PID/cgroup`.
    pub fn of(mounted: &Path, groups: &str, controller: &str) -> Result<Self, Failure> {
        let unseen = |what: &str| Failure::new(FailKind::Missing, what.to_owned());
        let path = |is: &dyn Fn(&str, &str) -> bool| {
            groups.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                is(number, controllers).then(|| path.to_owned())
            })
        };
        let (version, root, path) = match path(&|_, c| c.split(',').any(|c| c == controller)) {
            Some(path) => (Version::One, mounted.join(controller), path),
            None => {
                let path = path(&|n, c| n == "0" && c.is_empty());
                (Version::Two, mounted.to_owned(), path.ok_or_else(|| unseen("it is in no control group"))?)
            }
        };
        if path.contains("/..") {
            return Err(unseen("its control group is not seen from here"));
        }
        Ok(Self { version, root, path })
    }

    pub fn folder(&self) -> PathBuf {
        self.root.join(self.path.trim_start_matches('/'))
    }

    /// The group's own path, and those above it, the nearest first.
    pub fn upwards(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.path.as_str()), |at| above(at))
    }
}

fn above(at: &str) -> Option<&str> {
    let (above, _) = at.rsplit_once('/').filter(|_| at != "/")?;
    Some(above)
}

/// `groups` is the text of `/proc/PID/cgroup`.
pub fn of(mounted: &Path, groups: &str) -> Result<GroupUse, Failure> {
    let seat = Seat::of(mounted, groups, "memory")?;
    let path = seat.path.as_str();
    let files = Files { version: seat.version, root: seat.root.clone() };
    let mut tightest: Option<(u64, &str, u64, &str)> = None;
    for at in seat.upwards() {
        let current = files.number(at, files.current());
        for name in files.limits() {
            let limit = files.number(at, name).ok().flatten().filter(|l| *l < NONE);
            if let Some((current, limit)) = current.as_ref().ok().copied().flatten().zip(limit) {
                let left = limit.saturating_sub(current);
                if tightest.is_none_or(|(least, ..)| left < least) {
                    tightest = Some((left, at, limit, name));
                }
            }
        }
    }
    let of = tightest.map_or(path, |(_, at, ..)| at);
    let current = files.number(of, files.current())?;
    let current = current.ok_or_else(|| malformed(&files.path(of, files.current())))?;
    let limit = tightest.map(|(.., limit, _)| limit);
    let near = limit.is_some_and(|l| current as f64 >= NEAR * l as f64);
    let limit_file = tightest.map_or("", |(.., name)| name);
    Ok(GroupUse {
        group: path.to_owned(),
        of: if of.is_empty() { "/".into() } else { of.into() },
        current,
        inactive_file: if near { Some(files.inactive_file(of)?) } else { None },
        limit,
        limit_file: limit_file.into(),
        hits: files.hits(of, limit_file),
        oom_kills: files.oom_kills(of),
        stalled: stall(&files.path(of, "memory.pressure")),
    })
}

struct Files {
    version: Version,
    root: PathBuf,
}

impl Files {
    fn path(&self, group: &str, name: &str) -> PathBuf {
        self.root.join(group.trim_start_matches('/')).join(name)
    }

    fn current(&self) -> &'static str {
        match self.version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }
    }

    fn limits(&self) -> &'static [&'static str] {
        match self.version {
            Version::One => &["memory.limit_in_bytes"],
            // By `memory.high` a group is slowed down before it is killed.
            Version::Two => &["memory.max", "memory.high"],
        }
    }

    /// `None` is `max`.
    fn number(&self, group: &str, name: &str) -> Result<Option<u64>, Failure> {
        let path = self.path(group, name);
        let text = read(&path)?;
        match text.trim() {
            "max" => Ok(None),
            n => n.parse().map(Some).map_err(|_| malformed(&path)),
        }
    }

    fn line(&self, group: &str, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path(group, file)).ok()?;
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    fn inactive_file(&self, group: &str) -> Result<u64, Failure> {
        let name = match self.version {
            Version::One => "total_inactive_file",
            Version::Two => "inactive_file",
        };
        self.line(group, "memory.stat", name).ok_or_else(|| malformed(&self.path(group, "memory.stat")))
    }

    fn hits(&self, group: &str, limit_file: &str) -> Option<u64> {
        match self.version {
            Version::One => self.number(group, "memory.failcnt").ok().flatten(),
            Version::Two if limit_file == "memory.high" => self.line(group, "memory.events", "high"),
            Version::Two => self.line(group, "memory.events", "max"),
        }
    }

    fn oom_kills(&self, group: &str) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        self.line(group, file, "oom_kill")
    }
}

#[cfg(test)]
mod tests;
