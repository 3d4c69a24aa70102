//! What a recovery makes of what it sees on the way: whether a plan that was agreed to still stands, what
//! of it is rolled back, and what is called well. Rules only, nothing is done.

use mcp_ir::engine::recover::{
    Choice, Now, Request, choose, held, is_without_rates, refuted, still, to_roll_back, unwell,
};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::incident::Open;
use mcp_ir::plan::{Act, Plan, Risk, draft};
use mcp_ir::snapshot::Looks;

use crate::payload;
use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, now, refused, silent};

fn chosen(s: &Stack, request: &Request) -> Choice {
    let looks = Looks { now: s.now.clone(), before: None };
    choose(&looks, &diagnose(&looks, &Filter::default()), request)
}

fn of(scenario: &str) -> Request {
    Request { scenario: Some(scenario.into()), ..Request::default() }
}

fn named(service: &str) -> Request {
    Request { services: vec![service.into()], ..Request::default() }
}

fn failed(unit: &str, service: &str, s: Stack) -> Stack {
    s.no_answer(service, refused()).unit(unit, "failed", "failed").detail(unit, "exit-code", 1, 1, 90.0)
}

/// C was started, and A was given a size.
fn both() -> Plan {
    let mut plan =
        Plan { findings: vec![format!("pool-exhausted/client-pool-saturated@{A}")], ..Plan::default() };
    let start = draft(Act::StartUnit { unit: C_UNIT.into() }, Risk::Disruptive)
        .undo(vec![Act::StopUnit { unit: C_UNIT.into() }], Risk::Disruptive);
    plan.add(None, C, vec![start], Vec::new());
    let text = Some("[Service]\nEnvironment=POOL_MAX_SIZE=20\n".to_owned());
    let write = |from, to| Act::DropIn { unit: A_UNIT.into(), from, to };
    let restart = || Act::RestartUnit { unit: A_UNIT.into() };
    let size = vec![
        draft(write(None, text.clone()), Risk::Safe)
            .undo(vec![write(text, None), restart()], Risk::Disruptive),
        draft(restart(), Risk::Disruptive),
        draft(
            Act::Prove { unit: A_UNIT.into(), variable: "POOL_MAX_SIZE".into(), value: "20".into() },
            Risk::Safe,
        ),
    ];
    plan.add(None, A, size, Vec::new());
    plan
}

/// All that changes something stands, as of this run.
fn standing(plan: &Plan, run: u32) -> Vec<Open> {
    let open = |s: &mcp_ir::plan::Step| Open {
        run,
        n: s.n,
        describe: s.describe.clone(),
        act: s.act.clone(),
        undo: s.undo.clone(),
        undo_reason: s.undo_reason.clone(),
        made: None,
        cut_off: false,
        back_cut_off: false,
        at: now(),
    };
    plan.steps.iter().filter(|s| s.act.changes()).map(open).collect()
}

fn numbers(opens: &[Open]) -> Vec<usize> {
    opens.iter().map(|o| o.n).collect()
}

#[test]
fn rule_4_a_roll_back_takes_nothing_from_whom_it_worked_for() {
    let plan = both();
    let back = to_roll_back(standing(&plan, 1), &plan, 1, &[A.to_owned()]);
    assert_eq!(numbers(&back), [2], "the file of A alone");
    assert!(matches!(back[0].act, Act::DropIn { .. }));
    let back = to_roll_back(standing(&plan, 1), &plan, 1, &[C.to_owned()]);
    assert_eq!(numbers(&back), [] as [usize; 0], "what was started is not stopped again");
    assert_eq!(numbers(&to_roll_back(standing(&plan, 1), &plan, 1, &[])), [] as [usize; 0]);
}

#[test]
fn what_a_run_that_was_cut_off_wrote_is_rolled_back_by_the_next() {
    let plan = both();
    // Run 1 wrote the same file and was killed; run 2 found it there.
    let mut before = standing(&plan, 1);
    before.retain(|o| matches!(o.act, Act::DropIn { .. } | Act::StartUnit { .. }));
    assert_eq!(numbers(&to_roll_back(before.clone(), &plan, 2, &[A.to_owned()])), [2]);
    // Another text of another run is not ours to take.
    before[1].act = Act::DropIn { unit: A_UNIT.into(), from: None, to: Some("[Service]\n".into()) };
    assert_eq!(numbers(&to_roll_back(before, &plan, 2, &[A.to_owned()])), [] as [usize; 0]);
}

/// Whether a setting of A's is taken back by this look.
fn taken_back(s: Stack) -> bool {
    let looks = Looks { now: s.now, before: None };
    unwell(&looks, &both()).contains(&A.to_owned()) && refuted(&looks, &both(), A, &[])
}

#[test]
fn only_who_is_not_well_is_blamed_and_a_size_that_took_effect_stays() {
    let full = Stack::healthy().health(A, payload::a_full(20));
    let looks = Looks { now: full.now.clone(), before: None };
    assert_eq!(unwell(&looks, &both()), [A]);
    assert!(!taken_back(full), "neither ignored nor fatal: one more restart is no cure");
    assert!(taken_back(Stack::healthy().health(A, payload::a_full(10))), "ignored");
    // Room in it is no proof of the size: nobody asked for one, the plan gave it (errata 33).
    assert!(taken_back(Stack::healthy().health(A, payload::a_healthy(3, 3, 10))));
    assert!(taken_back(failed(A_UNIT, A, Stack::healthy())), "fatal");
    let healthy = Looks { now: Stack::healthy().health(A, payload::a_healthy(3, 3, 20)).now, before: None };
    assert!(!refuted(&healthy, &both(), A, &[]));
    assert!(refuted(&healthy, &both(), A, &[A_UNIT.to_owned()]), "it died of it and came back by itself");
}

#[test]
fn rule_3_what_could_not_be_seen_is_no_reason_to_take_a_setting_back() {
    // It loads its model still; its health is behind a login; it hangs; it was not looked at.
    let denied = payload::answer(401, "text/html", "login");
    let mut unseen = Stack::healthy();
    unseen.now.services.remove(A);
    for s in [
        Stack::healthy().no_answer(A, refused()),
        Stack::healthy().no_answer(A, silent()),
        Stack::healthy().health(A, denied),
        unseen,
    ] {
        let looks = Looks { now: s.now.clone(), before: None };
        assert_eq!(unwell(&looks, &both()), [A], "it is not well, and that is said");
        assert!(!taken_back(s), "one more restart on a guess");
    }
    // A limit has no size: while its unit runs, nothing speaks against it.
    let mut limit = both();
    let text = Some("[Service]\nMemoryMax=1073741824\n".to_owned());
    let write = Act::DropIn { unit: A_UNIT.into(), from: None, to: text };
    limit.steps.retain(|s| s.n == 2);
    limit.steps[0].act = write;
    let loads = Looks { now: Stack::healthy().no_answer(A, refused()).now, before: None };
    assert!(!refuted(&loads, &limit, A, &[]));
}

#[test]
fn rule_6_who_died_again_and_again_is_believed_after_more_than_its_longest_run() {
    use mcp_ir::snapshot::units::Event;
    let died = || Event::ProcessExited { code: "exited".into(), status: "1".into() };
    let lives = |runs: &[(f64, f64)]| {
        let events: Vec<_> =
            runs.iter().flat_map(|(at, ran)| [(*at, Event::Started), (at - ran, died())]).collect();
        let s = failed(A_UNIT, A, Stack::healthy()).events(A_UNIT, &events);
        Looks { now: s.now, before: None }
    };
    let plan = |finding: &str| {
        let mut plan = Plan::default();
        let start = draft(Act::StartUnit { unit: A_UNIT.into() }, Risk::Disruptive);
        plan.add(Some(&format!("server-crash/{finding}@{A}")), A, vec![start], Vec::new());
        plan
    };
    let s = |looks: &Looks, finding: &str| held(looks, &plan(finding)).as_secs_f64();
    let eight = lives(&[(60.0, 8.0), (40.0, 8.0), (20.0, 8.0)]);
    assert_eq!(s(&eight, "crash-loop"), 12.0, "half as long again as it lasted");
    assert_eq!(s(&eight, "failed"), 12.0);
    assert_eq!(s(&lives(&[(60.0, 0.5), (40.0, 0.5)]), "crash-loop"), 3.0);
    assert_eq!(s(&lives(&[(60.0, 8.0)]), "failed"), 0.0, "once is no pattern");
    // What is only known by its unit is not well for being active.
    let by_unit = Stack::healthy().config(|c| c.service[0].url = None);
    let looks = Looks { now: by_unit.now, before: None };
    assert_eq!(s(&looks, "failed"), 3.0);
}

#[test]
fn rule_1_a_plan_is_done_only_where_a_look_under_the_lock_makes_the_same_of_it() {
    let agreed = failed(A_UNIT, A, Stack::healthy());
    let Choice::Plan(plan) = chosen(&agreed, &Request::default()) else { panic!() };
    let now = |s: &Stack| still(&plan.digest(), &chosen(s, &Request::default()));
    assert_eq!(now(&agreed), Now::Same);
    assert!(matches!(now(&Stack::healthy()), Now::Well(_)));
    // While somebody read the plan, its database died: A's is a consequence now.
    let outage = failed(A_UNIT, A, Stack::outage().unit(PG_UNIT, "inactive", "dead"));
    let Now::Another { why, .. } = now(&outage) else { panic!("{:?}", now(&outage)) };
    assert!(why.contains("start postgresql@15-main.service"), "{why}");
    // Named, it is refused with its root.
    let still_a = still(&plan.digest(), &chosen(&outage, &of("server-crash")));
    let Now::Another { hints, .. } = still_a else { panic!() };
    assert_eq!(hints[0], "mcp-ir recover db");
    // Another run of the unit is another plan.
    let mut anew = agreed.clone();
    if let Some(d) = anew.now.units.details.get_mut(A_UNIT)
        && let mcp_ir::snapshot::Reading::Seen { value } = &mut d.reading
    {
        value.invocation = Some("of its next start".into());
    }
    assert!(matches!(now(&anew), Now::Another { .. }));
}

#[test]
fn a_consequence_of_a_service_that_was_named_is_refused_with_its_root_and_never_nothing_to_do() {
    let s = Stack::outage().unit(PG_UNIT, "inactive", "dead");
    for request in [named(A), Request { all: true, ..named(A) }] {
        let Choice::Refused { hints, .. } = chosen(&s, &request) else {
            panic!("{:?}", chosen(&s, &request))
        };
        assert_eq!(hints[0], "mcp-ir recover db");
    }
}

#[test]
fn what_can_not_be_judged_is_unknown_whatever_is_noted_elsewhere() {
    // Its health is behind a login: nothing is known of it. The pools are over the budget: a note.
    let denied = payload::answer(401, "text/html", "login");
    let s = Stack::healthy().health(A, denied).pool_max(C, 5000);
    let notes = chosen(&s, &named(C));
    assert!(matches!(notes, Choice::NothingToDo(_)), "{notes:?}");
    for request in [of("server-crash"), named(A), Request { services: vec![A.into()], ..of("server-crash") }]
    {
        let choice = chosen(&s, &request);
        assert!(matches!(choice, Choice::Unknown(_)), "{request:?}: {choice:?}");
    }
}

#[test]
fn a_root_that_is_left_to_people_is_named_as_left() {
    // A is started; C hangs for a reason that is not known: that is for people.
    let s = failed(A_UNIT, A, Stack::healthy()).no_answer(C, silent());
    let all = Request { all: true, ..Request::default() };
    let Choice::Plan(plan) = chosen(&s, &all) else { panic!("{:?}", chosen(&s, &all)) };
    assert_eq!(plan.subjects, [A]);
    assert_eq!(plan.left.len(), 1, "{:?}", plan.left);
    assert!(plan.left[0].ends_with("@workflow-mcp"), "{:?}", plan.left);
}

#[test]
fn rule_5_what_ends_what_could_be_looked_at_is_looked_at_before() {
    let unit = || A_UNIT.to_owned();
    let ends = [
        Act::RestartUnit { unit: unit() },
        Act::StopUnit { unit: unit() },
        Act::ResetFailed { unit: unit() },
    ];
    assert!(ends.iter().all(Act::destroys_evidence));
    let leaves =
        [Act::StartUnit { unit: unit() }, Act::Thaw { unit: unit() }, Act::Wait { subject: A.into() }];
    assert!(!leaves.iter().any(Act::destroys_evidence));
}

/// What was found by a rate is looked for by that rate again: a look without one says "well".
#[test]
fn what_is_mended_for_a_rate_is_seen_by_it_under_the_lock_too() {
    let looks = |s: &Stack| Looks { now: s.now.clone(), before: None };
    let mut d = diagnose(&looks(&Stack::outage()), &Filter::default());
    let plan = Plan {
        findings: vec!["db-down/postgres-stopped@postgres".into()],
        subjects: vec!["postgres".into()],
        ..Plan::default()
    };
    assert!(is_without_rates(&d, &plan));
    let mut slow = d.findings[0].clone();
    slow.scenario = "latency".into();
    slow.id = "latency/slow-queries@postgres".into();
    slow.explained_by = vec![plan.findings[0].clone()];
    d.findings.push(slow);
    assert!(is_without_rates(&d, &plan), "what its subject suffers by it");
    let of_it = Plan { findings: vec!["latency/slow-queries@postgres".into()], ..plan.clone() };
    assert!(!is_without_rates(&d, &of_it));
    d.findings.last_mut().unwrap().explained_by.clear();
    assert!(!is_without_rates(&d, &plan), "a root of its own, which is left for people");
}
