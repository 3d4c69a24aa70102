//! A cache that can't be read is set aside: stopped first, the configured folder alone, and never deleted.

use mcp_ir::engine::recover::{Choice, Request, left_down, started_again};
use mcp_ir::plan::{Act, Aside, Ask, Near, Needs, Risk};

use super::{acts, chosen, of, planned};
use crate::crash_own::broken_cache;
use crate::stack::{A, A_UNIT, Stack, refused};

const FOLDER: &str = "/var/cache/codebase-mcp";

fn seen() -> Aside {
    Aside { folder: FOLDER.into(), to: format!("{FOLDER}.aside-1"), inode: 7 }
}

fn asked(aside: Result<Option<Aside>, String>) -> Request {
    let near = Near { asides: [(A.to_owned(), aside)].into(), ..Near::default() };
    Request { ask: Ask { near, ..Ask::default() }, ..of("server-crash") }
}

#[test]
fn errata_45_the_folder_is_set_aside_while_it_is_down_and_put_back_the_same_way() {
    let plan = planned(&broken_cache(), &asked(Ok(Some(seen()))));
    let [Act::SetAside { service, aside }, Act::ResetFailed { .. }, Act::StartUnit { unit }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((service.as_str(), aside, unit.as_str()), (A, &seen(), A_UNIT));
    let step = &plan.steps[0];
    let Needs::Unit { active, .. } = &step.needs else { panic!("{step:?}") };
    assert_eq!(active, &["inactive", "failed"], "never under a service that runs");
    assert_eq!(step.undo.as_ref().unwrap().acts, [Act::PutBack { service: A.into(), aside: seen() }]);
    assert_eq!(plan.steps[2].undo.as_ref().unwrap().acts, [Act::StopUnit { unit: A_UNIT.into() }]);
    assert_eq!(plan.risk(), Risk::Disruptive);
    assert!(plan.steps.iter().all(|s| !s.command.contains("rm ")), "nothing is deleted");
    assert!(
        step.command.starts_with(&format!("mv -T {FOLDER} {FOLDER}.aside-1 && mkdir")),
        "{}",
        step.command
    );
}

/// A run that was cut off has set it aside; its log still says what it died of.
#[test]
fn an_empty_cache_is_not_set_aside_once_more() {
    let plan = planned(&broken_cache(), &asked(Ok(None)));
    let [Act::ResetFailed { .. }, Act::StartUnit { unit }] = acts(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!(unit, A_UNIT);
    let plan = planned(&broken_cache().unit(A_UNIT, "activating", "auto-restart"), &asked(Ok(None)));
    assert!(matches!(acts(&plan)[..], [Act::Wait { .. }]), "systemd starts it: {plan:?}");
}

#[test]
fn errata_45_a_loop_of_starts_is_stopped_first() {
    let s = broken_cache().unit(A_UNIT, "activating", "auto-restart");
    let Choice::Plan(plan) = chosen(&s, &asked(Ok(Some(seen())))) else {
        panic!("{:?}", chosen(&s, &asked(Ok(Some(seen())))))
    };
    assert_eq!(plan.findings, ["server-crash/corrupted-state@codebase-mcp"]);
    let [Act::StopUnit { unit }, Act::SetAside { .. }, Act::ResetFailed { .. }, Act::StartUnit { .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!(unit, A_UNIT);
    // Where the folder can't be set aside then, it is not left down.
    let again = |step: usize| -> Vec<usize> {
        started_again(&plan, &plan.steps[step]).iter().map(|(_, s)| s.n).collect()
    };
    assert_eq!(again(1), [3, 4]);
    // Nor is it kept quiet, where it ends in between.
    let down = |step: usize| left_down(&plan, &plan.steps[step]);
    assert!(down(1).contains("systemctl start codebase-mcp.service") && down(3) == down(1), "{}", down(1));
    assert_eq!(down(0), "");
    let without = planned(&broken_cache(), &asked(Ok(Some(seen()))));
    assert!(started_again(&without, &without.steps[0]).is_empty(), "it was not stopped by us");
}

#[test]
fn errata_45_what_can_not_be_set_aside_is_for_people_with_the_reason() {
    let Choice::Advice { why, .. } = chosen(&broken_cache(), &asked(Err("a link leads to it".into()))) else {
        panic!()
    };
    assert!(why.contains("a link leads to it"), "{why}");
    assert!(matches!(chosen(&broken_cache(), &of("server-crash")), Choice::Advice { .. }), "not looked at");
}

fn reset(caches: Vec<Result<Option<Aside>, String>>) -> Request {
    let near = Near {
        caches: [(A.to_owned(), caches)].into(),
        runs: [(A_UNIT.to_owned(), "abc".to_owned())].into(),
        stopped_with: [(A_UNIT.to_owned(), Ok(Vec::new()))].into(),
        ..Near::default()
    };
    Request { ask: Ask { reset_state: true, near, ..Ask::default() }, ..of("server-crash") }
}

fn cached() -> Stack {
    Stack::healthy().service(A, |s| s.caches = vec![FOLDER.into(), "/srv/x".into()])
}

#[test]
fn errata_45_a_state_that_is_to_be_reset_is_set_aside_while_it_is_down_and_comes_back_whole() {
    let other = Aside { folder: "/srv/x".into(), to: "/srv/x.aside-1".into(), inode: 8 };
    let plan = planned(&cached(), &reset(vec![Ok(Some(seen())), Ok(Some(other.clone()))]));
    let unit = || A_UNIT.to_owned();
    let set = |aside: &Aside| Act::SetAside { service: A.into(), aside: aside.clone() };
    assert_eq!(
        acts(&plan),
        [
            &Act::StopUnit { unit: unit() },
            &set(&seen()),
            &set(&other),
            &Act::ResetFailed { unit: unit() },
            &Act::StartUnit { unit: unit() }
        ]
    );
    let undo = |n: usize| plan.steps[n].undo.as_ref().unwrap().acts.clone();
    assert_eq!(undo(0), [Act::StartUnit { unit: unit() }]);
    assert_eq!(undo(1), [Act::PutBack { service: A.into(), aside: seen() }]);
    assert_eq!(undo(4), [Act::StopUnit { unit: unit() }]);
    let Needs::Unit { invocation, .. } = &plan.steps[0].needs else { panic!() };
    assert_eq!(invocation.as_deref(), Some("abc"), "the run that was seen");
    assert!(plan.findings.is_empty() && plan.risk() == Risk::Disruptive);
}

#[test]
fn a_state_that_is_empty_or_can_not_be_moved_stops_nobody() {
    let Choice::NothingToDo(why) = chosen(&cached(), &reset(vec![Ok(None), Ok(None)])) else { panic!() };
    assert!(why.contains("are empty"), "{why}");
    // A run that was cut off has stopped it, and set them aside.
    let plan =
        planned(&cached().no_answer(A, refused()).unit(A_UNIT, "inactive", "dead"), &reset(vec![Ok(None)]));
    assert!(matches!(acts(&plan)[..], [Act::ResetFailed { .. }, Act::StartUnit { .. }]), "{plan:?}");
    assert_eq!((plan.findings.len(), plan.left.len()), (1, 0), "it has to be up: {plan:?}");
    let bad = vec![Ok(Some(seen())), Err("/srv/x is a link".to_owned())];
    let Choice::Refused { why, .. } = chosen(&cached(), &reset(bad)) else { panic!() };
    assert!(why.contains("is a link"), "{why}");
    let none = chosen(&Stack::healthy(), &reset(Vec::new()));
    assert!(matches!(none, Choice::Unclear { .. }), "{none:?}");
}

#[test]
fn a_state_that_it_can_not_read_is_mended_by_its_reset() {
    let plan = planned(&broken_cache(), &reset(vec![Ok(Some(seen()))]));
    assert_eq!(plan.findings, ["server-crash/corrupted-state@codebase-mcp"]);
    assert!(matches!(
        acts(&plan)[..],
        [Act::SetAside { .. }, Act::ResetFailed { .. }, Act::StartUnit { .. }]
    ));
}

#[test]
fn who_would_be_stopped_with_it_keeps_it_running() {
    for with in [Ok(vec!["sidecar.service".to_owned()]), Err("no answer".to_owned())] {
        let mut request = reset(vec![Ok(Some(seen()))]);
        request.ask.near.stopped_with.insert(A_UNIT.into(), with);
        let Choice::Refused { why, .. } = chosen(&cached(), &request) else { panic!() };
        assert!(why.contains("stopped with codebase-mcp.service"), "{why}");
    }
}

#[test]
fn a_consequence_is_not_reset_before_its_root() {
    let s = Stack::outage().service(A, |s| s.caches = vec![FOLDER.into()]);
    let s = s.unit(crate::stack::PG_UNIT, "inactive", "dead");
    let Choice::Refused { why, .. } = chosen(&s, &reset(vec![Ok(Some(seen()))])) else { panic!() };
    assert!(why.contains("is a consequence of db-down/postgres-stopped"), "{why}");
}
