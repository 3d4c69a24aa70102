//! Faults of the data itself: bytes overwritten in a table, in the catalogue, in an index;
//! transaction numbers near their end. Each is done to the stopped cluster's files.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::SERVICES;
use crate::program::run;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

const PAGE: u64 = 8192;

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "data-corruption/table",
        "db-down/data-corruption",
        "postgres",
        "a byte of a table's file was overwritten; searches fail",
        |stack| {
            corrupt_table(stack)?;
            let service = stack.service("codebase-mcp")?;
            let answer = service.search(Duration::from_secs(5))?;
            ensure!(answer.status == 500, "a search answers {}", answer.status);
            counted(stack)
        },
    ),
    Fault::new(
        "data-corruption/catalogue",
        "db-down/data-corruption",
        "postgres",
        "a byte of pg_database was overwritten; nobody gets in",
        |stack| {
            let file = stack.file_of("pg_database")?;
            stack.keep_data()?;
            stack.overwrite(&file, 5000, b"#")?;
            // Nobody can tell that it is ready.
            stack.start_postgres_unseen()?;
            all_unhealthy(stack)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "index-corrupt/zero-page",
        "db-down/index-corrupt",
        "postgres",
        "a page of an index was overwritten with zeros",
        |stack| {
            let file = stack.file_of("code_chunks_pkey")?;
            stack.keep_data()?;
            stack.overwrite(&file, PAGE, &[0; PAGE as usize])?;
            // All are well, so only a file of its own tells: no journal is read then.
            stack
                .cluster()
                .write_auto_conf("logging_collector = on\nlog_line_prefix = '%m [%p] %q%u@%d '\n")?;
            stack.start_postgres()?;
            let session = stack.session(&SERVICES, "codebase-mcp")?;
            session.run("SET enable_seqscan = off")?;
            let said = session.run("SELECT file_path FROM code_chunks WHERE id = 7");
            let said = said.err().context("the index is fine")?;
            ensure!(format!("{said:?}").contains("unexpected zero page"), "{said:?}");
            stack.wait_until_healthy()
        },
    ),
    Fault::new(
        "wraparound/age",
        "db-down/wraparound",
        "postgres",
        "1.6 billion transactions since the oldest one; autovacuum sleeps for weeks",
        |stack| old_age(stack, 1_600_000_000),
    ),
    Fault::new(
        "wraparound/stop",
        "db-down/wraparound",
        "postgres",
        "transaction numbers are used up: every write is refused",
        |stack| {
            old_age(stack, 2_147_000_000)?;
            let session = stack.session(&SERVICES, "codebase-mcp")?;
            let said = session.run("UPDATE workflow_tasks SET done = true WHERE id = 2");
            let said = said.err().context("a write succeeded")?;
            ensure!(format!("{said:?}").contains("not accepting commands"), "{said:?}");
            stack.wait_until_healthy()
        },
    ),
    Fault::control(
        "healthy/old-checksum",
        "a page failed its checksum three hours ago, and was mended",
        |stack| {
            let file = stack.file_of("code_chunks")?;
            stack.keep_data()?;
            let page = std::fs::read(&file)?;
            stack.overwrite(&file, 2 * PAGE + 5000, b"#")?;
            stack.start_postgres_in_the_past("-3h")?;
            let session = stack.session(&SERVICES, "codebase-mcp")?;
            ensure!(session.run("SELECT count(content) FROM code_chunks").is_err(), "the page is fine");
            drop(session);
            counted(stack)?;
            stack.stop_postgres()?;
            stack.overwrite(&file, 0, &page)?;
            let unit = stack.postgres_unit();
            stack.systemd()?.remove_drop_in(&unit)?;
            stack.start_postgres()?;
            stack.forget_journal()?;
            let old = "SELECT 1 FROM pg_stat_database WHERE checksum_last_failure < now() - interval '2 h'";
            ensure!(!stack.cluster().sql(old)?.is_empty(), "the counter is not old");
            stack.wait_until_healthy()
        },
    )
    .like("db-down")
    .under_systemd(),
];

fn corrupt_table(stack: &mut Stack) -> Result<()> {
    let file = stack.file_of("code_chunks")?;
    stack.keep_data()?;
    stack.overwrite(&file, 5000, b"#")?;
    stack.start_postgres()?;
    stack.wait_until_healthy()
}

/// The failure goes to the counters when a session ends, or after a while.
fn counted(stack: &Stack) -> Result<()> {
    let counted = "SELECT 1 FROM pg_stat_database WHERE datname = 'codebase_mcp' AND checksum_failures > 0";
    until("the failure is counted", Duration::from_secs(15), || {
        stack.cluster().sql(counted).is_ok_and(|rows| !rows.is_empty())
    })
}

/// Moves the counter of transactions on, as so many transactions would have done.
/// The autovacuum that would mend it within a second is told to sleep for weeks.
fn old_age(stack: &mut Stack, next: u32) -> Result<()> {
    stack.keep_data()?;
    let cluster = stack.cluster();
    cluster.write_auto_conf("autovacuum_naptime = 2147483\n")?;
    // The commit log has a file for every 2^20 transactions; the one of the next is missing.
    let clog = cluster.data.join(format!("pg_xact/{:04X}", next >> 20));
    std::fs::write(&clog, vec![0; 256 << 10])?;
    cluster.own(&clog)?;
    let mut reset = cluster.as_owner(cluster.postgres.bin.join("pg_resetwal"));
    run(reset.args(["-x", &next.to_string(), "-D"]).arg(&cluster.data))?;
    stack.start_postgres()?;
    stack.wait_until_healthy()
}
