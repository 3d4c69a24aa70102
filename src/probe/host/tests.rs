//! `/proc` and `postmaster.pid` from trees made for it.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A `/proc` of our own making.
struct Proc {
    dir: tempfile::TempDir,
}

impl Proc {
    /// With a process 1, as every `/proc` that shows other users' has.
    fn new() -> Self {
        let proc = Self { dir: tempfile::tempdir().unwrap() };
        proc.process(1, b"systemd", "S", 0);
        proc
    }

    fn process(&self, pid: u32, name: &[u8], state: &str, parent: u32) -> &Self {
        let head = format!("{pid} (").into_bytes();
        let tail = format!(") {state} {parent} {pid} {pid} 0 -1 4194560 1 2 3\n").into_bytes();
        self.file(pid, "stat", &[head, name.to_vec(), tail].concat())
    }

    fn file(&self, pid: u32, name: &str, text: &[u8]) -> &Self {
        let folder = self.dir.path().join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        self
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

const GROUP: &str = "/system.slice/a.service";

fn unit(pid: u32, state: &str) -> Proc {
    let proc = Proc::new();
    proc.process(pid, b"python3", state, 1).file(pid, "cgroup", b"0::/system.slice/a.service\n");
    proc
}

fn kind<T: std::fmt::Debug>(r: Result<T, Failure>) -> (FailKind, String) {
    let f = r.unwrap_err();
    (f.kind, f.detail)
}

#[test]
fn the_state_of_a_process_is_the_letter_of_the_kernel() {
    for state in ["R", "S", "D", "T", "t", "Z", "X", "I"] {
        let seen = process(unit(7, state).path(), 7, GROUP).unwrap();
        assert_eq!(seen, Process { pid: 7, state: state.into(), freezer: None });
    }
}

#[test]
fn a_name_may_hold_spaces_brackets_line_ends_and_any_byte() {
    for name in [&b"a b"[..], b"(sd-pam)", b"x) R 1 (y", b"a\nb", b")", b"", b"\xff\xfe", "é".as_bytes()] {
        let proc = Proc::new();
        proc.process(7, name, "T", 1).file(7, "cgroup", b"0::/system.slice/a.service\n");
        assert_eq!(process(proc.path(), 7, GROUP).unwrap().state, "T", "{}", name.escape_ascii());
    }
}

#[test]
fn a_process_that_is_not_there_is_missing_and_an_unreadable_line_is_malformed() {
    let proc = Proc::new();
    assert_eq!(kind(process(proc.path(), 9, GROUP)), (FailKind::Missing, "no process 9".into()));
    for text in [&b""[..], b"7", b"7 (x", b"7 x) S 1", b"7 (x)", b"7 (x) S", b"7 (x) S one", b"\xff"] {
        proc.file(7, "stat", text);
        assert_eq!(kind(process(proc.path(), 7, GROUP)).0, FailKind::Malformed, "{}", text.escape_ascii());
    }
}

#[test]
fn a_process_of_another_group_is_not_the_units() {
    let proc = Proc::new();
    proc.process(7, b"x", "S", 1);
    for (text, own) in [
        ("0::/system.slice/a.service\n", true),
        ("12:pids:/x\n1:name=systemd:/system.slice/a.service\n0::/\n", true),
        ("0::/docker/1f2e/system.slice/a.service\n", true),
        ("0::/system.slice/a.service/worker\n", true),
        ("0::/system.slice/b.service\n", false),
        ("0::/system.slice/a.service.d\n", false),
        ("0::/\n", false),
        ("", false),
    ] {
        proc.file(7, "cgroup", text.as_bytes());
        let seen = process(proc.path(), 7, GROUP);
        assert_eq!(seen.is_ok(), own, "{text}");
        if !own {
            assert_eq!(kind(seen).0, FailKind::Missing);
            assert!(variable(proc.path(), 7, GROUP, "A").is_err());
        }
    }
    proc.file(7, "cgroup", b"0::/\n");
    assert!(process(proc.path(), 7, "").is_err(), "no group is no group of anybody");
}

#[test]
fn one_variable_is_read_and_none_that_only_begins_like_it() {
    let proc = unit(7, "S");
    proc.file(
        7,
        "environ",
        b"POOL_MAX_SIZE_X=9\0XPOOL_MAX_SIZE=8\0RAW=\xff\0POOL_MAX_SIZE=7\0EMPTY=\0EQ=a=b\0",
    );
    let get = |name: &str| variable(proc.path(), 7, GROUP, name).unwrap();
    assert_eq!(get("POOL_MAX_SIZE").as_deref(), Some("7"));
    assert_eq!(get("EMPTY").as_deref(), Some(""));
    assert_eq!(get("EQ").as_deref(), Some("a=b"));
    assert_eq!((get("POOL"), get("RAW"), get("NONE")), (None, None, None));
}

#[test]
fn the_environment_of_a_stuck_or_ended_process_is_not_taken_for_empty() {
    let stuck = unit(7, "D");
    assert_eq!(kind(variable(stuck.path(), 7, GROUP, "A")).0, FailKind::TimedOut);
    let ended = unit(7, "Z");
    ended.file(7, "environ", b"");
    assert_eq!(kind(variable(ended.path(), 7, GROUP, "A")).0, FailKind::Missing);
}

fn cluster(proc: &Proc, pid: u32, state: &str, arguments: &[u8]) {
    proc.process(pid, b"postgres", state, 1).file(pid, "cmdline", arguments);
}

#[test]
fn a_postmaster_is_a_postgres_whose_parent_is_none() {
    let proc = Proc::new();
    cluster(&proc, 50, "S", b"/usr/lib/postgresql/15/bin/postgres\0-D\0/var/lib/x\0-c\0config_file=/etc/x\0");
    proc.process(51, b"postgres", "S", 50).file(51, "cmdline", b"postgres: checkpointer \0");
    cluster(&proc, 60, "T", b"postgres\0-D/data\0");
    cluster(&proc, 61, "S", b"postgres\0");
    proc.process(70, b"postgres-export", "S", 1).process(71, b"pg", "S", 1);
    let mut all = postmasters(proc.path()).unwrap();
    all.sort_by_key(|p| p.pid);
    let seen: Vec<_> = all.iter().map(|p| (p.pid, p.state.as_str(), p.data_directory.as_deref())).collect();
    assert_eq!(seen, [(50, "S", Some("/var/lib/x")), (60, "T", Some("/data")), (61, "S", None)]);
}

#[test]
fn the_backend_of_a_killed_postmaster_and_a_zombie_are_no_postmasters() {
    let proc = Proc::new();
    proc.process(51, b"postgres", "S", 1).file(51, "cmdline", b"postgres: ann shop 127.0.0.1(5) idle\0\0\0");
    proc.process(52, b"postgres", "Z", 1).file(52, "cmdline", b"");
    assert_eq!(postmasters(proc.path()), Ok(vec![]));
}

#[test]
fn the_arguments_of_a_stuck_postmaster_are_not_touched() {
    let proc = Proc::new();
    cluster(&proc, 50, "D", b"postgres\0-D\0/data\0");
    assert_eq!(postmasters(proc.path()).unwrap()[0].data_directory, None);
}

#[test]
fn where_others_are_hidden_none_is_not_said() {
    let proc = Proc { dir: tempfile::tempdir().unwrap() };
    proc.process(50, b"bash", "S", 40);
    let want = (FailKind::Denied, "other users' processes are not shown".to_owned());
    assert_eq!(kind(postmasters(proc.path())), want);
    let nowhere = kind(postmasters("/nonexistent/proc"));
    assert_eq!(nowhere, (FailKind::Missing, "/nonexistent/proc: no such file or directory".into()));
}

#[test]
fn this_machines_own_proc_is_read() {
    assert!(stat(Path::new("/proc"), std::process::id()).is_ok_and(|s| s.parent > 0));
    assert!(postmasters("/proc").is_ok() || !Path::new("/proc/1/stat").exists());
}

fn pid_file_of(text: impl AsRef<[u8]>) -> Result<PidFile, Failure> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("postmaster.pid"), text).unwrap();
    pid_file(dir.path().to_str().unwrap())
}

const LINES: &str = "136\n/data\n1795540590\n5432\n/run/postgresql\n127.0.0.1\n 10019074         1\n";

#[test]
fn each_status_of_the_pid_file_is_read_without_its_padding() {
    for status in ["starting", "stopping", "ready", "standby"] {
        let seen = pid_file_of(format!("{LINES}{status:<8}\n")).unwrap();
        assert_eq!(seen, PidFile { pid: 136, started_unix: 1_795_540_590, status: status.into() });
    }
}

#[test]
fn a_pid_file_that_is_being_written_says_that_its_status_is_unknown() {
    assert_eq!(pid_file_of(LINES).unwrap().status, "unknown");
    assert_eq!(pid_file_of(format!("{LINES}\n")).unwrap().status, "unknown");
    assert_eq!(pid_file_of("136\n/data\n1795540590").unwrap().status, "unknown");
}

#[test]
fn a_pid_file_that_can_not_be_read_is_malformed() {
    for text in [
        &b""[..],
        b"136\n",
        b"136\n/data\n",
        b"-136\n/data\n1\n",
        b"x\n/data\n1\n",
        b"136\n/d\nnow\n",
        b"\xff\n",
    ] {
        assert_eq!(kind(pid_file_of(text)).0, FailKind::Malformed, "{}", text.escape_ascii());
    }
}

#[test]
fn a_pid_file_that_is_not_there_is_missing_and_one_of_others_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (missing, text) = kind(pid_file(path));
    assert_eq!(
        (missing, text),
        (FailKind::Missing, format!("{path}/postmaster.pid: no such file or directory"))
    );
    let file = dir.path().join("postmaster.pid");
    fs::write(&file, LINES).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if !rustix::process::geteuid().is_root() {
        assert_eq!(kind(pid_file(path)).0, FailKind::Denied);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let proc = unit(7, "S");
        let _ = pid_file_of(&bytes);
        for name in ["environ", "cgroup", "cmdline", "stat"] {
            proc.file(7, name, &bytes);
        }
        let _ = process(proc.path(), 7, GROUP);
        let _ = variable(proc.path(), 7, GROUP, "A");
        let _ = postmasters(proc.path());
    }
}

/// A root made for a test, of these files.
pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let t = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = t.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    t
}
