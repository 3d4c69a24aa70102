//! `-o nagios` and `-o prometheus`: what monitors read, to the letter.

use std::net::TcpListener;

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};

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
        (refused(), 3, "MCP-IR UNKNOWN: api: "),
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
