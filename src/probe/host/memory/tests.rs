//! `/proc` from trees made for it: what is not there is a failure, and never zero.

use super::*;

const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4000000 kB\n\
                       SwapCached:            0 kB\nSwapTotal:       1000000 kB\nSwapFree:         900000 kB\n";

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let t = Self(tempfile::tempdir().unwrap());
        t.file("uptime", "1000.50 1900.00\n").file("meminfo", MEMINFO)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A process that began 400 s after the start, with two pages and three descriptors.
    fn process(self, state: &str) -> Self {
        let zeros = "0 ".repeat(18);
        let stat = format!("7 (a) (b) {state} {zeros}40000 0 0\n");
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 4096                 files     \n";
        let t = self.file("7/stat", &stat).file("7/statm", "900 2 1 0 0 0 0\n").file("7/limits", limits);
        ["0", "1", "2"].iter().fold(t, |t, n| t.file(&format!("7/fd/{n}"), ""))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn host(&self) -> Result<HostMemory, Failure> {
        of_host(self.path().to_str().unwrap())
    }
}

#[test]
fn a_host_is_read_as_far_as_its_kernel_counts() {
    let bare = Tree::new().host().unwrap();
    assert_eq!((bare.total, bare.available), (8_000_000 << 10, 4_000_000 << 10));
    assert_eq!((bare.swap_total, bare.swap_free, bare.uptime_s), (1_000_000 << 10, 900_000 << 10, 1000.5));
    assert_eq!((bare.swapped_in, bare.oom_kills, bare.reclaims), (None, None, None));
    assert_eq!(bare.stalled, Stalls::default());
    let whole = Tree::new()
        .file("vmstat", "pswpin 12\npswpout 34\nallocstall_dma 1\nallocstall_normal 5\noom_kill 2\npswpinx 9\n")
        .file("pressure/memory", "some avg10=1.25 avg60=0.00 avg300=0.00 total=109577\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=19304\n")
        .file("pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
        .host()
        .unwrap();
    assert_eq!((whole.swapped_in, whole.swapped_out), (Some(12), Some(34)));
    assert_eq!((whole.oom_kills, whole.reclaims), (Some(2), Some(6)));
    assert_eq!(whole.stalled.memory, Some(Stall { some_us: 109_577, full_us: Some(19_304), lately: 1.25 }));
    assert_eq!(whole.stalled.cpu, Some(Stall { some_us: 7, full_us: None, lately: 0.0 }));
    assert_eq!(whole.stalled.io, None);
}

#[test]
fn what_a_host_does_not_say_is_a_failure_and_never_zero() {
    for text in ["", "MemTotal: 8000 kB\n", "MemTotal: 8000\nMemAvailable: 1 kB\n", "MemAvailable: 4 kB\n"] {
        let f = Tree::new().file("meminfo", text).host().unwrap_err();
        assert_eq!(f.kind, FailKind::Malformed, "{text:?}");
        assert!(f.detail.contains("meminfo"), "{f:?}");
    }
    let empty = tempfile::tempdir().unwrap();
    let f = of_host(empty.path().to_str().unwrap()).unwrap_err();
    assert_eq!(f.kind, FailKind::Missing);
}

#[test]
fn where_little_is_left_the_largest_are_named() {
    let low = MEMINFO.replace("4000000", "100000");
    let t = Tree::new().file("meminfo", &low).process("S").file("9/statm", "9 900 1 0 0 0 0\n");
    let t = t.file("9/stat", "9 (big) R 1 9 9 0\n").file("9/cgroup", "0::/system.slice/big.service\n");
    let seen = t.host().unwrap().largest;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!((seen[0].pid, seen[0].name.as_str(), seen[0].resident), (9, "big", 900 * page()));
    assert_eq!(seen[0].group.as_deref(), Some("/system.slice/big.service"));
}

#[test]
fn a_process_is_read_with_its_start_and_limit() {
    let seen = of_process(Tree::new().process("S").path(), 7).unwrap();
    assert_eq!((seen.pid, seen.began_s, seen.uptime_s), (7, 400.0, 1000.5));
    assert_eq!((seen.resident, seen.fill()), (2 * page(), Some((3, 1024))));
    assert!(seen.kinds.is_empty(), "far from its limit nobody asks what they are");
}

#[test]
fn a_stuck_process_is_read_without_what_could_hold_us_up() {
    let t = Tree::new().process("D");
    // Whoever opens these waits for ever: a pipe without a writer.
    for name in ["cmdline", "environ", "maps", "smaps_rollup"] {
        let path = t.path().join("7").join(name);
        let pipe = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &*pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }
    let path = t.path().to_owned();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(of_process(&path, 7)).is_ok());
    let seen = told.recv_timeout(std::time::Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(seen.resident, 2 * page());
}

#[test]
fn what_a_process_does_not_say_is_a_failure_with_its_reason() {
    let t = Tree::new();
    assert_eq!(of_process(t.path(), 8).unwrap_err().detail, "no process 8");
    let ended = of_process(Tree::new().process("Z").path(), 7).unwrap_err();
    assert_eq!(
        (ended.kind, ended.detail.as_str()),
        (FailKind::Missing, "process 7 has ended: it has no memory")
    );
    for (file, text) in [("7/statm", "900\n"), ("7/stat", "7 (a) S 1 2\n"), ("7/limits", "Max cpu time 1\n")]
    {
        let f = of_process(Tree::new().process("S").file(file, text).path(), 7).unwrap_err();
        assert_eq!(f.kind, FailKind::Malformed, "{file}");
    }
    let t = Tree::new().process("S");
    fs::remove_dir_all(t.path().join("7/fd")).unwrap();
    let seen = of_process(t.path(), 7).unwrap();
    assert_eq!(seen.descriptors.failure().unwrap().kind, FailKind::Missing);
    assert_eq!(seen.fill(), None);
    let none = "Max open files            unlimited            unlimited            files     \n";
    let seen = of_process(Tree::new().process("S").file("7/limits", none).path(), 7).unwrap();
    assert_eq!((seen.descriptors_max, seen.fill()), (None, None));
}

#[test]
fn a_process_of_another_group_is_another() {
    let t = Tree::new().process("S").file("7/cgroup", "0::/system.slice/b.service\n");
    let all = |group: &str| {
        let asked = [("a".to_owned(), 7, group.to_owned())];
        of_units(t.path().to_str().unwrap(), Path::new("/nonexistent"), &asked).remove(0).1
    };
    let other = all("/system.slice/a.service");
    assert_eq!(other.process.failure().unwrap().kind, FailKind::Missing);
    let own = all("/system.slice/b.service");
    assert!(own.process.seen().is_some());
    assert!(own.group.failure().unwrap().detail.contains("memory.current"), "{own:?}");
}

#[test]
fn near_its_limit_it_is_told_what_descriptors_are() {
    // This process: real sockets, files and a pipe, and a limit of its own making.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let _made: Vec<_> =
        (0..40).map(|_| (std::net::TcpStream::connect(to).unwrap(), listener.accept().unwrap())).collect();
    let dir = tempfile::tempdir().unwrap();
    let _files: Vec<_> = (0..10).map(|n| fs::File::create(dir.path().join(n.to_string())).unwrap()).collect();
    let seen = kinds(Path::new("/proc/self"));
    let of = |what: &str| seen.iter().find(|k| k.what == what).map_or(0, |k| k.count);
    assert_eq!(of(&format!("TCP to {to}")), 40, "{seen:?}");
    assert_eq!(of(&format!("TCP clients of port {}", to.port())), 40, "{seen:?}");
    assert_eq!(of(&format!("files in {}", dir.path().display())), 10, "{seen:?}");
    assert!(seen.is_sorted_by(|a, b| a.count >= b.count), "{seen:?}");
}

#[test]
fn this_machines_own_figures_are_read() {
    let host = of_host("/proc").unwrap();
    assert!(host.available > 0 && host.available < host.total, "{host:?}");
    let me = of_process(Path::new("/proc"), std::process::id()).unwrap();
    let counted = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    assert!(me.descriptors.seen().unwrap().abs_diff(counted) < 60, "{me:?} {counted}");
    assert!(me.resident > 1 << 20 && me.age_s() >= 0.0 && me.age_s() < 3600.0, "{me:?}");
}
