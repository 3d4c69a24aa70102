//! How many processes and threads a control group has, and may have.

use std::fs;
use std::path::Path;

use super::group::Seat;
use crate::snapshot::containers::Tasks;
use crate::snapshot::{FailKind, Failure};

/// `groups` is the text of `/proc/PID/cgroup`.
pub fn of(mounted: &Path, groups: &str) -> Result<Tasks, Failure> {
    let folder = Seat::of(mounted, groups, "pids")?.folder();
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(&file).map_err(|e| crate::probe::io_failure(&e, &file.display().to_string()))
    };
    let number = |text: &str| text.trim().parse().ok();
    let bad = || Failure::new(FailKind::Malformed, format!("{}: no number", folder.display()));
    let current = number(&read("pids.current")?).ok_or_else(bad)?;
    let max = read("pids.max")?;
    let max = if max.trim() == "max" { None } else { Some(number(&max).ok_or_else(bad)?) };
    Ok(Tasks { current, max })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tasks_are_counted_on_cgroup_v1_and_v2() {
        let v1 = "8:pids:/docker/a\n4:memory:/docker/a\n0::/docker/a\n";
        for (groups, folder) in [(v1, "pids/docker/a"), ("0::/docker/a\n", "docker/a")] {
            let root = tempfile::tempdir().unwrap();
            let at = root.path().join(folder);
            fs::create_dir_all(&at).unwrap();
            assert_eq!(of(root.path(), groups).unwrap_err().kind, FailKind::Missing, "{groups}");
            fs::write(at.join("pids.current"), "24\n").unwrap();
            for (text, max) in [("24\n", Some(24)), ("max\n", None)] {
                fs::write(at.join("pids.max"), text).unwrap();
                assert_eq!(of(root.path(), groups), Ok(Tasks { current: 24, max }), "{groups}");
            }
            fs::write(at.join("pids.max"), "many\n").unwrap();
            assert_eq!(of(root.path(), groups).unwrap_err().kind, FailKind::Malformed, "{groups}");
        }
        for groups in ["", "0::/../x\n", "1:name=systemd:/a\n"] {
            assert!(of(Path::new("/sys/fs/cgroup"), groups).is_err(), "{groups}");
        }
    }
}
