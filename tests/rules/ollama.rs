//! An Ollama that services need: what it answers, which models it has, and what is no fault.

use std::collections::BTreeMap;

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState, Verdict};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::snapshot::ollama::OllamaLook;
use mcp_ir::snapshot::{FailKind, Failure, Looks, Stage};

use crate::payload;
use crate::stack::{A, C, Stack, fail, failed, refused, seen, silent};

const DOWN: &str = "server-crash/dependency-down@ollama";
const UNIT: &str = "ollama.service";
const A_BAD: &str = "server-crash/unhealthy@codebase-mcp";

/// Both services need it; it has the model that is configured.
fn stack(bend: impl FnOnce(&mut OllamaLook)) -> Stack {
    with(Some("nomic-embed-text"), false, bend)
}

fn optional(bend: impl FnOnce(&mut OllamaLook)) -> Stack {
    with(Some("nomic-embed-text"), true, bend)
}

fn with(model: Option<&str>, optional: bool, bend: impl FnOnce(&mut OllamaLook)) -> Stack {
    let ollama = serde_json::json!({"name": "ollama", "url": "http://127.0.0.1:11434", "model": model,
                                    "unit": UNIT, "optional": optional});
    let models = seen(vec!["llama3:8b".into(), "nomic-embed-text:latest".into()]);
    let mut look = OllamaLook { endpoint: "127.0.0.1:11434".into(), here: Some(true), models };
    bend(&mut look);
    let mut s = Stack::healthy().config(|c| {
        c.ollama = vec![serde_json::from_value(ollama).unwrap()];
        c.service.iter_mut().for_each(|s| s.needs.push("ollama".into()));
    });
    s.now.ollama = BTreeMap::from([("ollama".into(), look)]);
    s.unit(UNIT, "active", "running")
}

fn says(f: Failure) -> impl FnOnce(&mut OllamaLook) {
    |o| o.models = failed(f)
}

fn has(models: &[&str]) -> impl FnOnce(&mut OllamaLook) {
    let models = seen(models.iter().map(|m| (*m).to_owned()).collect());
    |o| o.models = models
}

/// HTTP's own word.
fn status(code: &str) -> Failure {
    Failure { code: Some(code.into()), ..fail(FailKind::Unsupported, Stage::Body) }
}

/// Unhealthy, and the database is not its reason.
fn complains(s: Stack, text: &str) -> Stack {
    s.health(A, payload::a("unhealthy", "connected", 3, 3, 10, &format!(r#"{{"error":{text:?}}}"#)))
}

#[test]
fn an_ollama_with_its_model_is_a_symptom_of_health() {
    let told = stack(|_| ()).told();
    told.healthy().symptom("ollama", SymptomState::Good);
    let row = told.d.readings.iter().find(|r| r.subject == "ollama").unwrap();
    assert_eq!((row.probe.as_str(), row.outcome.as_str()), ("http ollama", "seen"));
    assert_eq!(row.detail, "127.0.0.1:11434 has 2 models");
}

#[test]
fn a_required_ollama_that_refuses_is_down_and_explains_what_needs_it() {
    let s = complains(stack(says(refused())), "ollama: Connection refused").unit(UNIT, "failed", "failed");
    let told = s.told();
    told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]).symptom("ollama", SymptomState::Bad);
    assert_eq!(told.find(DOWN).remedy.command, "systemctl start ollama.service");
    // Elsewhere a packet filter may refuse in its name.
    let s = stack(|o| {
        says(refused())(o);
        o.here = Some(false);
    });
    s.told().expect_root(DOWN, Certainty::Likely);
}

#[test]
fn a_model_that_is_not_there_is_named_beside_those_that_are() {
    let told = stack(has(&["llama3:8b", "mistral:7b"])).told();
    told.expect_root(DOWN, Certainty::Proven).evidence(DOWN, "llama3:8b, mistral:7b");
    let f = told.find(DOWN);
    assert!(f.summary.ends_with("has no model nomic-embed-text; it has llama3:8b, mistral:7b"), "{f:?}");
    assert_eq!(f.remedy.command, "ollama pull nomic-embed-text");
    let told = stack(has(&[])).told();
    assert!(told.find(DOWN).summary.ends_with("it has nothing"));
    let told = stack(has(&["a:1", "b:1", "c:1", "d:1", "e:1", "f:1", "g:1"])).told();
    assert!(told.find(DOWN).summary.ends_with("a:1, b:1, c:1, d:1, e:1 and 2 more"));
}

#[test]
fn the_pull_goes_where_the_model_is_missing() {
    let s = stack(|o| {
        has(&[])(o);
        o.endpoint = "10.0.0.7:11434".into();
    });
    let told = s.told();
    assert_eq!(told.find(DOWN).remedy.command, "OLLAMA_HOST=10.0.0.7:11434 ollama pull nomic-embed-text");
    let told = stack(has(&[])).config(|c| c.ollama[0].container = Some("ai".into())).told();
    assert_eq!(told.find(DOWN).remedy.command, "docker exec ai ollama pull nomic-embed-text");
}

#[test]
fn a_name_is_completed_as_ollama_completes_it() {
    let there = |model: &str, has_it: &str| with(Some(model), false, has(&[has_it])).told().case(model);
    for (model, has_it) in [
        ("nomic-embed-text", "nomic-embed-text:latest"),
        ("nomic-embed-text:latest", "nomic-embed-text:latest"),
        ("Nomic-Embed-Text", "nomic-embed-text:latest"),
        ("library/nomic-embed-text", "nomic-embed-text:latest"),
        ("registry.ollama.ai/library/llama3:8b", "llama3:8b"),
        ("host:5000/ann/model", "host:5000/ann/model:latest"),
        ("llama3:8b@sha256:0123", "llama3:8b"),
    ] {
        there(model, has_it).healthy();
    }
    for (model, has_it) in [
        ("llama3", "llama3:8b"),
        ("llama3:8b", "llama3:latest"),
        ("llama3:8b", "llama3:8b-instruct"),
        ("nomic-embed", "nomic-embed-text:latest"),
        ("llama3", "ann/llama3:latest"),
    ] {
        there(model, has_it).expect_root(DOWN, Certainty::Proven);
    }
}

#[test]
fn where_no_model_is_configured_none_is_missing() {
    with(None, false, has(&[])).told().healthy();
}

#[test]
fn what_is_no_ollama_and_what_answers_with_an_error_are_only_likely_down() {
    let told = stack(says(fail(FailKind::Malformed, Stage::Body))).told();
    told.expect_root(DOWN, Certainty::Likely);
    assert!(told.find(DOWN).summary.contains("does not speak as Ollama does"));
    let told = stack(says(status("502"))).told();
    told.expect_root(DOWN, Certainty::Likely);
    assert!(told.find(DOWN).summary.contains("answers with an error"));
    // Of our asking, not of it.
    stack(says(status("429"))).told().unknown();
}

#[test]
fn an_ollama_that_does_not_let_us_look_is_alive() {
    let denied = || stack(says(fail(FailKind::Denied, Stage::Body)));
    denied().told().healthy().symptom("ollama", SymptomState::Good);
    // Nobody vouches for it: then it is not known.
    let closed = || fail(FailKind::Denied, Stage::Body);
    denied().no_answer(A, closed()).no_answer(C, closed()).told().unknown();
}

#[test]
fn an_ollama_that_is_silent_is_likely_hung_and_a_stopped_one_surely() {
    stack(says(silent())).told().expect_root(DOWN, Certainty::Likely);
    let told = stack(says(silent())).process(UNIT, "T").told();
    told.expect_root(DOWN, Certainty::Proven);
    assert_eq!(told.find(DOWN).remedy.command, "kill -CONT 120");
}

#[test]
fn an_ollama_that_was_not_looked_at_in_time_is_unknown() {
    for (kind, stage) in [
        (FailKind::TimedOut, Stage::Query),
        (FailKind::TimedOut, Stage::Connect),
        (FailKind::NotTried, Stage::Connect),
        (FailKind::Unresolved, Stage::Resolve),
    ] {
        stack(says(fail(kind, stage))).told().unknown();
    }
}

#[test]
fn an_optional_ollama_that_nobody_installed_is_no_fault() {
    let none = || optional(says(refused())).unlisted(UNIT);
    none().told().healthy();
    none().loaded(UNIT, "not-found", "inactive", "dead").told().healthy();
    none().no_bus().told().healthy();
    // Yesterday it was there.
    let before = optional(|_| ()).now;
    let d = diagnose(&Looks { now: none().now, before: Some(before) }, &Filter::default());
    assert_eq!(d.findings[0].severity, Severity::P3);
}

#[test]
fn an_optional_ollama_that_is_ill_wakes_nobody_unless_a_service_says_so() {
    let told = optional(says(refused())).unit(UNIT, "inactive", "dead").told();
    told.verdict(Verdict::Healthy);
    assert_eq!(told.find(DOWN).severity, Severity::P4);
    let told = optional(has(&[])).told();
    told.expect_root(DOWN, Certainty::Proven);
    assert_eq!(told.find(DOWN).severity, Severity::P3);
    let told = complains(optional(has(&[])), "Ollama: model not found, try pulling it first").told();
    told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]);
    assert_eq!(told.find(DOWN).severity, Severity::P1);
}

#[test]
fn an_old_snapshot_without_ollama_still_reads() {
    let mut v = serde_json::to_value(&Stack::healthy().now).unwrap();
    v.as_object_mut().unwrap().remove("ollama");
    let old = mcp_ir::snapshot::Snapshot::from_json(&v.to_string()).unwrap();
    assert_eq!(old, Stack::healthy().now);
    // Configured then, and not looked at: said.
    let mut s = stack(|_| ());
    s.now.ollama.clear();
    assert!(s.told().d.readings.iter().any(|r| r.subject == "ollama" && r.outcome == "not-asked"));
}
