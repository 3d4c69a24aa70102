//! An earlier look to compare with: files, and those that the program keeps by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::desk::Desk;
use crate::diagnose::{HEALTHY, one_service, serve};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    desk
}

/// A saved look, and the same as if it were taken so many seconds before.
fn two_looks(desk: &Desk, seconds: i64) -> (String, String) {
    desk.run(&["--config", "c.toml", "diagnose", "--save", "now.json"]);
    let path = desk.dir.path().join("now.json");
    let mut look: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let at: jiff::Timestamp = look["taken_at"].as_str().unwrap().parse().unwrap();
    let before = at - jiff::SignedDuration::from_secs(seconds);
    look["taken_at"] = before.to_string().into();
    desk.file("before.json", &look.to_string());
    (at.to_string(), before.to_string())
}

#[test]
fn of_two_files_the_later_is_judged_whatever_their_order() {
    let desk = desk();
    let (now, before) = two_looks(&desk, 600);
    for args in [
        ["diagnose", "-o", "json", "--from", "now.json", "--from", "before.json"],
        ["diagnose", "-o", "json", "--from", "before.json", "--from", "now.json"],
        ["diagnose", "-o", "json", "--from", "now.json", "--since", "before.json"],
    ] {
        let ran = desk.run(&args);
        let d: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((d["taken_at"].as_str(), d["compared_with"].as_str()), (Some(&*now), Some(&*before)));
    }
    let said = desk.run(&["diagnose", "--from", "now.json", "--since", "before.json"]).stdout;
    assert!(said.contains("compared with the look of 10 min before"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let desk = desk();
    two_looks(&desk, 600);
    let refused = |args: &[&str], why: &str| {
        let ran = desk.run(args);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused(&["diagnose", "--from", "now.json", "--since", "10m"], "names the file of an earlier one");
    refused(&["diagnose", "--from", "now.json", "--from", "now.json"], "not an earlier one");
    let three = ["diagnose", "--from", "now.json", "--from", "before.json", "--since", "before.json"];
    refused(&three, "two looks can be compared");
    let other = fs::read_to_string(desk.dir.path().join("before.json")).unwrap();
    let mut look: serde_json::Value = serde_json::from_str(&other).unwrap();
    look["vantage"]["host"] = "elsewhere".into();
    desk.file("other.json", &look.to_string());
    refused(&["diagnose", "--from", "now.json", "--since", "other.json"], "two hosts");
    refused(&["--config", "c.toml", "diagnose", "--since", "nowhere.json"], "nowhere.json can't be read");
}

#[test]
fn a_look_is_kept_for_its_owner_and_found_again() {
    let desk = desk();
    let asked = ["--config", "c.toml", "diagnose", "--since", "10m", "-o", "json"];
    let ran = desk.run(&asked);
    assert!(ran.stderr.contains("no earlier look with this configuration"), "{}", ran.stderr);
    let folder = desk.dir.path().join(".local/state/mcp-ir/looks");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = desk.run(&asked);
    assert!(ran.stderr.contains("the oldest look that is kept is"), "{}", ran.stderr);
    let d: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(d["compared_with"].is_string(), "{}", ran.stdout);
    assert_eq!((ran.code, d["verdict"].as_str()), (Some(0), Some("healthy")));
}

#[test]
fn where_nothing_can_be_kept_the_answer_is_the_same() {
    let desk = desk();
    desk.file("state", "a file, no folder");
    let run = |args: &[&str]| {
        let all = [&["--config", "c.toml", "diagnose"], args].concat();
        desk.with(&all, &[("MCP_IR_STATE_DIR", desk.dir.path().join("state").to_str().unwrap())])
    };
    let ran = run(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(run(&["-v"]).stderr.contains("this look is not kept"));
}
