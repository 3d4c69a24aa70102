//! The house keeps its order: imports point down, causes are declared whole, files stay short.
//! Reads the sources as text; needs no build of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down: a module may import those after it, never one before it. As `src/lib.rs` says.
const ORDER: [&str; 13] = [
    "cli",
    "render",
    "engine",
    "incident",
    "action",
    "consent",
    "probe",
    "scenario",
    "diagnosis",
    "plan",
    "snapshot",
    "config",
    "error",
];

/// Rules and data: they know no runtime, no client, no clock.
const PURE: [&str; 4] = ["scenario", "diagnosis", "plan", "snapshot"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                out.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// The code of a file that runs in the program: no comments, no tests.
fn code(path: &Path) -> String {
    if path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `src/probe/http.rs` → `probe`; `src/error.rs` → `error`.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Every `crate::x` in a file, in `use` lines and in paths, without comments.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    let mut out = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.is_empty() {
                // `use crate::{a, b}`: each name counts.
                out.extend(
                    rest.trim_start_matches('{')
                        .split(['{', '}', ',', ';'])
                        .map(|n| n.trim().split("::").next().unwrap_or_default().to_owned())
                        .filter(|n| !n.is_empty()),
                );
            } else {
                out.push(name);
            }
        }
    }
    out
}

#[test]
fn imports_point_down() {
    let rank: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(i, m)| (*m, i)).collect();
    let mut up = Vec::new();
    for path in sources(&root().join("src")) {
        let own = module(&path);
        if own == "main" || own == "lib" {
            continue;
        }
        let mine = *rank.get(own.as_str()).unwrap_or_else(|| panic!("`{own}` stands in no order: add it"));
        for other in imports(&fs::read_to_string(&path).unwrap()) {
            match rank.get(other.as_str()) {
                Some(theirs) if *theirs >= mine => {}
                Some(_) => up.push(format!("{} imports crate::{other}", path.display())),
                None => {
                    up.push(format!("{} imports crate::{other}, which stands in no order", path.display()))
                }
            }
        }
    }
    assert!(up.is_empty(), "imports that point up:\n{}", up.join("\n"));
}

#[test]
fn an_import_that_points_up_would_be_seen() {
    assert_eq!(imports("use crate::cli::Cli;\nlet x = crate::render::text(y);"), ["cli", "render"]);
    assert_eq!(imports("use crate::{config, probe::by};"), ["config", "probe"]);
    assert_eq!(imports("// use crate::cli;"), Vec::<String>::new());
}

#[test]
fn the_map_in_lib_rs_is_the_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map: Vec<&str> =
        lib.lines().filter_map(|l| l.strip_prefix("//! - `")).filter_map(|l| l.split('`').next()).collect();
    assert_eq!(map, ORDER);
}

#[test]
fn rules_are_pure() {
    for path in sources(&root().join("src")) {
        if !PURE.contains(&module(&path).as_str()) {
            continue;
        }
        let text = code(&path);
        for word in [
            "tokio",
            "hyper",
            "zbus",
            "async fn",
            ".await",
            "Instant::now",
            "Timestamp::now",
            "std::fs::",
            "std::net::Tcp",
            "ToSocketAddrs",
        ] {
            assert!(!text.contains(word), "{} is no place for `{word}`", path.display());
        }
    }
}

#[test]
fn every_cause_is_in_its_scenario_and_explains_what_exists() {
    let causes = mcp_ir::scenario::causes();
    let names: Vec<&str> = causes.iter().map(|c| c.name).collect();
    for path in sources(&root().join("src/scenario")) {
        let text = fs::read_to_string(&path).unwrap();
        for declared in
            text.match_indices("static ").map(|(at, _)| &text[at..]).filter(|t| t.contains(": Cause"))
        {
            let head = declared.split(';').next().unwrap();
            if let Some(name) = head.split('"').nth(1).filter(|n| n.contains('/')) {
                assert!(names.contains(&name), "{name} is declared and in no scenario's list");
            }
        }
    }
    for c in &causes {
        for (other, _) in c.explains {
            assert!(names.contains(other), "{} explains `{other}`, which does not exist", c.name);
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for folder in ["src", "tests"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().count();
            assert!(lines <= 400, "{} has {lines} lines", path.display());
            assert!(text.starts_with("//!"), "{} does not begin with what it is for", path.display());
        }
    }
}

#[test]
fn rule_8_no_shell_and_no_client_program_is_run() {
    for path in sources(&root().join("src")) {
        let text = code(&path);
        for word in ["Command::new(\"", "/bin/sh", "/bin/bash"] {
            assert!(
                !text.contains(word),
                "{} runs `{word}`: only absolute paths from a list",
                path.display()
            );
        }
    }
}
