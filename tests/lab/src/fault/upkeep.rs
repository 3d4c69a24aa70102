//! Slow, and quick again once the catalogue is put right: the planner knows nothing of what a table holds now,
//! or the index that it would go by is not valid.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::stack::Stack;

use super::Fault;
use super::latency::{as_before, slow, statistics};

/// Matches nothing.
const SEARCH: &str = r#"{"query":"nowhere"}"#;
/// How long a search takes by itself without the index, at least.
const ALONE: Duration = Duration::from_millis(600);
/// What an index saves to compute, a row at a time: most rows are of another kind than those searched.
const KIND: &str = "md5(repeat(kind, 400))";

const fn fault(
    name: &'static str,
    cause: &'static str,
    what: &'static str,
    inject: fn(&mut Stack) -> Result<()>,
) -> Fault {
    Fault::new(name, cause, "postgres", what, inject)
        .with(|s| s.metrics = true)
        .healed_by(put_back)
        .explains(&["postgres"])
        .under_systemd()
}

pub const FAULTS: &[Fault] = &[
    fault(
        "stale-statistics/other-rows",
        "latency/stale-statistics",
        "a table is full of other rows than when it was analyzed, a third of them dead: the planner reads it whole",
        |stack| {
            statistics(stack)?;
            searched_by_kind(stack)?;
            stack.cluster().sql("ANALYZE kept.code_chunks")?;
            fill(stack)?;
            slow(stack, SEARCH, 3)
        },
    ),
    fault(
        "invalid-index/needed",
        "latency/invalid-index",
        "the index that a search goes by was cancelled while it was built; a rebuild of another left its half",
        |stack| {
            statistics(stack)?;
            searched_by_kind(stack)?;
            stack.cluster().sql("DROP INDEX kept.chunks_kind")?;
            fill(stack)?;
            stack.cluster().sql("VACUUM ANALYZE kept.code_chunks")?;
            in_vain(
                stack,
                &[
                    &format!("CREATE INDEX CONCURRENTLY chunks_kind ON kept.code_chunks USING hash ({KIND})"),
                    "REINDEX INDEX CONCURRENTLY kept.code_chunks_pkey",
                ],
            )?;
            slow(stack, SEARCH, 3)
        },
    ),
];

/// Searches go by a view that asks for the rows of one kind, in an order that no index has; nobody vacuums by
/// himself.
fn searched_by_kind(stack: &Stack) -> Result<()> {
    for statement in [
        "CREATE SCHEMA kept",
        "ALTER TABLE code_chunks SET SCHEMA kept",
        "ALTER TABLE kept.code_chunks SET (autovacuum_enabled = false)",
        "ALTER TABLE kept.code_chunks ADD COLUMN kind text NOT NULL DEFAULT 'live'",
        &format!("CREATE INDEX chunks_kind ON kept.code_chunks USING hash ({KIND})"),
        &format!(
            "CREATE VIEW code_chunks AS SELECT id + 0 AS id, repository_id, file_path, content FROM kept.code_chunks
              WHERE {KIND} = md5(repeat('live', 400))"
        ),
        "GRANT USAGE ON SCHEMA kept TO PUBLIC",
        "GRANT SELECT ON code_chunks TO PUBLIC",
    ] {
        stack.cluster().sql(statement)?;
    }
    Ok(())
}

/// Few rows are of the kind that is searched for, and as many of others as make a search long on this machine
/// that looks at each; a third of them dead.
fn fill(stack: &Stack) -> Result<()> {
    let admin = stack.cluster().session("codebase_mcp")?;
    admin.run("UPDATE kept.code_chunks SET kind = 'old' || id WHERE id > 200")?;
    for from in (10_001..600_000).step_by(60_000) {
        admin.run(&format!(
            "INSERT INTO kept.code_chunks (id, repository_id, file_path, content, kind)
             SELECT n, 1 + n % 5, 'src/new.py', 'nowhere', 'old' || n FROM generate_series({from}, {from} + 59999) n"
        ))?;
        let began = Instant::now();
        admin.run(&format!("SELECT count(*) FROM kept.code_chunks WHERE {KIND} || '' = 'none'"))?;
        if began.elapsed() > ALONE {
            break;
        }
    }
    admin.run("DELETE FROM kept.code_chunks WHERE id > 10000 AND id % 3 = 0")?;
    Ok(())
}

/// A build waits for who has begun before it; who waits with a limit leaves it unfinished.
fn in_vain(stack: &Stack, builds: &[&str]) -> Result<()> {
    let writer = stack.cluster().session("codebase_mcp")?;
    writer.run("BEGIN")?;
    writer.run("UPDATE kept.code_chunks SET content = content WHERE id = 1")?;
    let admin = stack.cluster().session("codebase_mcp")?;
    admin.run("SET lock_timeout = 300")?;
    for build in builds {
        ensure!(admin.run(build).is_err(), "it was built: {build}");
    }
    writer.run("ROLLBACK")?;
    Ok(())
}

fn put_back(stack: &mut Stack) -> Result<()> {
    stack.drop_culprits(usize::MAX);
    stack.stop_asking();
    let moved = "SELECT 1 FROM pg_namespace WHERE nspname = 'kept'";
    if !stack.cluster().sql(moved)?.is_empty() {
        for statement in [
            "DROP VIEW IF EXISTS code_chunks",
            "DROP INDEX IF EXISTS kept.chunks_kind, kept.code_chunks_pkey_ccnew",
            "ALTER TABLE IF EXISTS kept.code_chunks DROP COLUMN IF EXISTS kind",
            "ALTER TABLE IF EXISTS kept.code_chunks SET SCHEMA public",
            "DROP SCHEMA kept",
        ] {
            stack.cluster().sql(statement)?;
        }
    }
    as_before(stack)
}
