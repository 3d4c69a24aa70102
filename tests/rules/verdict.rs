//! The verdict: problem outranks unknown, unknown outranks healthy, notes count for nothing.

use mcp_ir::diagnosis::{Severity, SymptomState, Verdict};
use mcp_ir::snapshot::{FailKind, Reading, Stage};

use crate::payload;
use crate::stack::{A, C, PG_UNIT, Stack, fail, failed, idle_tx, refused, says, wrong_password};

#[test]
fn all_symptoms_good_and_nothing_found_is_healthy() {
    let told = Stack::healthy().told();
    told.healthy();
    assert_eq!(told.d.severity, None);
    assert_eq!(told.d.symptoms.len(), 3);
    assert!(told.d.symptoms.iter().all(|s| s.state == SymptomState::Good));
    assert!(told.d.unknown.is_empty());
}

#[test]
fn problem_outranks_unknown() {
    let s = Stack::outage().health(A, payload::json(403, ""));
    let told = s.told();
    told.verdict(Verdict::Problem);
    assert_eq!(told.d.severity, Some(Severity::P1));
    assert!(told.d.unknown.iter().any(|u| u.subject == A), "what could not be seen is still said");
}

#[test]
fn one_unseen_symptom_is_unknown_and_names_its_subject() {
    let told = Stack::healthy().health(C, payload::json(401, "")).told();
    told.unknown();
    assert_eq!(told.d.unknown.len(), 1);
    assert_eq!(told.d.unknown[0].subject, C);
}

#[test]
fn a_bad_symptom_without_a_cause_is_unknown_never_healthy() {
    let told = Stack::healthy().login(says("XX000", "who knows")).told();
    told.unknown().symptom("postgres", SymptomState::Bad);
}

#[test]
fn a_note_beside_an_unseen_symptom_is_still_unknown() {
    let s = Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).health(C, payload::json(401, ""));
    s.told().unknown();
}

#[test]
fn looks_that_are_no_symptoms_do_not_hold_the_verdict_back() {
    let denied = || fail(FailKind::Denied, Stage::Query);
    Stack::healthy().look(|p| p.server = failed(denied())).no_bus().told().healthy();
    Stack::healthy().server(|s| s.sees_all = false).told().healthy();
    let mut s = Stack::healthy();
    s.now.units.details.insert(PG_UNIT.into(), failed(denied()));
    s.now.units.journal.insert(PG_UNIT.into(), failed(denied()));
    s.now.units.process.insert(PG_UNIT.into(), failed(denied()));
    s.told().healthy();
}

#[test]
fn the_severity_is_that_of_the_worst_root_not_of_what_it_explains() {
    // The full pool is P2; the P1 beneath is only its consequence.
    let told = Stack::healthy().health(A, payload::a_full(10)).told();
    assert_eq!(told.d.severity, Some(Severity::P2));
}

#[test]
fn what_is_not_looked_at_by_this_version_is_said() {
    let s = Stack::healthy().config(|c| {
        let redis = serde_json::json!({"name": "redis", "url": "redis://127.0.0.1:6379/0", "optional": true});
        c.redis = vec![serde_json::from_value(redis).unwrap()];
    });
    let told = s.told();
    told.healthy();
    assert!(told.d.readings.iter().any(|r| r.subject == "redis" && r.outcome == "not-asked"));
}

#[test]
fn nothing_under_care_is_unknown_and_finds_nothing() {
    let mut s = Stack::healthy().config(|c| {
        c.service.clear();
        c.postgres.clear();
    });
    s.now.services.clear();
    s.now.postgres.clear();
    s.told().unknown();
}

#[test]
fn an_unknown_service_with_a_dead_database_is_one_problem_and_one_unknown() {
    let told = Stack::healthy().login(wrong_password()).no_answer(A, refused()).no_bus().told();
    told.unknown();
    assert_eq!(told.d.unknown.iter().map(|u| u.subject.as_str()).collect::<Vec<_>>(), [A]);
}

#[test]
fn a_note_on_a_subject_does_not_stand_for_its_symptom() {
    let told = Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).told();
    let note = told.find("pool-exhausted/idle-in-transaction@postgres").clone();
    for state in [SymptomState::Bad, SymptomState::Unseen] {
        let symptom = mcp_ir::diagnosis::Symptom { subject: "postgres".into(), state, says: "x".into() };
        assert_eq!(
            mcp_ir::diagnosis::unknowns(&[symptom], std::slice::from_ref(&note)).len(),
            1,
            "{state:?}"
        );
    }
}

/// A stranger holds the database's port and makes no sense: services that miss it must not be restarted.
#[test]
fn who_misses_a_database_that_is_not_well_for_no_known_reason_is_not_the_root() {
    for kind in [FailKind::Closed, FailKind::Malformed] {
        let missing = "error communicating with the server: Connection reset by peer";
        let s = Stack::healthy().login(fail(kind, Stage::Answer));
        let told = s
            .health(A, payload::a_down(missing))
            .health(C, payload::c_down(missing))
            .told()
            .case(kind.word());
        told.never("server-crash/unhealthy").unknown();
        // Whose own trouble it is, by its own word, is still told.
        let s = Stack::healthy().login(fail(kind, Stage::Answer)).health(A, payload::a_own());
        s.told().case(kind.word()).expect_roots(&["server-crash/unhealthy@codebase-mcp"]);
    }
}

/// Nothing listens where the database should be, and neither engine nor process table is open to this
/// user: what its services miss is known, why it is missing is not.
#[test]
fn who_misses_a_database_that_refuses_for_no_known_reason_is_not_restarted() {
    let unseen = || Reading::Failed(fail(FailKind::Denied, Stage::Answer));
    let missing = "error connecting to server: Connection refused (os error 111)";
    let s = Stack::healthy().login(refused()).no_bus().look(|p| p.postmasters = unseen());
    let told = s.health(A, payload::a_down(missing)).health(C, payload::c_down(missing)).told();
    told.never("server-crash/unhealthy").unknown();
    // Whose own trouble it is, by its own word, is still told.
    let s = Stack::healthy().login(refused()).no_bus().look(|p| p.postmasters = unseen());
    s.health(A, payload::a_own()).told().expect_roots(&["server-crash/unhealthy@codebase-mcp"]);
}
