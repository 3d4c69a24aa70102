//! A variable is set for one unit, by our drop-in and a restart, and proven by its process.

use mcp_ir::engine::recover::{Choice, Request, unproven};
use mcp_ir::plan::{Act, Ask, Near};

use super::{acts, chosen, of, planned};
use crate::stack::{A, A_UNIT, Stack};

fn asked(env: &[(&str, &str)], has: &[(&str, &str)]) -> Request {
    let owned = |all: &[(&str, &str)]| {
        all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
    };
    let near = Near {
        drop_ins: [(A_UNIT.to_owned(), Ok(None))].into(),
        runs: [(A_UNIT.to_owned(), "abc".to_owned())].into(),
        environment: [(A_UNIT.to_owned(), owned(has).into_iter().collect())].into(),
        ..Near::default()
    };
    let ask = Ask { env: owned(env), near, ..Ask::default() };
    Request { services: vec![A.into()], ask, ..of("memory") }
}

#[test]
fn errata_31_a_variable_is_a_drop_in_a_restart_and_a_proof_by_the_process() {
    let plan = planned(&Stack::healthy(), &asked(&[("MALLOC_ARENA_MAX", "2")], &[]));
    let [Act::DropIn { from, to, unit }, Act::RestartUnit { .. }, Act::Prove { variable, value, .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert!(to.as_ref().unwrap().ends_with("[Service]\nEnvironment=MALLOC_ARENA_MAX=2\n"), "{to:?}");
    assert_eq!((variable.as_str(), value.as_str()), ("MALLOC_ARENA_MAX", "2"));
    assert!(plan.steps[2].command.contains("/environ"), "{}", plan.steps[2].command);
    let back = Act::DropIn { unit: unit.clone(), from: to.clone(), to: from.clone() };
    let undo = plan.steps[0].undo.as_ref().unwrap();
    assert_eq!(undo.acts, [back, Act::RestartUnit { unit: unit.clone() }]);
}

#[test]
fn errata_39_no_other_unit_sees_it() {
    let plan = planned(&Stack::healthy(), &asked(&[("MALLOC_ARENA_MAX", "2")], &[]));
    assert!(plan.steps.iter().all(|s| !s.command.contains("set-environment")), "{plan:?}");
    assert!(plan.steps.iter().all(|s| s.act.target() == format!("unit {A_UNIT}")), "{plan:?}");
}

#[test]
fn errata_37_the_folder_may_be_missing_and_the_name_sorts_last() {
    let plan = planned(&Stack::healthy(), &asked(&[("MALLOC_ARENA_MAX", "2")], &[]));
    let command = &plan.steps[0].command;
    assert!(command.starts_with("mkdir -p /etc/systemd/system/codebase-mcp.service.d && "), "{command}");
    assert!("zz-mcp-ir.conf" > "override.conf" && command.contains("/zz-mcp-ir.conf"), "{command}");
}

#[test]
fn errata_52_the_effect_of_a_level_is_looked_at_and_not_believed() {
    let plan = planned(&Stack::healthy(), &asked(&[("LOG_LEVEL", "WARNING")], &[("LOG_LEVEL", "DEBUG")]));
    let quiet = Act::ProveQuiet { unit: A_UNIT.into(), level: "WARNING".into() };
    assert_eq!(acts(&plan).last(), Some(&&quiet));
    // Who wants more of it waits for no silence.
    let plan = planned(&Stack::healthy(), &asked(&[("LOG_LEVEL", "DEBUG")], &[]));
    assert!(!acts(&plan).iter().any(|a| matches!(a, Act::ProveQuiet { .. })), "{plan:?}");
}

#[test]
fn what_is_so_already_what_is_a_secret_and_what_has_a_way_of_its_own_is_not_set() {
    let s = Stack::healthy();
    let same = asked(&[("LOG_LEVEL", "INFO")], &[("LOG_LEVEL", "INFO")]);
    assert!(matches!(chosen(&s, &same), Choice::NothingToDo(_)), "{:?}", chosen(&s, &same));
    let Choice::Refused { why, .. } = chosen(&s, &asked(&[("API_TOKEN", "hunter2")], &[])) else { panic!() };
    assert!(why.contains("secret") && !why.contains("hunter2"), "{why}");
    let Choice::Refused { hints, .. } = chosen(&s, &asked(&[("POOL_MAX_SIZE", "20")], &[])) else { panic!() };
    assert!(hints[0].contains("recover pool") && hints[0].contains("--max-size"), "{hints:?}");
    let down = Stack::healthy().unit(A_UNIT, "inactive", "dead");
    assert!(!matches!(chosen(&down, &asked(&[("LOG_LEVEL", "INFO")], &[])), Choice::Plan(_)));
}

#[test]
fn rule_6_a_value_that_nobody_has_seen_is_not_verified() {
    let s = Stack::healthy();
    let plan = planned(&s, &asked(&[("MALLOC_ARENA_MAX", "2")], &[]));
    let step = |unseen: &[usize]| unproven(&plan, unseen, &s.now.config).map(|s| s.n);
    assert_eq!((step(&[]), step(&[3])), (None, Some(3)));
    // A pool's size is said by its payload, which it is verified by.
    let plan = planned(&s.clone().pool_max(crate::stack::C, 10), &super::pool::size(25, Some(A)));
    assert_eq!(unproven(&plan, &[3], &s.now.config), None);
}
