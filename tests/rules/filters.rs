//! Naming a scenario or a service filters the report, never the judgement.

use mcp_ir::diagnosis::Verdict;
use mcp_ir::engine::Filter;

use crate::payload;
use crate::stack::{A, C, Stack, silent};
use crate::told::Told;

const STOPPED: &str = "db-down/postgres-stopped@postgres";

fn asked(s: &Stack, scenarios: &[&str], subjects: &[&str]) -> Told {
    let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
    s.asked(&Filter { scenarios: own(scenarios), subjects: own(subjects) })
}

fn ids(told: &Told) -> Vec<&str> {
    told.d.findings.iter().map(|f| f.id.as_str()).collect()
}

#[test]
fn a_foreign_root_that_explains_is_shown() {
    let told = asked(&Stack::outage(), &["server-crash"], &[]);
    told.expect_roots(&[STOPPED]).verdict(Verdict::Problem);
    assert_eq!(told.d.findings.len(), 3);
    // Through two steps: pool → chain is in the same scenario, unhealthy → pool is not.
    let told = asked(&Stack::healthy().health(A, payload::a_full(10)), &["server-crash"], &[]);
    told.expect_roots(&["pool-exhausted/client-pool-saturated@codebase-mcp"]);
}

#[test]
fn a_foreign_root_that_explains_nothing_asked_for_is_left_out() {
    let s = Stack::healthy().login(silent()).health(A, payload::a_own());
    let told = asked(&s, &["server-crash"], &[]);
    assert_eq!(ids(&told), ["server-crash/unhealthy@codebase-mcp"]);
}

#[test]
fn a_pool_behind_a_dead_database_is_unknown_not_healthy() {
    let told = asked(&Stack::outage(), &["pool-exhausted"], &[]);
    told.unknown();
    assert!(
        told.d.unknown.iter().any(|u| u.subject == "postgres" && u.why.contains("db-down/postgres-stopped"))
    );
}

#[test]
fn a_well_stack_is_healthy_for_every_question() {
    for scenario in ["db-down", "pool-exhausted", "server-crash"] {
        for subject in [A, C, "postgres"] {
            if (scenario, subject) != ("server-crash", "postgres") {
                asked(&Stack::healthy(), &[scenario], &[subject])
                    .case(format!("{scenario} {subject}"))
                    .healthy();
            }
        }
    }
}

#[test]
fn what_nothing_was_looked_at_for_is_not_healthy() {
    asked(&Stack::healthy(), &["server-crash"], &["postgres"]).unknown();
    asked(&Stack::outage(), &["server-crash"], &["postgres"]).unknown();
    asked(&Stack::outage(), &[], &["redis"]).unknown();
}

#[test]
fn the_database_of_a_service_is_its_database() {
    asked(&Stack::outage(), &["db-down"], &[A]).expect_roots(&[STOPPED]);
    let told = asked(&Stack::outage(), &["pool-exhausted"], &[A]);
    told.unknown();
    assert!(told.d.unknown.iter().any(|u| u.why.contains(STOPPED)), "{:?}", told.d.unknown);
}

#[test]
fn a_service_filters_by_subject_and_keeps_what_explains_it() {
    let told = asked(&Stack::outage(), &[], &[A]);
    assert_eq!(ids(&told), [STOPPED, "server-crash/unhealthy@codebase-mcp"]);
    let told = asked(&Stack::outage(), &[], &["postgres"]);
    assert_eq!(ids(&told), [STOPPED]);
}

#[test]
fn anothers_trouble_is_not_the_named_services() {
    let s = Stack::healthy().health(A, payload::a_own());
    asked(&s, &[], &[C]).healthy();
    asked(&s, &[], &[A]).expect_roots(&["server-crash/unhealthy@codebase-mcp"]);
    asked(&s, &["db-down"], &[]).healthy();
}

#[test]
fn an_unseen_symptom_counts_only_for_those_who_ask_for_it() {
    let s = Stack::healthy().health(A, payload::json(401, ""));
    asked(&s, &["server-crash"], &[]).unknown();
    asked(&s, &[], &[A]).unknown();
    asked(&s, &["db-down"], &[]).healthy();
    asked(&s, &[], &[C]).healthy();
}

#[test]
fn two_named_scenarios_are_both_reported() {
    let s = Stack::healthy()
        .health(A, payload::a_full(10))
        .health(C, payload::c("unhealthy", "connected", 3, 0, 0, "no index"));
    let told = asked(&s, &["pool-exhausted", "server-crash"], &[]);
    assert_eq!(told.roots().len(), 2);
}

#[test]
fn every_filter_gives_a_part_of_the_whole_and_whole_explanations() {
    let stacks =
        [Stack::outage(), Stack::healthy().health(A, payload::a_full(10)).health(C, payload::a_own())];
    for s in &stacks {
        let whole = s.told();
        for scenario in ["db-down", "pool-exhausted", "server-crash"] {
            for subject in [A, C, "postgres"] {
                let told = asked(s, &[scenario], &[subject]);
                for f in &told.d.findings {
                    assert_eq!(f, whole.find(&f.id));
                    assert!(f.explained_by.iter().all(|id| ids(&told).contains(&id.as_str())));
                }
            }
        }
    }
}
