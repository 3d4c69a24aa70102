//! `verify` as a user types it: what passes, what fails, and what could not be seen.

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};
use crate::schemas::keeps;

const SMOKE: &str = "smoke = { method = 'POST', path = '/search', json = { query = 'test' } }\n";

fn verify(port: u16, more: &str, args: &[&str]) -> Ran {
    let desk = Desk::new();
    desk.file("c.toml", &(one_service(port) + more));
    desk.run(&[&["--config", "c.toml", "verify"], args].concat())
}

#[test]
fn a_service_that_works_passes_each_check() {
    let ran = verify(serve(HEALTHY), SMOKE, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for line in
        ["healthy · 3 checks in ", "✓ health  api: healthy", "✓ pool    api: ", "✓ smoke   api: HTTP 200"]
    {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
}

#[test]
fn what_fails_is_a_problem_and_what_is_not_seen_is_none() {
    assert_eq!(verify(serve(HOSTILE), "", &[]).code, Some(1));
    let refused = verify(1, SMOKE, &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stdout.contains("✗ smoke   api: "), "{}", refused.stdout);
    let login = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let ran = verify(serve(login), SMOKE, &[]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let program = "smoke = { argv = ['/bin/false'] }\n";
    assert_eq!(verify(serve(HEALTHY), program, &["server"]).code, Some(1));
    let missing = "smoke = { argv = ['/no/such/program'] }\n";
    assert_eq!(verify(serve(HEALTHY), missing, &["server"]).code, Some(3));
}

#[test]
fn a_load_is_counted_and_bounded() {
    let ran = verify(serve(HEALTHY), SMOKE, &["--load", "3", "--for", "300ms", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let doc = keeps("verification", &ran.stdout);
    let load = doc["checks"].as_array().unwrap().iter().find(|c| c["what"] == "load").unwrap();
    assert_eq!((&load["load"]["users"], &load["load"]["failed"]), (&3.into(), &0.into()), "{load}");
    let requests = load["load"]["requests"].as_u64().unwrap();
    assert!(requests >= 3, "{load}");
    let down = verify(1, SMOKE, &["latency", "--load", "2", "--for", "200ms", "-o", "json"]);
    assert_eq!(down.code, Some(1), "{}", down.stdout);
    keeps("verification", &down.stdout);
}

/// A service that is down has no pool that is well.
#[test]
fn rule_6_what_could_not_be_seen_of_what_was_asked_verifies_nothing() {
    let pool = "pool = { max_env = 'POOL_MAX_SIZE' }\n";
    let ran = verify(1, pool, &["pool"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("✗ health  api: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("pool    api: it could not be seen"), "{}", ran.stdout);
    let ran = verify(serve(FULL), pool, &["pool"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("✗ finding api: P2 pool-exhausted/client-pool-saturated"), "{}", ran.stdout);
    let login = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let ran = verify(serve(login), pool, &["pool"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
}

const FULL: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"status\":\"healthy\",\"database_status\":\"connected\",\"connection_pool\":{\"size\":20,\"min_size\":2,\
    \"max_size\":20,\"free\":0},\"uptime_seconds\":\"36.08\",\"details\":null}";

#[test]
fn a_load_that_was_not_made_is_not_passed() {
    let desk = Desk::new();
    desk.file(
        "c.toml",
        "postgres = []\nredis = []\nollama = []\n[[service]]\nname = 'api'\nunit = 'a.service'\n",
    );
    let ran = desk.run(&["--config", "c.toml", "verify", "--load", "2", "--for", "100ms"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("no load was made"), "{}", ran.stdout);
}

#[test]
fn usage_is_checked_before_anything_is_asked() {
    for (args, word) in [
        (&["--for", "3s"][..], "--load"),
        (&["--load", "0"], "0"),
        (&["--load", "2", "--for", "11m"], "ten minutes"),
        (&["databse"], "scenario"),
        (&["--service", "apj"], "did you mean `api`?"),
    ] {
        let ran = verify(1, "", args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(word), "{args:?}: {}", ran.stderr);
    }
}
