//! What is built in: help, version, runbooks, schemas, completions, the manual page.

use serde_json::Value;

use crate::desk::Desk;

#[test]
fn help_of_every_verb_has_examples_and_keeps_to_the_width() {
    let desk = Desk::new();
    for verb in [
        vec![],
        vec!["diagnose"],
        vec!["runbook"],
        vec!["config", "show"],
        vec!["config", "init"],
        vec!["schema"],
        vec!["completions"],
        vec!["who"],
        vec!["config", "check"],
    ] {
        let mut args = verb.clone();
        args.push("--help");
        let ran = desk.run(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{verb:?}");
        assert!(ran.stdout.contains("Example"), "{verb:?} has no example:\n{}", ran.stdout);
        for line in ran.stdout.lines() {
            assert!(line.chars().count() <= 80, "{verb:?}: {line}");
        }
    }
}

#[test]
fn the_version_is_one_line() {
    let ran = Desk::new().run(&["--version"]);
    assert_eq!(ran.stdout, format!("mcp-ir {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_runbooks_are_built_in() {
    let desk = Desk::new();
    let table = desk.run(&["runbook"]);
    assert_eq!(table.code, Some(0));
    for scenario in ["db-down", "pool-exhausted", "server-crash", "latency", "memory"] {
        assert!(table.stdout.contains(scenario), "{}", table.stdout);
        let whole = desk.run(&["runbook", scenario]).stdout;
        assert!(whole.starts_with("# "), "{whole}");
    }
    assert!(table.stdout.lines().all(|l| l.chars().count() <= 80), "{}", table.stdout);
    let one = desk.run(&["runbook", "db#hung"]).stdout;
    assert!(one.starts_with("## hung\n") && one.matches("\n## ").count() == 0, "{one}");
    assert_eq!(one, desk.run(&["runbook", "db-down/hung"]).stdout);
    let json: Value = serde_json::from_str(&desk.run(&["runbook", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["runbooks"].as_array().unwrap().len(), 5);
}

#[test]
fn every_remedy_names_a_heading_that_exists() {
    let desk = Desk::new();
    for c in mcp_ir::scenario::causes() {
        let ran = desk.run(&["runbook", &c.name.replace('/', "#")]);
        assert_eq!(ran.code, Some(0), "{}: {}", c.name, ran.stderr);
    }
}

#[test]
fn completions_and_the_manual_page_come_from_the_tree() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = desk.run(&["completions", shell]);
        assert!(ran.stdout.contains("diagnose") && ran.stdout.contains("runbook"), "{shell}");
    }
    let man = desk.run(&["man"]).stdout;
    assert!(man.contains(".TH mcp\\-ir 1") || man.contains(".TH mcp-ir 1"), "{man}");
    assert!(man.contains("\\-\\-save"), "{man}");
}
