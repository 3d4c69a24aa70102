//! The table of design.md, row by row; and that a consent is of one plan alone.

use super::*;
use crate::plan::draft;

fn plan(risk: Risk) -> Plan {
    let mut plan = Plan::default();
    plan.add(None, "api", vec![draft(Act::RestartUnit { unit: "api.service".into() }, risk)], Vec::new());
    plan
}

fn asked(risk: Risk, policy: Policy, typed: Option<&str>) -> (bool, usize) {
    let mut times = 0;
    let got = ask(&plan(risk), &policy, &mut |_| {
        times += 1;
        typed.map(ToOwned::to_owned)
    });
    (got.is_ok(), times)
}

#[test]
fn the_table_of_consent_holds() {
    use Risk::{Destructive, Disruptive, Safe};
    let at = |yes, allow| Policy { terminal: true, yes, allow };
    let script = |yes, allow| Policy { terminal: false, yes, allow };
    for (risk, policy, typed, given, times) in [
        (Safe, at(false, None), None, true, 0),
        (Safe, script(false, None), None, false, 0),
        (Safe, script(true, None), None, true, 0),
        (Disruptive, at(false, None), Some("y\n"), true, 1),
        (Disruptive, at(false, None), Some(""), false, 1),
        (Disruptive, at(false, None), None, false, 1),
        (Disruptive, at(true, None), None, true, 0),
        (Disruptive, script(false, None), Some("y"), false, 0),
        (Disruptive, script(true, None), None, true, 0),
        (Disruptive, script(true, Some(Safe)), None, false, 0),
        (Destructive, at(false, None), Some("api"), true, 1),
        (Destructive, at(true, None), Some("yes"), false, 1),
        (Destructive, script(true, None), None, false, 0),
        (Destructive, script(true, Some(Destructive)), None, true, 0),
        (Destructive, script(false, Some(Destructive)), None, false, 0),
    ] {
        assert_eq!(asked(risk, policy, typed), (given, times), "{risk:?} {policy:?} {typed:?}");
    }
}

#[test]
fn a_consent_covers_its_plan_and_no_other_step() {
    let policy = Policy { terminal: false, yes: true, allow: None };
    let plan = plan(Risk::Disruptive);
    let consent = ask(&plan, &policy, &mut |_| None).unwrap();
    let free = Needs::Nothing;
    assert!(consent.covers(&plan.steps[0].act, &free));
    let other = Needs::Unit { active: vec!["failed".into()], invocation: None };
    assert!(!consent.covers(&plan.steps[0].act, &other), "on another condition it is another step");
    assert!(!consent.covers(&Act::RestartUnit { unit: "other.service".into() }, &free));
    assert!(!consent.covers(&Act::StopUnit { unit: "api.service".into() }, &free));
    assert_eq!(consent.digest(), plan.digest());
}

#[test]
fn a_plan_that_differs_in_anything_has_another_digest() {
    let one = plan(Risk::Safe);
    let mut other = one.clone();
    other.steps[0].needs =
        crate::plan::Needs::Unit { active: vec!["failed".into()], invocation: Some("a".into()) };
    assert_ne!(one.digest(), other.digest());
    assert_ne!(one.digest(), plan(Risk::Disruptive).digest());
    assert_eq!(one.digest(), plan(Risk::Safe).digest());
}
