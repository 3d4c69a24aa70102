//! Sessions that hold up others, and an endpoint that serves nobody: who does the harm is met, and who only
//! looks like him is not.

use lab::{SERVICES, Session, TOOL};

use crate::bench::{A, A_UNIT, Bench, until};

#[test]
fn who_does_the_harm_is_met_and_no_innocent() {
    let Some(mut b) = Bench::start() else { return };
    b.stack.cluster().sql(&format!("GRANT pg_signal_backend TO {}", TOOL.role)).unwrap();
    rule_4_the_second_of_two_is_refused_and_told_who_acts(&mut b);
    rule_7_slots_are_freed_of_the_harmful_and_backups_stay(&mut b);
    slots_are_given_back_by_who_holds_them_for_nothing(&mut b);
    who_is_named_is_ended_and_nobody_else(&mut b);
    rule_6_sessions_that_are_gone_are_no_cure_of_a_service_that_stays_ill(&mut b);
    a_root_that_runs_a_statement_is_cancelled_and_keeps_its_session(&mut b);
    a_root_that_a_cancel_does_not_free_is_ended(&mut b);
    b.stack.cluster().sql(&format!("REVOKE pg_signal_backend FROM {}", TOOL.role)).unwrap();
    rule_6_a_broken_mcp_is_mended_and_verified_by_its_handshake(&mut b);
}

fn pid(session: &Session) -> String {
    session.run("SELECT pg_backend_pid()").unwrap().remove(0)
}

fn is_there(b: &Bench, pid: &str) -> bool {
    !b.stack.cluster().sql(&format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}")).unwrap().is_empty()
}

/// A stopped process ends when it goes on: so long the first one is at work.
fn rule_4_the_second_of_two_is_refused_and_told_who_acts(b: &mut Bench) {
    b.inject("blocking-chain/migration");
    let found =
        b.stack.cluster().sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'migration'");
    let root = found.unwrap().remove(0);
    let signal = |b: &Bench, what| b.stack.systemd().unwrap().exec(&["kill", what, &root]).unwrap();
    signal(b, "-STOP");
    let mut first = b.spawn(&["recover", "pool", "--yes"]);
    until("the first one has begun", || b.events().contains(&"intent".to_owned()));
    let second = b.json(&["recover", "pool", "--yes"], 4);
    let reason = second["reason"].as_str().unwrap();
    assert!(reason.contains("is being recovered by root@") && reason.contains("(pid "), "{reason}");
    signal(b, "-CONT");
    assert!(first.wait().unwrap().success());
    assert_eq!(b.events().iter().filter(|e| *e == "intent").count(), 1, "one of them acted");
    b.heal();
}

fn impatient(b: &mut Bench) -> lab::Settings {
    let settings = b.stack.settings().clone();
    let mut impatient = settings.clone();
    impatient.idle_in_transaction = Some("2s".into());
    b.stack.configure(&impatient).unwrap();
    settings
}

/// A dump's leader and a shell, idle in their transactions.
fn innocents(b: &Bench) -> [(Session, String); 2] {
    ["pg_dump", "psql"].map(|name| {
        let session = b.stack.session(&SERVICES, name).unwrap();
        let pid = pid(&session);
        session.run("BEGIN; SELECT count(*) FROM repositories").unwrap();
        (session, pid)
    })
}

fn rule_7_slots_are_freed_of_the_harmful_and_backups_stay(b: &mut Bench) {
    let settings = impatient(b);
    let [dump, shell] = innocents(b);
    b.inject("idle-in-transaction/slots");
    // None of them comes of age between two looks.
    let young = "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in%' AND state_change > now() - interval '2.2 s'";
    until("all have been idle for long", || b.stack.cluster().sql(young).unwrap().is_empty());
    let done = b.json(&["recover", "pool", "--yes", "--wait", "20s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(is_there(b, &dump.1), "a backup is no useless holder: {done}");
    dump.0.run("COMMIT").unwrap();
    drop((dump, shell));
    b.stack.configure(&settings).unwrap();
    b.heal();
}

fn slots_are_given_back_by_who_holds_them_for_nothing(b: &mut Bench) {
    let leader = b.stack.session(&SERVICES, "scheduler").unwrap();
    leader.run("SELECT pg_advisory_lock(4711)").unwrap();
    let (led, own) = (pid(&leader), of_services(b));
    assert!(!own.is_empty());
    b.inject("server-slots-full/free-ones");
    let settings = impatient(b);
    let young =
        "SELECT 1 FROM pg_stat_activity WHERE state = 'idle' AND state_change > now() - interval '2.2 s'";
    until("all have been idle for long", || {
        let sql = format!("{young} AND application_name IN ('nightly-batch', 'scheduler')");
        b.stack.cluster().sql(&sql).unwrap().is_empty()
    });
    // Where no slot is left nobody is let in to see who holds them: one goes by itself.
    b.stack.cluster().sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nightly-batch' LIMIT 1").unwrap();
    let done = b.json(&["recover", "pool", "--yes", "--wait", "20s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(is_there(b, &led), "who leads by a lock is not useless: {done}");
    let left = of_services(b);
    assert!(own.iter().all(|p| left.contains(p)), "a pool keeps its spares: {own:?} {left:?}");
    drop(leader);
    b.stack.configure(&settings).unwrap();
    b.heal();
}

fn who_is_named_is_ended_and_nobody_else(b: &mut Bench) {
    let of = |name| b.stack.session(&SERVICES, name).unwrap();
    let (named, other) = (of("psql"), of("psql"));
    let (named, other) = ((pid(&named), named), (pid(&other), other));
    let plan = b.json(&["who", "--kill", &named.0, "--plan"], 0);
    assert_eq!(plan["outcome"], "planned", "{plan}");
    assert!(is_there(b, &named.0));
    let done = b.json(&["who", "--kill", &named.0, "--yes", "--reason", "a test"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(!is_there(b, &named.0) && is_there(b, &other.0), "{done}");
    let gone = b.json(&["who", "--kill", &named.0, "--yes"], 4);
    assert!(gone["reason"].as_str().unwrap().contains("no client session"), "{gone}");
    assert!(is_there(b, &other.0));
    b.heal();
}

fn of_services(b: &Bench) -> Vec<String> {
    b.stack
        .cluster()
        .sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%-mcp' ORDER BY 1")
        .unwrap()
}

fn rule_6_sessions_that_are_gone_are_no_cure_of_a_service_that_stays_ill(b: &mut Bench) {
    let settings = impatient(b);
    let innocents = innocents(b);
    let main = b.property(A_UNIT, "MainPID");
    b.inject("idle-in-transaction/own-pool");
    // Its requests keep what they took for ten minutes, alive or dead.
    let done = b.json(&["recover", "pool", "--yes", "--wait", "3s"], 5);
    assert!(done["reason"].as_str().unwrap().contains(A), "{done}");
    let own =
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'codebase-mcp' AND state LIKE 'idle in%'";
    assert!(b.stack.cluster().sql(own).unwrap().is_empty(), "they were ended");
    for (session, pid) in &innocents {
        assert!(is_there(b, pid), "{done}");
        session.run("COMMIT").unwrap();
    }
    assert_eq!(b.property(A_UNIT, "MainPID"), main, "nothing was restarted");
    drop(innocents);
    b.stack.configure(&settings).unwrap();
    b.heal();
}

/// The pid of one that holds a lock and runs a statement, with a victim behind it.
fn blocked(b: &mut Bench, root: &Session, victim: &Session, before: &str) -> String {
    let of = pid(root);
    root.send(&format!("BEGIN; LOCK TABLE code_chunks; {before} SELECT pg_sleep(600)"));
    let sql = |of: &str| b.stack.cluster().sql(of).unwrap();
    until("it holds the lock", || {
        !sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock'").is_empty()
    });
    victim.send("SELECT count(*) FROM code_chunks");
    let waits = format!(
        "SELECT 1 FROM pg_stat_activity WHERE {of} = ANY (pg_blocking_pids(pid)) \
         AND clock_timestamp() - query_start > interval '1.3 s'"
    );
    until("somebody waits for it", || !sql(&waits).is_empty());
    of
}

fn a_root_that_runs_a_statement_is_cancelled_and_keeps_its_session(b: &mut Bench) {
    let (root, victim) = sessions(b);
    let root_pid = blocked(b, &root, &victim, "");
    let done = b.json(&["recover", "pool", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(done["steps"][0]["detail"].as_str().unwrap().contains("cancelled, which was enough"), "{done}");
    assert!(is_there(b, &root_pid), "its session goes on");
    b.heal();
}

fn a_root_that_a_cancel_does_not_free_is_ended(b: &mut Bench) {
    let (root, victim) = sessions(b);
    // What a cancel takes back is the subtransaction: the lock is of the one around it.
    let root_pid = blocked(b, &root, &victim, "SAVEPOINT a;");
    let done = b.json(&["recover", "pool", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(!is_there(b, &root_pid), "{done}");
    b.heal();
}

fn sessions(b: &Bench) -> (Session, Session) {
    let of = |name| b.stack.session(&SERVICES, name).unwrap();
    (of("reindex"), of("report"))
}

fn rule_6_a_broken_mcp_is_mended_and_verified_by_its_handshake(b: &mut Bench) {
    let settings = b.stack.settings().clone();
    let mut asked = settings.clone();
    asked.mcp = true;
    b.stack.configure(&asked).unwrap();
    let main = b.property(A_UNIT, "MainPID");
    b.inject("mcp-broken/gone");
    let advice = b.json(&["recover", "server", "--yes"], 1);
    assert_eq!(advice["outcome"], "advice", "{advice}");
    assert_eq!(b.property(A_UNIT, "MainPID"), main, "a restart would keep a wrong path");
    b.heal();
    b.inject("mcp-broken/stalled");
    let done = b.json(&["recover", "server", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(done["reason"].as_str().unwrap().contains("shakes hands and lists"), "{done}");
    assert_ne!(b.property(A_UNIT, "MainPID"), main);
    b.stack.configure(&settings).unwrap();
    b.heal();
}
