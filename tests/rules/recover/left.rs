//! What can't be done, or can wait, keeps nothing from the rest.

use std::time::Duration;

use mcp_ir::config::Config;
use mcp_ir::engine::recover::guard::{Attempt, apart, attempts, may};
use mcp_ir::engine::recover::{
    Choice, Lacking, Request, as_planned, choose, limit, possible, started_before, well_before,
};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::incident::{Entry, Event, Incident, Outcome};
use mcp_ir::plan::{Act, Chore, Flush, Plan, Recovered, Risk, Upkeep, draft};

use super::acts;
use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, ago, now, refused};
use crate::two::{SEARCH, Two, table};

fn all() -> Request {
    Request { all: true, ..Request::default() }
}

fn piece(name: &str, chore: Chore) -> Act {
    Act::Upkeep(Upkeep {
        server: "postgres".into(),
        url: "postgresql://127.0.0.1/codebase_mcp".into(),
        schema: "public".into(),
        name: name.into(),
        chore,
    })
}

fn start(unit: &str) -> Act {
    Act::StartUnit { unit: unit.into() }
}

/// A is slow by old statistics of its database, and C, which needs the same one, is down.
fn slow_and_down() -> Two {
    let mut two = Two::slow().ran(10.0, 6000.0, SEARCH).both(|w| w.tables[0].dead = 150_000.0);
    for look in [&mut two.before, &mut two.now] {
        let down = look.clone().no_answer(C, refused()).unit(C_UNIT, "failed", "failed");
        *look = down.detail(C_UNIT, "exit-code", 1, 1, 90.0);
    }
    two
}

fn planned(two: &Two) -> (Plan, Config) {
    let looks = two.looks();
    match choose(&looks, &two.told(), &all()) {
        Choice::Plan(plan) => (plan, looks.now.config),
        other => panic!("{other:?}"),
    }
}

fn done(act: Act, age: f64) -> Attempt {
    Attempt { at: ago(age), act, cut_off: false, in_vain: false, besides: false }
}

#[test]
fn upkeep_stands_in_the_way_of_no_start() {
    let (plan, config) = planned(&slow_and_down());
    assert_eq!(acts(&plan), [&start(C_UNIT), &piece("code_chunks", Chore::Vacuum).of(&plan)]);
    assert_eq!(plan.steps.iter().map(|s| s.n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(plan.slowed, [A]);
    for step in &plan.steps {
        assert_eq!(well_before(step, &plan, &config), None, "nobody is waited for: {step:?}");
    }
}

/// The same act, at the place that the plan has for it.
trait Of {
    fn of(self, plan: &Plan) -> Act;
}

impl Of for Act {
    fn of(self, plan: &Plan) -> Act {
        let Act::Upkeep(wanted) = self else { return self };
        let url = plan.steps.iter().find_map(|s| match &s.act {
            Act::Upkeep(u) => Some(u.url.clone()),
            _ => None,
        });
        Act::Upkeep(Upkeep { url: url.unwrap(), ..wanted })
    }
}

#[test]
fn that_somebody_is_quick_is_no_condition_of_a_start() {
    let (mut plan, config) = planned(&slow_and_down());
    plan.findings.push("db-down/postgres-stopped@postgres".into());
    let steps = std::mem::take(&mut plan.steps);
    plan.add(None, "postgres", vec![draft(start(PG_UNIT), Risk::Disruptive)], Vec::new());
    for s in steps {
        plan.add(None, &s.subject, vec![draft(s.act, s.risk)], Vec::new());
    }
    let first = well_before(&plan.steps[1], &plan, &config).unwrap();
    assert_eq!((&first.subjects[..], first.slowed.len()), (&["postgres".to_owned()][..], 0));
    assert!(first.findings.contains(&"db-down/postgres-stopped@postgres".to_owned()));
    assert!(!first.findings.iter().any(|f| f.starts_with("latency/")), "{:?}", first.findings);
    // It accepts logins, and A is slow still.
    let accepts = as_planned(&slow_and_down().looks(), &first);
    assert!(matches!(accepts, Recovered::Yes(_)), "{accepts:?}");
}

/// Also where the database itself is no part of the plan.
#[test]
fn clients_of_one_server_are_started_apart() {
    let mut s = Stack::healthy();
    for (name, unit) in [(A, A_UNIT), (C, C_UNIT)] {
        s = s.no_answer(name, refused()).unit(unit, "failed", "failed");
        s = s.detail(unit, "exit-code", 1, 1, 90.0);
    }
    let looks = super::looks(&s);
    let Choice::Plan(plan) = choose(&looks, &diagnose(&looks, &Filter::default()), &all()) else { panic!() };
    assert_eq!(acts(&plan), [&start(A_UNIT), &start(C_UNIT)]);
    assert_eq!(started_before(&plan.steps[0], &plan, &looks.now.config), None);
    let first = started_before(&plan.steps[1], &plan, &looks.now.config).unwrap();
    assert_eq!(first.subjects, [A]);
    // Of another server nobody waits.
    let mut config = looks.now.config.clone();
    config.service.iter_mut().find(|of| of.name == C).unwrap().needs.clear();
    assert_eq!(started_before(&plan.steps[1], &plan, &config), None);
}

#[test]
fn a_vacuum_of_late_keeps_nobody_from_being_started() {
    let (plan, config) = planned(&slow_and_down());
    let vacuum = piece("code_chunks", Chore::Vacuum).of(&plan);
    let rest = apart(&plan, &[done(vacuum.clone(), 60.0)], now(), &config);
    assert_eq!(acts(&rest), [&start(C_UNIT)]);
    assert_eq!(rest.steps[0].n, 1);
    assert_eq!(rest.left, ["latency/stale-statistics@postgres"]);
    assert_eq!(rest.slowed, [""; 0], "who is slow for what is left is not waited for");
    assert!(may(&rest, &[done(vacuum, 60.0)], false, now(), &config.guard).is_ok());
    let rest = apart(&plan, &[done(start(C_UNIT), 60.0)], now(), &config);
    assert_eq!((acts(&rest).len(), &rest.slowed[..]), (1, &[A.to_owned()][..]));
    // Of a server with more to do only that piece is left.
    let mut more = plan.clone();
    more.add(None, "postgres", vec![draft(start(PG_UNIT), Risk::Disruptive)], Vec::new());
    let rest = apart(&more, &[done(piece("code_chunks", Chore::Vacuum).of(&plan), 60.0)], now(), &config);
    assert_eq!(acts(&rest), [&start(C_UNIT), &start(PG_UNIT)]);
}

/// As the journal of that run tells it.
pub fn told(events: impl IntoIterator<Item = (f64, Event)>) -> Vec<Attempt> {
    let entries = events.into_iter().map(|(age, event)| Entry { v: 1, at: ago(age), event }).collect();
    attempts(&[Incident {
        id: "INC".into(),
        path: "/nowhere".into(),
        opened_at: ago(100.0),
        about: "latency/stale-statistics@postgres".into(),
        subject: "postgres".into(),
        summary: String::new(),
        entries,
        torn: false,
        unread: 0,
    }])
}

pub fn intent(n: usize, act: Act) -> Event {
    Event::Intent { run: 1, n, describe: String::new(), act, undo: None, undo_reason: None }
}

#[test]
fn rule_4_upkeep_that_was_cut_off_may_be_given_longer_and_what_was_done_is_held() {
    let end = |n: usize| Event::Done {
        run: 1,
        n,
        detail: String::new(),
        elapsed_ms: 1.0,
        made: None,
        already: false,
    };
    let failed = |n: usize| Event::StepFailed { run: 1, n, why: "57014".into(), touched: true };
    let vacuum = |n: usize| intent(n, piece(&format!("t{n}"), Chore::Vacuum));
    let all = told([
        (90.0, vacuum(1)),
        (80.0, end(1)),
        (80.0, vacuum(2)),
        (70.0, end(2)),
        (70.0, vacuum(3)),
        (60.0, failed(3)),
        (60.0, vacuum(4)),
    ]);
    let of: Vec<(&str, bool)> = all
        .iter()
        .map(|a| match &a.act {
            Act::Upkeep(u) => (u.name.as_str(), a.besides),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(of, [("t1", false), ("t2", true)], "neither what came to its limit nor what was killed");
    // A start that failed midway is one.
    let all = told([(90.0, intent(1, start(C_UNIT))), (80.0, failed(1))]);
    assert_eq!(all.len(), 1);
}

/// Killed between two steps: neither of them is one that is not known.
#[test]
fn a_run_that_was_cut_off_between_two_steps_is_gone_on_with_once() {
    let ended = Event::Ended { run: 1, outcome: Outcome::Failed, reason: String::new() };
    let done = |n: usize| Event::Done {
        run: 1,
        n,
        detail: String::new(),
        elapsed_ms: 1.0,
        made: None,
        already: false,
    };
    let reset = || Act::ResetFailed { unit: C_UNIT.into() };
    let (plan, config) = planned(&slow_and_down());
    let steps = vec![draft(reset(), Risk::Safe), draft(start(C_UNIT), Risk::Disruptive)];
    let mut again = Plan { steps: Vec::new(), ..plan };
    again.add(None, C, steps, Vec::new());
    let cut_off = told([(20.0, intent(1, reset())), (10.0, done(1))]);
    assert!(cut_off[0].cut_off);
    assert!(may(&again, &cut_off, false, now(), &config.guard).is_ok(), "it has yet to be started");
    let whole = told([(20.0, intent(1, reset())), (10.0, done(1)), (9.0, ended)]);
    assert!(!whole[0].cut_off);
    assert!(may(&again, &whole, false, now(), &config.guard).is_err(), "it came to its end");
    let twice = [cut_off.clone(), cut_off].concat();
    assert!(may(&again, &twice, false, now(), &config.guard).is_err(), "once");
}

/// As `rights` says it of these steps.
fn lacking(of: &[usize]) -> Vec<Lacking> {
    let one = |n: &usize| Lacking { n: *n, why: "it is ann's".into(), grant: "GRANT ann TO me".into() };
    of.iter().map(one).collect()
}

#[test]
fn one_table_of_another_role_keeps_nothing_from_the_others() {
    let (plan, config) = planned(&slow_and_down());
    let rest = possible(&plan, &lacking(&[2]), true, &config);
    assert_eq!(acts(&rest), [&start(C_UNIT)]);
    assert_eq!((&rest.subjects[..], &rest.slowed[..]), (&[C.to_owned()][..], &[][..]));
    assert_eq!(rest.left, ["latency/stale-statistics@postgres"], "it is no recovery of all");
    let said =
        rest.notes.iter().any(|n| n.contains("left as it is: vacuum") && n.contains("GRANT ann TO me"));
    assert!(said, "{:?}", rest.notes);
    assert_eq!(possible(&plan, &[], true, &config), plan);

    // Of several tables of one finding, in `recover latency` too: the others are done.
    let mut two = Two::slow().ran(10.0, 6000.0, &format!("{SEARCH}, files")).both(|w| {
        w.tables.push(table("files"));
        w.tables.iter_mut().for_each(|t| t.dead = 150_000.0);
    });
    two.now = two.now.config(|_| ());
    let looks = two.looks();
    let request = super::of("latency");
    let Choice::Plan(plan) = choose(&looks, &two.told(), &request) else { panic!() };
    assert_eq!(plan.steps.len(), 2);
    let rest = possible(&plan, &lacking(&[1]), false, &config);
    assert_eq!(acts(&rest), [&plan.steps[1].act]);
    assert_eq!((rest.steps[0].n, &rest.findings, rest.left.len()), (1, &plan.findings, 0));
    assert_eq!(rest.slowed, plan.slowed);
    // Nothing is left of it: the whole is refused, with its reason.
    assert_eq!(possible(&plan, &lacking(&[1, 2]), false, &config), plan);
}

#[test]
fn of_all_whose_other_step_may_not_be_done_is_left_where_nobody_needs_him() {
    let config = Stack::healthy().now.config;
    let mut plan = Plan::default();
    for (finding, subject, act) in [
        (
            "pool-exhausted/client-pool-saturated",
            A,
            Act::DropIn { unit: "a.service".into(), from: None, to: Some("[Service]\n".into()) },
        ),
        ("server-crash/failed", C, start(C_UNIT)),
    ] {
        let id = format!("{finding}@{subject}");
        plan.add(Some(&id), subject, vec![draft(act, Risk::Disruptive)], Vec::new());
    }
    let rest = possible(&plan, &lacking(&[1]), true, &config);
    assert_eq!((acts(&rest), &rest.subjects[..]), (vec![&start(C_UNIT)], &[C.to_owned()][..]));
    assert_eq!(rest.left, [format!("pool-exhausted/client-pool-saturated@{A}")]);
    // Who names one scenario is told that it may not be.
    assert_eq!(possible(&plan, &lacking(&[1]), false, &config), plan);
    // Who is needed holds up the whole: the others would die of it again.
    let mut needed = Plan::default();
    needed.add(Some("db-down/x@postgres"), "postgres", vec![draft(start(PG_UNIT), Risk::Disruptive)], vec![]);
    needed.add(Some("server-crash/failed@workflow-mcp"), C, vec![draft(start(C_UNIT), Risk::Safe)], vec![]);
    assert_eq!(possible(&needed, &lacking(&[1]), true, &config), needed);
}

#[test]
fn of_two_findings_of_a_server_the_one_whose_steps_are_left_is_named() {
    let config = Stack::healthy().now.config;
    let mut plan = Plan::default();
    for (finding, act) in [
        ("latency/stale-statistics@postgres", piece("t", Chore::Analyze)),
        ("latency/invalid-index@postgres", piece("i", Chore::Reindex)),
    ] {
        plan.add(Some(finding), "postgres", vec![draft(act, Risk::Disruptive)], Vec::new());
    }
    let rest = possible(&plan, &lacking(&[1]), false, &config);
    assert_eq!((&rest.findings[..], &rest.left[..]), (&plan.findings[1..], &plan.findings[..1]));
}

/// The service says so of the index that it uses: it dies of it again where it is started before.
#[test]
fn who_died_of_a_damaged_index_is_started_behind_its_rebuild_and_all_others_before() {
    const ZERO: &str = "ERROR:  index \"code_chunks_pkey\" contains unexpected zero page at block 1";
    let dead = |s: Stack| {
        s.no_answer(C, refused()).unit(C_UNIT, "failed", "failed").detail(C_UNIT, "exit-code", 1, 1, 90.0)
    };
    // So long before this moment its log said so; C ended a minute and a half ago.
    let said = |age: f64| Stack::healthy().line(PG_UNIT, age, 6, &format!("mcp_user@codebase_mcp {ZERO}"));
    let s = dead(said(30.0));
    let mut request = all();
    request.ask.near.indexes = [("postgres".to_owned(), vec![super::upkeep::damaged()])].into();
    let plan = super::planned(&s, &request);
    let order: Vec<&str> = plan.steps.iter().map(|s| s.subject.as_str()).collect();
    assert_eq!(order, [C, "postgres"], "it failed for a reason of its own");
    // Services meet it, and it was there before: who is down is so by it.
    let s = dead(said(120.0));
    let error = "index \"code_chunks_pkey\" contains unexpected zero page at block 1 (ERROR XX002)";
    let plan = super::planned(&s.health(A, crate::payload::a_down(error)), &request);
    let order: Vec<&str> = plan.steps.iter().map(|s| s.subject.as_str()).collect();
    assert_eq!(order, ["postgres", C], "{:?}", plan.findings);
    let first = well_before(&plan.steps[1], &plan, &Stack::healthy().now.config).unwrap();
    assert_eq!(first.subjects, ["postgres"]);
}

#[test]
fn what_takes_long_by_right_has_the_time_that_somebody_would_wait() {
    let (short, long) = (Duration::from_secs(90), Duration::from_secs(1800));
    let flush = Flush { redis: "redis".into(), url: String::new(), database: 0, prefix: Some("a:".into()) };
    for act in [Act::Flush(flush), piece("t", Chore::Vacuum), start(C_UNIT)] {
        assert_eq!(limit(&act, long), long, "{act:?}");
        assert_eq!(limit(&act, Duration::ZERO), short, "{act:?}");
    }
    assert_eq!(limit(&Act::StopUnit { unit: C_UNIT.into() }, long), short);
}

#[test]
fn rule_4_upkeep_counts_once_a_run_to_the_budget_and_by_itself_to_the_cooldown() {
    let guard = Stack::healthy().now.config.guard;
    let of = |act: Act| {
        let mut plan = Plan { findings: vec!["latency/x@postgres".into()], ..Plan::default() };
        plan.add(None, "postgres", vec![draft(act, Risk::Disruptive)], Vec::new());
        plan
    };
    let table = |n: usize| piece(&format!("t{n}"), Chore::Vacuum);
    // Two runs of five tables.
    let before: Vec<Attempt> = (0..10)
        .map(|n| Attempt { besides: n % 5 != 0, ..done(table(n), 7200.0 * (1.0 + (n / 5) as f64)) })
        .collect();
    assert!(may(&of(piece("i", Chore::Reindex)), &before, false, now(), &guard).is_ok());
    let six: Vec<Attempt> = before.iter().map(|a| Attempt { besides: false, ..a.clone() }).collect();
    assert!(may(&of(piece("i", Chore::Reindex)), &six, false, now(), &guard).is_err());
    // Of a run of a minute ago each table is held.
    let late = [done(table(0), 60.0), Attempt { besides: true, ..done(table(1), 60.0) }];
    for n in [0, 1] {
        assert!(may(&of(table(n)), &late, false, now(), &guard).is_err(), "{n}");
    }
}
