//! `recover`, `undo` and `incident` as a user types them, where nothing can be done: what is said, what is
//! kept, and the exit codes. What is done for real stands in the lab.

use serde_json::Value;

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};
use crate::schemas::keeps;

fn desk(port: u16) -> Desk {
    let desk = Desk::new();
    let more = "unit = 'api.service'\npool = { max_env = 'POOL_MAX_SIZE', max_allowed = 30 }\n\
                [systemd]\nbus = 'unix:path=DIR/none'\n";
    desk.file("c.toml", &(one_service(port) + more));
    desk
}

fn run(desk: &Desk, args: &[&str]) -> Ran {
    let state = desk.dir.path().join("state");
    desk.with(&[&["--config", "c.toml"], args].concat(), &[("MCP_IR_STATE_DIR", state.to_str().unwrap())])
}

fn json(desk: &Desk, name: &str, args: &[&str], code: i32) -> Value {
    let ran = run(desk, &[args, &["-o", "json"]].concat());
    assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.stdout, ran.stderr);
    keeps(name, &ran.stdout)
}

#[test]
fn nothing_wrong_is_nothing_done_and_no_incident() {
    let desk = desk(serve(HEALTHY));
    let done = json(&desk, "recovery", &["recover", "--yes"], 0);
    assert_eq!((&done["outcome"], &done["incident"]), (&"nothing-to-do".into(), &Value::Null));
    assert_eq!(json(&desk, "incidents", &["incident", "list"], 0)["incidents"], Value::Array(Vec::new()));
}

#[test]
fn what_people_have_to_do_is_advice_with_its_command() {
    // No bus: nothing is known of its unit, so nothing is done to it.
    let done = json(&desk(serve(HOSTILE)), "recovery", &["recover", "server", "--yes"], 1);
    assert_eq!(done["outcome"], "advice");
    assert!(done["hints"][0].as_str().is_some_and(|h| !h.is_empty()), "{done}");
}

#[test]
fn a_plan_leaves_no_trace() {
    let desk = desk(serve(HEALTHY));
    json(&desk, "recovery", &["recover", "--plan"], 0);
    assert!(!desk.dir.path().join("state").exists());
}

#[test]
fn a_size_that_does_not_fit_is_refused_and_nothing_is_touched() {
    let desk = desk(serve(HEALTHY));
    let refused = json(&desk, "recovery", &["recover", "pool", "--max-size", "31", "--yes"], 4);
    assert!(refused["hints"][0].as_str().unwrap().ends_with("--max-size 30"), "{refused}");
    let refused = json(&desk, "recovery", &["recover", "pool", "--max-size", "25", "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("`needs`"), "{refused}");
    assert_eq!(json(&desk, "incidents", &["incident", "list"], 0)["incidents"], Value::Array(Vec::new()));
}

#[test]
fn a_wrong_word_is_a_usage_error_with_the_nearest() {
    let desk = desk(1);
    for (args, hint) in [
        (&["recover", "serve"][..], "did you mean `server`?"),
        (&["recover", "--service", "apy"], "did you mean `api`?"),
        (&["recover", "db", "--max-size", "3"], "recover pool"),
        (&["recover", "all", "--max-size", "3"], "recover pool"),
        (&["recover", "all", "--memory-max", "2G"], "recover memory"),
        (&["recover", "db", "--log-level", "info"], "recover memory"),
        (&["recover", "all", "--max-size", "3", "--yes"], "recover pool"),
        (&["recover", "all", "--flush-cache", "a:", "--yes"], "recover server --flush-cache PREFIX"),
        (&["recover", "db", "--flush-db", "redis/0", "--yes"], "recover server --flush-db REDIS/N"),
        (&["recover", "pool", "--drop-slot", "a", "--yes"], "recover db --drop-slot NAME"),
        (&["recover", "all", "--drop-slot", "a", "--yes"], "recover db --drop-slot NAME"),
        (&["recover", "db", "--rollback-prepared", "a"], "recover pool --rollback-prepared GID"),
        (&["recover", "--drop-slot", "a", "--rollback-prepared", "b"], "cannot be used"),
        (&["recover", "--drop-slot", "a", "--max-connections", "300"], "cannot be used"),
        (&["recover", "--restart"], "recover db --restart"),
        (&["recover", "server", "--restart"], "recover db --restart"),
        (&["recover", "server", "--start"], "recover db --start"),
        (&["recover", "db", "--restart-dependencies"], "recover server --restart-dependencies"),
        (&["recover", "--start", "--free-port"], "recover server --free-port"),
        (&["recover", "--start", "--kill-idle", "5m"], "cannot be used"),
        (&["recover", "server", "--reset-state", "--restart-dependencies"], "cannot be used"),
        (&["recover", "server", "--free-port", "--grace", "500ms"], "1s at least"),
        (&["recover", "all", "--kill-idle", "5m"], "recover pool --kill-idle TIME"),
        (&["recover", "pool", "--kill-idle", "10ms"], "recover pool --kill-idle 10m"),
        (&["recover", "pool", "--kill-idle", "5m", "--max-size", "3"], "cannot be used"),
        (&["recover", "all", "--reset-state"], "recover server --reset-state"),
        (&["recover", "server", "--grace", "5s"], "--free-port --grace"),
        (&["undo", "INC-2026-001"], "incident list"),
        (&["incident", "show", "INC-1"], "incident list"),
    ] {
        let ran = run(&desk, args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(hint), "{args:?}: {}", ran.stderr);
    }
}
