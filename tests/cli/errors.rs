//! Wrong input: exit 2, one clear line, a next step; nothing on stdout but what was asked for.

use serde_json::Value;

use crate::desk::Desk;

/// Runs what is wrong in itself; returns stderr.
#[track_caller]
fn wrong(desk: &Desk, args: &[&str]) -> String {
    let ran = desk.run(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    ran.stderr
}

#[test]
fn a_wrong_word_gets_the_nearest_right_one() {
    let desk = Desk::new();
    for (args, hint) in [
        (vec!["diagnos"], "diagnose"),
        (vec!["diagnose", "db-donw"], "did you mean `db-down`?"),
        (vec!["diagnose", "poool"], "did you mean `pool`?"),
        (vec!["diagnose", "--service", "codebase-mpc"], "did you mean `codebase-mcp`?"),
        (vec!["runbook", "db-dwn"], "did you mean `db-down`?"),
        (vec!["runbook", "db-down#postgres-stoped"], "did you mean `postgres-stopped`?"),
        (vec!["--output", "jsn", "diagnose"], "json"),
        (vec!["--timeout", "5", "diagnose"], "500ms, 5s"),
        (vec!["--timeout", "0s", "diagnose"], "timeout"),
        (vec!["schema", "diagnose"], "diagnosis"),
        (vec!["diagnose", "--form", "x"], "--from"),
    ] {
        let said = wrong(&desk, &args);
        assert!(said.contains(hint), "{args:?} should offer `{hint}`: {said}");
    }
}

#[test]
fn a_file_that_is_no_snapshot_is_said_to_be_none() {
    let desk = Desk::new();
    desk.file("empty.json", "");
    desk.file("other.json", "{\"schema\":\"mcp-ir/snapshot/99\"}");
    desk.file("text.json", "hello");
    desk.file("cut.json", "{\"schema\":\"mcp-ir/snapshot/1\",\"taken_at\":");
    for (file, words) in [
        ("empty.json", "not a snapshot"),
        ("other.json", "mcp-ir/snapshot/99"),
        ("text.json", "not a snapshot"),
        ("cut.json", "not a snapshot"),
        ("absent.json", "can't be read"),
        (".", "can't be read"),
    ] {
        let said = wrong(&desk, &["diagnose", "--from", file]);
        assert!(said.contains(words) && said.contains(file), "{file}: {said}");
    }
}

#[test]
fn where_nothing_can_be_saved_nothing_is_looked_at() {
    let desk = Desk::new();
    for path in ["absent/look.json", ".", "/proc/look.json"] {
        let said = wrong(&desk, &["diagnose", "--save", path]);
        assert!(said.contains("look.json") || said.contains("folder"), "{said}");
    }
}

#[test]
fn who_asks_for_json_gets_errors_as_json() {
    let desk = Desk::new();
    let schema: Value = serde_json::from_str(&desk.run(&["schema", "error"]).stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for args in [
        vec!["-o", "json", "diagnose", "nonsense"],
        vec!["-o", "json", "diagnos"],
        vec!["diagnose", "--output=json", "--nonsense"],
        vec!["-o", "json", "--config", "absent.toml", "diagnose"],
        vec!["-o", "json", "runbook", "nonsense"],
    ] {
        let ran = desk.run(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""), "{args:?}");
        let doc: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout));
        assert!(schema.is_valid(&doc), "{args:?}: {}", ran.stdout);
        assert!(!doc["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn no_argument_is_a_request_for_help() {
    let ran = Desk::new().run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("Usage: mcp-ir"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Examples:"), "{}", ran.stderr);
}

#[test]
fn bytes_that_are_no_text_are_refused_as_such() {
    use std::os::unix::ffi::OsStrExt;
    let desk = Desk::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let out = desk.command().arg("diagnose").arg(odd).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"));
}
