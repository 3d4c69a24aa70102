//! A service that takes connections and answers nothing; and one that runs without a unit.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::process::{Freezer, Restless};
use mcp_ir::snapshot::{FailKind, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, Stack, fail, refused, seen, silent};

const HUNG: &str = "server-crash/hung@codebase-mcp";
const PAUSED: &str = "server-crash/paused@codebase-mcp";
const MISSING: &str = "server-crash/unit-missing@codebase-mcp";
const HERE: &str = "127.0.0.1:8000";
const OWN: Option<&str> = Some("/lab/system.slice/codebase-mcp.service");
const OTHER: Option<&str> = Some("/user.slice/session-3.scope");

fn quiet() -> Stack {
    Stack::healthy().no_answer(A, silent()).listener(HERE, &[(77, "python3", OWN)])
}

fn frozen(file: &str) -> Option<Freezer> {
    Some(Freezer { frozen: true, file: file.into() })
}

/// In state D, as cgroup v1 shows it.
fn freeze(s: Stack, file: &str) -> Stack {
    s.at_port(|l| (l.holders[0].freezer, l.holders[0].state) = (frozen(file), "D".into()))
}

#[test]
fn a_frozen_group_is_paused_and_not_hung() {
    for (file, thaw) in [
        ("/sys/fs/cgroup/freezer/box/freezer.state", "THAWED > /sys/fs/cgroup/freezer/box/freezer.state"),
        ("/sys/fs/cgroup/a/cgroup.events", "0 > /sys/fs/cgroup/a/cgroup.freeze"),
    ] {
        let told = freeze(quiet(), file).told().case(file);
        told.never("server-crash/hung").expect_root(PAUSED, Certainty::Proven).evidence(PAUSED, "process 77");
        assert!(told.find(PAUSED).remedy.command.contains(thaw), "{}", told.find(PAUSED).remedy.command);
    }
    // Its queue is full as well.
    let late = quiet().no_answer(A, fail(FailKind::TimedOut, Stage::Connect));
    freeze(late, "/x/freezer.state").told().expect_root(PAUSED, Certainty::Proven);
}

#[test]
fn systemds_own_word_is_enough_for_paused() {
    let mut s = Stack::healthy().no_answer(A, silent()).detail(A_UNIT, "success", 0, 0, 900.0);
    if let mcp_ir::snapshot::Reading::Seen { value } =
        &mut s.now.units.details.get_mut(A_UNIT).unwrap().reading
    {
        value.frozen = true;
    }
    let told = s.told();
    told.expect_root(PAUSED, Certainty::Proven);
    assert_eq!(told.find(PAUSED).remedy.command, "systemctl thaw codebase-mcp.service");
}

#[test]
fn one_worker_that_is_frozen_or_stopped_is_not_the_service() {
    let two = || {
        let s = Stack::healthy().no_answer(A, silent());
        s.listener(HERE, &[(77, "python3", OWN), (78, "python3", OWN)])
    };
    freeze(two(), "/x/freezer.state")
        .told()
        .never("server-crash/paused")
        .expect_root(HUNG, Certainty::Likely);
    two().at_port(|l| l.holders[0].state = "T".into()).told().expect_root(HUNG, Certainty::Likely);
    let both = two().at_port(|l| l.holders.iter_mut().for_each(|h| h.state = "T".into()));
    both.told().expect_root(HUNG, Certainty::Proven);
}

#[test]
fn d_where_freezing_is_not_ruled_out_is_not_proven() {
    let d = || quiet().at_port(|l| l.holders[0].state = "D".into());
    d().told().expect_root(HUNG, Certainty::Proven);
    d().at_port(|l| l.holders[0].freezer = None).told().expect_root(HUNG, Certainty::Likely);
}

#[test]
fn a_thread_that_never_rests_and_a_queue_that_stands_are_hung() {
    let spins = || quiet().at_port(|l| l.holders[0].restless = Some(Restless { thread: 79, cpu: 98.0 }));
    let stands = |s: Stack| s.at_port(|l| (l.queued, l.still_queued) = (3, Some(3)));
    spins().told().expect_root(HUNG, Certainty::Likely).evidence(HUNG, "98 %");
    stands(quiet()).told().expect_root(HUNG, Certainty::Likely).evidence(HUNG, "3 wait, none was taken");
    stands(spins()).told().evidence(HUNG, "98 %").evidence(HUNG, "3 wait");
}

#[test]
fn a_queue_that_moves_is_overload_and_not_hung() {
    for (before, after) in [(100, 97), (3, 0)] {
        let s = quiet().at_port(|l| {
            (l.queued, l.still_queued) = (before, Some(after));
            l.holders[0].restless = Some(Restless { thread: 79, cpu: 98.0 });
        });
        s.told().never("server-crash/hung").unknown();
    }
}

#[test]
fn an_event_loop_that_is_idle_is_never_proven_to_hang() {
    let idle = quiet().at_port(|l| l.still_queued = Some(0)).process(A_UNIT, "S");
    let told = idle.told();
    told.expect_root(HUNG, Certainty::Likely);
    assert!(told.find(HUNG).summary.ends_with("does not answer in time"), "{}", told.find(HUNG).summary);
}

#[test]
fn what_others_at_the_port_do_is_not_the_services() {
    let s = Stack::healthy().no_answer(A, silent()).listener(HERE, &[(77, "nginx", OTHER)]);
    freeze(s, "/x/freezer.state").told().never("server-crash/paused");
}

/// Without a unit: none configured, none known, or masked and down.
fn bare() -> [Stack; 3] {
    [
        Stack::healthy().service(A, |s| s.unit = None),
        Stack::healthy().loaded(A_UNIT, "not-found", "inactive", "dead"),
        Stack::healthy().loaded(A_UNIT, "masked", "inactive", "dead"),
    ]
}

#[test]
fn a_bare_process_that_serves_the_port_is_no_missing_unit() {
    for s in bare() {
        s.listener(HERE, &[(77, "python3", OTHER)]).told().healthy();
    }
}

#[test]
fn a_bare_process_is_named_by_its_listener_and_nothing_is_restarted() {
    for s in bare() {
        let s = s.listener(HERE, &[(77, "python3", OTHER)]);
        let sick = s.health(A, payload::a_own()).told();
        let id = "server-crash/unhealthy@codebase-mcp";
        sick.expect_root(id, Certainty::Proven).evidence(id, "process 77 (/usr/bin/python3)");
        assert!(!sick.find(id).remedy.command.contains("systemctl"), "{}", sick.find(id).remedy.command);
    }
    for s in bare() {
        let s = s.no_answer(A, silent()).listener(HERE, &[(77, "python3", OTHER)]);
        let told = s.at_port(|l| l.holders[0].state = "T".into()).told();
        told.expect_root(HUNG, Certainty::Proven).evidence(HUNG, "/usr/bin/python3");
        assert_eq!(told.find(HUNG).remedy.command, "kill -CONT 77");
    }
}

#[test]
fn nothing_that_listens_and_no_unit_is_missing() {
    for mut s in bare() {
        s = s.no_answer(A, refused());
        s.now.listeners = seen(Vec::new());
        s.told().expect_root(MISSING, Certainty::Proven);
    }
}

#[test]
fn sockets_that_were_not_seen_and_other_machines_leave_it_unknown() {
    let none = || Stack::healthy().service(A, |s| s.unit = None).no_answer(A, refused());
    none().told().unknown();
    let mut s = none().service(A, |s| s.url = Some("http://10.0.0.7:8000".into()));
    s.now.listeners = seen(Vec::new());
    s.told().unknown();
    let mut s = none().service(A, |s| s.container = Some("mcp".into()));
    s.now.listeners = seen(Vec::new());
    s.told().never("server-crash/unit-missing");
}

#[test]
fn a_process_without_a_unit_at_another_address_is_not_missing() {
    for s in bare() {
        let s = s.no_answer(A, refused()).listener("10.0.0.7:8000", &[(77, "python3", OTHER)]);
        let id = "server-crash/not-listening@codebase-mcp";
        s.told()
            .never("server-crash/unit-missing")
            .expect_root(id, Certainty::Likely)
            .evidence(id, "10.0.0.7");
    }
}

#[test]
fn a_masked_unit_and_a_similar_name_are_told_apart() {
    let near = |load: &str| {
        let mut s = Stack::healthy().no_answer(A, refused()).loaded(A_UNIT, load, "inactive", "dead");
        s.now.units.similar.insert(A_UNIT.into(), vec!["codebase-mcpd.service".into()]);
        s.told()
    };
    let told = near("not-found");
    told.expect_root(MISSING, Certainty::Proven);
    assert!(told.find(MISSING).summary.contains("there is codebase-mcpd.service"));
    assert!(told.find(MISSING).remedy.command.contains("codebase-mcpd.service"));
    let told = near("masked");
    assert!(told.find(MISSING).summary.ends_with("is masked"), "{}", told.find(MISSING).summary);
    assert!(told.find(MISSING).remedy.command.starts_with("systemctl unmask codebase-mcp.service"));
}
