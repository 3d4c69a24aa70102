//! The size of a pool: what fits, by which way it is set, and what is not begun.

use mcp_ir::engine::recover::{Choice, Request, Sight, choose};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Ask, Near, Needs, Risk};
use mcp_ir::snapshot::Look;

use super::{acts, chosen, of, planned};
use crate::payload;
use crate::stack::{A, A_UNIT, C, C_UNIT, Stack};

/// C leaves the largest size of its pool out: its process's environment says it.
fn known() -> Stack {
    Stack::healthy().pool_max(C, 10)
}

fn resizable() -> Stack {
    known().service(A, |s| s.pool.as_mut().unwrap().resize = Some("/admin/pool/resize".into()))
}

/// Of a stack whose drop-ins were looked at: none of ours is there.
pub fn size(n: u64, service: Option<&str>) -> Request {
    let drop_ins = [A_UNIT, C_UNIT].map(|u| (u.to_owned(), Ok(None))).into();
    let runs = [A_UNIT, C_UNIT].map(|u| (u.to_owned(), format!("run of {u}"))).into();
    let near = Near { drop_ins, runs, ..Near::default() };
    let ask = Ask { max_size: Some(n), near, ..Ask::default() };
    Request { services: service.map(str::to_owned).into_iter().collect(), ask, ..of("pool-exhausted") }
}

#[test]
fn errata_34_a_size_is_refused_with_the_sum_and_the_largest_command_that_fits() {
    let s = known();
    let Choice::Refused { why, hints } = chosen(&s, &size(5000, Some(A))) else { panic!() };
    assert!(why.contains("codebase-mcp 5000 + workflow-mcp ") && why.contains("slots"), "{why}");
    let fits: u64 = hints[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(hints[0], format!("mcp-ir recover pool --service codebase-mcp --max-size {fits}"));
    assert!(matches!(chosen(&s, &size(fits, Some(A))), Choice::Plan(_)), "what is offered fits");
    assert!(matches!(chosen(&s, &size(fits + 1, Some(A))), Choice::Refused { .. }), "and no more");
}

#[test]
fn a_size_over_what_the_service_takes_is_refused() {
    let s = known().service(A, |s| s.pool.as_mut().unwrap().max_allowed = Some(25));
    let Choice::Refused { why, hints } = chosen(&s, &size(26, Some(A))) else { panic!() };
    assert!(why.contains("25 at most"), "{why}");
    assert!(hints[0].ends_with("--max-size 25"));
}

#[test]
fn a_value_that_is_asked_for_of_two_services_needs_a_name() {
    let Choice::Unclear { hints, .. } = chosen(&known(), &size(25, None)) else { panic!() };
    assert_eq!(hints, ["--service codebase-mcp", "--service workflow-mcp"]);
}

#[test]
fn errata_31_a_size_is_a_drop_in_a_restart_and_a_proof_and_their_undo_is_the_former_file() {
    let plan = planned(&known(), &size(25, Some(A)));
    let [Act::DropIn { from, to, unit }, Act::RestartUnit { .. }, Act::Prove { variable, value, .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (unit.as_str(), from, variable.as_str(), value.as_str()),
        (A_UNIT, &None, "POOL_MAX_SIZE", "25")
    );
    assert!(to.as_ref().unwrap().ends_with("[Service]\nEnvironment=POOL_MAX_SIZE=25\n"), "{to:?}");
    let undo = plan.steps[0].undo.as_ref().unwrap();
    let back = Act::DropIn { unit: A_UNIT.into(), from: to.clone(), to: None };
    assert_eq!(undo.acts, [back, Act::RestartUnit { unit: A_UNIT.into() }]);
    assert_eq!(undo.risk, Risk::Disruptive, "an undo that restarts asks");
}

#[test]
fn what_else_stands_in_our_drop_in_is_kept() {
    let mut request = size(25, Some(A));
    let found = "[Service]\nEnvironment=LOG_LEVEL=WARNING\nEnvironment=POOL_MAX_SIZE=12\n".to_owned();
    request.ask.near.drop_ins.insert(A_UNIT.into(), Ok(Some(found.clone())));
    let plan = planned(&known(), &request);
    let Act::DropIn { from, to, .. } = &plan.steps[0].act else { panic!() };
    assert_eq!(from.as_ref(), Some(&found));
    assert_eq!(
        to.as_deref(),
        Some("[Service]\nEnvironment=LOG_LEVEL=WARNING\nEnvironment=POOL_MAX_SIZE=25\n")
    );
}

#[test]
fn errata_35_an_interface_that_answers_needs_no_restart_and_one_that_does_not_is_not_tried() {
    let by_drop_in = planned(&resizable(), &size(25, Some(A)));
    assert!(matches!(acts(&by_drop_in)[0], Act::DropIn { .. }), "404: {by_drop_in:?}");
    let mut request = size(25, Some(A));
    request.ask.near.resizable = vec![A.into()];
    let plan = planned(&resizable(), &request);
    let [Act::ResizePool { from, to, url, .. }] = acts(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!(url, "http://127.0.0.1:8000/admin/pool/resize");
    let back = Act::ResizePool { service: A.into(), url: url.clone(), from: *to, to: *from };
    assert_eq!(plan.steps[0].undo.as_ref().unwrap().acts, [back]);
    assert!(plan.notes.iter().any(|n| n.contains("--persist")), "{:?}", plan.notes);
}

#[test]
fn a_drop_in_that_could_not_be_read_is_not_overwritten() {
    let mut request = size(25, Some(A));
    request.ask.near.drop_ins.insert(A_UNIT.into(), Err("permission denied".into()));
    assert!(matches!(chosen(&known(), &request), Choice::Refused { .. }));
}

#[test]
fn rule_1_a_restart_is_of_the_run_that_was_seen_and_starts_nobody() {
    let plan = planned(&known(), &size(25, Some(A)));
    let run = Some(format!("run of {A_UNIT}"));
    assert_eq!(plan.steps[1].needs, Needs::Unit { active: vec!["active".into()], invocation: run });
    let mut unseen = size(25, Some(A));
    unseen.ask.near.runs.clear();
    let Choice::Refused { why, .. } = chosen(&known(), &unseen) else { panic!("no run was seen") };
    assert!(why.contains("not restarted on a guess"), "{why}");
}

#[test]
fn rule_12_a_size_starts_nobody_who_was_stopped() {
    let s = known().unit(A_UNIT, "inactive", "dead");
    let Choice::Refused { why, hints } = chosen(&s, &size(25, Some(A))) else { panic!() };
    assert!(why.contains("inactive (dead)"), "{why}");
    assert_eq!(hints, ["mcp-ir recover server --service codebase-mcp"]);
}

#[test]
fn beside_a_pool_of_unknown_size_nothing_is_known_to_fit() {
    let Choice::Refused { why, .. } = chosen(&Stack::healthy(), &size(11, Some(A))) else { panic!() };
    assert!(why.contains("the size of the pool of workflow-mcp is not known"), "{why}");
    // Nor is a larger one made up where the pool is full.
    let full = Stack::healthy().health(A, payload::a_full(10));
    let near = size(1, Some(A)).ask.near;
    let request = Request { ask: Ask { near, ..Ask::default() }, ..of("pool-exhausted") };
    let Choice::Advice { why, .. } = chosen(&full, &request) else { panic!() };
    assert!(why.contains("workflow-mcp is not known"), "{why}");
    // What it can't outgrow is as good.
    let bounded = Stack::healthy().service(C, |s| s.pool.as_mut().unwrap().max_allowed = Some(12));
    assert!(matches!(chosen(&bounded, &size(25, Some(A))), Choice::Plan(_)), "25 + 12 = 37");
    assert!(matches!(chosen(&bounded, &size(26, Some(A))), Choice::Refused { .. }));
    // To make one smaller always fits.
    assert!(matches!(chosen(&Stack::healthy(), &size(5, Some(A))), Choice::Plan(_)));
}

#[test]
fn rule_6_a_size_that_could_not_be_verified_is_not_begun() {
    let Choice::Refused { why, .. } = chosen(&Stack::healthy(), &size(5, Some(C))) else { panic!() };
    assert!(why.contains("could not be verified"), "{why}");
}

#[test]
fn what_is_shown_is_what_is_done() {
    let plan = planned(&known(), &size(25, Some(A)));
    let Act::DropIn { to: Some(text), .. } = &plan.steps[0].act else { panic!() };
    let command = &plan.steps[0].command;
    assert!(command.starts_with("mkdir -p /etc/systemd/system/codebase-mcp.service.d && "), "{command}");
    for line in text.lines() {
        assert!(command.contains(line), "{line}: {command}");
    }
    let mut request = size(25, Some(A));
    request.ask.near.resizable = vec![A.into()];
    assert_eq!(
        planned(&resizable(), &request).steps[0].command,
        "curl -X POST http://127.0.0.1:8000/admin/pool/resize -H 'Content-Type: application/json' -d '{\"max_size\":25}'"
    );
}

/// A run of ours wrote the file and was killed: the next one takes back to what stood there before that.
#[test]
fn rule_3_the_way_back_of_what_a_killed_run_wrote_is_to_before_that_run() {
    use mcp_ir::plan::Near;
    let text = mcp_ir::plan::drop_in_with(None, "Environment=POOL_MAX_SIZE=", "20");
    let near = |former: &[(String, Option<String>)]| Near {
        drop_ins: [(A_UNIT.to_owned(), Ok(Some(text.clone())))].into(),
        runs: [(A_UNIT.to_owned(), "abc".to_owned())].into(),
        former: former.iter().cloned().collect(),
        ..Near::default()
    };
    let back = |near: Near, size| {
        let ask = mcp_ir::plan::Ask { max_size: Some(size), near, ..mcp_ir::plan::Ask::default() };
        let services = vec![A.to_owned()];
        let plan = planned(&known(), &Request { ask, services, ..of("pool-exhausted") });
        let undo = plan.steps[0].undo.clone().unwrap();
        let Act::DropIn { to, .. } = &undo.acts[0] else { panic!("{undo:?}") };
        to.clone()
    };
    let cut_off = [(A_UNIT.to_owned(), None)];
    assert_eq!(back(near(&cut_off), 20), None, "there was no file");
    assert_eq!(back(near(&[]), 20), Some(text.clone()), "somebody left it there");
    assert_eq!(back(near(&cut_off), 25), Some(text), "another value is another step");
}

/// A full pool takes its time to say so, and some never do.
fn unheard() -> Stack {
    known().health(A, Look::not_asked("no answer as yet, and not waited for")).pool_max(A, 10)
}

#[test]
fn who_names_a_size_does_not_wait_for_a_full_pool_and_is_told_what_proves_it() {
    let plan = planned(&unheard(), &size(25, Some(A)));
    assert!(
        matches!(acts(&plan)[..], [Act::DropIn { .. }, Act::RestartUnit { .. }, Act::Prove { .. }]),
        "{plan:?}"
    );
    assert!(plan.notes.iter().any(|n| n.contains("not waited for")), "{:?}", plan.notes);
    let Choice::Refused { why, .. } = chosen(&unheard(), &size(5000, Some(A))) else { panic!() };
    assert!(why.contains("does not fit"), "{why}");
    // Who was asked and is silent, or says nothing of his pool, is another matter (errata 33).
    let silent = known().no_answer(A, crate::stack::refused()).pool_max(A, 10);
    assert!(matches!(chosen(&silent, &size(25, Some(A))), Choice::Refused { .. }));
}

#[test]
fn who_was_not_heard_is_waited_for_where_more_than_that_is_wrong_or_not_known() {
    let blind = |s: &Stack, request: &Request| {
        let looks = super::looks(s);
        let diagnosis = diagnose(&looks, &Filter::default());
        let choice = choose(&looks, &diagnosis, request);
        Sight {
            looks,
            diagnosis,
            choice,
            lacking: None,
            request: request.clone(),
            at: std::time::Instant::now(),
        }
        .is_blind(A)
    };
    assert!(!blind(&unheard(), &size(25, Some(A))));
    assert!(!blind(&known(), &size(25, Some(A))), "it was heard");
    assert!(blind(&unheard().unit(A_UNIT, "failed", "failed"), &size(25, Some(A))), "it is down");
    assert!(blind(&unheard().used(97), &size(25, Some(A))), "the slots of what it needs are full");
    assert!(blind(&unheard(), &size(10, Some(A))), "its process has that size");
    let mut unsaid = unheard();
    unsaid.now.services.get_mut(A).unwrap().pool_max = mcp_ir::snapshot::Reading::not_asked("-");
    assert!(blind(&unsaid, &size(25, Some(A))), "it may have that size");
    let mut request = size(25, Some(A));
    request.ask.near.resizable = vec![A.into()];
    let resizable = unheard().service(A, |s| s.pool.as_mut().unwrap().resize = Some("/resize".into()));
    assert!(blind(&resizable, &request), "of its own interface the former size is the undo");
}

/// Twice as much, clamped by what fits: no factor, no steps down, nothing that swings.
#[test]
fn errata_40_without_a_number_a_pool_grows_by_whole_numbers_as_far_as_fits_and_never_shrinks() {
    let full = || known().health(A, payload::a("degraded", "connected", 10, 0, 10, "null"));
    let near = size(1, None).ask.near;
    let request = Request { ask: Ask { near, ..Ask::default() }, ..of("pool-exhausted") };
    let to = |s: &Stack| match chosen(s, &request) {
        Choice::Plan(plan) => match acts(&plan)[2] {
            Act::Prove { value, .. } => value.parse::<u64>().ok(),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    assert_eq!(to(&full()), Some(20));
    assert_eq!(
        to(&full().server(|s| s.max_connections = s.reserved + 24)),
        Some(14),
        "beside the other's 10"
    );
    assert_eq!(to(&full().service(A, |s| s.pool.as_mut().unwrap().max_allowed = Some(13))), Some(13));
    assert_eq!(to(&full().server(|s| s.max_connections = s.reserved + 20)), None, "it has what fits");
}
