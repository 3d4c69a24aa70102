//! More connections for all: asked for by their number, honest about the restart, and armed for nobody else.

use mcp_ir::config::Guard;
use mcp_ir::engine::recover::guard::{Attempt, may};
use mcp_ir::engine::recover::{Choice, Request, left_down, refuted};
use mcp_ir::incident::{Event, Outcome};
use mcp_ir::plan::{Act, Ask, ConnectionsState, Former, Near, Needs, Risk};

use super::left::{intent, told};
use super::{acts, chosen, looks, of, planned};
use crate::stack::{A, C, PG_UNIT, Stack, now, refused};

fn state() -> ConnectionsState {
    ConnectionsState {
        running: 100,
        written: None,
        before_ours: None,
        source: "configuration file".into(),
        huge_pages: "try".into(),
        copies: 0,
        pending: None,
        sessions: 23,
        may_alter: true,
        data_directory: "/var/lib/postgresql/15/main".into(),
    }
}

fn more(to: u64, bend: impl FnOnce(&mut ConnectionsState)) -> Request {
    let mut seen = state();
    bend(&mut seen);
    let runs = [(PG_UNIT.to_owned(), "abc".to_owned())].into();
    let near = Near { connections: [("postgres".to_owned(), Ok(seen))].into(), runs, ..Near::default() };
    let ask = Ask { max_connections: Some(to), near, ..Ask::default() };
    Request { ask, ..of("pool-exhausted") }
}

#[test]
fn errata_21_more_connections_are_a_line_a_restart_and_a_proof_and_say_what_that_costs() {
    let plan = planned(&Stack::healthy(), &more(200, |_| {}));
    let [Act::Connections(c), Act::RestartUnit { unit }, Act::ProveConnections { value, .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((c.from, c.to, *value, unit.as_str()), (None, Some(200), 200, PG_UNIT));
    assert!(plan.steps[0].command.contains("ALTER SYSTEM SET max_connections = 200"));
    let Needs::Unit { invocation, .. } = &plan.steps[1].needs else { panic!() };
    assert_eq!(invocation.as_deref(), Some("abc"), "the run that was seen, and no other");
    assert_eq!(plan.risk(), Risk::Destructive, "its name is typed");
    assert!(plan.notes.iter().any(|n| n.contains("23 sessions end")), "{:?}", plan.notes);
    assert_eq!(plan.watched, [A, C], "who was well has to be so again");
    let undo = plan.steps[0].undo.as_ref().unwrap();
    let (reset, restart) =
        (Act::ResetFailed { unit: PG_UNIT.into() }, Act::RestartUnit { unit: PG_UNIT.into() });
    assert_eq!(undo.acts, [Act::Connections(c.back()), reset, restart]);
    assert!(undo.command().contains("ALTER SYSTEM RESET max_connections"), "unset is restored by unsetting");
}

#[test]
fn errata_21_what_somebody_has_armed_is_said_and_not_set_off() {
    let Choice::Refused { why, hints } = chosen(&Stack::healthy(), &more(200, |s| s.written = Some(500)))
    else {
        panic!()
    };
    assert!(why.contains("500 already") && why.contains("until it is restarted"), "{why}");
    assert!(hints[0].contains("ALTER SYSTEM RESET"), "{hints:?}");
    // What we have written ourselves, and were cut off, is gone on with, and taken back to what stood before it.
    let ours = planned(
        &Stack::healthy(),
        &more(200, |s| (s.written, s.before_ours) = (Some(200), Some(Former(Some(90))))),
    );
    let Act::Connections(c) = acts(&ours)[0] else { panic!("{ours:?}") };
    assert_eq!((c.from, c.to), (Some(200), Some(200)));
    assert!(ours.steps[0].undo.as_ref().unwrap().command().contains("SET max_connections = 90"));
    let known = planned(&Stack::healthy(), &more(200, |s| s.written = Some(100)));
    let undo = known.steps[0].undo.as_ref().unwrap();
    assert!(undo.command().contains("SET max_connections = 100"), "{}", undo.command());
}

/// Each time costs everybody his session.
#[test]
fn rule_4_a_raise_that_did_not_help_is_not_asked_for_again_at_once() {
    let plan = |to| planned(&Stack::healthy(), &more(to, |_| {}));
    let ended = Event::Ended { run: 1, outcome: Outcome::Failed, reason: "it did not come up".into() };
    let steps = plan(200);
    let of = |n: usize| intent(n, acts(&steps)[n - 1].clone());
    let written = told([(60.0, of(1)), (50.0, ended.clone())]);
    let restarted = told([(60.0, of(1)), (55.0, of(2)), (50.0, ended)]);
    let may = |to, before: &[Attempt]| may(&plan(to), before, true, now(), &Guard::default());
    assert_eq!(may(200, &written), Ok(()), "it was interrupted before the restart: nobody lost anything");
    let held = may(200, &restarted).unwrap_err();
    assert!(held.why.contains("did not help"), "{}", held.why);
    assert!(held.hint.unwrap().contains("--force-cooldown"));
    assert_eq!(may(150, &restarted), Ok(()), "another number is another attempt");
}

#[test]
fn rule_7_a_restart_that_would_cost_more_than_it_says_is_not_begun() {
    type Bend = fn(&mut ConnectionsState);
    let cases: [(u64, Bend, &str); 8] = [
        (200, |s| s.copies = 1, "copy from"),
        (200, |s| s.pending = Some("shared_buffers".into()), "shared_buffers wait"),
        (200, |s| s.huge_pages = "on".into(), "huge_pages"),
        (200, |s| s.source = "command line".into(), "command line"),
        (200, |s| s.may_alter = false, "may not"),
        (50, |_| {}, "fewer"),
        (200_000, |_| {}, "at most"),
        (200, |s| s.running = 500, "fewer"),
    ];
    for (to, bend, word) in cases {
        let Choice::Refused { why, .. } = chosen(&Stack::healthy(), &more(to, bend)) else {
            panic!("{word}")
        };
        assert!(why.contains(word), "{word}: {why}");
    }
    assert!(matches!(chosen(&Stack::healthy(), &more(100, |_| {})), Choice::NothingToDo(_)));
    let mut unseen = more(200, |_| {});
    unseen.ask.near.connections.clear();
    assert!(matches!(chosen(&Stack::healthy(), &unseen), Choice::Refused { .. }));
    let elsewhere = Stack::healthy().here(Some(false));
    assert!(matches!(chosen(&elsewhere, &more(200, |_| {})), Choice::Refused { .. }), "not of this host");
    assert!(matches!(chosen(&Stack::healthy().here(None), &more(200, |_| {})), Choice::Refused { .. }));
    let down = Stack::healthy().unit(PG_UNIT, "inactive", "dead");
    assert!(matches!(chosen(&down, &more(200, |_| {})), Choice::Refused { .. }), "it is not started by it");
    let two = Stack::healthy().second_postgres("other");
    assert!(matches!(chosen(&two, &more(200, |_| {})), Choice::Unclear { .. }));
}

#[test]
fn rule_3_a_database_that_does_not_come_up_with_it_is_seen_to_be_against_it() {
    let plan = planned(&Stack::healthy(), &more(200, |_| {}));
    let down = Stack::healthy().login(refused()).unit(PG_UNIT, "failed", "failed");
    assert!(refuted(&looks(&down), &plan, "postgres", &[]));
    assert!(!refuted(&looks(&Stack::healthy()), &plan, "postgres", &[]));
}

#[test]
fn errata_21_where_it_ends_before_the_restart_it_is_said_what_lies_there() {
    let plan = planned(&Stack::healthy(), &more(200, |_| {}));
    assert!(left_down(&plan, &plan.steps[1]).contains("max_connections = 200 written for its next start"));
    assert_eq!(left_down(&plan, &plan.steps[0]), "");
}
