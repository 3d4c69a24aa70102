//! Slow because of the host: no processor left, a quota, a disk. And what only looks like that.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::load::{Device, HostLoad, Quota, Worker};
use mcp_ir::snapshot::memory::Stall;
use mcp_ir::snapshot::work::{Waits, Work};
use mcp_ir::snapshot::{Again, FailKind, Failure, Looks, Reading};

use crate::stack::load::{UPTIME, worker};
use crate::stack::{A, A_UNIT, C, Stack};
use crate::two::{SEARCH, Two, evidence, histogram};

const OWN: &[&str] = &["unattributed@codebase-mcp"];
const BUSY: &str = "cpu-saturated@db1";

/// Somebody waits for one 90 % of the time; six want two processors; a batch takes most of both.
fn crowded() -> Two {
    Two::idle_host()
        .host_before(|h| {
            h.running = 7;
            h.workers.push(worker(900, "cc1plus", "batch.service"));
        })
        .host(|h| {
            h.running = 7;
            h.busy_s = 1002.0;
            h.stalled.cpu = Some(Stall { some_us: 9_900_000, full_us: None, lately: 20.0 });
            let batch = worker(900, "cc1plus", "batch.service");
            h.workers.push(Worker { cpu_s: batch.cpu_s + 1.6, ..batch });
        })
        // 8 s of requests in a second.
        .own(A, |o| o.processes[0].waited_s += 5.0)
}

#[test]
fn a_slow_service_on_a_host_that_is_idle_is_slow_for_another_reason() {
    let said = evidence(&Two::idle_host().is(OWN, &[]));
    for seen in [
        "processors: somebody waited for one 0 % of the time, in 1 s",
        "/system.slice/codebase-mcp.service: held up in 0 of 10 periods",
        "disks: all waited for one 0 % of the time",
        "ListenOverflows: none in 1 s",
        "segments sent again: 0 of 0 (0.0 %)",
    ] {
        assert!(said.contains(seen), "{seen}: {said}");
    }
    let mut denied = Two::idle_host();
    denied.now.now.host.load =
        Reading::Failed(Failure::new(FailKind::Denied, "/proc/stat: permission denied"));
    denied.now.now.host.own.clear();
    let said = evidence(&denied.is(OWN, &[]));
    assert!(said.contains("processors: /proc/stat: permission denied"), "{said}");
}

#[test]
fn a_host_without_a_processor_left_is_told_with_who_takes_them() {
    let d = crowded().is(&[BUSY], &[]);
    let f = &d.findings[0];
    assert_eq!(f.certainty, Certainty::Proven);
    assert!(f.summary.contains("62 % of the requests' time"), "{}", f.summary);
    assert!(f.summary.contains("batch.service takes 160 % of one"), "{}", f.summary);
    let said = evidence(&d);
    assert!(said.contains("batch.service (cc1plus 900): 160 % of one processor"), "{said}");
    assert!(said.contains("somebody waited for one 90 % of the time"), "{said}");
}

/// It is slow at the same time, and waits for no processor: what it lacks is connections.
#[test]
fn a_crowd_explains_nothing_of_a_service_that_it_does_not_hold_up() {
    let mut two = crowded();
    for look in [&mut two.before, &mut two.now] {
        *look = look.clone().health(C, crate::payload::a_healthy(10, 1, 10));
        look.now.services.get_mut(C).unwrap().health.elapsed_ms = 900.0;
    }
    two.is(&[BUSY, "pool-wait@workflow-mcp"], &[]);
}

#[test]
fn only_what_its_database_waits_for_a_processor_is_likely_not_proven() {
    let d = crowded()
        .own(A, |o| o.processes[0].waited_s = 5.0)
        .own("postgres", |o| o.processes[0].waited_s += 5.0)
        .is(&[BUSY], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Likely);
}

/// The first of the processes that are looked at are others each time.
#[test]
fn an_old_process_that_is_only_seen_now_has_not_waited_all_its_life_in_a_second() {
    let one =
        |pid, began_s, waited_s| mcp_ir::snapshot::load::Waits { pid, began_s, state: "S".into(), waited_s };
    let idle = || crowded().own(A, |o| o.processes[0].waited_s = 5.0);
    idle().own(A, |o| o.processes.push(one(555, 1000.0, 100.0))).is(OWN, &[]);
    idle().own(A, |o| o.processes.push(one(555, UPTIME + 0.1, 5.0))).is(&[BUSY], &[]);
}

#[test]
fn busy_processors_are_no_reason_for_who_does_not_wait_for_them() {
    // It has its turn: what it waits for is something else.
    crowded().own(A, |o| o.processes[0].waited_s = 5.1).is(OWN, &[]);
    // Nobody is slow at all.
    let mut quick = crowded();
    quick.now.now.services.get_mut(A).unwrap().metrics = Some(histogram([500.0, 500.0, 500.0, 500.0], 5.0));
    quick.is(&[], &[]);
    // No pressure, or no load.
    crowded().host(|h| h.stalled.cpu.as_mut().unwrap().some_us = 9_300_000).is(OWN, &[]);
    crowded().host(|h| h.running = 3).is(OWN, &[]);
    crowded().host_before(|h| h.running = 3).is(OWN, &[]);
    // They were busy until a moment ago, as the load of a minute still says.
    let over =
        |busy_s: f64| crowded().host(move |h| (h.running, h.load, h.busy_s) = (2, 9.0, 1000.0 + busy_s));
    over(1.2).is(OWN, &[]);
    over(1.9).is(&[BUSY], &[]);
}

#[test]
fn what_is_not_seen_of_the_processors_is_never_zero_nor_told() {
    // Neither pressure nor waits are counted by some kernels.
    crowded().host(|h| h.stalled.cpu = None).is(OWN, &[]);
    crowded().own(A, |o| o.processes.clear()).own_before(A, |o| o.processes.clear()).is(OWN, &[]);
    // Who takes them runs where it can't be seen.
    crowded().host(|h| h.workers.retain(|w| w.pid != 900)).is(OWN, &[]);
    // The host was started in between; the counter began anew.
    crowded().host(|h| h.booted += 900).is(OWN, &[]);
    crowded().host(|h| h.stalled.cpu.as_mut().unwrap().some_us = 5).is(OWN, &[]);
    let mut denied = crowded();
    denied.now.now.host.load = Reading::Failed(Failure::new(FailKind::Denied, "/proc: permission denied"));
    denied.is(OWN, &[]);
}

#[test]
fn a_process_that_began_in_between_is_counted_whole_and_an_older_one_not() {
    let young = |h: &mut HostLoad| {
        let batch = h.workers.iter_mut().find(|w| w.pid == 900).unwrap();
        (batch.pid, batch.began_s, batch.cpu_s) = (950, UPTIME + 0.1, 1.6);
    };
    crowded().host(young).is(&[BUSY], &[]);
    crowded()
        .host(|h| {
            young(h);
            h.workers.iter_mut().find(|w| w.pid == 950).unwrap().began_s = 1000.0;
        })
        .is(OWN, &[]);
}

#[test]
fn a_crowd_explains_statements_that_are_slow_for_it() {
    crowded().ran(10.0, 6000.0, SEARCH).is(&[BUSY], &["slow-queries@postgres"]);
}

#[test]
fn statements_that_take_the_processors_themselves_are_the_reason() {
    let own = crowded().ran(10.0, 6000.0, SEARCH).host(|h| {
        h.workers.retain(|w| w.pid != 900);
        h.workers.iter_mut().find(|w| w.pid == 700).unwrap().cpu_s += 1.8;
    });
    own.is(&["slow-queries@postgres"], &[]);
}

/// No look at a container that is well says which groups are its own; the one at what it waits for does.
#[test]
fn statements_of_a_server_in_a_container_are_the_reason_as_well() {
    const GROUP: &str = "/system.slice/docker-4f1c.scope";
    let mut own = crowded().ran(10.0, 6000.0, SEARCH).host(|h| {
        h.workers.retain(|w| w.pid != 900);
        let server = h.workers.iter_mut().find(|w| w.pid == 700).unwrap();
        server.cpu_s += 1.8;
        server.group = Some(GROUP.into());
    });
    for look in [&mut own.before, &mut own.now] {
        *look = look.clone().postgres(|p| (p.unit, p.container) = (None, Some("pg".into())));
        look.now.host.own.get_mut("postgres").unwrap().group = Some(GROUP.into());
    }
    own.is(&["slow-queries@postgres"], &[]);
}

#[test]
fn who_only_waits_takes_no_processor() {
    // The service computes so much itself that its connections are kept, and waited for.
    let mut own = crowded().host(|h| {
        h.workers.retain(|w| w.pid != 900);
        h.workers.iter_mut().find(|w| w.pid == 101).unwrap().cpu_s += 1.8;
    });
    for look in [&mut own.before, &mut own.now] {
        *look = look.clone().health(A, crate::payload::a_healthy(10, 1, 10));
    }
    own.is(&[BUSY], &["pool-wait@codebase-mcp"]);
}

#[test]
fn a_service_that_runs_elsewhere_is_not_slow_for_this_host() {
    let mut far = crowded();
    for look in [&mut far.before, &mut far.now] {
        *look = look.clone().service(A, |s| {
            s.unit = None;
            s.url = Some("http://10.0.0.9:8000".into());
        });
        look.now.host.own.remove(A);
    }
    far.is(OWN, &[]);
}

/// Held up in so many of ten periods, and so long.
fn held_up(name: &str, throttled: u64, seconds: f64) -> Two {
    Two::idle_host().own(name, |o| {
        o.quotas[0].throttled += throttled;
        o.quotas[0].throttled_s += seconds;
    })
}

#[test]
fn a_quota_that_holds_it_up_is_told_with_its_group() {
    let d = held_up(A, 8, 0.6).is(&["cpu-throttled@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Proven);
    let said = evidence(&d);
    assert!(said.contains(&format!("/system.slice/{A_UNIT}: held up in 8 of 10 periods")), "{said}");
    assert!(said.contains("50 % of a processor"), "{said}");
    // Of what it needs.
    held_up("postgres", 8, 0.6).is(&["cpu-throttled@postgres"], &[]);
    held_up("postgres", 8, 0.6)
        .ran(10.0, 2000.0, SEARCH)
        .is(&["cpu-throttled@postgres"], &["slow-queries@postgres"]);
}

/// A quarter of a second each without any quota: to raise it would not make them quick.
#[test]
fn statements_that_are_slow_without_the_quota_too_are_a_reason_of_their_own() {
    let d = held_up("postgres", 8, 0.6).ran(10.0, 6000.0, SEARCH);
    d.is(&["slow-queries@postgres", "cpu-throttled@postgres"], &[]);
}

#[test]
fn a_quota_on_many_processors_is_counted_on_each_and_so_only_likely() {
    let d = held_up(A, 8, 0.6).host(|h| h.cores = 16).is(&["cpu-throttled@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Likely);
    // A group above it that had one period in between hides nothing.
    let above =
        Quota { group: "/system.slice".into(), cores: 1.0, periods: 7, throttled: 7, throttled_s: 0.1 };
    let now = Quota { periods: 8, throttled: 8, throttled_s: 0.2, ..above.clone() };
    held_up(A, 8, 0.6)
        .own_before(A, |o| o.quotas.push(above))
        .own(A, |o| o.quotas.push(now))
        .is(&["cpu-throttled@codebase-mcp"], &[]);
}

#[test]
fn a_quota_that_hardly_holds_up_or_of_another_is_none() {
    held_up(A, 1, 0.05).is(OWN, &[]);
    held_up(A, 8, 0.04).is(OWN, &[]);
    held_up(C, 8, 0.6).is(OWN, &[]);
    // Half a second has no periods enough.
    held_up(A, 2, 0.6).own(A, |o| o.quotas[0].periods = 1003).is(OWN, &[]);
    // Quick for all that.
    let mut quick = held_up(A, 8, 0.6);
    quick.now.now.services.get_mut(A).unwrap().metrics = Some(histogram([500.0, 500.0, 500.0, 500.0], 5.0));
    quick.is(&[], &[]);
}

#[test]
fn a_group_that_was_made_anew_counts_from_nothing() {
    held_up(A, 8, 0.6).own_before(A, |o| o.quotas[0].throttled = 900).is(OWN, &[]);
    held_up(A, 8, 0.6).own(A, |o| o.began_s = UPTIME + 0.5).is(OWN, &[]);
    held_up(A, 8, 0.6).own_before(A, |o| o.quotas.clear()).is(OWN, &[]);
}

/// All wait for a disk 60 % of the time, and a backup moves most.
fn full_disk() -> Two {
    let device = |busy_ms, written| Device { name: "sda".into(), busy_ms, read: 0, written };
    let backup = |moved| Worker { moved: Some(moved), ..worker(900, "tar", "backup.service") };
    Two::idle_host()
        .host_before(|h| {
            h.devices = vec![device(1000, 0)];
            h.workers.push(backup(0));
        })
        .host(|h| {
            h.devices = vec![device(1980, 80 << 20)];
            h.stalled.io = Some(Stall { some_us: 9_800_000, full_us: Some(1_500_000), lately: 0.0 });
            h.workers.push(backup(80 << 20));
        })
}

fn wal(w: &mut Work) {
    w.waits.push(Waits { event: "IO/WALSync".into(), count: 6, longest_s: 0.4 });
}

#[test]
fn disks_that_are_busy_without_a_pause_are_told_with_who_moves_so_much() {
    let d = full_disk().both(wal).is(&["io-saturated@db1"], &[]);
    let (f, said) = (&d.findings[0], evidence(&d));
    assert!(f.summary.contains("waits for sda: all did 60 % of the time"), "{}", f.summary);
    assert!(f.summary.contains("backup.service moves 80 MiB a second"), "{}", f.summary);
    assert!(said.contains("sda: busy 98 % of the time"), "{said}");
    assert!(said.contains("6 sessions of postgres at a time"), "{said}");
    full_disk().both(wal).ran(10.0, 6000.0, SEARCH).is(&["io-saturated@db1"], &["slow-queries@postgres"]);
}

#[test]
fn who_computes_hides_nobody_who_waits_for_a_disk() {
    let two = |some_us: u64, busy_s: f64| {
        full_disk().both(wal).host(move |h| {
            let io = h.stalled.io.as_mut().unwrap();
            (io.some_us, io.full_us) = (9_000_000 + some_us, Some(910_000));
            h.busy_s += busy_s;
        })
    };
    let d = two(970_000, 1.9).is(&["io-saturated@db1"], &[]);
    assert!(d.findings[0].summary.contains("somebody did 97 % of the time"), "{}", d.findings[0].summary);
    // There were processors left for them, or hardly anybody waited.
    two(970_000, 1.0).is(OWN, &[]);
    two(400_000, 1.9).is(OWN, &[]);
}

#[test]
fn a_disk_is_told_by_the_groups_own_wait_or_a_process_that_waits_both_times() {
    let io = |us| Some(Stall { some_us: us, full_us: None, lately: 0.0 });
    full_disk().own_before(A, |o| o.io = io(0)).own(A, |o| o.io = io(500_000)).is(&["io-saturated@db1"], &[]);
    full_disk().own_before(A, |o| o.io = io(0)).own(A, |o| o.io = io(50_000)).is(OWN, &[]);
    let stuck = |two: Two| two.own("postgres", |o| o.processes[0].state = "D".into());
    stuck(full_disk())
        .own_before("postgres", |o| o.processes[0].state = "D".into())
        .is(&["io-saturated@db1"], &[]);
    stuck(full_disk()).is(OWN, &[]);
}

#[test]
fn busy_disks_are_no_reason_for_who_does_not_wait_for_them() {
    full_disk().is(OWN, &[]);
    full_disk().work(wal).is(OWN, &[]);
    full_disk().both(wal).host(|h| h.stalled.io = None).is(OWN, &[]);
    full_disk().both(wal).host(|h| h.stalled.io.as_mut().unwrap().full_us = Some(1_000_000)).is(OWN, &[]);
    full_disk().both(wal).host(|h| h.stalled.io.as_mut().unwrap().full_us = None).is(OWN, &[]);
    // It reads so much itself, and is told for it.
    let own = full_disk().both(wal).ran(10.0, 6000.0, SEARCH).host(|h| {
        h.workers.retain(|w| w.pid != 900);
        h.workers.iter_mut().find(|w| w.pid == 700).unwrap().moved = Some(90 << 20);
    });
    own.is(&["slow-queries@postgres"], &[]);
}

/// A process that stands in the disk's queue can't be asked what it read: it may be the slow statement's.
#[test]
fn a_disk_used_by_whom_nobody_sees_takes_no_statement_from_its_own_reason() {
    let unseen = |two: Two| two.host(|h| h.workers.iter_mut().for_each(|w| w.moved = None));
    unseen(full_disk().both(wal).ran(10.0, 6000.0, SEARCH)).is(&["slow-queries@postgres"], &[]);
    // Of no statement anything is told: the disk is still busy, by somebody.
    let d = unseen(full_disk().both(wal)).is(&["io-saturated@db1"], &[]);
    assert!(!d.findings[0].summary.contains("moves"), "{}", d.findings[0].summary);
}

#[test]
fn the_host_is_read_only_where_one_that_runs_there_looks_slow() {
    let again = |look: &Stack| {
        let looks = Looks { now: look.now.clone(), before: None };
        let all = mcp_ir::scenario::again(&looks, &look.now.config, &[]);
        all.into_iter().find_map(|a| match a {
            Again::Load(names) => Some(names),
            _ => None,
        })
    };
    let healthy = Two::healthy().now;
    assert_eq!(again(&healthy), None);
    let mut late = healthy;
    late.now.services.get_mut(C).unwrap().health.elapsed_ms = 900.0;
    assert_eq!(again(&late).unwrap(), ["postgres", C]);
    let far = late.service(C, |s| (s.unit, s.url) = (None, Some("http://10.0.0.9:8001".into())));
    assert_eq!(again(&far).unwrap(), ["postgres"]);
}
