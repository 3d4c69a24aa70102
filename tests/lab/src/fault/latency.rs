//! Slow for real: the users of a service go on asking, and each answer takes over half a second by the
//! service's own histogram. And what is slow only for a moment, or only nearly.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{BATCH, SERVICES};
use crate::http;
use crate::stack::Stack;
use crate::stack::dependencies::OLLAMA;
use crate::wait::until;

use super::Fault;

const A: &str = "codebase-mcp";
/// Matches nothing: the whole table is read.
const SEARCH: &str = r#"{"query":"nowhere"}"#;
/// Changes the one row that all want, and works on a little.
const TOUCH: &str = r#"{"query":"nowhere","touch":true}"#;

/// How long one takes at least, while nobody else asks, that it is slow by itself.
const ALONE: Duration = Duration::from_millis(550);

/// The same of a search that four ask for. On few processors four who ask at once wait
/// for one another: what takes long alone would hardly end then.
fn alone() -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores <= 4 { Duration::from_millis(300) } else { ALONE }
}

const fn fault(
    name: &'static str,
    cause: &'static str,
    subject: &'static str,
    what: &'static str,
    inject: fn(&mut Stack) -> Result<()>,
) -> Fault {
    Fault::new(name, cause, subject, what, inject)
        .with(|s| s.metrics = true)
        .healed_by(as_before)
        .under_systemd()
}

const fn control(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::control(name, what, inject)
        .with(|s| s.metrics = true)
        .healed_by(as_before)
        .like("latency")
        .under_systemd()
}

pub const FAULTS: &[Fault] = &[
    fault(
        "slow-queries/whole-table",
        "latency/slow-queries",
        "postgres",
        "searches read a large table from its beginning to its end",
        |stack| {
            statistics(stack)?;
            grow(stack)?;
            stack.cluster().sql("VACUUM ANALYZE code_chunks")?;
            slow(stack, SEARCH, 4)
        },
    ),
    fault(
        "slow-queries/no-statistics",
        "latency/slow-queries",
        "postgres",
        "the same where pg_stat_statements is not there: told by what runs for over a second",
        |stack| {
            stack.cluster().sql(
                "CREATE FUNCTION slowly() RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(1.6) IS NOT NULL';
                 ALTER TABLE code_chunks RENAME TO all_chunks;
                 CREATE VIEW code_chunks AS SELECT * FROM all_chunks WHERE (SELECT slowly());
                 GRANT SELECT ON code_chunks TO PUBLIC",
            )?;
            slow(stack, SEARCH, 6)
        },
    ),
    fault(
        "stale-statistics/never-analyzed",
        "latency/stale-statistics",
        "postgres",
        "a table grew a hundredfold, and nobody analyzed it",
        |stack| {
            statistics(stack)?;
            grow(stack)?;
            slow(stack, SEARCH, 4)
        },
    )
    .explains(&["postgres"]),
    fault(
        "xmin-held/report",
        "latency/xmin-held",
        "postgres",
        "a report's transaction keeps the dead rows of a table that is changed all the time",
        |stack| {
            statistics(stack)?;
            grow(stack)?;
            let report = stack.add_culprit(&BATCH, "report")?;
            report.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM repositories")?;
            stack.cluster().sql("UPDATE code_chunks SET content = content || '.' WHERE id % 2 = 0")?;
            stack.cluster().sql("VACUUM ANALYZE code_chunks")?;
            slow(stack, SEARCH, 4)
        },
    )
    .with(|s| {
        s.metrics = true;
        s.idle_in_transaction = Some("2s".into());
    })
    .explains(&["postgres"]),
    fault(
        "invalid-index/left-behind",
        "latency/invalid-index",
        "postgres",
        "an index was built concurrently in vain, and left behind",
        |stack| {
            statistics(stack)?;
            grow(stack)?;
            let admin = stack.cluster().session("codebase_mcp")?;
            let build = "CREATE UNIQUE INDEX CONCURRENTLY chunks_content ON code_chunks (repository_id)";
            ensure!(admin.run(build).is_err(), "there are no rows of one repository");
            stack.cluster().sql("VACUUM ANALYZE code_chunks")?;
            slow(stack, SEARCH, 4)
        },
    )
    .explains(&["postgres"]),
    fault(
        "lock-waits/hot-row",
        "latency/lock-waits",
        "postgres",
        "every request changes the same row, and works on for a while",
        |stack| {
            statistics(stack)?;
            slow(stack, TOUCH, 5)
        },
    ),
    fault(
        "pool-wait/small",
        "pool-exhausted/client-pool-saturated",
        A,
        "more users than connections: each waits for one, and its statement is quick",
        |stack| {
            statistics(stack)?;
            stack.set_environment(A, &[("POOL_MAX_SIZE", "2".into())])?;
            stack.wait_until_healthy()?;
            ask(stack, r#"{"query":"nowhere","sleep_ms":60}"#, 24)
        },
    ),
    fault(
        "sync-replication-wait/gone",
        "latency/sync-replication-wait",
        "postgres",
        "commits wait for a standby that is gone",
        |stack| {
            let admin = stack.cluster().session("postgres")?;
            admin.run("ALTER SYSTEM SET synchronous_standby_names = 'standby1'")?;
            admin.run("SELECT pg_reload_conf()")?;
            ask(stack, TOUCH, 4)?;
            let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'
                          AND state_change < now() - interval '1.2 s'";
            until("commits wait", Duration::from_secs(10), || admin.run(waits).is_ok_and(|r| !r.is_empty()))
        },
    ),
    fault(
        "redis-slow/script",
        "latency/redis-slow",
        "redis",
        "somebody runs a long script in Redis again and again",
        |stack| {
            stack.add_redis(false)?;
            let script = "local n = 0; for i = 1, 28000000 do n = n + i end; return n";
            let mut command = Command::new("redis-cli");
            command.args([
                "-p",
                &stack.spare_ports()[0].to_string(),
                "--no-auth-warning",
                "-a",
                "redis-secret",
            ]);
            stack.add_program(command.args(["-r", "100000", "EVAL", script, "0"]))?;
            slow(stack, SEARCH, 4)
        },
    ),
    fault(
        "ollama-slow/busy",
        "latency/ollama-slow",
        "ollama",
        "Ollama takes most of a second for everything",
        |stack| {
            stack.add_ollama("nomic-embed-text:latest")?;
            stack.systemd()?.drop_in(OLLAMA, "[Service]\nEnvironment=LAB_SLOW_MS=700\n")?;
            stack.systemd()?.systemctl(&["restart", OLLAMA])?;
            slow(stack, SEARCH, 4)
        },
    ),
    fault(
        "debug-logging/level",
        "latency/debug-logging",
        A,
        "a service logs every row that it looks at",
        |stack| {
            // As many lines as take its journal long enough on this machine.
            let mut lines: u32 = 4000;
            loop {
                let environment = [("LOG_LEVEL", "DEBUG".into()), ("LAB_DEBUG_LINES", lines.to_string())];
                stack.set_environment(A, &environment)?;
                stack.wait_until_healthy()?;
                stack.service(A)?.post(SEARCH, Duration::from_secs(20))?;
                let began = Instant::now();
                stack.service(A)?.post(SEARCH, Duration::from_secs(20))?;
                if began.elapsed() > ALONE || lines > 100_000 {
                    break;
                }
                lines = lines * 3 / 2;
            }
            slow(stack, SEARCH, 3)
        },
    ),
    fault(
        "unattributed/own",
        "latency/unattributed",
        A,
        "a service takes its time, and nothing under care is why",
        |stack| {
            statistics(stack)?;
            slow(stack, r#"{"query":"nowhere","think_ms":700}"#, 4)
        },
    ),
    control("healthy/busy-and-quick", "both processors are busy; the answers are quick", |stack| {
        for _ in 0..2 {
            stack.add_program(&mut Command::new("yes"))?;
        }
        ask(stack, r#"{"query":"test_search_7"}"#, 2)
    })
    .alone(),
    control("healthy/just-under", "p95 just under its limit", |stack| {
        statistics(stack)?;
        ask(stack, r#"{"query":"nowhere","sleep_ms":350}"#, 4)
    }),
    control("healthy/spike", "a table was locked for a moment; all goes on", |stack| {
        ask(stack, r#"{"query":"test_search_7"}"#, 2)?;
        let session = stack.session(&SERVICES, "migration")?;
        session.run("BEGIN; LOCK TABLE code_chunks; SELECT pg_sleep(0.9); COMMIT")?;
        drop(session);
        stack.wait_until_healthy()
    }),
];

/// `pg_stat_statements`, as an administrator adds it: with a restart.
pub(super) fn statistics(stack: &mut Stack) -> Result<()> {
    let admin = stack.cluster().session("codebase_mcp")?;
    admin.run("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")?;
    drop(admin);
    stack.restart_postgres()?;
    stack.cluster().sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")?;
    stack.wait_until_healthy()
}

/// A hundred thousand rows more, and nobody vacuums by himself; more of them where the machine is quick.
fn grow(stack: &Stack) -> Result<()> {
    let cluster = stack.cluster();
    cluster.sql("ALTER TABLE code_chunks SET (autovacuum_enabled = false)")?;
    let admin = cluster.session("codebase_mcp")?;
    for from in (10_001..400_000).step_by(100_000) {
        admin.run(&format!(
            "INSERT INTO code_chunks SELECT n, 1 + n % 5, 'src/new.py', repeat('def search(): pass ', 10)
               FROM generate_series({from}, {from} + 99999) n"
        ))?;
        // What others do on the machine only makes it longer: the shortest is its own.
        let mut shortest = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            admin.run(
                "SELECT file_path FROM code_chunks WHERE content ILIKE '%nowhere%' ORDER BY id LIMIT 5",
            )?;
            shortest = shortest.min(began.elapsed());
        }
        if shortest > alone() {
            break;
        }
    }
    Ok(())
}

/// The table as it was, and the statistics of statements gone.
pub(super) fn as_before(stack: &mut Stack) -> Result<()> {
    // Who waits for a standby waits until it is not asked for.
    let admin = stack.cluster().session("postgres")?;
    for statement in ["ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"] {
        admin.run(statement)?;
    }
    stack.drop_culprits(usize::MAX);
    stack.stop_asking();
    let table = "SELECT 1 FROM pg_class WHERE relname = 'all_chunks'";
    if !stack.cluster().sql(table)?.is_empty() {
        stack.cluster().sql(
            "DROP VIEW code_chunks; ALTER TABLE all_chunks RENAME TO code_chunks; DROP FUNCTION slowly()",
        )?;
    }
    for statement in [
        "DROP EXTENSION IF EXISTS pg_stat_statements",
        "DROP INDEX IF EXISTS chunks_content",
        "DELETE FROM code_chunks WHERE id > 10000",
        "VACUUM FULL ANALYZE code_chunks",
        "ALTER TABLE code_chunks RESET (autovacuum_enabled)",
    ] {
        stack.cluster().sql(statement)?;
    }
    Ok(())
}

/// So many users ask, until in two seconds, one after the other, more were slow than not.
pub(super) fn slow(stack: &mut Stack, body: &'static str, users: usize) -> Result<()> {
    ask(stack, body, users)?;
    let (mut before, mut times) = (counted(stack)?, 0);
    until("requests are slow", Duration::from_secs(25), || {
        std::thread::sleep(Duration::from_secs(1));
        let Ok(now) = counted(stack) else { return false };
        let (quick, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        // Where none ended, there is nothing to judge yet.
        if all > 0 {
            (before, times) = (now, if quick * 2 < all { times + 1 } else { 0 });
        }
        times >= 2
    })
    .context("nothing is slow")
}

/// Searches by the service's own histogram, since it began: those within half a second, and all.
pub(super) fn counted(stack: &Stack) -> Result<(u64, u64)> {
    let url = format!("{}/metrics", stack.service(A)?.url());
    let page = http::get(&url, Duration::from_secs(3)).map(|a| a.body).unwrap_or_default();
    let count = |le: &str| {
        let line = format!("request_duration_seconds_bucket{{path=\"/search\",le=\"{le}\"}} ");
        page.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok((count("0.5"), count("+Inf")))
}

pub(super) fn ask(stack: &mut Stack, body: &'static str, users: usize) -> Result<()> {
    stack.start_service(A)?;
    stack.wait_until_healthy()?;
    stack.keep_posting(A, users, body)?;
    std::thread::sleep(Duration::from_millis(1500));
    Ok(())
}
