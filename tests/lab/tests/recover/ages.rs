//! Sessions by their age, of a real PostgreSQL: who is as old and does no harm is there still.

use lab::{SERVICES, Session, TOOL};
use serde_json::Value;

use crate::bench::{Bench, until};

#[test]
fn errata_19_and_22_sessions_go_by_their_age_and_no_innocent_with_them() {
    let Some(mut b) = Bench::start() else { return };
    b.stack.cluster().sql(&format!("GRANT pg_signal_backend TO {}", TOOL.role)).unwrap();
    idle_ones(&b);
    statements(&b);
    b.stack.cluster().sql(&format!("REVOKE pg_signal_backend FROM {}", TOOL.role)).unwrap();
    b.heal();
}

fn open(b: &Bench, name: &str, sql: &str) -> (Session, String) {
    let session = b.stack.session(&SERVICES, name).unwrap();
    let pid = session.run("SELECT pg_backend_pid()").unwrap().remove(0);
    session.run(sql).unwrap();
    (session, pid)
}

fn is_there(b: &Bench, pid: &str) -> bool {
    !b.stack.cluster().sql(&format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}")).unwrap().is_empty()
}

fn of_services(b: &Bench) -> Vec<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%-mcp' ORDER BY 1";
    b.stack.cluster().sql(sql).unwrap()
}

/// How many steps were done: what is not what it was by then is not met.
fn steps(done: &Value) -> usize {
    done["steps"].as_array().unwrap().iter().filter(|s| s["status"] == "done").count()
}

fn idle_ones(b: &Bench) {
    let harmful =
        [open(b, "nightly-batch", "SELECT 1"), open(b, "shell", "BEGIN; SELECT count(*) FROM repositories")];
    let innocent = [
        open(b, "pg_dump", "BEGIN; SELECT count(*) FROM repositories"),
        open(b, "worker", "LISTEN jobs"),
        open(b, "scheduler", "SELECT pg_advisory_lock(4711)"),
    ];
    let spares = of_services(b);
    assert!(!spares.is_empty());
    let young = "SELECT 1 FROM pg_stat_activity WHERE application_name IN ('nightly-batch', 'shell', 'scheduler') \
                 AND state_change > now() - interval '2.2 s'";
    until("all have been idle for long", || b.stack.cluster().sql(young).unwrap().is_empty());
    let plan = b.json(&["recover", "pool", "--kill-idle", "2s", "--plan"], 0);
    assert_eq!(plan["outcome"], "planned", "{plan}");
    assert!(harmful.iter().all(|(_, pid)| is_there(b, pid)), "a plan ends nobody");
    // Who leads by a lock is told so by the server, at the act.
    let done = b.json(&["recover", "pool", "--kill-idle", "2s", "--yes"], 0);
    assert_eq!((&done["outcome"], steps(&done)), (&"recovered".into(), 2), "{done}");
    assert!(harmful.iter().all(|(_, pid)| !is_there(b, pid)), "{done}");
    for (session, pid) in &innocent {
        assert!(is_there(b, pid), "{pid}: {done}");
        session.run("SELECT 1").unwrap();
    }
    let left = of_services(b);
    assert!(spares.iter().all(|p| left.contains(p)), "a pool keeps its spares: {spares:?} {left:?}");
    drop(innocent);
    let none = b.json(&["recover", "pool", "--kill-idle", "1h", "--yes"], 0);
    assert_eq!(none["outcome"], "nothing-to-do", "{none}");
}

fn statements(b: &Bench) {
    let (old, young) = (open(b, "report", "SELECT 1"), open(b, "report", "SELECT 1"));
    let sleeps = |pid: &str, more: &str| {
        let sql = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active' {more}");
        !b.stack.cluster().sql(&sql).unwrap().is_empty()
    };
    old.0.send("SELECT pg_sleep(600)");
    until("it runs for long", || sleeps(&old.1, "AND query_start < now() - interval '4 s'"));
    young.0.send("SELECT pg_sleep(600)");
    until("the other one runs", || sleeps(&young.1, ""));
    let done = b.json(&["recover", "pool", "--terminate-older-than", "4s", "--yes"], 0);
    assert_eq!((&done["outcome"], steps(&done)), (&"recovered".into(), 1), "{done}");
    assert!(done["steps"][0]["detail"].as_str().unwrap().contains("cancelled, which was enough"), "{done}");
    assert!(!sleeps(&old.1, "") && is_there(b, &old.1), "its session goes on: {done}");
    assert!(sleeps(&young.1, ""), "who is young is not met: {done}");
}
