//! A replication slot of a real server, and a prepared transaction, taken away by their names; seen by plain SQL. Those of
//! others are there afterwards.

use lab::TOOL;
use serde_json::Value;

use crate::bench::{A, Bench, C_UNIT};

const DESTRUCTIVE: [&str; 3] = ["--yes", "--allow", "destructive"];

fn sql(b: &Bench, text: &str) -> Vec<String> {
    b.stack.cluster().sql(text).unwrap()
}

fn slots(b: &Bench) -> Vec<String> {
    sql(b, "SELECT slot_name FROM pg_replication_slots ORDER BY 1")
}

fn prepared(b: &Bench) -> Vec<String> {
    sql(b, "SELECT gid FROM pg_prepared_xacts ORDER BY 1")
}

/// Of the finding of that cause.
fn advice(b: &Bench, cause: &str) -> String {
    let told = b.json(&["diagnose"], 1);
    let all = told["findings"].as_array().unwrap();
    let f = all.iter().find(|f| f["cause"] == cause).unwrap_or_else(|| panic!("{told}"));
    f["remedy"]["summary"].as_str().unwrap().to_owned()
}

fn reason(refused: &Value) -> &str {
    refused["reason"].as_str().unwrap()
}

#[test]
fn rule_7_a_slot_that_nobody_reads_is_dropped_by_its_name_and_no_other() {
    let Some(mut b) = Bench::start() else { return };
    b.inject("wal-retained/slot-lost");
    sql(&b, "ALTER SYSTEM SET wal_level = logical");
    let unit = b.stack.postgres_unit();
    b.stack.systemd().unwrap().systemctl(&["restart", &unit]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    sql(&b, "CREATE DATABASE reports");
    let reports = b.stack.cluster().session("reports").unwrap();
    reports.run("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')").unwrap();
    // Its session reads it, as far as the server knows.
    let live = b.stack.cluster().session("codebase_mcp").unwrap();
    live.run("SELECT pg_create_physical_replication_slot('live', true, true)").unwrap();
    let all = ["cdc", "live", "old_standby"];
    assert_eq!(slots(&b), all);
    let advice = advice(&b, "db-down/wal-retained");
    assert!(advice.contains("`mcp-ir recover db --drop-slot old_standby`"), "{advice}");
    let ask = |name: &'static str| ["recover", "db", "--drop-slot", name];
    let hard = |name: &'static str| [&ask(name)[..], &DESTRUCTIVE].concat();

    let refused = b.json(&hard("old_standby"), 4);
    let grant = format!("ALTER ROLE {} REPLICATION", TOOL.role);
    assert!(refused["hints"][0].as_str().unwrap().starts_with(&grant), "{refused}");
    sql(&b, &grant);
    let unasked = b.json(&[&ask("old_standby")[..], &["--yes"]].concat(), 4);
    assert!(unasked["hints"].to_string().contains("--allow destructive"), "{unasked}");
    let refused = b.json(&hard("live"), 4);
    assert!(reason(&refused).contains("is active: process"), "{refused}");
    let refused = b.json(&hard("cdc"), 4);
    assert!(reason(&refused).contains("of the database reports"), "{refused}");
    let refused = b.json(&hard("standby"), 4);
    assert_eq!(refused["hints"], serde_json::json!(["--drop-slot old_standby"]), "{refused}");
    let planned = b.json(&[&ask("old_standby")[..], &["--plan"]].concat(), 0);
    assert_eq!((&planned["outcome"], slots(&b)), (&"planned".into(), all.map(String::from).to_vec()));
    assert!(b.journal().is_empty(), "nothing was begun");

    let done = b.json(&hard("old_standby"), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(slots(&b), ["cdc", "live"], "{done}");
    assert_eq!(b.json(&["diagnose"], 0)["verdict"], "healthy");
    let undone = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!(undone["outcome"], "nothing-to-do", "{undone}");
    // Whoever asks again has nothing to do; of a name that was never there that is not said.
    let again = b.json(&hard("old_standby"), 0);
    assert_eq!(again["outcome"], "nothing-to-do", "{again}");
    assert!(reason(&again).contains("is gone: mcp-ir took it away at"), "{again}");
    let never = b.json(&hard("standby_9"), 4);
    assert!(reason(&never).contains("no replication slot"), "{never}");
    assert_eq!(slots(&b), ["cdc", "live"]);
    drop(live);
    reports.run("SELECT pg_drop_replication_slot('cdc')").unwrap();
}

#[test]
fn a_prepared_transaction_is_rolled_back_by_its_name_and_no_other() {
    let Some(mut b) = Bench::start() else { return };
    sql(&b, "CREATE DATABASE reports");
    let reports = b.stack.cluster().session("reports").unwrap();
    reports.run("BEGIN; CREATE TABLE kept (a int); PREPARE TRANSACTION 'innocent'").unwrap();
    b.inject("prepared-transaction/lock");
    let both = ["innocent", "transfer-4711"];
    assert_eq!(prepared(&b), both);
    let run = b.property(C_UNIT, "InvocationID");
    let advice = advice(&b, "pool-exhausted/prepared-transaction");
    assert!(advice.contains("`mcp-ir recover pool --rollback-prepared transfer-4711`"), "{advice}");
    let ask = |gid: &'static str| ["recover", "pool", "--rollback-prepared", gid];
    let hard = |gid: &'static str| [&ask(gid)[..], &DESTRUCTIVE].concat();

    let refused = b.json(&hard("transfer-4711"), 4);
    assert!(refused["hints"][0].as_str().unwrap().contains("log in as mcp_user"), "{refused}");
    sql(&b, &format!("ALTER ROLE {} SUPERUSER", TOOL.role));
    let unasked = b.json(&[&ask("transfer-4711")[..], &["--yes"]].concat(), 4);
    assert!(unasked["hints"].to_string().contains("--allow destructive"), "{unasked}");
    let refused = b.json(&hard("innocent"), 4);
    assert!(reason(&refused).contains("in the database reports"), "{refused}");
    let refused = b.json(&hard("transfer"), 4);
    assert_eq!(refused["hints"], serde_json::json!(["--rollback-prepared transfer-4711"]), "{refused}");
    assert_eq!(prepared(&b), both);

    let done = b.json(&hard("transfer-4711"), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(prepared(&b), ["innocent"], "{done}");
    assert!(b.is_healthy(A), "{done}");
    assert_eq!(b.property(C_UNIT, "InvocationID"), run, "nobody was restarted for it");
    let undone = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!(undone["outcome"], "nothing-to-do", "{undone}");
    a_name_of_any_letters(&b);
    reports.run("ROLLBACK PREPARED 'innocent'").unwrap();
    sql(&b, &format!("ALTER ROLE {} NOSUPERUSER", TOOL.role));
}

/// Quotes and backslashes are letters of it; also where the server reads them as they were read long ago.
fn a_name_of_any_letters(b: &Bench) {
    sql(b, &format!("ALTER ROLE {} SET standard_conforming_strings = off", TOOL.role));
    for (gid, literal) in [(r"it's \' a", r"E'it''s \\'' a'"), ("-1_größe;--", "'-1_größe;--'")] {
        let session = b.stack.cluster().session("codebase_mcp").unwrap();
        session.run(&format!("BEGIN; CREATE TABLE odd (a int); PREPARE TRANSACTION {literal}")).unwrap();
        assert!(prepared(b).contains(&gid.to_owned()), "{:?}", prepared(b));
        let done = b.json(&[&["recover", "pool", "--rollback-prepared", gid][..], &DESTRUCTIVE].concat(), 0);
        assert_eq!(done["outcome"], "recovered", "{done}");
        assert_eq!(prepared(b), ["innocent"], "{done}");
    }
    sql(b, &format!("ALTER ROLE {} RESET standard_conforming_strings", TOOL.role));
}
