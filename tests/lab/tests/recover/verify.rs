//! `verify` against the real thing: all of it works, one service does not, the database is gone.

use serde_json::Value;

use crate::bench::{A, Bench};

#[test]
fn verify_says_what_works_and_what_does_not() {
    let Some(mut b) = Bench::start() else { return };
    let healthy = b.json(&["verify", "--load", "4", "--for", "2s"], 0);
    assert_eq!(healthy["verdict"], "healthy", "{healthy}");
    assert!(
        of(&healthy, "query", "postgres")["says"].as_str().unwrap().contains("answered a query"),
        "{healthy}"
    );
    let load = of(&healthy, "load", A);
    assert!(load["load"]["requests"].as_u64().unwrap() > 8 && load["load"]["failed"] == 0, "{load}");
    assert!(load["load"]["p99_ms"].as_f64() >= load["load"]["p50_ms"].as_f64(), "{load}");
    its_metrics_and_its_mcp_endpoint_are_asked(&mut b);
    b.inject("unhealthy/shape-a");
    let ill = b.json(&["verify"], 1);
    assert_eq!(of(&ill, "health", A)["state"], "failed", "{ill}");
    assert_eq!(of(&ill, "query", "postgres")["state"], "passed", "{ill}");
    b.json(&["verify", "db"], 0);
    b.heal();
    b.inject("postgres-stopped");
    let gone = b.json(&["verify", "db"], 1);
    assert_eq!(of(&gone, "query", "postgres")["state"], "failed", "{gone}");
    b.heal();
    assert!(b.journal().is_empty(), "it opens no incident");
}

fn its_metrics_and_its_mcp_endpoint_are_asked(b: &mut Bench) {
    let settings = lab::Settings { mcp: true, metrics: true, ..b.stack.settings().clone() };
    b.stack.configure(&settings).unwrap();
    let all = b.json(&["verify", "server"], 0);
    for what in ["mcp", "metrics"] {
        assert_eq!(of(&all, what, A)["state"], "passed", "{what}: {all}");
    }
    b.inject("mcp-broken/error");
    let ill = b.json(&["verify", "server"], 1);
    assert_eq!(
        (&of(&ill, "mcp", A)["state"], &of(&ill, "health", A)["state"]),
        (&"failed".into(), &"passed".into()),
        "{ill}"
    );
    b.stack.configure(&lab::Settings::default()).unwrap();
    b.heal();
}

#[track_caller]
fn of<'a>(doc: &'a Value, what: &str, subject: &str) -> &'a Value {
    let all = doc["checks"].as_array().unwrap();
    let found = all.iter().find(|c| c["what"] == what && c["subject"] == subject);
    found.unwrap_or_else(|| panic!("{what} of {subject}: {doc}"))
}
