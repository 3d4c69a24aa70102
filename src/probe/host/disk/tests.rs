//! File systems by this machine's own, and by lines of `mountinfo` as kernels write them.

use super::*;

const LINES: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 8:2 / /srv/my\\040data rw,noatime - xfs /dev/sdb1 rw,emergency_ro
31 22 0:40 / /srv/net rw,relatime - nfs4 nas:/pg rw,hard
32 22 0:41 / /srv/net/local rw - tmpfs tmpfs rw,size=1024k
33 22 8:3 / /srv/net ro,relatime - ext4 /dev/sdc1 ro
short line - x
";

fn view() -> View {
    View { root: "/".into(), mounts: LINES.lines().filter_map(mount).collect() }
}

#[test]
fn a_line_of_mountinfo_is_read_whatever_stands_between() {
    let v = view();
    assert_eq!(v.mounts.len(), 5);
    let m = v.mount("/srv/my data/15/main").unwrap();
    assert_eq!((m.kind.as_str(), m.device.as_str()), ("xfs", "/dev/sdb1"));
    assert_eq!(m.options, "rw,noatime,rw,emergency_ro");
}

#[test]
fn the_innermost_and_of_these_the_last_mount_holds_a_path() {
    let v = view();
    let device = |path: &str| v.mount(path).unwrap().device.clone();
    assert_eq!(device("/var/lib/postgresql"), "/dev/sda1");
    assert_eq!(device("/srv/network"), "/dev/sda1");
    assert_eq!(device("/srv/net/a"), "/dev/sdc1");
    assert_eq!(device("/srv/net/local/a"), "tmpfs");
}

#[test]
fn a_mount_that_is_read_only_for_this_process_alone_is_not_the_servers() {
    let of = |line: &str| mount(line).unwrap().read_only;
    // As `ProtectSystem=strict` gives a unit the whole machine.
    assert!(!of("22 1 8:1 / / ro,relatime - ext4 /dev/sda1 rw,errors=remount-ro"));
    assert!(of("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 ro,errors=remount-ro"));
    assert!(of("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,emergency_ro"));
}

#[test]
fn a_file_system_of_a_network_is_never_waited_for() {
    for kind in ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "autofs"] {
        let mounts = vec![mount(&format!("22 1 8:1 / / rw - {kind} x rw")).unwrap()];
        let f = View { root: "/nowhere".into(), mounts }.file_system("/srv").unwrap_err();
        assert_eq!(f.kind, FailKind::Unsupported, "{kind}");
    }
}

#[test]
fn the_places_of_a_server_are_where_its_links_lead() {
    let dir = tempfile::tempdir().unwrap();
    let (data, wal) = (dir.path().join("data"), dir.path().join("wal"));
    fs::create_dir_all(data.join("pg_tblspc")).unwrap();
    fs::create_dir(&wal).unwrap();
    std::os::unix::fs::symlink("../wal", data.join("pg_wal")).unwrap();
    std::os::unix::fs::symlink(dir.path(), data.join("pg_tblspc/16400")).unwrap();
    let places = of_server("/proc", "postgres", data.to_str().unwrap());
    let named: Vec<&str> = places.iter().map(|p| p.what.as_str()).collect();
    assert_eq!(named, ["data", "WAL", "tablespace"]);
    for p in &places {
        let f = p.file_system.seen().unwrap_or_else(|| panic!("{p:?}"));
        assert!(f.total > 0 && f.available <= f.total && !f.kind.is_empty(), "{f:?}");
    }
    assert_eq!(fs::canonicalize(&places[1].path).unwrap(), fs::canonicalize(wal).unwrap());
}

#[test]
fn a_folder_that_is_not_there_is_missing_and_not_full() {
    let places = of_server("/proc", "postgres", "/nonexistent/data");
    assert_eq!(places[0].file_system.failure().map(|f| f.kind), Some(FailKind::Missing));
    let places = of_server("/nonexistent/proc", "postgres", "/");
    assert_eq!(places[0].file_system.failure().map(|f| f.kind), Some(FailKind::Missing));
}
