//! The host's load from files as a kernel wrote them.

use super::*;
use crate::probe::host::tests::tree;

const STAT: &str = "cpu  2290604 1216 483203 478325 8520 7 2443 5001 300 0
cpu0 1146361 620 241002 239125 4210 0 1200 2500 150 0
cpu1 1144243 596 242201 239200 4310 7 1243 2501 150 0
intr 181271361 0 0 0
ctxt 250817251
btime 1795733512
processes 1312402
procs_running 7
procs_blocked 1
softirq 29172303 0 0
";
const BATCH: &str = "900 (cc1 (plus) x) R 1 900 900 0 -1 4194304 9 0 0 0 500 60 0 0 20 0 1 0 100000 1 1";
const SLEEPER: &str = "901 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 30 0 0";
const DISKS: &str = " 254       0 vda 15104 4226 1021336 5283 96211 40211 9021336 88110 0 61984 93393 0 0 0 0
   7       0 loop0 10 0 20 0 0 0 0 0 0 9 9
 254      16 vdb 0 0 0 0 0 0 0 0 0 0 0
";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("stat", STAT),
        ("loadavg", "6.31 2.08 1.10 7/412 99120\n"),
        ("uptime", "2000.50 3900.00\n"),
        ("diskstats", DISKS),
        (
            "pressure/cpu",
            "some avg10=66.84 avg60=19.78 avg300=10.69 total=10546989311
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
",
        ),
        ("900/stat", BATCH),
        ("900/cgroup", "9:name=systemd:/system.slice/batch.service\n1:cpu:/\n0::/\n"),
        ("900/io", "rchar: 9\nwchar: 9\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\n"),
        ("901/stat", SLEEPER),
        ("self/stat", BATCH),
    ]
}

#[test]
fn what_the_processors_and_disks_do_is_read_with_who_gives_it_to_them() {
    let t = tree(&files());
    let h = of_host(t.path().to_str().unwrap()).unwrap();
    assert_eq!((h.cores, h.running, h.load, h.booted, h.uptime_s), (2, 7, 6.31, 1_795_733_512, 2000.5));
    assert_eq!((h.busy_s, h.stolen_s), (27_774.73, 50.01));
    assert_eq!(h.stalled.cpu.unwrap().some_us, 10_546_989_311);
    assert_eq!((h.stalled.io, h.stalled.memory), (None, None), "not counted is no zero");
    assert_eq!(h.workers.len(), 1, "who never ran takes nothing: {:?}", h.workers);
    let w = &h.workers[0];
    assert_eq!((w.pid, w.name.as_str(), w.began_s, w.cpu_s), (900, "cc1 (plus) x", 1000.0, 5.6));
    assert_eq!((w.moved, w.group.as_deref()), (Some(12_288), Some("/system.slice/batch.service")));
    assert_eq!(h.devices.len(), 1, "{:?}", h.devices);
    let vda = Device { name: "vda".into(), busy_ms: 61_984, read: 1_021_336 * 512, written: 9_021_336 * 512 };
    assert_eq!(h.devices[0], vda);
}

#[test]
fn of_one_that_waits_for_a_device_no_file_is_opened_that_it_may_hold() {
    let mut files = files();
    files.push(("902/stat", "902 (dd) D 1 902 902 0 -1 4194304 9 0 0 0 5 6 0 0 20 0 1 0 100000 1 1"));
    files.push(("902/io", "read_bytes: 1\nwrite_bytes: 1\n"));
    let t = tree(&files);
    let h = of_host(t.path().to_str().unwrap()).unwrap();
    assert_eq!(h.workers.iter().find(|w| w.pid == 902).unwrap().moved, None);
}

#[test]
fn of_very_many_the_busiest_are_kept() {
    let t = tree(&files());
    for pid in 1000..1000 + KEPT {
        let at = t.path().join(pid.to_string());
        fs::create_dir(&at).unwrap();
        fs::write(at.join("stat"), format!("{pid} (idle) S 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 1 0 100 1 1"))
            .unwrap();
    }
    let h = of_host(t.path().to_str().unwrap()).unwrap();
    assert_eq!(h.workers.len(), KEPT);
    assert!(h.workers.iter().any(|w| w.pid == 900), "the one that has run");
}

#[test]
fn a_file_that_is_missing_or_cut_is_a_failure() {
    for missing in ["stat", "loadavg", "uptime"] {
        let all: Vec<_> = files().into_iter().filter(|(name, _)| *name != missing).collect();
        assert!(of_host(tree(&all).path().to_str().unwrap()).is_err(), "{missing}");
    }
    for cut in ["", "cpu  1 2 3\n", "cpu  1 2 3 4 5 6 7 8\n", "btime 5\nprocs_running 1\n"] {
        let mut all = files();
        all[0].1 = cut;
        assert!(of_host(tree(&all).path().to_str().unwrap()).is_err(), "{cut:?}");
    }
}

#[test]
fn this_host_has_one() {
    let h = of_host("/proc").unwrap();
    assert!(h.cores > 0 && h.busy_s > 0.0 && h.running > 0, "{h:?}");
    let me = h.workers.iter().find(|w| w.pid == std::process::id());
    assert!(me.is_none_or(|w| w.began_s <= h.uptime_s), "{me:?}");
}
