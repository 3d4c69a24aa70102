//! What one waits for, from trees made for it, on cgroup v1 and v2; and from this host.

use super::*;
use crate::probe::host::tests::tree;

const V1: &str = "9:name=systemd:/system.slice/a.service\n1:cpu,cpuacct:/system.slice/a.service\n0::/\n";
const V2: &str = "0::/system.slice/a.service\n";
const OTHER: &str = "0::/system.slice/ab.service\n";
const STAT: &str = "101 (a) S 1 1 1 0 -1 0 9 0 0 0 500 60 0 0 20 0 3 0 100000 1 1";
const CHILD: &str = "102 (a) D 101 1 1 0 -1 0 9 0 0 0 1 1 0 0 20 0 1 0 100100 1 1";

fn host(groups: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("proc/uptime", "2000.50 1.00\n"),
        ("proc/101/stat", STAT),
        ("proc/101/cgroup", groups),
        ("proc/101/task/101/schedstat", "5000000000 1500000000 900\n"),
        ("proc/101/task/105/schedstat", "5000000000 500000000 900\n"),
        ("proc/102/stat", CHILD),
        ("proc/102/cgroup", groups),
        ("proc/102/task/102/schedstat", "1000 250000000 9\n"),
        ("proc/103/stat", STAT),
        ("proc/103/cgroup", OTHER),
        ("proc/103/task/103/schedstat", "1 9000000000 1\n"),
    ]
}

fn of_tree(root: &Path, mounted: impl AsRef<Path>, pid: u32) -> Result<OwnLoad, Failure> {
    let proc = root.join("proc");
    let proc = proc.to_str().unwrap();
    of(proc, mounted.as_ref(), pid, &groups(proc))
}

fn look(files: &[(&str, &str)]) -> OwnLoad {
    let t = tree(files);
    of_tree(t.path(), t.path().join("groups"), 101).unwrap()
}

#[test]
fn all_of_its_group_and_nobody_else_waits_for_it() {
    for groups in [V1, V2] {
        let own = look(&host(groups));
        let seen: Vec<(u32, f64, &str)> =
            own.processes.iter().map(|p| (p.pid, p.waited_s, p.state.as_str())).collect();
        assert_eq!(seen, [(101, 2.0, "S"), (102, 0.25, "D")], "{groups}");
        assert_eq!((own.began_s, own.uptime_s), (1000.0, 2000.5));
        assert!(own.quotas.is_empty() && own.io.is_none(), "{own:?}");
    }
    // In no group of its own it stands for itself.
    let own = look(&host("1:cpu:/\n0::/\n"));
    assert_eq!(own.processes.iter().map(|p| p.pid).collect::<Vec<_>>(), [101]);
}

#[test]
fn a_kernel_that_does_not_count_waits_says_nothing() {
    let files: Vec<_> = host(V2).into_iter().filter(|(name, _)| !name.contains("schedstat")).collect();
    let t = tree(&files);
    fs::create_dir_all(t.path().join("proc/101/task/101")).unwrap();
    let own = of_tree(t.path(), t.path().join("groups"), 101).unwrap();
    assert!(own.processes.is_empty(), "{own:?}");
    assert!(of_tree(t.path(), t.path(), 999).is_err());
}

#[test]
fn a_quota_is_read_on_cgroup_v1() {
    let at = "groups/cpu/system.slice/a.service";
    let mut files = host(V1);
    let (quota, period, stat) =
        (format!("{at}/cpu.cfs_quota_us"), format!("{at}/cpu.cfs_period_us"), format!("{at}/cpu.stat"));
    files.push((&quota, "20000\n"));
    files.push((&period, "100000\n"));
    files.push((&stat, "nr_periods 50\nnr_throttled 40\nthrottled_time 3500000000\nnr_bursts 0\n"));
    files.push(("groups/cpu/system.slice/cpu.cfs_quota_us", "-1\n"));
    files.push(("groups/cpu/system.slice/cpu.cfs_period_us", "100000\n"));
    let want = Quota {
        group: "/system.slice/a.service".into(),
        cores: 0.2,
        periods: 50,
        throttled: 40,
        throttled_s: 3.5,
    };
    assert_eq!(look(&files).quotas, [want]);
}

#[test]
fn a_quota_of_a_group_above_it_is_read_on_cgroup_v2_with_its_wait_for_devices() {
    let mut files = host(V2);
    files.push(("groups/system.slice/a.service/cpu.max", "max 100000\n"));
    files.push(("groups/system.slice/a.service/cpu.stat", "usage_usec 9\n"));
    files.push((
        "groups/system.slice/a.service/io.pressure",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    ));
    files.push(("groups/system.slice/cpu.max", "150000 100000\n"));
    files.push((
        "groups/system.slice/cpu.stat",
        "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 20\nnr_throttled 3\nthrottled_usec 250000\n",
    ));
    let own = look(&files);
    let above =
        Quota { group: "/system.slice".into(), cores: 1.5, periods: 20, throttled: 3, throttled_s: 0.25 };
    assert_eq!(own.quotas, [above]);
    assert_eq!(own.io.unwrap().some_us, 77);
    // A quota without its counts is none that can be judged.
    files.retain(|(name, _)| !name.ends_with("slice/cpu.stat"));
    assert!(look(&files).quotas.is_empty());
}

#[test]
fn this_process_waits_for_something() {
    let own =
        of("/proc", Path::new(super::super::group::MOUNTED), std::process::id(), &groups("/proc")).unwrap();
    assert!(own.processes.iter().any(|p| p.pid == std::process::id()), "{own:?}");
}
