//! Innocents are counted before and after: what streams, dumps, is of another database, of the other service
//! or of its port. And a target that gets worse while it is mended is not called well.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use lab::Session;

use crate::bench::{A, A_UNIT, Bench, C_UNIT, until};

#[test]
fn rule_7_no_innocent_is_lost_and_what_gets_worse_is_no_recovery() {
    let Some(mut b) = Bench::start() else { return };
    who_streams_dumps_or_is_elsewhere_stays(&mut b);
    a_target_that_gets_worse_is_not_recovered(&mut b);
    rule_3_in_all_only_who_died_of_his_setting_gets_it_back(&mut b);
}

/// A program of PostgreSQL's own, as the cluster's owner, by its socket.
fn program(b: &Bench, name: &str, args: &[&str]) -> Child {
    let cluster = b.stack.cluster();
    let mut command = cluster.as_owner(cluster.postgres.bin.join(name));
    command
        .arg("-h")
        .arg(&cluster.folder)
        .args(["-p", &cluster.port.to_string(), "-U", "postgres"])
        .args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn sql(b: &Bench, text: &str) -> Vec<String> {
    b.stack.cluster().sql(text).unwrap()
}

/// Everybody but who is to be ended: pid and name.
fn innocents(b: &Bench) -> Vec<String> {
    sql(
        b,
        "SELECT pid || ' ' || backend_type || ' ' || application_name FROM pg_stat_activity \
         WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid() \
         AND application_name <> 'migration' AND NOT (application_name = 'lab' AND datname = 'codebase_mcp') AND application_name NOT LIKE 'mcp-ir%' \
         AND application_name NOT LIKE '%-mcp' ORDER BY 1",
    )
}

fn who_streams_dumps_or_is_elsewhere_stays(b: &mut Bench) {
    sql(b, &format!("GRANT pg_signal_backend TO {}", lab::TOOL.role));
    sql(b, "CREATE DATABASE payroll");
    let folder = b.stack.dir().join("wal");
    std::fs::create_dir_all(&folder).unwrap();
    let _ = Command::new("chmod").arg("777").arg(&folder).status();
    let mut wal = program(b, "pg_receivewal", &["-D", &folder.to_string_lossy()]);
    // It has begun its snapshot, and nobody reads what it writes: it stays where it is.
    sql(b, "CREATE TABLE ballast AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 2000)");
    let mut dump = program(b, "pg_dump", &["-d", "codebase_mcp", "-t", "ballast", "--inserts"]);
    let elsewhere: Session = b.stack.cluster().session("payroll").unwrap();
    elsewhere.run("BEGIN; CREATE TABLE wages (n int); SELECT 1").unwrap();
    let port = b.stack.service(A).unwrap().port;
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (a, c) = (b.property(A_UNIT, "MainPID"), b.property(C_UNIT, "MainPID"));
    until("both are connected", || {
        let all = innocents(b).join("\n");
        all.contains("pg_receivewal") && all.contains("pg_dump")
    });
    let of_other = "SELECT pid FROM pg_stat_activity WHERE application_name = 'workflow-mcp' ORDER BY 1";
    // One service is restarted, for its size and back.
    let (before, other) = (innocents(b), sql(b, of_other));
    let done = b.json(&["recover", "pool", "--service", A, "--max-size", "20", "--yes"], 0);
    assert_ne!(b.property(A_UNIT, "MainPID"), a, "it was restarted");
    b.undo(&done);
    let kept = |before: &[String], after: &[String]| before.iter().all(|i| after.contains(i));
    let after = innocents(b);
    assert!(before.len() >= 3 && kept(&before, &after), "{before:?}\n{after:?}");
    // A session is ended, for the lock that it holds.
    b.inject("blocking-chain/migration");
    let before = innocents(b);
    let done = b.json(&["recover", "pool", "--yes", "--wait", "20s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(sql(b, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migration'").is_empty());
    let after = innocents(b);
    assert!(before.len() >= 3 && kept(&before, &after), "{before:?}\n{after:?}\n{done}");
    assert!(kept(&other, &sql(b, of_other)), "the other service's sessions: {other:?}");
    assert_eq!(b.property(C_UNIT, "MainPID"), c, "and its process");
    elsewhere.run("SELECT count(*) FROM wages; COMMIT").unwrap();
    assert!(wal.try_wait().unwrap().is_none(), "it streams");
    assert!(dump.try_wait().unwrap().is_none(), "it dumps");
    drop((client, elsewhere));
    for child in [&mut wal, &mut dump] {
        let _ = child.kill();
        let _ = child.wait();
    }
    sql(b, "DROP TABLE ballast");
    sql(b, &format!("REVOKE pg_signal_backend FROM {}", lab::TOOL.role));
    b.heal();
}

/// The database goes while its service is started: that it is started is no recovery.
fn a_target_that_gets_worse_is_not_recovered(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nExecStartPre=/bin/sleep 2\n").unwrap();
    booted.systemctl(&["stop", A_UNIT]).unwrap();
    b.forget_incidents();
    let mut child = b.spawn(&["recover", "server", "--yes", "--wait", "4s"]);
    until("the step has begun", || b.events().last().is_some_and(|e| e == "intent"));
    b.stack.systemd().unwrap().systemctl(&["stop", &b.stack.postgres_unit()]).unwrap();
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(5 | 6)), "{code:?}: {:?}", b.journal());
    let last = b.journal().pop().unwrap();
    assert_eq!(last["event"], "ended");
    assert!(matches!(last["outcome"].as_str(), Some("not-recovered" | "failed")), "{last}");
    b.heal();
}

/// A's new size is fatal, and C was started in the same run: A gets its setting back, and C stays up.
fn rule_3_in_all_only_who_died_of_his_setting_gets_it_back(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_POOL_LARGEST=15\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let former = b.settings();
    b.inject("client-pool-saturated/shape-a");
    b.stack.systemd().unwrap().systemctl(&["stop", C_UNIT]).unwrap();
    // What C may have at most is what is left for A: of who is down no size is seen.
    let config = std::fs::read_to_string(b.stack.config()).unwrap();
    let known = "max_env = \"POOL_MAX_SIZE\"";
    let at = config.rfind(known).unwrap() + known.len();
    std::fs::write(b.stack.config(), format!("{}, max_allowed = 10{}", &config[..at], &config[at..]))
        .unwrap();
    b.forget_incidents();
    let run = b.tool.run(&b.stack, &["recover", "all", "--yes", "--wait", "10s", "-o", "json"]).unwrap();
    assert!(matches!(run.code, Some(5 | 6)), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("was rolled back"), "{}", run.stdout);
    assert_eq!(b.property(C_UNIT, "ActiveState"), "active", "what worked stays: {}", run.stdout);
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former);
    b.heal();
}
