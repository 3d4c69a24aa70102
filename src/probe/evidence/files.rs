//! Files of the kernel, several in one text, each below its name as `tail` writes it.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Excerpt;
use crate::probe::host::group::{Seat, Version};
use crate::probe::io_failure;
use crate::snapshot::{FailKind, Failure};

/// So much of a file: `memory.stat` has 2 KiB, `vmstat` 5.
const BYTES: u64 = 256 << 10;

/// Several files of the host that belong together.
pub struct Kind {
    /// The name of the file that they are put into.
    pub name: &'static str,
    pub what: &'static str,
    /// Below `/proc`.
    pub files: &'static [&'static str],
}

pub const OF_HOST: [Kind; 4] = [
    Kind {
        name: "memory.txt",
        what: "the host's memory: what there is, and what the kernel did for it since the start",
        files: &["meminfo", "vmstat", "swaps"],
    },
    Kind {
        name: "load.txt",
        what: "the host's load, and for how long programs stood still for want of processors, memory, disks",
        files: &["loadavg", "uptime", "pressure/cpu", "pressure/memory", "pressure/io", "stat", "diskstats"],
    },
    Kind {
        name: "network.txt",
        what: "the host's network by its own counters",
        files: &["net/snmp", "net/netstat", "net/sockstat", "net/dev"],
    },
    Kind {
        name: "limits.txt",
        what: "the host's own limits, and how much of them is taken",
        files: &[
            "version",
            "sys/fs/file-nr",
            "sys/kernel/pid_max",
            "sys/kernel/threads-max",
            "sys/vm/overcommit_memory",
            "sys/vm/swappiness",
            "sys/net/core/somaxconn",
            "sys/net/ipv4/ip_local_port_range",
            "sys/net/netfilter/nf_conntrack_count",
            "sys/net/netfilter/nf_conntrack_max",
        ],
    },
];

/// A controller, its files on cgroup v1, and on v2.
const OF_GROUP: [(&str, &[&str], &[&str]); 5] = [
    (
        "memory",
        &[
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
            "memory.failcnt",
            "memory.oom_control",
            "memory.stat",
        ],
        &[
            "memory.current",
            "memory.peak",
            "memory.max",
            "memory.high",
            "memory.swap.current",
            "memory.events",
            "memory.pressure",
            "memory.stat",
        ],
    ),
    (
        "cpu",
        &["cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares"],
        &["cpu.stat", "cpu.max", "cpu.weight", "cpu.pressure"],
    ),
    ("pids", &["pids.current", "pids.max"], &["pids.current", "pids.max", "pids.events"]),
    ("blkio", &["blkio.throttle.io_service_bytes"], &["io.stat", "io.max", "io.pressure"]),
    ("freezer", &["freezer.state"], &["cgroup.events"]),
];

pub fn of_host(root: &Path, kind: &Kind) -> Result<Excerpt, Failure> {
    // In another's `/proc` there is no process of ours.
    let alias = if root.join("self").exists() { "self" } else { "1" };
    let path = |name: &&str| match name.strip_prefix("net/") {
        Some(rest) => root.join(alias).join("net").join(rest),
        None => root.join(name),
    };
    together(kind.files.iter().map(path), false)
}

/// Of the group that a process is in; `groups` is the text of its `cgroup`.
pub fn of_group(mounted: &Path, groups: &str) -> Result<Excerpt, Failure> {
    let mut all = Vec::new();
    let mut unseen = None;
    for (controller, one, two) in OF_GROUP {
        match Seat::of(mounted, groups, controller) {
            Ok(seat) => {
                let names = if seat.version == Version::One { one } else { two };
                all.extend(names.iter().map(|name| seat.folder().join(name)));
            }
            Err(f) => unseen = Some(f),
        }
    }
    match unseen {
        Some(f) if all.is_empty() => Err(f),
        // What this kernel, or the group of all, does not have is nothing that was missed.
        _ => together(all.into_iter(), true),
    }
}

/// `lax`: what does not exist is passed over.
pub fn together(files: impl Iterator<Item = PathBuf>, lax: bool) -> Result<Excerpt, Failure> {
    let (mut out, mut first) = (Excerpt::default(), None);
    for path in files {
        match some(&path) {
            Ok((text, cut)) => {
                out.text.push_str(&format!("==> {} <==\n{}\n", path.display(), text.trim_end()));
                out.text.push_str(if cut { "(more was cut off)\n\n" } else { "\n" });
                out.cut |= cut;
            }
            Err(f) => {
                if !(lax && f.kind == FailKind::Missing) {
                    out.missed.push(f.detail.clone());
                }
                first.get_or_insert(f);
            }
        }
    }
    match first {
        Some(f) if out.text.is_empty() => Err(f),
        _ => Ok(out),
    }
}

/// No link is followed at its end, and nobody is waited for.
fn some(path: &Path) -> Result<(String, bool), Failure> {
    let failed = |e: std::io::Error| io_failure(&e, &path.display().to_string());
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let cut = bytes.len() as u64 > BYTES;
    bytes.truncate(BYTES as usize);
    Ok((crate::config::mask::text(&String::from_utf8_lossy(&bytes)), cut))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn files_stand_below_their_names_and_what_is_not_there_is_said() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "1\n").unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        let path = |name: &str| root.path().join(name);
        let seen = together([path("a"), path("none"), path("link")].into_iter(), false).unwrap();
        assert_eq!(seen.text, format!("==> {} <==\n1\n\n", path("a").display()));
        assert_eq!(seen.missed.len(), 2, "{seen:?}");
        assert!(together([path("a"), path("none")].into_iter(), true).unwrap().missed.is_empty());
        assert_eq!(together([path("none")].into_iter(), true).unwrap_err().kind, FailKind::Missing);
    }

    #[test]
    fn a_large_file_is_cut_and_a_password_is_masked() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, format!("password=hunter2\n{}", "x\n".repeat(BYTES as usize))).unwrap();
        let seen = together(std::iter::once(path), false).unwrap();
        assert!(seen.cut && seen.text.len() < BYTES as usize + 200, "{}", seen.text.len());
        assert!(!seen.text.contains("hunter2") && seen.text.contains("(more was cut off)"));
    }

    #[test]
    fn groups_are_read_on_cgroup_v1_and_v2() {
        for (groups, at, file) in
            [("4:memory:/a\n8:pids:/a\n", "memory/a", "memory.failcnt"), ("0::/a\n", "a", "memory.events")]
        {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join(at)).unwrap();
            fs::write(root.path().join(at).join(file), "7\n").unwrap();
            let seen = of_group(root.path(), groups).unwrap();
            assert!(seen.text.contains(file) && seen.missed.is_empty(), "{seen:?}");
        }
        assert!(of_group(Path::new("/sys/fs/cgroup"), "").is_err());
    }

    #[test]
    fn this_host_is_read() {
        for kind in &OF_HOST {
            let seen = of_host(Path::new("/proc"), kind).unwrap();
            assert!(seen.text.contains(kind.files[0]), "{seen:?}");
        }
    }
}
