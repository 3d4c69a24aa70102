//! Memory and descriptors run short: of the host, of a limit, of one process; and what only looks so.

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};
use mcp_ir::scenario;
use mcp_ir::snapshot::memory::Large;
use mcp_ir::snapshot::units::{Event, Kernel};
use mcp_ir::snapshot::{Again, FailKind, Failure, Looks, Reading};

use crate::payload;
use crate::stack::memory::{GIB, MIB, stall};
use crate::stack::{A, A_UNIT, C, Stack, refused, silent};

const LOW: &str = "memory/host-low@db1";
const THRASH: &str = "memory/swap-thrash@db1";
const NEAR: &str = "memory/near-limit@codebase-mcp";
const LEAK: &str = "memory/leak@codebase-mcp";
const FDS: &str = "memory/fd-exhaustion@codebase-mcp";
const OOM: &str = "server-crash/oom-killed@codebase-mcp";

fn low() -> Stack {
    Stack::healthy().memory(|m| m.available = 300 * MIB)
}

#[test]
fn a_host_with_hardly_any_memory_left_for_which_programs_wait_is_low() {
    let s = low().memory(|m| {
        m.stalled.memory = stall(9_000_000, 12.5);
        m.largest = vec![Large {
            pid: 4242,
            name: "import".into(),
            resident: 6 * GIB,
            group: Some("/system.slice/import.service".into()),
        }];
    });
    s.told()
        .expect_root(LOW, Certainty::Proven)
        .evidence(LOW, "300 MiB of 8.0 GiB (3.7 %)")
        .evidence(LOW, "12.5 % of the last 10 s")
        .evidence(LOW, "6.0 GiB, in /system.slice/import.service");
}

#[test]
fn of_two_looks_the_totals_tell_and_how_long_it_lasts() {
    let before = low().memory(|m| (m.available, m.stalled.memory) = (360 * MIB, stall(1_000_000, 0.0)));
    let now = low().memory(|m| m.stalled.memory = stall(2_000_000, 0.0));
    now.after(&before.earlier(10.0))
        .expect_root(LOW, Certainty::Proven)
        .evidence(LOW, "10.0 % of the last 10 s")
        .evidence(LOW, "at 360 MiB a minute none is left in 50 s");
}

#[test]
fn little_memory_for_which_nobody_waits_is_no_trouble() {
    low().told().healthy();
    // The average is still high from before; the totals stand.
    let s = low().memory(|m| m.stalled.memory = stall(2_000_000, 8.0));
    s.after(&s.clone().earlier(1.0)).healthy();
    // And waiting without a lack of it is something else.
    Stack::healthy().memory(|m| m.stalled.memory = stall(2_000_000, 30.0)).told().healthy();
}

#[test]
fn where_a_kernel_does_not_count_who_waits_what_had_to_be_freed_tells() {
    let s = low().memory(|m| m.stalled.memory = None);
    s.told().never("memory/");
    let more = s.clone().memory(|m| m.reclaims = Some(900));
    more.after(&s.clone().earlier(2.0)).expect_root(LOW, Certainty::Proven).evidence(LOW, "890 had to free");
    s.after(&s.clone().earlier(2.0)).healthy();
}

#[test]
fn a_host_that_was_started_anew_has_no_rate() {
    let before = low().memory(|m| m.stalled.memory = stall(0, 0.0));
    let now = low().memory(|m| (m.uptime_s, m.stalled.memory) = (60.0, stall(5_000_000, 0.0)));
    now.after(&before.earlier(10.0)).never("memory/");
}

fn swapping(pages: u64) -> Stack {
    Stack::healthy().memory(|m| {
        (m.swap_total, m.swap_free) = (2 * GIB, GIB);
        (m.swapped_in, m.swapped_out) = (Some(pages), Some(pages));
    })
}

#[test]
fn a_host_that_swaps_in_and_out_all_the_time_thrashes() {
    let told = swapping(30_000).after(&swapping(1_000).earlier(10.0));
    told.expect_root(THRASH, Certainty::Proven).evidence(THRASH, "2900 pages a second in, 2900 out");
}

#[test]
fn swap_that_is_quiet_or_goes_one_way_is_no_trouble() {
    swapping(1_000_000).told().healthy();
    swapping(1_000_000).after(&swapping(1_000_000).earlier(1.0)).healthy();
    swapping(5_000).after(&swapping(0).earlier(10.0)).healthy();
    // A large program was put away, or comes back: one way.
    let out = swapping(0).memory(|m| m.swapped_out = Some(100_000));
    out.after(&swapping(0).earlier(10.0)).healthy();
}

#[test]
fn pages_that_come_in_bursts_are_watched_for_longer() {
    let undecided = |read: u64, written: u64, seconds: f64| {
        let now = swapping(0).memory(|m| (m.swapped_in, m.swapped_out) = (Some(read), Some(written)));
        let looks = Looks { now: now.now, before: Some(swapping(0).earlier(seconds).now) };
        scenario::undecided(&looks, &looks.now.config)
    };
    assert!(undecided(300, 3000, 1.0));
    assert!(!undecided(3000, 3000, 1.0), "that is enough");
    assert!(!undecided(0, 3000, 1.0), "one way only");
    assert!(!undecided(200, 300, 1.0), "few");
    assert!(!undecided(30_000, 300_000, 60.0), "a minute is long enough");
}

#[test]
fn a_host_that_swaps_since_it_has_no_memory_is_one_root() {
    let now =
        swapping(30_000).memory(|m| (m.available, m.stalled.memory) = (MIB * 90, stall(5_000_000, 40.0)));
    let told = now.after(&swapping(0).earlier(10.0));
    told.expect_root(LOW, Certainty::Proven).explained(THRASH, &[LOW]);
}

#[test]
fn a_group_at_its_limit_that_is_hit_is_near_it() {
    let before = Stack::healthy().fills(494, 4).group(|g| g.hits = Some(10));
    let now = Stack::healthy().fills(500, 4).group(|g| g.hits = Some(35));
    now.after(&before.clone().earlier(30.0))
        .expect_root(NEAR, Certainty::Proven)
        .evidence(NEAR, "496 MiB of 512 MiB, 4 MiB of files nobody uses left out (memory.max)")
        .evidence(NEAR, "25 times in 30 s")
        .evidence(NEAR, "at 12 MiB a minute the limit is reached in 80 s");
    assert_eq!(
        now.after(&before.earlier(30.0)).find(NEAR).remedy.command,
        format!("systemctl set-property --runtime {A_UNIT} MemoryMax={}", 1024 * MIB)
    );
}

#[test]
fn one_look_tells_it_where_the_kernel_says_that_it_waits() {
    let waits = |lately| Stack::healthy().fills(505, 0).group(|g| g.stalled = stall(7_000_000, lately));
    waits(22.0).told().expect_root(NEAR, Certainty::Proven).evidence(NEAR, "22.0 % of the last 10 s");
    waits(0.0).told().healthy();
    // cgroup v1 has no such word.
    Stack::healthy().fills(505, 0).group(|g| g.stalled = None).told().never("memory/");
}

#[test]
fn high_but_flat_memory_is_no_trouble() {
    // Hits of its start a day ago count for nothing.
    let s = Stack::healthy().fills(500, 0).group(|g| g.hits = Some(4000));
    s.told().healthy();
    s.after(&s.clone().earlier(1.0)).healthy();
    let v1 = s.group(|g| {
        g.stalled = None;
        g.limit_file = "memory.limit_in_bytes".into();
    });
    v1.after(&v1.clone().earlier(60.0)).healthy();
}

#[test]
fn a_full_page_cache_is_no_trouble_however_often_its_limit_is_hit() {
    let before = Stack::healthy().fills(512, 400).group(|g| g.hits = Some(0));
    let now = Stack::healthy()
        .fills(512, 400)
        .group(|g| (g.hits, g.stalled) = (Some(90_000), stall(9_000_000, 20.0)));
    now.after(&before.earlier(10.0)).healthy();
}

#[test]
fn whose_limit_it_is_is_said() {
    let slice = |hits| {
        Stack::healthy().fills(500, 0).group(|g| (g.of, g.hits) = ("/system.slice".into(), Some(hits)))
    };
    let told = slice(9).after(&slice(1).earlier(5.0));
    told.expect_root(NEAR, Certainty::Proven);
    assert!(told.find(NEAR).summary.ends_with("the limit of /system.slice"), "{}", told.find(NEAR).summary);
    assert!(told.find(NEAR).remedy.command.contains("--runtime system.slice MemoryMax="));
    // A host without room for more is not asked for it, and who shares a limit may be an innocent.
    let full = |hits| slice(hits).memory(|m| m.available = 600 * MIB);
    let told = full(9).after(&full(1).earlier(5.0));
    assert!(told.find(NEAR).remedy.command.starts_with("ps "), "{}", told.find(NEAR).remedy.command);
}

#[test]
fn a_group_that_was_made_anew_has_no_rate() {
    let before = Stack::healthy().fills(500, 0).group(|g| (g.hits, g.stalled) = (Some(0), None));
    let now = before.clone().group(|g| g.hits = Some(50)).of_process(|p| {
        p.pid = 999;
        p.began_s = p.uptime_s - 5.0;
    });
    now.after(&before.earlier(10.0)).never("memory/");
}

#[test]
fn what_is_killed_at_the_limit_that_it_stands_at_is_its_consequence() {
    let down = Stack::healthy()
        .no_answer(A, refused())
        .unit(A_UNIT, "failed", "failed")
        .detail(A_UNIT, "oom-kill", 2, 9, 5.0)
        .fills(511, 0)
        .group(|g| g.stalled = stall(9_000_000, 30.0));
    down.told().expect_root(NEAR, Certainty::Proven).explained(OOM, &[NEAR]);
}

#[test]
fn a_host_without_memory_explains_who_was_killed_for_it_but_not_who_met_a_limit_of_its_own() {
    let killed = |what: Kernel| {
        let died = Event::ProcessExited { code: "killed".into(), status: "9".into() };
        low()
            .memory(|m| m.stalled.memory = stall(9_000_000, 40.0))
            .no_answer(A, refused())
            .unit(A_UNIT, "failed", "failed")
            .detail(A_UNIT, "signal", 2, 9, 5.0)
            .events(
                A_UNIT,
                &[(900.0, Event::Started), (5.0, died), (5.0, Event::Failed { result: "signal".into() })],
            )
            .kernel(&[(5.0, "/system.slice/codebase-mcp.service", what)])
    };
    killed(Kernel::OomHost).told().expect_root(LOW, Certainty::Proven).explained(OOM, &[LOW]);
    killed(Kernel::OomLimit).told().expect_roots(&[OOM, LOW]);
    // Of one that is elsewhere this host says nothing.
    let away = killed(Kernel::OomHost).service(C, |s| (s.unit, s.container) = (None, None));
    away.health(C, payload::c_healthy(2, 0)).told().explained(OOM, &[LOW]);
}

#[test]
fn the_kill_of_another_unit_is_no_trouble_of_this_one() {
    let s = Stack::healthy().memory(|m| m.oom_kills = Some(7)).kernel(&[(
        5.0,
        "/system.slice/batch.service",
        Kernel::OomLimit,
    )]);
    s.told().healthy();
    s.after(&s.clone().memory(|m| m.oom_kills = Some(0)).earlier(10.0)).healthy();
}

#[test]
fn a_process_without_descriptors_left_is_told_with_what_they_are() {
    let kinds = [("TCP to 127.0.0.1:5432", 940), ("files in /var/log", 30)];
    let s = Stack::healthy().opens(1000, &kinds);
    let told = s.told();
    told.expect_root(FDS, Certainty::Proven).evidence(FDS, "1000 of 1024").evidence(FDS, "files in /var/log");
    assert_eq!(
        told.find(FDS).summary,
        "codebase-mcp has 1000 of 1024 descriptors open, 940 of them TCP to 127.0.0.1:5432"
    );
    // What it can't open makes it unwell.
    for (id, s) in [
        ("server-crash/unhealthy@codebase-mcp", s.clone().health(A, payload::a_own())),
        ("server-crash/hung@codebase-mcp", s.clone().no_answer(A, silent())),
    ] {
        s.told().case(id).expect_root(FDS, Certainty::Proven).explained(id, &[FDS]);
    }
}

#[test]
fn four_fifths_of_the_descriptors_are_no_trouble() {
    Stack::healthy().opens(820, &[]).told().healthy();
    Stack::healthy().opens(900_000, &[]).of_process(|p| p.descriptors_max = None).told().healthy();
}

#[test]
fn a_log_that_says_emfile_makes_it_likely_while_it_may_be_so() {
    let says = |text: &str, age: f64| {
        Stack::healthy().health(A, payload::a_own()).line(A_UNIT, age, 3, text).opens(700, &[])
    };
    let lines = [
        "accept error: Too many open files (os error 24)",
        "OSError: [Errno 24] Too many open files: '/tmp/x'",
        "Error: EMFILE, open '/srv/x'",
    ];
    for line in lines {
        let told = says(line, 5.0).told().case(line);
        told.expect_root(FDS, Certainty::Likely).explained("server-crash/unhealthy@codebase-mcp", &[FDS]);
    }
    // Long ago; of the machine; of the run before; and it has plenty again.
    says(lines[0], 4000.0).told().never("memory/");
    says("accept: Too many open files in system", 5.0).told().never("memory/");
    says(lines[0], 50.0).of_process(|p| p.began_s = p.uptime_s - 10.0).told().never("memory/");
    says(lines[0], 5.0).opens(20, &[]).told().never("memory/");
}

/// The look ten minutes ago, with so many MiB, and the one of now.
fn grown(from: u64, to: u64) -> (Stack, Stack) {
    let of = |mib: u64| Stack::healthy().of_process(|p| p.resident = mib * MIB).fills(mib + 20, 0);
    (of(from).earlier(600.0), of(to))
}

#[test]
fn a_process_that_grows_while_its_load_does_not_leaks() {
    let (before, now) = grown(100, 300);
    now.after(&before)
        .expect_root(LEAK, Certainty::Likely)
        .evidence(LEAK, "300 MiB, after 100 MiB 10 min before");
    assert_eq!(
        now.after(&before).find(LEAK).summary,
        "codebase-mcp grew to 300 MiB: at 20 MiB a minute its limit is reached in 10 min"
    );
}

#[test]
fn what_leaks_is_why_its_limit_is_near() {
    let (before, now) = grown(100, 480);
    let told = now.group(|g| g.hits = Some(50)).after(&before);
    told.expect_root(LEAK, Certainty::Likely).explained(NEAR, &[LEAK]);
}

#[test]
fn what_grows_a_little_warms_up_works_more_or_began_anew_does_not_leak() {
    let (before, now) = grown(300, 320);
    now.after(&before).healthy();
    let (before, now) = grown(300, 300);
    now.after(&before).healthy();
    // It had begun a moment before the first look.
    let (before, now) = grown(100, 300);
    let young = |s: Stack| s.of_process(|p| p.began_s = 100_000.0 - 610.0);
    young(now.clone()).after(&young(before.clone())).healthy();
    // Another run of it, even with the same pid.
    now.clone().of_process(|p| p.began_s = p.uptime_s - 300.0).after(&before).healthy();
    // More is asked of it.
    let busy = now.health(A, payload::a_healthy(8, 2, 10));
    busy.after(&before.health(A, payload::a_healthy(2, 1, 10))).healthy();
    // Two looks that are too near.
    let of = |mib: u64| Stack::healthy().of_process(|p| p.resident = mib * MIB);
    of(300).after(&of(100).earlier(5.0)).healthy();
}

#[test]
fn a_slow_growth_is_a_note() {
    let (before, now) = grown(300, 340);
    let far = now.group(|g| g.limit = None).memory(|m| m.available = 600 * GIB);
    let told = far.after(&before);
    assert_eq!(told.find(LEAK).severity, Severity::P4);
    told.verdict(Verdict::Healthy);
}

#[test]
fn what_was_not_seen_is_never_taken_for_nothing() {
    let denied = || Reading::Failed(Failure::new(FailKind::Denied, "permission denied"));
    let s = Stack::healthy().taken(A, |t| {
        t.process = Reading::Failed(Failure::new(FailKind::Denied, "permission denied"));
        t.group = Reading::Failed(Failure::new(FailKind::Missing, "no such file"));
    });
    s.told().healthy();
    let mut s = Stack::healthy();
    s.now.host.memory = Reading::Failed(Failure::new(FailKind::Missing, "no meminfo"));
    s.now.host.taken.clear();
    s.told().healthy();
    Stack::healthy().of_process(|p| p.descriptors = denied()).told().healthy();
}

#[test]
fn a_look_from_before_there_was_such_a_reading_is_still_read() {
    let mut json: serde_json::Value = serde_json::from_str(&Stack::healthy().now.to_json().unwrap()).unwrap();
    let host = json["host"].as_object_mut().unwrap();
    host.remove("memory");
    host.remove("taken");
    let former = mcp_ir::snapshot::Snapshot::from_json(&json.to_string()).unwrap();
    assert_eq!(former.config.thresholds.descriptors, 0.9);
    Stack { now: former }.told().healthy();
}

#[test]
fn a_second_reading_is_taken_only_of_what_is_high() {
    let wants = |s: &Stack, asked: &[String]| {
        let looks = Looks { now: s.now.clone(), before: None };
        scenario::again(&looks, &looks.now.config, asked)
    };
    let none = Stack::healthy().memory(|m| (m.swap_total, m.swap_free) = (2 * GIB, GIB));
    assert_eq!(wants(&none, &[]), []);
    assert_eq!(wants(&none, &["memory".into()]), [Again::Memory]);
    assert_eq!(wants(&low(), &[]), [Again::Memory]);
    let mut late = Stack::healthy();
    late.now.host.memory = Reading::Failed(Failure::new(FailKind::TimedOut, "no answer"));
    assert_eq!(wants(&late, &[]), [Again::Memory]);
    assert_eq!(wants(&none.memory(|m| m.stalled.memory = stall(9, 3.0)), &[]), [Again::Memory]);
    // A kernel that counts no waits: nine percent left, and something is in swap.
    let uncounted = |available, free| {
        Stack::healthy().memory(move |m| {
            (m.swap_total, m.swap_free) = (2 * GIB, free);
            (m.available, m.stalled.memory) = (m.total / 100 * available, None);
        })
    };
    assert_eq!(wants(&uncounted(9, GIB), &[]), [Again::Memory]);
    assert_eq!(wants(&uncounted(9, 2 * GIB), &[]), []);
    assert_eq!(wants(&uncounted(20, GIB), &[]), []);
    assert_eq!(wants(&Stack::healthy().fills(500, 0), &[]), [Again::Taken(A.into())]);
    assert_eq!(wants(&Stack::healthy().fills(512, 400), &[]), []);
}
