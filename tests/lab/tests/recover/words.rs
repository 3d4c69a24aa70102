//! What is done only where a person says so: a start after one that failed, a restart of who gives no answer.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use lab::SERVICES;

use crate::bench::{A, Bench, until};

const REDIS: &str = "redis-server.service";
/// It needs the database's unit by systemd's own word.
const AUDIT: &str = "audit.service";

#[test]
fn only_a_persons_word_starts_what_failed_and_restarts_what_hangs() {
    let Some(mut b) = Bench::start() else { return };
    what_failed_to_start_is_started_when_its_reason_is_gone(&mut b);
    a_database_whose_log_is_stuck_is_restarted_when_it_is_told(&mut b);
    a_redis_that_is_lost_in_a_script_is_restarted_when_it_is_told(&mut b);
    a_shutdown_that_a_client_holds_open_is_finished_when_it_is_told(&mut b);
}

/// `pg_ctl stop -m smart`, and somebody's psql: it can't be called back, and nobody else is let in.
fn a_shutdown_that_a_client_holds_open_is_finished_when_it_is_told(b: &mut Bench) {
    let unit = b.stack.postgres_unit();
    b.inject("shutting-down/smart");
    let run = b.property(&unit, "InvocationID");
    let told = b.json(&["diagnose", "db"], 1);
    let f = &told["findings"][0];
    assert!(f["summary"].as_str().unwrap().contains("waits for 1 client to leave"), "{f}");
    assert!(f["evidence"].to_string().contains("/proc backends"), "who it is: {f}");
    let advice = b.json(&["recover", "db", "--yes"], 1);
    assert!(advice["reason"].as_str().unwrap().contains("`mcp-ir recover db --restart`"), "{advice}");
    assert_eq!(b.property(&unit, "InvocationID"), run, "without the word nothing is done");
    let ask = ["recover", "db", "--restart", "--yes"];
    // Who is still there loses his work: that takes more than a yes.
    b.json(&ask, 4);
    assert_eq!(b.property(&unit, "InvocationID"), run);
    let done = b.json(&[&ask[..], &["--allow", "destructive"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_ne!(b.property(&unit, "InvocationID"), run);
    assert!(b.stack.cluster().accepts(), "{done}");
    b.forget_incidents();
    b.heal();
}

fn what_failed_to_start_is_started_when_its_reason_is_gone(b: &mut Bench) {
    b.inject("start-failed/configuration");
    let advice = b.json(&["recover", "db", "--yes"], 1);
    assert!(advice["reason"].as_str().unwrap().contains("`mcp-ir recover db --start`"), "{advice}");
    // It is not: that is seen, and said.
    let ask = ["recover", "db", "--start", "--yes", "--wait", "5s"];
    let vain = b.run(&ask, 6);
    assert!(!b.stack.cluster().accepts(), "{}", vain.stdout);
    b.stack.cluster().write_auto_conf("").unwrap();
    // A moment after a failure nobody tries again by itself.
    let held = b.json(&ask, 4);
    assert!(held["hints"].to_string().contains("--force-cooldown"), "{held}");
    let done = b.json(&[&ask[..], &["--force-cooldown"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(b.stack.cluster().accepts());
    b.forget_incidents();
    b.heal();
}

/// Everybody writes to one pipe, and who reads it is stopped: the next one to log in waits for it, and with him
/// the one who takes the connections.
fn a_database_whose_log_is_stuck_is_restarted_when_it_is_told(b: &mut Bench) {
    let unit = b.stack.postgres_unit();
    b.stack.cluster().write_auto_conf("logging_collector = on\nlog_min_messages = debug5\n").unwrap();
    b.stack.restart_postgres().unwrap();
    b.stack.wait_until_healthy().unwrap();
    b.stack
        .add_unit(
            AUDIT,
            &format!("[Unit]\nRequires={unit}\nAfter={unit}\n[Service]\nExecStart=/bin/sleep infinity\n"),
        )
        .unwrap();
    let logger = b.stack.systemd().unwrap().exec(&["pgrep", "-f", "^postgres: .*logger"]).unwrap();
    b.stack.systemd().unwrap().exec(&["kill", "-STOP", logger.trim()]).unwrap();
    for _ in 0..200 {
        let Ok(session) = b.stack.session(&SERVICES, "psql") else { break };
        session.send("SELECT count(*) FROM code_chunks");
    }
    let run = b.property(&unit, "InvocationID");
    until("it is seen to hang", || {
        let seen = b.tool.run(&b.stack, &["diagnose", "db", "-o", "json"]).unwrap();
        seen.stdout.contains("db-down/hung@")
    });
    let advice = b.json(&["recover", "db", "--yes"], 1);
    assert!(advice["reason"].as_str().unwrap().contains("`mcp-ir recover db --restart`"), "{advice}");
    assert_eq!(b.property(&unit, "InvocationID"), run, "without the word nothing is done");
    b.stack.cluster().write_auto_conf("").unwrap();
    // Somebody has typed it, or a run of ours was cut off: its stop waits for ever, and the next goes on with it.
    b.stack.systemd().unwrap().systemctl(&["--no-block", "restart", &unit]).unwrap();
    until("it is being stopped", || b.property(&unit, "ActiveState") == "deactivating");
    let waits = b.json(&["recover", "db", "--restart", "--plan"], 0);
    assert!(waits["notes"].to_string().contains("may be saving"), "{waits}");
    let ask = ["recover", "db", "--restart", "--grace", "5s", "--yes", "--allow", "destructive"];
    let done = b.json(&ask, 0);
    assert!(done["notes"].to_string().contains("systemd's job restart"), "{done}");
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_ne!(b.property(&unit, "InvocationID"), run);
    assert!(b.stack.cluster().accepts());
    // Its unit would have waited for ever; who is stopped with it is started with it.
    assert!(done["steps"][0]["detail"].as_str().unwrap().contains("had not ended was killed"), "{done}");
    assert_eq!(b.property(AUDIT, "ActiveState"), "active", "{done}");
    let kept = b.all_events().iter().any(|e| e.to_string().contains("evidence.txt"));
    assert!(kept, "what its processes were doing is kept before");
    // Who is well is not restarted, whatever is said.
    let run = b.property(&unit, "InvocationID");
    b.json(&[&ask[..], &["--force-cooldown"]].concat(), 0);
    assert_eq!(b.property(&unit, "InvocationID"), run);
    b.forget_incidents();
    b.heal();
}

fn a_redis_that_is_lost_in_a_script_is_restarted_when_it_is_told(b: &mut Bench) {
    b.stack.add_redis(false).unwrap();
    b.stack.redis(&["CONFIG", "SET", "busy-reply-threshold", "0"]).unwrap();
    let address = ("127.0.0.1", b.stack.spare_ports()[0]);
    let mut lost = TcpStream::connect(address).unwrap();
    lost.write_all(b"AUTH redis-secret\r\nEVAL \"while true do end\" 0\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let run = b.property(REDIS, "InvocationID");
    let advice = b.json(&["recover", "server", "--service", "redis", "--yes"], 1);
    let reason = advice["reason"].as_str().unwrap();
    assert!(reason.contains("`mcp-ir recover server --restart-dependencies --service redis`"), "{advice}");
    // Its unit knows no limit, and who was to kill it is killed before.
    b.stack.systemd().unwrap().drop_in(REDIS, "[Service]\nTimeoutStopSec=infinity\n").unwrap();
    let word = ["recover", "server", "--service", "redis", "--restart-dependencies"];
    let whole = [&word[..], &["--yes", "--allow", "destructive"]].concat();
    let mut killed = b.tool.command(&b.stack, &whole).stdout(Stdio::null()).spawn().unwrap();
    until("it is being stopped", || b.property(REDIS, "ActiveState") == "deactivating");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let next = b.json(&[&word[..], &["--plan"]].concat(), 0);
    assert!(next["steps"][0]["describe"].as_str().unwrap().contains("after 30 s is killed"), "ours: {next}");
    // Somebody stops it as well, and may wait for what it saves.
    b.forget_incidents();
    b.stack.systemd().unwrap().systemctl(&["--no-block", "stop", REDIS]).unwrap();
    let waits = b.json(&[&word[..], &["--plan"]].concat(), 0);
    assert!(waits["notes"].to_string().contains("may be saving"), "somebody's: {waits}");
    let ask = ["recover", "server", "--service", "redis", "--restart-dependencies", "--grace", "2s", "--yes"];
    // What it has not saved is lost: that takes more than a yes.
    b.json(&ask, 4);
    assert_eq!(b.property(REDIS, "InvocationID"), run);
    let done = b.json(&[&ask[..], &["--allow", "destructive"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_ne!(b.property(REDIS, "InvocationID"), run);
    assert!(b.stack.redis(&["PING"]).unwrap().contains("PONG") && b.is_healthy(A));
    drop(lost);
    b.heal();
}
