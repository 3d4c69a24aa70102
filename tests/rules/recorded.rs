//! Looks at real faults, recorded from the lab and replayed: every one keeps the cause it was made with.
//! And files that are no looks: refused with words that say why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::error::Kind;
use mcp_ir::snapshot::{Looks, SCHEMA, Snapshot};

use crate::told::Told;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

fn read(name: &str) -> Snapshot {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    Snapshot::from_json(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every look that was ever recorded, by its name.
pub fn all() -> Vec<(String, Snapshot)> {
    let files = fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
    let names = files.filter(|p| p.extension().is_some_and(|e| e == "json"));
    let names = names.map(|p| p.file_stem().unwrap().to_string_lossy().into_owned());
    names.map(|name| (name.clone(), read(&name))).collect()
}

fn replay(name: &str) -> Told {
    let looks = Looks { now: read(name), before: None };
    let d = diagnose(&looks, &Filter::default());
    crate::why_not::agrees(&looks.now, &d);
    Told::new(d).case(name)
}

/// The recorded fault, its only root, and what that root explains (every finding there is).
const FAULTS: &[(&str, &str, Certainty, &[&str])] = &[
    (
        "auth-failed-password",
        "db-down/auth-failed@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"],
    ),
    ("bad-configuration-pool-size", "server-crash/bad-configuration@codebase-mcp", Certainty::Proven, &[]),
    (
        "blocking-chain-migration",
        "pool-exhausted/blocking-chain@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "pool-exhausted/client-pool-saturated@codebase-mcp"],
    ),
    (
        "blocking-chain-own-request",
        "pool-exhausted/blocking-chain@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "pool-exhausted/client-pool-saturated@codebase-mcp"],
    ),
    (
        "client-pool-saturated-shape-a",
        "pool-exhausted/client-pool-saturated@codebase-mcp",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp"],
    ),
    (
        "client-pool-saturated-shape-c",
        "pool-exhausted/client-pool-saturated@workflow-mcp",
        Certainty::Proven,
        &["server-crash/unhealthy@workflow-mcp"],
    ),
    ("corrupted-state-truncated", "server-crash/corrupted-state@codebase-mcp", Certainty::Proven, &[]),
    ("disk-full-once", "server-crash/disk-full@codebase-mcp", Certainty::Proven, &[]),
    ("exec-failed-program", "server-crash/exec-failed@codebase-mcp", Certainty::Proven, &[]),
    ("failed-abort", "server-crash/failed@workflow-mcp", Certainty::Proven, &[]),
    ("failed-auto-restart", "server-crash/failed@codebase-mcp", Certainty::Proven, &[]),
    ("failed-exit-1", "server-crash/failed@codebase-mcp", Certainty::Proven, &[]),
    ("failed-in-vain", "server-crash/failed@codebase-mcp", Certainty::Proven, &[]),
    (
        "hung-cluster",
        "db-down/hung@postgres",
        Certainty::Proven,
        &["server-crash/hung@codebase-mcp", "server-crash/hung@workflow-mcp"],
    ),
    ("hung-postmaster", "db-down/hung@postgres", Certainty::Proven, &[]),
    (
        "idle-in-transaction-own-pool",
        "pool-exhausted/idle-in-transaction@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "pool-exhausted/client-pool-saturated@codebase-mcp"],
    ),
    (
        "idle-in-transaction-slots",
        "pool-exhausted/idle-in-transaction@postgres",
        Certainty::Proven,
        &["pool-exhausted/server-slots-full@postgres"],
    ),
    ("not-listening-closed", "server-crash/not-listening@codebase-mcp", Certainty::Likely, &[]),
    (
        "postgres-stopped-killed",
        "db-down/postgres-stopped@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"],
    ),
    (
        "postgres-stopped-stopped",
        "db-down/postgres-stopped@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"],
    ),
    (
        "server-slots-full-all",
        "pool-exhausted/server-slots-full@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"],
    ),
    ("server-slots-full-free-ones", "pool-exhausted/server-slots-full@postgres", Certainty::Proven, &[]),
    (
        "starting-up-slow-replay",
        "db-down/starting-up@postgres",
        Certainty::Proven,
        &["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"],
    ),
    ("stopped-exit-0", "server-crash/stopped@codebase-mcp", Certainty::Proven, &[]),
    ("unhealthy-shape-a", "server-crash/unhealthy@codebase-mcp", Certainty::Proven, &[]),
    ("unhealthy-shape-c", "server-crash/unhealthy@workflow-mcp", Certainty::Proven, &[]),
    ("stopped-on-purpose-systemctl", "server-crash/stopped-on-purpose@codebase-mcp", Certainty::Proven, &[]),
    ("tasks-limit-threads", "server-crash/tasks-limit@codebase-mcp", Certainty::Proven, &[]),
];

/// Noise: healthy, exit 0, no finding at all.
const HEALTHY: &[&str] = &[
    "healthy-70-percent",
    "healthy-90-percent",
    "healthy-came-back",
    "healthy-idle-tx-2s",
    "healthy-idle",
    "healthy-own-password",
    "healthy-restarted",
    "healthy-slow-login",
];

#[test]
fn every_recorded_fault_keeps_its_cause() {
    for (name, root, certainty, explains) in FAULTS {
        let told = replay(name);
        told.expect_root(root, *certainty);
        let all: Vec<&str> = told.d.findings.iter().skip(1).map(|f| f.id.as_str()).collect();
        assert_eq!(&all, explains, "{name}");
        for id in *explains {
            assert!(leads_to(&told, id, root), "{name}: {id} is not explained by {root}");
        }
    }
}

fn leads_to(told: &Told, id: &str, root: &str) -> bool {
    id == root || told.find(id).explained_by.iter().any(|by| leads_to(told, by, root))
}

#[test]
fn every_recorded_noise_stays_healthy() {
    for name in HEALTHY {
        replay(name).healthy();
    }
}

#[test]
fn every_recorded_file_is_expected_and_holds_no_secret_and_no_path_of_a_machine() {
    let mut expected: Vec<String> =
        FAULTS.iter().map(|(n, ..)| *n).chain(HEALTHY.iter().copied()).map(|n| format!("{n}.json")).collect();
    expected.sort();
    let mut there: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert_eq!(there, expected);
    for name in there {
        let text = fs::read_to_string(folder().join(&name)).unwrap();
        for word in ["/home", "/root/", "mcp-ir-lab-", "PASSWORD", ":****@"] {
            let kept = text.replace("/proc/1000/root/proc", "");
            assert!(!kept.contains(word), "{name} holds {word}");
        }
    }
}

#[test]
fn a_recorded_look_read_and_written_is_the_same_look() {
    for (name, ..) in FAULTS {
        let now = read(name);
        let again = Snapshot::from_json(&now.to_json().unwrap()).unwrap();
        assert_eq!(again, now, "{name}");
    }
}

#[test]
fn the_program_says_the_same_of_a_recorded_look_on_any_machine() {
    for (name, code) in [
        ("postgres-stopped-killed", 1),
        ("idle-in-transaction-slots", 1),
        ("blocking-chain-migration", 1),
        ("healthy-own-password", 0),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_mcp-ir"))
            .args(["diagnose", "-o", "json", "--from"])
            .arg(folder().join(format!("{name}.json")))
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(code), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let told = replay(name);
        let ids: Vec<&str> =
            said["findings"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap()).collect();
        assert_eq!(ids, told.d.findings.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn what_could_not_be_seen_ends_with_three() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let s = crate::stack::Stack::healthy().health(crate::stack::C, crate::payload::json(401, ""));
    fs::write(file.path(), s.now.to_json().unwrap()).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_mcp-ir"))
        .args(["diagnose", "--from"])
        .arg(file.path())
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_verdict_is_not_a_matter_of_where_the_look_is_judged() {
    for (name, ..) in FAULTS {
        let mut elsewhere = read(name);
        elsewhere.vantage.host = "another".into();
        let there = diagnose(&Looks { now: elsewhere, before: None }, &Filter::default());
        assert_eq!(there.findings, replay(name).d.findings, "{name}");
    }
}

#[track_caller]
fn refuses(text: &str, words: &str) {
    let e = Snapshot::from_json(text).expect_err("this is no snapshot");
    assert_eq!(e.kind, Kind::Usage);
    assert!(e.message.contains(words), "`{words}` is not in `{}`", e.message);
    assert!(!e.hints.is_empty(), "every error has a next step");
}

#[test]
fn a_snapshot_of_another_version_is_refused_by_its_name() {
    let text = fs::read_to_string(folder().join("healthy-idle.json")).unwrap();
    for schema in ["mcp-ir/snapshot/2", "mcp-ir/snapshot/0", "mcp-ir/diagnosis/1", "", "other"] {
        refuses(&text.replace(SCHEMA, schema), &format!("`{schema}`"));
    }
    // Also where nothing else in it can be read.
    refuses(r#"{"schema":"mcp-ir/snapshot/9","news":[]}"#, "mcp-ir/snapshot/9");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "42",
        "\"mcp-ir/snapshot/1\"",
        "<html>",
        "\u{0}\u{1}",
        r#"{"schema":1}"#,
    ] {
        refuses(text, "not a snapshot");
    }
    refuses(&format!(r#"{{"schema":"{SCHEMA}"}}"#), "taken_at");
}

#[test]
fn a_truncated_snapshot_is_refused_wherever_it_ends() {
    let text = fs::read_to_string(folder().join("failed-in-vain.json")).unwrap();
    let end = text.trim_end().len();
    for at in (0..end).step_by(97).chain([end - 1]).filter(|at| text.is_char_boundary(*at)) {
        refuses(&text[..at], "not a snapshot");
    }
    refuses(&format!("{text}{{"), "not a snapshot");
}

#[test]
fn words_that_this_version_does_not_know_are_refused_not_guessed() {
    let text = fs::read_to_string(folder().join("postgres-stopped-stopped.json")).unwrap();
    refuses(&text.replace("\"outcome\": \"failed\"", "\"outcome\": \"guessed\""), "guessed");
    refuses(&text.replace("\"kind\": \"refused\"", "\"kind\": \"shy\""), "shy");
    refuses(&text.replace("\"pool\": 0.95", "\"pol\": 0.95"), "pol");
}

#[test]
fn causes_of_all_three_scenarios_are_recorded() {
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, root, ..) in FAULTS {
        *by.entry(root.split('/').next().unwrap()).or_default() += 1;
    }
    assert!(by.len() == 3 && by.values().all(|n| *n >= 4), "{by:?}");
    let told = replay("idle-in-transaction-slots");
    assert_eq!((told.d.verdict, told.d.severity), (Verdict::Problem, Some(Severity::P2)));
}

#[test]
fn a_look_in_which_two_share_a_name_is_refused() {
    let mut s = crate::stack::Stack::healthy().now;
    s.config.service[1].name = s.config.service[0].name.clone();
    let said = mcp_ir::snapshot::Snapshot::from_json(&s.to_json().unwrap()).unwrap_err().to_string();
    assert!(said.contains("two targets are called `codebase-mcp`"), "{said}");
}

/// What was changed before it is kept with the look, and told in the same order on any machine.
#[test]
fn a_recorded_look_keeps_what_was_changed() {
    let told = replay("bad-configuration-pool-size");
    let first = &told.d.changes[0];
    assert!(first.related && !first.ahead);
    let what = "drop-in lab-fault.conf of codebase-mcp.service (POOL_MAX_SIZE, ";
    assert!(first.change.what.starts_with(what), "{}", first.change.what);
}

/// Found by the fuzzer: the plain reader of numbers is one bit off for some.
#[test]
fn a_number_in_a_saved_look_is_read_back_as_itself() {
    for uptime_s in [8.888888888888889e77_f64, 0.1 + 0.2, 1.7976931348623157e308, 5e-324] {
        let written = serde_json::to_string(&uptime_s).unwrap();
        let read: f64 = serde_json::from_str(&written).unwrap();
        assert_eq!(read.to_bits(), uptime_s.to_bits(), "{written}");
    }
}
