//! `mcp-ir diagnose` against sockets of the test's own and against saved looks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::desk::Desk;

/// A configuration with one service at this port, and nothing else.
pub fn one_service(port: u16) -> String {
    format!(
        "postgres = []\nredis = []\nollama = []\n[[service]]\nname = 'api'\nurl = 'http://127.0.0.1:{port}'\n\
         health = '/health/status'\n"
    )
}

/// Answers every request with this, until the test ends.
pub fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

pub const HEALTHY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"status\":\"healthy\",\"database_status\":\"connected\",\"connection_pool\":{\"size\":5,\"min_size\":2,\
    \"max_size\":20,\"free\":4},\"uptime_seconds\":\"36.08\",\"details\":null}";
pub const HOSTILE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"status\":\"unhealthy\",\"database_status\":\"connected\",\"connection_pool\":{\"size\":5,\"max_size\":20,\
    \"free\":4},\"details\":{\"error\":\"\\u001b[2J\\u001b]0;owned\\u0007 \\u009b31m password=hunter2\"}}";

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&Desk::new().run(&["schema", "diagnosis"]).stdout).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn a_healthy_service_is_a_few_lines_and_exit_0() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    let ran = desk.run(&["--config", "c.toml", "diagnose"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("✓ healthy   1 target looked at"), "{}", ran.stdout);
    assert!(ran.stdout.contains("✓ api  healthy · HTTP 200, pool 1 of 20\n"), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() <= 6, "{}", ran.stdout);
}

#[test]
fn json_is_one_document_that_keeps_its_schema() {
    let desk = Desk::new();
    let schema = schema();
    for (answer, code, verdict) in [(HEALTHY, 0, "healthy"), (HOSTILE, 1, "problem")] {
        desk.file("c.toml", &one_service(serve(answer)));
        let ran = desk.run(&["--config", "c.toml", "diagnose", "-o", "json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{}", ran.stdout);
        let doc: Value = serde_json::from_str(&ran.stdout).unwrap();
        let errors: Vec<String> = schema.iter_errors(&doc).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{}", ran.stdout);
        assert_eq!(doc["schema"], "mcp-ir/diagnosis/1");
        assert_eq!(doc["verdict"], verdict);
    }
}

#[test]
fn the_schema_refuses_what_is_no_diagnosis() {
    let schema = schema();
    assert!(!schema.is_valid(&serde_json::json!({})));
    assert!(!schema.is_valid(&serde_json::json!({ "schema": "mcp-ir/diagnosis/2", "verdict": "fine" })));
}

#[test]
fn others_text_reaches_no_terminal_raw_and_no_secret_leaves() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HOSTILE)));
    for args in [
        vec!["--config", "c.toml", "diagnose", "-v"],
        vec!["--config", "c.toml", "diagnose", "-o", "json"],
        vec!["--config", "c.toml", "diagnose", "--color", "always", "--save", "s.json"],
    ] {
        let ran = desk.run(&args);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let ours = ran.stdout.replace("\x1b[0m", "").replace("\x1b[1m", "");
        assert!(!ours.contains("\x1b[2J") && !ours.contains('\u{7}') && !ours.contains('\u{9b}'), "{ours:?}");
        assert!(!ours.contains("hunter2"), "{ours}");
        assert!(ours.contains("owned"), "the text itself is shown: {ours}");
    }
    let saved = std::fs::read_to_string(desk.dir.path().join("s.json")).unwrap();
    assert!(!saved.contains("hunter2") && !saved.contains('\u{9b}') && saved.contains("owned"), "{saved}");
}

#[test]
fn colours_are_for_terminals() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    assert!(!desk.run(&["--config", "c.toml", "diagnose"]).stdout.contains('\x1b'));
    assert!(desk.run(&["--config", "c.toml", "diagnose", "--color", "always"]).stdout.contains('\x1b'));
}

#[test]
fn a_saved_look_says_the_same_again() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HOSTILE)));
    let live = desk.run(&["--config", "c.toml", "diagnose", "-o", "json", "--save", "look.json"]);
    let again = desk.run(&["diagnose", "--from", "look.json", "-o", "json"]);
    assert_eq!((live.code, live.stdout), (again.code, again.stdout));
    let mode = std::fs::metadata(desk.dir.path().join("look.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut left: Vec<_> =
        std::fs::read_dir(desk.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.retain(|name| name != ".local");
    assert_eq!(left.len(), 2, "nothing is left beside the configuration and the look: {left:?}");
}

#[test]
fn a_server_that_never_answers_costs_the_deadline_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new();
    desk.file("c.toml", &one_service(listener.local_addr().unwrap().port()));
    let start = Instant::now();
    let ran = desk.run(&["--config", "c.toml", "--timeout", "400ms", "diagnose"]);
    // Twice the deadline: other tests run beside this one. The figure itself is the benchmark's.
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("server-crash/hung @ api"), "{}", ran.stdout);
    assert!(ran.stdout.contains("likely"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_judged_is_unknown_and_exit_3() {
    let desk = Desk::new();
    let denied = serve("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    desk.file("c.toml", &one_service(denied));
    let ran = desk.run(&["--config", "c.toml", "diagnose"]);
    assert_eq!(ran.code, Some(3), "401 is no crash: {}", ran.stdout);
    assert!(ran.stdout.starts_with("? unknown"), "{}", ran.stdout);
}

#[test]
fn a_port_of_this_host_on_which_nobody_listens_is_told_without_a_unit() {
    let desk = Desk::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    desk.file("c.toml", &one_service(free));
    let ran = desk.run(&["--config", "c.toml", "diagnose"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("server-crash/unit-missing @ api"), "{}", ran.stdout);
}

#[test]
fn quiet_keeps_the_verdict_and_the_cause() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HOSTILE)));
    let ran = desk.run(&["--config", "c.toml", "diagnose", "-q"]);
    assert!(ran.stdout.contains("server-crash/unhealthy @ api"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("✗ api"), "{}", ran.stdout);
}

#[test]
fn reports_keep_within_80_columns() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HOSTILE)));
    let ran = desk.run(&["--config", "c.toml", "diagnose", "-v"]);
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    let mut child = desk
        .command()
        .args(["--config", "c.toml", "diagnose"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn nothing_but_a_plain_file_is_replaced_by_a_saved_look() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    desk.file("target", "mine");
    std::os::unix::fs::symlink("target", desk.dir.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        desk.dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for name in ["link", "pipe"] {
        let ran = desk.run(&["--config", "c.toml", "diagnose", "--save", name]);
        assert_eq!(ran.code, Some(2), "{name}: {}", ran.stdout);
        assert!(ran.stderr.contains("is no plain file"), "{}", ran.stderr);
        // Nor is a pipe that nobody writes to waited for.
        let ran = desk.run(&["diagnose", "--from", if name == "pipe" { "pipe" } else { "." }]);
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    }
    assert!(std::fs::symlink_metadata(desk.dir.path().join("link")).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(desk.dir.path().join("target")).unwrap(), "mine");
}

#[test]
fn our_own_shortage_is_no_trouble_of_theirs() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    let mut command = std::process::Command::new("/usr/bin/prlimit");
    command.args(["--nofile=10", env!("CARGO_BIN_EXE_mcp-ir")]);
    let out =
        command.env_clear().current_dir(desk.dir.path()).args(["--config", "c.toml", "diagnose"]).output();
    let out = out.unwrap();
    assert_ne!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Changes are told on line two, as what they are; others' text can't reach the terminal raw.
#[test]
fn what_changed_stands_on_line_two_and_in_json() {
    let desk = Desk::new();
    let text = std::fs::read_to_string("tests/snapshots/failed-exit-1.json").unwrap();
    let mut look: serde_json::Value = serde_json::from_str(&text).unwrap();
    let taken: jiff::Timestamp = look["taken_at"].as_str().unwrap().parse().unwrap();
    let change = |ago: i64, what: &str| {
        let at = taken - jiff::SignedDuration::from_secs(ago);
        serde_json::json!({"at": at.to_string(), "kind": "drop-in", "subject": "codebase-mcp", "what": what})
    };
    let all = [
        change(720, "drop-in \u{1b}[31mx.conf of codebase-mcp.service (POOL_MAX_SIZE)"),
        change(7200, "old"),
    ];
    look["changes"] =
        serde_json::json!({"elapsed_ms": 1.0, "reading": {"outcome": "seen", "value": {"all": all}}});
    desk.file("look.json", &look.to_string());
    let ran = desk.run(&["diagnose", "--from", "look.json"]);
    let two = ran.stdout.lines().nth(1).unwrap();
    assert!(
        two.starts_with("  changed 12 min ago: drop-in \\x1b[31mx.conf of codebase-mcp.service"),
        "{two}"
    );
    assert!(!ran.stdout.contains("old"), "{}", ran.stdout);
    let ran = desk.run(&["diagnose", "--from", "look.json", "-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let kinds: Vec<&str> =
        said["changes"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"drop-in") && said["changes"][0]["related"] == true, "{kinds:?}");
    assert!(!desk.run(&["-q", "diagnose", "--from", "look.json"]).stdout.contains("changed"));
}
