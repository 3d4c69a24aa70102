//! Control groups of both versions, from trees made for it.

use super::*;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let t = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = t.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        t
    }

    fn of(&self, groups: &str) -> Result<GroupUse, Failure> {
        of(self.0.path(), groups)
    }
}

const V2: &str = "0::/system.slice/a.service\n";
const V1: &str = "9:name=systemd:/system.slice/a.service\n4:memory:/system.slice/a.service\n0::/\n";

fn v2() -> Vec<(&'static str, &'static str)> {
    vec![
        ("system.slice/a.service/memory.current", "950\n"),
        ("system.slice/a.service/memory.max", "1000\n"),
        ("system.slice/a.service/memory.high", "max\n"),
        ("system.slice/a.service/memory.stat", "anon 800\ninactive_file 100\nactive_file 50\n"),
        (
            "system.slice/a.service/memory.events",
            "low 0\nhigh 7\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n",
        ),
        ("system.slice/a.service/memory.pressure", "some avg10=2.50 avg60=1.00 avg300=0.00 total=5000\n"),
        ("system.slice/memory.current", "5000\n"),
        ("system.slice/memory.max", "max\n"),
    ]
}

#[test]
fn version_2_with_its_own_limit() {
    let g = Tree::new(&v2()).of(V2).unwrap();
    assert_eq!((g.of.as_str(), g.current, g.limit), ("/system.slice/a.service", 950, Some(1000)));
    assert_eq!((g.inactive_file, g.working(), g.left()), (Some(100), 850, Some(150)));
    assert_eq!((g.limit_file.as_str(), g.hits, g.oom_kills), ("memory.max", Some(12), Some(3)));
    assert_eq!(g.stalled.unwrap().some_us, 5000);
}

#[test]
fn the_limit_that_is_met_first_counts_whosever_it_is() {
    let mut files = v2();
    files.push(("system.slice/memory.max", "5010\n"));
    files.push(("system.slice/memory.stat", "inactive_file 0\n"));
    files.push(("system.slice/memory.events", "max 99\n"));
    let g = Tree::new(&files).of(V2).unwrap();
    assert_eq!((g.group.as_str(), g.of.as_str()), ("/system.slice/a.service", "/system.slice"));
    assert_eq!((g.current, g.limit, g.hits), (5000, Some(5010), Some(99)));
    let mut files = v2();
    files.push(("system.slice/a.service/memory.high", "960\n"));
    let g = Tree::new(&files).of(V2).unwrap();
    assert_eq!((g.limit, g.limit_file.as_str(), g.hits), (Some(960), "memory.high", Some(7)));
}

#[test]
fn version_1_beside_a_hierarchy_that_has_no_memory() {
    let files = [
        ("memory/system.slice/a.service/memory.usage_in_bytes", "950\n"),
        ("memory/system.slice/a.service/memory.limit_in_bytes", "1000\n"),
        ("memory/system.slice/a.service/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n"),
        ("memory/system.slice/a.service/memory.failcnt", "41\n"),
        ("memory/system.slice/a.service/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("memory/system.slice/memory.usage_in_bytes", "5000\n"),
        ("memory/system.slice/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    let g = Tree::new(&files).of(V1).unwrap();
    assert_eq!((g.current, g.limit, g.working()), (950, Some(1000), 850));
    assert_eq!((g.hits, g.oom_kills, g.stalled), (Some(41), Some(2), None));
    assert_eq!(g.limit_file, "memory.limit_in_bytes");
}

#[test]
fn far_from_the_limit_the_files_are_not_told_apart_and_without_one_there_is_none() {
    let mut files = v2();
    files.push(("system.slice/a.service/memory.current", "100\n"));
    assert_eq!(Tree::new(&files).of(V2).unwrap().inactive_file, None);
    files.push(("system.slice/a.service/memory.max", "max\n"));
    let g = Tree::new(&files).of(V2).unwrap();
    assert_eq!((g.limit, g.left(), g.of.as_str()), (None, None, "/system.slice/a.service"));
}

#[test]
fn what_is_not_there_or_not_seen_is_a_failure_and_never_zero() {
    let kind = |t: &Tree, groups: &str| t.of(groups).map_err(|f| f.kind);
    let empty = Tree::new(&[]);
    for groups in [V1, V2, "", "0::/\n", "no line", "0::/../../x\n"] {
        assert_eq!(kind(&empty, groups), Err(FailKind::Missing), "{groups}");
    }
    let mut files = v2();
    files.push(("system.slice/a.service/memory.current", "many\n"));
    assert_eq!(kind(&Tree::new(&files), V2), Err(FailKind::Malformed));
    // Near its limit what nobody uses has to be known: else a full cache looks like a lack.
    let mut files = v2();
    files.push(("system.slice/a.service/memory.stat", "anon 800\n"));
    assert_eq!(kind(&Tree::new(&files), V2), Err(FailKind::Malformed));
    let mut files = v2();
    files.push(("system.slice/a.service/memory.events", ""));
    files.push(("system.slice/a.service/memory.pressure", "none"));
    let g = Tree::new(&files).of(V2).unwrap();
    assert_eq!((g.hits, g.oom_kills, g.stalled), (None, None, None));
}
