//! `-o nagios` and `-o prometheus`: what monitors read, to the letter.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};

const DENIED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn look(port: u16, output: &str) -> Ran {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(port));
    desk.run(&["--config", "c.toml", "diagnose", "-o", output])
}

fn refused() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `text | 'label'=value[UOM];warn;crit;min;max …`, checked field by field.
fn perfdata(line: &str) -> Vec<(String, String)> {
    let (_, data) = line.trim_end().split_once(" | ").unwrap_or_else(|| panic!("no perfdata: {line}"));
    let mut out = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        rest = rest.strip_prefix('\'').unwrap_or_else(|| panic!("no quoted label: {rest}"));
        let (label, tail) = rest.split_once("'=").unwrap();
        let single = label.replace("''", "");
        assert!(!single.contains(['\'', '=', '|']), "{label}");
        let (value, next) = tail.split_once(' ').unwrap_or((tail, ""));
        let fields: Vec<&str> = value.split(';').collect();
        assert_eq!(fields.len(), 5, "{value}");
        let number = fields[0].trim_end_matches('s');
        assert!(number == "U" || number.parse::<f64>().is_ok(), "{value}");
        out.push((label.to_owned(), fields[0].to_owned()));
        rest = next;
    }
    out
}

#[test]
fn a_monitor_gets_one_line_and_the_plugins_exit_codes() {
    for (port, code, start) in [
        (serve(HEALTHY), 0, "MCP-IR OK: 1 target healthy | "),
        (serve(HOSTILE), 2, "MCP-IR CRITICAL: server-crash/unhealthy @ api, proven: "),
        (refused(), 2, "MCP-IR CRITICAL: server-crash/unit-missing @ api, proven: "),
        (serve(DENIED), 3, "MCP-IR UNKNOWN: api: "),
    ] {
        let ran = look(port, "nagios");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{}", ran.stdout);
        assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        assert_eq!(ran.stdout.matches('|').count(), 1, "{}", ran.stdout);
        assert!(!perfdata(&ran.stdout).is_empty());
    }
    let figures = perfdata(&look(serve(HEALTHY), "nagios").stdout);
    assert!(figures.contains(&("api pool".into(), "1".into())), "{figures:?}");
    let unseen = perfdata(&look(refused(), "nagios").stdout);
    assert!(unseen.contains(&("api pool".into(), "U".into())), "what was not seen is U: {unseen:?}");
}

#[test]
fn a_monitor_that_is_configured_wrong_sees_unknown() {
    let ran = Desk::new().run(&["-o", "nagios", "--config", "absent.toml", "diagnose"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""));
    assert!(ran.stdout.starts_with("MCP-IR UNKNOWN: "), "{}", ran.stdout);
}

#[test]
fn a_textfile_has_heads_gauges_and_no_timestamp() {
    for port in [serve(HEALTHY), serve(HOSTILE), refused()] {
        let page = look(port, "prometheus").stdout;
        let mut metric = "";
        for line in page.lines() {
            if let Some(head) = line.strip_prefix("# ") {
                metric = head.split(' ').nth(1).unwrap();
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(metric), "{line} stands under {metric}");
            assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
            let series = name.split('{').next().unwrap();
            assert!(series.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        }
        assert!(page.contains("mcp_ir_verdict{verdict=\"healthy\"} "), "{page}");
    }
    let page = look(serve(HOSTILE), "prometheus").stdout;
    assert!(
        page.contains("mcp_ir_finding{cause=\"server-crash/unhealthy\",subject=\"api\",severity=\"P1\""),
        "{page}"
    );
    assert!(page.contains("mcp_ir_service_pool_max{subject=\"api\"} 20"), "{page}");
}

#[test]
fn other_verbs_say_that_they_print_for_people() {
    let ran = Desk::new().run(&["runbook", "-o", "prometheus"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("only `diagnose`"), "{}", ran.stderr);
}

fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(all.len() > 20);
    all
}

/// A saved look whose names are awkward in a label, with a bar and a quote, and whose texts have escapes.
fn awkward() -> (Desk, String) {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HOSTILE)));
    desk.run(&["--config", "c.toml", "diagnose", "--save", "plain.json"]);
    let plain = std::fs::read_to_string(desk.dir.path().join("plain.json")).unwrap();
    let name = serde_json::to_string("o'brien \"x\" = a|b\\ é\n").unwrap();
    let file = desk.file("awkward.json", &plain.replace("\"api\"", &name));
    (desk, file.display().to_string())
}

/// Says nothing where all is well, and ends with 3 where it has but a remark.
#[track_caller]
fn promtool(page: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (package prometheus)");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
fn promtool_has_nothing_to_say_about_a_page() {
    let desk = Desk::new();
    for file in recorded() {
        let ran = desk.run(&["diagnose", "-o", "prometheus", "--from", file.to_str().unwrap()]);
        assert_eq!(ran.stderr, "", "{}", file.display());
        promtool(&ran.stdout);
    }
    let (desk, file) = awkward();
    promtool(&desk.run(&["diagnose", "-o", "prometheus", "--from", &file]).stdout);
    for port in [serve(HEALTHY), refused()] {
        promtool(&look(port, "prometheus").stdout);
    }
}

#[test]
#[should_panic(expected = "mcp_ir_x")]
fn promtool_would_say_what_is_wrong() {
    promtool("mcp_ir_x 1\n# TYPE mcp_ir_x gauge\n");
}

#[test]
fn every_recorded_look_is_one_line_with_figures() {
    let desk = Desk::new();
    for file in recorded() {
        let ran = desk.run(&["diagnose", "-o", "nagios", "--from", file.to_str().unwrap()]);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        assert!(ran.stdout.len() < 1500 && !perfdata(&ran.stdout).is_empty(), "{}", ran.stdout);
    }
    let (desk, file) = awkward();
    let ran = desk.run(&["diagnose", "-o", "nagios", "--from", &file]);
    assert_eq!((ran.stdout.lines().count(), ran.stdout.matches('|').count()), (1, 1), "{}", ran.stdout);
    let labels: Vec<String> = perfdata(&ran.stdout).into_iter().map(|(label, _)| label).collect();
    assert!(labels.contains(&"o''brien \"x\" - a/b\\ é  pool".to_owned()), "{labels:?}");
}

/// A program of the Monitoring Plugins that runs another and reads what it says.
fn plugin(name: &str, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(format!("/usr/lib/nagios/plugins/{name}"))
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{name} (package monitoring-plugins-basic): {e}"));
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn programs_that_run_plugins_read_state_text_and_figures() {
    let (_desk, file) = awkward();
    let mine = env!("CARGO_BIN_EXE_mcp-ir");
    let look = [mine, "diagnose", "-o", "nagios", "--from", &file];
    // `negate -s` puts its own word for the state in the text's place: it must find ours.
    let (code, said) = plugin("negate", &[&["-s", "-c", "OK"][..], &look].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("MCP-IR OK: server-crash/unhealthy"), "{said}");
    let (code, said) = plugin("urlize", &[&["http://monitor"][..], &look].concat());
    assert_eq!(code, Some(2), "{said}");
    let (text, figures) = said.split_once("</A> | ").unwrap_or_else(|| panic!("{said}"));
    assert!(text.contains("CRITICAL") && figures.trim_start().starts_with("'look'="), "{said}");
}

#[test]
fn a_textfile_is_written_aside_and_renamed_for_all_to_read() {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(HEALTHY)));
    let args = ["--config", "c.toml", "diagnose", "-o", "prometheus", "--write", "x.prom"];
    let ran = desk.run(&args);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    let path = desk.dir.path().join("x.prom");
    promtool(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let before = std::fs::metadata(&path).unwrap();
    assert_eq!(desk.run(&args).code, Some(0));
    let ino = std::os::unix::fs::MetadataExt::ino;
    assert_ne!(ino(&before), ino(&std::fs::metadata(&path).unwrap()), "another file in its place");
    // Where it can't look, what was written last stands, with its own time in it.
    assert_eq!(
        desk.run(&["--config", "none.toml", "diagnose", "-o", "prometheus", "--write", "x.prom"]).code,
        Some(2)
    );
    promtool(&std::fs::read_to_string(&path).unwrap());
    let names = std::fs::read_dir(desk.dir.path()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(names.filter(|n| n != ".local").count(), 2, "nothing is left beside it");
}
