//! Every document that is printed as JSON keeps the schema that is shipped for it.

use serde_json::Value;

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};

/// The shipped schema of a document.
pub fn schema(name: &str) -> jsonschema::Validator {
    let text = Desk::new().run(&["schema", name]).stdout;
    let schema: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(schema["$id"], format!("mcp-ir/{name}/1"));
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
pub fn keeps(name: &str, text: &str) -> Value {
    let doc: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}: {text}"));
    let wrong: Vec<String> =
        schema(name).iter_errors(&doc).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{text}");
    assert_eq!(doc["schema"], format!("mcp-ir/{name}/1"));
    doc
}

/// A whole configuration: PostgreSQL that refuses, with a password, and a service with a pool.
fn desk(port: u16) -> Desk {
    let desk = Desk::new();
    desk.file("password", "hunter2\n");
    let text = one_service(port).replace("postgres = []\n", "")
        + "needs = ['pg']\n[[postgres]]\nname = 'pg'\nurl = 'postgresql://m@127.0.0.1:1/app'\n\
           password_file = 'DIR/password'\n[systemd]\nbus = 'unix:path=DIR/none'\n";
    desk.file("c.toml", &text);
    desk
}

fn json(desk: &Desk, args: &[&str]) -> Ran {
    desk.run(&[&["--config", "c.toml", "-o", "json"], args].concat())
}

#[test]
fn every_document_keeps_its_schema() {
    for port in [serve(HEALTHY), serve(HOSTILE), 1] {
        let desk = desk(port);
        keeps("diagnosis", &json(&desk, &["diagnose", "--save", "now.json"]).stdout);
        keeps("snapshot", &std::fs::read_to_string(desk.dir.path().join("now.json")).unwrap());
        let answer =
            json(&desk, &["diagnose", "--from", "now.json", "--why-not", "hung", "--why-not", "auth-failed"]);
        let answer = keeps("why-not", &answer.stdout);
        assert_eq!(answer["causes"].as_array().unwrap().len(), 3, "hung is a server's and a service's");
        keeps("permissions", &json(&desk, &["config", "check"]).stdout);
        keeps("who", &json(&desk, &["who"]).stdout);
    }
    let desk = desk(1);
    let config = keeps("config", &json(&desk, &["config", "show"]).stdout);
    assert_eq!(config["secrets"][0]["what"], "password");
    assert!(!config.to_string().contains("hunter2"));
    keeps("template", &json(&desk, &["config", "init", "-"]).stdout);
    let written = keeps("template", &json(&desk, &["config", "init", "new.toml"]).stdout);
    assert_eq!(written["file"], "DIR/new.toml");
    keeps("runbooks", &json(&desk, &["runbook"]).stdout);
    keeps("runbook", &json(&desk, &["runbook", "db-down"]).stdout);
    keeps("runbook", &json(&desk, &["runbook", "db-down#hung"]).stdout);
    for wrong in [
        &["diagnose", "--from", "none"][..],
        &["runbook", "x"],
        &["--frob"],
        &["schema"],
        &["who", "--older", "x"],
    ] {
        let ran = json(&desk, wrong);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""), "{wrong:?}");
        keeps("error", &ran.stdout);
    }
}

#[test]
fn a_schema_that_holds_nothing_back_would_be_seen() {
    let doc = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert!(!schema("who").is_valid(&doc(r#"{"schema":"mcp-ir/who/1","taken_at":"x"}"#)));
    assert!(!schema("why-not").is_valid(&doc(r#"{"schema":"mcp-ir/who/1"}"#)));
    assert!(!schema("evidence").is_valid(&doc(r#"{"schema":"mcp-ir/evidence/1","files":[]}"#)));
    assert!(!schema("permissions").is_valid(&doc(
        r#"{"schema":"mcp-ir/permissions/1","vantage":{"host":"h","user":"u"},"warnings":[],
            "permissions":[{"what":"w","subject":"s","state":"maybe","says":"","grant":null}]}"#
    )));
}

#[test]
fn the_recorded_looks_keep_their_schema() {
    let schema = schema("snapshot");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut n = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let doc: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(schema.is_valid(&doc), "{}", path.display());
        n += 1;
    }
    assert!(n > 20, "{n}");
}

#[test]
fn the_documents_are_listed_by_the_command_that_prints_them() {
    let ran = Desk::new().run(&["schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for line in ["diagnosis", "why-not", "snapshot", "config check -o json", "config show -o json"] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
}

#[test]
fn why_not_says_which_fact_and_ends_as_the_diagnosis() {
    let desk = desk(serve(HEALTHY));
    let ran = desk.run(&["--config", "c.toml", "diagnose", "--why-not", "server-crash/hung"]);
    let whole = desk.run(&["--config", "c.toml", "diagnose"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (whole.code, ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("server-crash/hung  the service accepts"), "{}", ran.stdout);
    assert!(ran.stdout.contains("✓ api: ruled out\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("http health  api  answers HTTP 200, not unhealthy"), "{}", ran.stdout);
    assert!(ran.stdout.contains("needs: a connection that is made, and no answer in time"), "{}", ran.stdout);
}

#[test]
fn why_not_of_a_cause_that_does_not_exist_names_the_nearest() {
    let desk = desk(1);
    for (typed, near) in
        [("postgres-stoped", "postgres-stopped"), ("db-down/hunk", "db-down/hung"), ("auth", "auth-failed")]
    {
        let ran = desk.run(&["diagnose", "--why-not", typed]);
        assert_eq!(ran.code, Some(2), "{typed}");
        assert!(ran.stderr.contains(&format!("did you mean `{near}`?")), "{typed}: {}", ran.stderr);
    }
    let ran = desk.run(&["diagnose", "--why-not", "hung", "-o", "prometheus"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--why-not prints for people"), "{}", ran.stderr);
}
