//! The guard rails of a recovery: how often, by whose word, and what is never touched. Rules only.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcp_ir::config::{Guard, Span};
use mcp_ir::engine::recover::guard::{Attempt, apart, held, may, never};
use mcp_ir::incident::Hold;
use mcp_ir::plan::{Act, Ending, Plan, Risk, Whom, draft};

use crate::stack::{A, A_UNIT, C_UNIT, PG_UNIT, Stack, ago, now};

fn start(unit: &str) -> Act {
    Act::StartUnit { unit: unit.into() }
}

fn plan(acts: &[Act]) -> Plan {
    let mut plan = Plan { findings: vec![format!("server-crash/failed@{A}")], ..Plan::default() };
    let drafts = acts.iter().map(|a| draft(a.clone(), Risk::Disruptive)).collect();
    plan.add(None, A, drafts, Vec::new());
    plan
}

fn before(ages: &[f64]) -> Vec<Attempt> {
    ages.iter()
        .map(|s| Attempt { at: ago(*s), act: start(A_UNIT), cut_off: false, in_vain: false, besides: false })
        .collect()
}

fn guard() -> Guard {
    Guard { cooldown: Span(Duration::from_secs(300)), ..Guard::default() }
}

fn refused(before: &[Attempt]) -> Option<String> {
    may(&plan(&[start(A_UNIT)]), before, false, now(), &guard()).err().map(|h| h.why)
}

#[test]
fn rule_4_and_errata_61_the_same_is_not_done_to_the_same_again_within_its_cooldown() {
    assert_eq!(refused(&[]), None);
    let why = refused(&before(&[60.0])).unwrap();
    assert!(why.contains("start codebase-mcp.service") && why.contains("60 s ago"), "{why}");
    assert_eq!(refused(&before(&[301.0])), None);
    let held = may(&plan(&[start(A_UNIT)]), &before(&[60.0]), false, now(), &guard()).unwrap_err();
    assert!(held.hint.unwrap().contains("--force-cooldown"));
}

#[test]
fn rule_4_the_cooldown_doubles_with_each_time_and_is_forgotten_after_a_day() {
    assert!(refused(&before(&[1000.0, 400.0])).is_some(), "ten minutes after the second");
    assert_eq!(refused(&before(&[2000.0, 601.0])), None);
    assert!(refused(&before(&[4000.0, 2000.0, 1000.0])).unwrap().contains("20 min"));
    assert_eq!(refused(&before(&[90_000.0, 90_000.0, 301.0])), None, "yesterday's count no more");
}

#[test]
fn rule_4_a_crash_loop_is_reset_and_started_once() {
    let reset = Act::ResetFailed { unit: A_UNIT.into() };
    let both = plan(&[reset.clone(), start(A_UNIT)]);
    let done = vec![
        Attempt { at: ago(30.0), act: reset, cut_off: false, in_vain: false, besides: false },
        Attempt { at: ago(29.0), act: start(A_UNIT), cut_off: false, in_vain: false, besides: false },
    ];
    assert!(may(&both, &[], false, now(), &guard()).is_ok());
    assert!(may(&both, &done, false, now(), &guard()).unwrap_err().why.contains("reset the start limit"));
}

#[test]
fn another_act_or_another_unit_or_a_value_that_is_asked_for_has_no_cooldown() {
    let restart = Act::RestartUnit { unit: A_UNIT.into() };
    assert!(may(&plan(&[restart]), &before(&[10.0]), false, now(), &guard()).is_ok());
    assert!(may(&plan(&[start(C_UNIT)]), &before(&[10.0]), false, now(), &guard()).is_ok());
    let asked_for = Plan { findings: Vec::new(), ..plan(&[start(A_UNIT)]) };
    assert!(may(&asked_for, &before(&[10.0]), false, now(), &guard()).is_ok());
}

#[test]
fn rule_4_a_run_that_was_cut_off_is_gone_on_with_once_and_not_for_ever() {
    let cut = |age: f64| Attempt {
        at: ago(age),
        act: start(A_UNIT),
        cut_off: true,
        in_vain: false,
        besides: false,
    };
    assert_eq!(refused(&[cut(5.0)]), None, "the next run goes on");
    assert!(refused(&[cut(10.0), cut(5.0)]).is_some(), "and not a third time by itself");
    let ended = |age: f64| Attempt { cut_off: false, ..cut(age) };
    assert!(refused(&[ended(60.0), cut(5.0)]).is_some(), "what was done before counts");
    assert_eq!(refused(&[ended(400.0), cut(5.0)]), None);
}

#[test]
fn rule_4_a_pool_is_not_widened_again_and_again_by_itself() {
    let widen = |from, to| Act::ResizePool { service: A.into(), url: "http://a".into(), from, to };
    let before =
        [Attempt { at: ago(30.0), act: widen(10, 20), cut_off: false, in_vain: false, besides: false }];
    assert!(may(&plan(&[widen(20, 40)]), &before, false, now(), &guard()).is_err());
    assert!(may(&plan(&[start(A_UNIT)]), &before, false, now(), &guard()).is_ok());
}

#[test]
fn rule_4_a_unit_has_a_budget_within_a_day_whatever_is_done_to_it() {
    let of = |n: u32| -> Vec<Attempt> {
        let at = |i: u32| ago(f64::from(i) * 3600.0 + 20_000.0);
        let act = Act::RestartUnit { unit: A_UNIT.into() };
        (0..n)
            .map(|i| Attempt { at: at(i), act: act.clone(), cut_off: false, in_vain: false, besides: false })
            .collect()
    };
    assert_eq!(refused(&of(5)), None);
    let why = refused(&of(6)).unwrap();
    assert!(why.contains("6 times within a day") && why.contains("budget"), "{why}");
}

#[test]
fn rule_4_a_clock_that_was_set_back_opens_no_door() {
    let ahead = Attempt {
        at: now() + SignedDuration::from_secs(3600),
        act: start(A_UNIT),
        cut_off: false,
        in_vain: false,
        besides: false,
    };
    assert!(refused(&[ahead]).is_some());
}

#[test]
fn rule_4_a_value_that_did_not_help_is_not_set_again_and_again() {
    let write = |size: u64| Act::DropIn {
        unit: A_UNIT.into(),
        from: None,
        to: Some(format!("[Service]\nEnvironment=POOL_MAX_SIZE={size}\n")),
    };
    let asked = |size| Plan { findings: Vec::new(), ..plan(&[write(size), start(A_UNIT)]) };
    let before = [Attempt { at: ago(30.0), act: write(40), cut_off: false, in_vain: true, besides: false }];
    let held = may(&asked(40), &before, true, now(), &guard()).unwrap_err();
    assert!(held.why.contains("did not help"), "{}", held.why);
    assert!(held.hint.unwrap().contains("--force-cooldown"));
    assert!(may(&asked(30), &before, true, now(), &guard()).is_ok(), "a person's next value is no loop");
    let found = plan(&[write(40), start(A_UNIT)]);
    assert!(may(&found, &before, true, now(), &guard()).is_err(), "also where it mends a finding");
    let of_old = [Attempt { at: ago(301.0), ..before[0].clone() }];
    assert!(may(&asked(40), &of_old, true, now(), &guard()).is_ok());
}

#[test]
fn rule_4_the_sessions_of_a_server_have_a_budget_too() {
    let end = |pid| {
        Act::EndSession(Whom {
            server: "postgres".into(),
            url: String::new(),
            databases: vec!["app".into()],
            pid,
            backend_start: "x".into(),
            state: "idle".into(),
            xact_start: None,
            query_start: None,
            state_change: Some("y".into()),
            blocks: false,
            follows: false,
            how: Ending::Terminate,
        })
    };
    let before = |n: i32| -> Vec<Attempt> {
        let one = |i: i32| Attempt {
            at: ago(60.0 * f64::from(i)),
            act: end(100 + i),
            cut_off: false,
            in_vain: false,
            besides: false,
        };
        (1..=n).map(one).collect()
    };
    assert!(may(&plan(&[end(7)]), &before(5), false, now(), &guard()).is_ok(), "another session each time");
    let held = may(&plan(&[end(7)]), &before(6), false, now(), &guard()).unwrap_err();
    assert!(held.why.contains("budget"), "{}", held.why);
    let named = Plan { findings: Vec::new(), ..plan(&[end(7)]) };
    assert!(may(&named, &before(6), false, now(), &guard()).is_ok(), "who is named by a person is ended");
}

#[test]
fn one_that_is_held_keeps_nothing_from_the_others_where_they_do_not_need_it() {
    let config = Stack::healthy().now.config;
    let mut plan = plan(&[start(A_UNIT)]);
    plan.findings.insert(0, "db-down/postgres-stopped@postgres".into());
    // The database first, as a plan has it.
    let services = std::mem::take(&mut plan.steps);
    plan.subjects.clear();
    plan.add(None, "postgres", vec![draft(start(PG_UNIT), Risk::Disruptive)], Vec::new());
    for s in services {
        plan.add(None, A, vec![draft(s.act, s.risk)], Vec::new());
    }
    plan.watched = vec!["workflow-mcp".into()];
    let rest = apart(&plan, &before(&[120.0]), now(), &config);
    assert_eq!((&rest.subjects[..], rest.steps.len(), rest.steps[0].n), (&["postgres".to_owned()][..], 1, 1));
    assert_eq!(rest.findings, ["db-down/postgres-stopped@postgres"]);
    assert_eq!(rest.left, [format!("server-crash/failed@{A}")], "it is no recovery of all");
    assert!(rest.notes[0].contains("120 s ago") || rest.notes[0].contains("2 min ago"), "{:?}", rest.notes);
    assert_eq!(rest.watched, plan.watched);
    assert_eq!(apart(&plan, &[], now(), &config), plan, "nothing is held");
    // Who needs it would die of it again: the whole is refused.
    let of_it = vec![Attempt { act: start(PG_UNIT), ..before(&[60.0]).remove(0) }];
    assert_eq!(apart(&plan, &of_it, now(), &config), plan);
    assert!(may(&plan, &of_it, false, now(), &guard()).is_err());
    // So it is where all are.
    let both: Vec<Attempt> = of_it.into_iter().chain(before(&[60.0])).collect();
    assert_eq!(apart(&plan, &both, now(), &config).subjects, ["postgres", A]);
}

#[test]
fn rule_12_a_hold_is_respected_until_its_end() {
    let at = |s: i64| -> Timestamp { now() + SignedDuration::from_secs(s) };
    let hold = |until| Hold { by: "ann".into(), since: ago(60.0), until, reason: "an index is built".into() };
    let why = held(&hold(None), now()).unwrap().why;
    assert!(why.contains("ann") && why.contains("an index is built"), "{why}");
    assert!(held(&hold(Some(at(1))), now()).is_some());
    assert!(held(&hold(Some(at(0))), now()).is_none());
}

#[test]
fn rule_7_what_is_left_to_people_is_left_by_whichever_name_it_is_called() {
    let config = |name: &str| Stack::healthy().config(|c| c.guard.never = vec![name.into()]).now.config;
    let mends_a = plan(&[start(A_UNIT)]);
    for name in [A, A_UNIT] {
        assert_eq!(never(&mends_a, &config(name)), Some(name));
    }
    for other in ["workflow-mcp", C_UNIT, PG_UNIT] {
        assert_eq!(never(&mends_a, &config(other)), None, "{other}");
    }
    // Its unit, where the plan is for another subject.
    let mut by_unit = Plan::default();
    by_unit.add(None, "postgres", vec![draft(start(A_UNIT), Risk::Disruptive)], Vec::new());
    assert_eq!(never(&by_unit, &config(A)), Some(A));
    // By the umbrella that its configuration names, while its cluster runs as another unit.
    let umbrella = |c: &mut mcp_ir::config::Config| c.postgres[0].unit = Some("postgresql.service".into());
    let mut config = config("postgresql.service");
    umbrella(&mut config);
    let mut by_cluster = Plan::default();
    by_cluster.add(None, "postgres", vec![draft(start(PG_UNIT), Risk::Disruptive)], Vec::new());
    assert_eq!(never(&by_cluster, &config), Some("postgresql.service"));
}
