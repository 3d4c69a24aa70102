//! What rules a cause out agrees with its rule, in every case that there is: the recorded looks, each
//! stack that another test bends, and any mixture. Nothing found is called ruled out, and what is not
//! found has a fact that says why.

use mcp_ir::diagnosis::{Diagnosis, Outcome, Stand};
use mcp_ir::engine::{Filter, diagnose, why_not};
use mcp_ir::scenario;
use mcp_ir::snapshot::{FailKind, Looks, Snapshot, Stage};

use crate::stack::{A, C, Stack, fail, refused, says};

/// Holds what speaks against each cause against the findings. `d` is of everything, unfiltered.
#[track_caller]
pub fn agrees(now: &Snapshot, d: &Diagnosis) {
    agree(&Looks { now: now.clone(), before: None }, d);
}

/// The same with an earlier look, or without.
#[track_caller]
pub fn agree(looks: &Looks, d: &Diagnosis) {
    for cause in scenario::causes() {
        let stands = scenario::why_not(cause, looks, &looks.now.config);
        for (subject, stand) in &stands {
            let found = d.findings.iter().any(|f| f.cause == cause.name && f.subject == *subject);
            let at = format!("{} @ {subject}", cause.name);
            match stand {
                Stand::Holds => assert!(found, "{at}: no rule finds it, and nothing speaks against it"),
                Stand::RuledOut(facts) | Stand::Unseen(facts) => {
                    assert!(!found, "{at} is found, and said to be {stand:?}");
                    assert!(!facts.is_empty(), "{at}: without a fact");
                    let told = |f: &mcp_ir::diagnosis::Fact| {
                        !f.seen.probe.is_empty() && !f.seen.value.is_empty() && !f.needs.is_empty()
                    };
                    assert!(facts.iter().all(told), "{at}: {facts:?}");
                }
            }
        }
        let elsewhere = d.findings.iter().filter(|f| f.cause == cause.name);
        for f in elsewhere {
            assert!(
                stands.iter().any(|(s, _)| *s == f.subject),
                "{} could not concern {}",
                f.cause,
                f.subject
            );
        }
    }
}

#[test]
fn every_cause_has_a_line_that_says_what_rules_it_out() {
    for s in scenario::ALL {
        for c in s.causes {
            assert!(
                s.why_not.iter().any(|(other, _)| other.name == c.name),
                "{} has no line in the `WHY_NOT` of its scenario: say there what rules it out",
                c.name
            );
        }
        assert_eq!(s.why_not.len(), s.causes.len(), "{}: a line that is no cause's, or twice", s.name);
    }
    let looks = Looks { now: Stack::healthy().now, before: None };
    for c in scenario::causes() {
        assert!(!scenario::why_not(c, &looks, &looks.now.config).is_empty(), "{} concerns nothing", c.name);
    }
}

/// The outcome of one cause at one subject, and the facts as text.
fn asked(s: &Stack, cause: &str, subject: &str) -> (Outcome, String) {
    let looks = Looks { now: s.now.clone(), before: None };
    let causes: Vec<_> = scenario::causes().into_iter().filter(|c| c.name == cause).collect();
    let said = why_not(&looks, &causes, &[subject.to_owned()]);
    assert_eq!(said.causes[0].subjects.len(), 1, "{cause} @ {subject}");
    let answer = &said.causes[0].subjects[0];
    let facts = answer.facts.iter().map(|f| format!("{}: {}: {}", f.seen.probe, f.seen.fact, f.seen.value));
    (answer.outcome, facts.collect::<Vec<_>>().join("\n"))
}

#[test]
fn in_a_healthy_stack_every_cause_but_none_is_ruled_out() {
    let s = Stack::healthy();
    let looks = Looks { now: s.now.clone(), before: None };
    let said = why_not(&looks, &scenario::causes(), &[]);
    let not_ruled_out: Vec<String> = said
        .causes
        .iter()
        .flat_map(|c| c.subjects.iter().map(move |a| (c, a)))
        .filter(|(_, a)| a.outcome != Outcome::RuledOut)
        .map(|(c, a)| format!("{} @ {}: {:?} {:?}", c.cause, a.subject, a.outcome, a.facts))
        .collect();
    // What this look does not have: two figures, the services' environment, and an earlier look.
    let left = ["db-down/wraparound", "pool size", "db-down/wrong-target", "memory/leak"];
    let open = |l: &&String| !left.iter().any(|w| l.contains(w));
    assert!(not_ruled_out.iter().find(open).is_none(), "{not_ruled_out:#?}");
}

#[test]
fn a_stopped_server_was_not_hung_because_it_refused() {
    let s = Stack::outage();
    assert_eq!(asked(&s, "db-down/postgres-stopped", "postgres").0, Outcome::Found);
    assert_eq!(asked(&s, "server-crash/unhealthy", A).0, Outcome::Explained);
    let (outcome, facts) = asked(&s, "db-down/hung", "postgres");
    assert_eq!(outcome, Outcome::RuledOut);
    assert!(facts.contains("postgres login: 127.0.0.1:5432: 127.0.0.1: refused"), "{facts}");
    assert!(facts.contains("inactive (dead)"), "{facts}");
}

#[test]
fn what_was_not_seen_rules_nothing_out() {
    let s = Stack::healthy().login(says("28P01", "password authentication failed"));
    let (outcome, facts) = asked(&s, "pool-exhausted/idle-in-transaction", "postgres");
    assert_eq!(outcome, Outcome::Unknown);
    assert!(facts.contains("no login"), "{facts}");
    let s = Stack::healthy().no_bus().no_answer(C, refused());
    assert_eq!(asked(&s, "server-crash/failed", C).0, Outcome::Unknown);
    let s = Stack::healthy().server(|x| x.sees_all = false);
    assert_eq!(asked(&s, "pool-exhausted/blocking-chain", "postgres").0, Outcome::Unknown);
    // An answer that nobody can read is not the answer that a cause lacks.
    let s = Stack::healthy().login(fail(FailKind::Malformed, Stage::Answer));
    assert_eq!(asked(&s, "db-down/hung", "postgres").0, Outcome::Unknown);
}

#[test]
fn a_filtered_report_has_the_same_answers() {
    let looks = Looks { now: Stack::outage().now, before: None };
    let all = why_not(&looks, &scenario::causes(), &[]);
    let one = why_not(&looks, &scenario::causes(), &["postgres".to_owned()]);
    for (a, b) in all.causes.iter().zip(&one.causes) {
        let kept: Vec<_> = a.subjects.iter().filter(|s| s.subject == "postgres").collect();
        assert_eq!(kept, b.subjects.iter().collect::<Vec<_>>());
    }
    agrees(&looks.now, &diagnose(&looks, &Filter::default()));
}

#[test]
fn a_checkpointer_that_began_with_its_server_rules_a_crash_out_where_no_log_is_read() {
    let stand = |s: Stack| asked(&s.unlogged(crate::stack::PG_UNIT), "db-down/backend-crash", "postgres");
    let (outcome, facts) = stand(Stack::healthy());
    assert_eq!(outcome, Outcome::RuledOut, "{facts}");
    assert!(facts.contains("none since its start"), "{facts}");
    for unclear in [None, Some(30.0)] {
        let (outcome, facts) = stand(Stack::healthy().server(|s| s.checkpointer_s = unclear));
        assert_eq!(outcome, Outcome::Unknown, "{facts}");
    }
}
