//! What makes a database quick again: each fault for real, mended by the tool, seen by plain SQL.

use lab::TOOL;
use lab::fault::find;

use crate::bench::{A, Bench, C_UNIT};

#[test]
fn a_database_is_made_quick_again_and_nobody_is_held_up() {
    let Some(mut b) = Bench::start() else { return };
    errata_23_what_was_left_is_dropped_and_what_is_needed_is_built(&mut b);
    errata_23_a_build_that_fails_leaves_nothing(&mut b);
    a_damaged_index_is_built_anew(&mut b);
    errata_24_who_may_not_is_told_before_and_who_may_vacuums(&mut b);
}

fn sql(b: &Bench, text: &str) -> Vec<String> {
    b.stack.cluster().sql(text).unwrap()
}

/// As its owner's member, which the tool's role is not by itself.
fn owner(b: &Bench, of: &str) -> String {
    let sql = format!("SELECT tableowner FROM pg_tables WHERE tablename = '{of}'");
    b.stack.cluster().sql(&sql).unwrap().remove(0)
}

fn heal(b: &mut Bench, fault: &str) {
    find(fault).unwrap().heal(&mut b.stack).unwrap();
    b.heal();
}

fn vacuums(b: &Bench) -> String {
    sql(
        b,
        "SELECT vacuum_count || ' ' || analyze_count FROM pg_stat_user_tables WHERE relname = 'code_chunks'",
    )
    .remove(0)
}

fn errata_24_who_may_not_is_told_before_and_who_may_vacuums(b: &mut Bench) {
    let fault = "stale-statistics/other-rows";
    b.inject(fault);
    let (before, owner) = (vacuums(b), owner(b, "code_chunks"));
    let refused = b.json(&["recover", "latency", "--yes"], 4);
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("GRANT {owner} TO {}", TOOL.role)), "{reason}");
    assert!(b.journal().is_empty() && vacuums(b) == before, "said before anything is begun");
    who_is_down_is_started_though_a_table_is_another_roles(b, &owner);
    assert_eq!(vacuums(b), before);
    sql(b, &format!("GRANT {owner} TO {}", TOOL.role));
    let file = "SELECT pg_relation_filenode('kept.code_chunks')";
    let (files, dead) =
        (sql(b, file), "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'code_chunks'");
    assert!(sql(b, dead)[0].parse::<u64>().unwrap() > 10_000);
    let done = b.json(&["recover", "latency", "--yes", "--wait", "60s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let count = |text: &str| -> Vec<u64> { text.split(' ').map(|n| n.parse().unwrap()).collect() };
    let (was, is) = (count(&before), count(&vacuums(b)));
    assert_eq!(is, [was[0] + 1, was[1] + 1], "once: {done}");
    assert!(sql(b, dead)[0].parse::<u64>().unwrap() < 1_000, "{done}");
    assert_eq!(sql(b, file), files, "never FULL: the table is the same file");
    let plan = sql(b, "EXPLAIN SELECT file_path FROM code_chunks WHERE content ILIKE '%nowhere%'").join("\n");
    assert!(plan.contains("chunks_kind"), "{plan}");
    assert!(b.is_healthy(A));
    let undone = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!(undone["outcome"], "nothing-to-do", "{undone}");
    assert_eq!(count(&vacuums(b)), is);
    sql(b, &format!("REVOKE {owner} FROM {}", TOOL.role));
    heal(b, fault);
}

/// A is slow, and C down: C is not waited for to be started, and is up before the vacuum begins.
#[test]
fn upkeep_stands_in_the_way_of_no_start() {
    let Some(mut b) = Bench::start() else { return };
    let fault = "stale-statistics/other-rows";
    b.inject(fault);
    let (before, owner) = (vacuums(&b), owner(&b, "code_chunks"));
    sql(&b, &format!("GRANT {owner} TO {}", TOOL.role));
    b.stack.systemd().unwrap().systemctl(&["stop", C_UNIT]).unwrap();
    let done = b.json(&["recover", "all", "--yes", "--wait", "60s"], 0);
    let steps: Vec<&str> =
        done["steps"].as_array().unwrap().iter().map(|s| s["describe"].as_str().unwrap()).collect();
    assert!(steps[0].contains(C_UNIT) && steps.last().unwrap().contains("vacuum"), "{done}");
    assert_eq!(b.property(C_UNIT, "ActiveState"), "active", "{done}");
    assert_ne!(vacuums(&b), before);
    assert!(b.is_healthy(A));
    sql(&b, &format!("REVOKE {owner} FROM {}", TOOL.role));
    heal(&mut b, fault);
}

fn who_is_down_is_started_though_a_table_is_another_roles(b: &mut Bench, owner: &str) {
    b.stack.systemd().unwrap().systemctl(&["stop", C_UNIT]).unwrap();
    let half = b.json(&["recover", "all", "--yes"], 5);
    let reason = half["reason"].as_str().unwrap();
    assert!(reason.contains("left as it is: latency/stale-statistics@postgres"), "{half}");
    assert!(half.to_string().contains(&format!("GRANT {owner} TO {}", TOOL.role)), "{half}");
    assert_eq!(b.property(C_UNIT, "ActiveState"), "active", "{half}");
    b.forget_incidents();
}

fn invalid(b: &Bench) -> Vec<String> {
    sql(b, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")
}

fn errata_23_what_was_left_is_dropped_and_what_is_needed_is_built(b: &mut Bench) {
    let fault = "invalid-index/needed";
    b.inject(fault);
    let owner = owner(b, "code_chunks");
    sql(b, &format!("GRANT {owner} TO {}", TOOL.role));
    assert_eq!(invalid(b), ["kept.chunks_kind", "kept.code_chunks_pkey_ccnew"]);
    let pkey = sql(b, "SELECT 'kept.code_chunks_pkey'::regclass::oid");
    // Who holds a lock on it may be at it: it is left to him.
    let other = b.stack.cluster().session("codebase_mcp").unwrap();
    other.run("BEGIN; LOCK TABLE kept.code_chunks IN SHARE UPDATE EXCLUSIVE MODE").unwrap();
    let refused = b.json(&["recover", "latency", "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("holds a lock"), "{refused}");
    other.run("ROLLBACK").unwrap();
    assert_eq!(invalid(b).len(), 2);
    let done = b.json(&["recover", "latency", "--yes", "--wait", "60s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(invalid(b), [""; 0], "{done}");
    assert_eq!(sql(b, "SELECT 'kept.code_chunks_pkey'::regclass::oid"), pkey, "the valid one is the same");
    let valid = "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'kept.chunks_kind'::regclass";
    assert_eq!(sql(b, valid), ["true"]);
    assert!(b.is_healthy(A));
    let undone = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!(undone["outcome"], "nothing-to-do", "{undone}");
    assert_eq!(sql(b, valid), ["true"]);
    sql(b, &format!("REVOKE {owner} FROM {}", TOOL.role));
    heal(b, fault);
}

/// Rows that are not of one repository can't be built into what says so.
fn errata_23_a_build_that_fails_leaves_nothing(b: &mut Bench) {
    let fault = "invalid-index/left-behind";
    b.inject(fault);
    let owner = owner(b, "code_chunks");
    sql(b, &format!("GRANT {owner} TO {}", TOOL.role));
    let before = invalid(b);
    assert_eq!(before, ["chunks_content"]);
    let failed = b.json(&["recover", "latency", "--yes"], 6);
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("could not create unique index") && reason.contains("was dropped"), "{reason}");
    assert_eq!(invalid(b), before, "{failed}");
    sql(b, &format!("REVOKE {owner} FROM {}", TOOL.role));
    heal(b, fault);
}

fn a_damaged_index_is_built_anew(b: &mut Bench) {
    let fault = "index-corrupt/zero-page";
    b.inject(fault);
    let owner = owner(b, "code_chunks");
    sql(b, &format!("GRANT {owner} TO {}", TOOL.role));
    let by_index = "SELECT file_path FROM code_chunks WHERE id = 7";
    let session = b.stack.session(&lab::SERVICES, "codebase-mcp").unwrap();
    session.run("SET enable_seqscan = off").unwrap();
    assert!(session.run(by_index).is_err());
    let done = b.json(&["recover", "db", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(session.run(by_index).unwrap().len(), 1, "{done}");
    drop(session);
    // Its log is told of for a while: that is no reason to build it once more.
    let again = b.json(&["recover", "db", "--yes", "--force-cooldown"], 4);
    assert!(again["reason"].as_str().unwrap().contains("was built anew at"), "{again}");
    heal(b, fault);
}
