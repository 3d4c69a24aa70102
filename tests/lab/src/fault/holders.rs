//! Faults of holders: connections that are never given back, queries that never end,
//! a transaction that was prepared and forgotten.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{BATCH, SERVICES};
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::BOTH;
use super::pool::{blocked, free_slots};

const A: &str = "codebase-mcp";

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "pool-leak/shape-a",
        "pool-exhausted/pool-leak",
        "codebase-mcp",
        "ten requests keep their connections for ever; PostgreSQL sees them idle",
        |stack| leak(stack, "codebase-mcp"),
    )
    .with(|settings| settings.impatient()),
    Fault::new(
        "pool-leak/shape-c",
        "pool-exhausted/pool-leak",
        "workflow-mcp",
        "ten requests keep their connections for ever; PostgreSQL sees them idle",
        |stack| leak(stack, "workflow-mcp"),
    )
    .or_at_least("server-crash/unhealthy@workflow-mcp")
    .with(|settings| settings.impatient()),
    Fault::new(
        "pool-leak/every-slot",
        "pool-exhausted/pool-leak",
        "codebase-mcp",
        "a service's leak takes the server's last slot; the other service gets none",
        leak_every_slot,
    )
    .cascade()
    .explains(BOTH)
    .or_at_least("pool-exhausted/server-slots-full@postgres")
    .under_systemd()
    .with(|settings| settings.impatient()),
    Fault::new(
        "long-queries/own-pool",
        "pool-exhausted/long-queries",
        "postgres",
        "ten queries of a service run for minutes and fill its pool",
        |stack| {
            let service = stack.service("codebase-mcp")?;
            service.tell("hold?n=10&secs=600&mode=long")?;
            until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))?;
            running_for_two_seconds(stack, 10)
        },
    )
    .cascade()
    .explains(&["codebase-mcp"])
    .with(|settings| settings.impatient()),
    Fault::new(
        "long-queries/slots",
        "pool-exhausted/long-queries",
        "postgres",
        "a nightly job's queries hold every slot but one",
        |stack| {
            let sessions = free_slots(stack, 1)?;
            for session in sessions {
                session.send("SELECT count(*) FROM generate_series(1, 1e12)");
            }
            running_for_two_seconds(stack, 30)
        },
    )
    .or_at_least("pool-exhausted/server-slots-full@postgres")
    .with(|settings| settings.impatient()),
    Fault::new(
        "prepared-transaction/lock",
        "pool-exhausted/prepared-transaction",
        "postgres",
        "a transaction was prepared and forgotten; it locks the table that searches read",
        |stack| {
            let session = stack.session(&SERVICES, "transfer")?;
            session.run("BEGIN; LOCK TABLE code_chunks; PREPARE TRANSACTION 'transfer-4711'")?;
            drop(session);
            blocked(stack)?;
            let admin = stack.cluster().session("postgres")?;
            let old = "SELECT 1 FROM pg_prepared_xacts WHERE prepared < now() - interval '2.2 s'";
            until("it is two seconds old", Duration::from_secs(5), || {
                admin.run(old).is_ok_and(|rows| !rows.is_empty())
            })
        },
    )
    .cascade()
    .explains(&["codebase-mcp"])
    .healed_by(|stack| stack.cluster().sql("ROLLBACK PREPARED 'transfer-4711'").map(drop))
    .with(|settings| settings.impatient()),
    Fault::new(
        "pool-over-budget/sum",
        "pool-exhausted/pool-over-budget",
        "postgres",
        "the two pools may grow to 60 connections; the server has 37 slots",
        |stack| {
            for name in stack.names() {
                stack.set_environment(name, &[("POOL_MAX_SIZE", "30".into())])?;
            }
            stack.wait_until_healthy()
        },
    )
    .as_note()
    .under_systemd(),
    Fault::control(
        "healthy/long-copy",
        "a COPY runs for two seconds and more, over the threshold",
        |stack| {
            let copy = "COPY (SELECT id, pg_sleep(0.1) FROM code_chunks) TO STDOUT";
            stack.start_psql(&BATCH, "pg_dump", copy)?;
            running_for_two_seconds(stack, 1)
        },
    )
    .with(|settings| settings.impatient())
    .like("pool-exhausted"),
    Fault::control("healthy/backup", "a pg_basebackup runs, slowly", |stack| {
        stack.start_backup()?;
        let admin = stack.cluster().session("postgres")?;
        let sender = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND state = 'active'
                      AND query_start < now() - interval '2.2 s'";
        until("it has run two seconds", Duration::from_secs(8), || {
            admin.run(sender).is_ok_and(|rows| !rows.is_empty())
        })
    })
    .with(|settings| settings.impatient())
    .like("pool-exhausted"),
    Fault::control("healthy/idle-spares", "twenty idle sessions, old ones, and slots enough", |stack| {
        for _ in 0..20 {
            stack.add_culprit(&BATCH, "reports")?.run("SELECT count(*) FROM code_chunks")?;
        }
        let admin = stack.cluster().session("postgres")?;
        let old = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'reports'
                   HAVING max(state_change) < now() - interval '2.2 s'";
        until("they are two seconds old", Duration::from_secs(5), || {
            admin.run(old).is_ok_and(|rows| !rows.is_empty())
        })
    })
    .with(|settings| settings.impatient())
    .like("pool-exhausted"),
];

fn leak(stack: &mut Stack, name: &str) -> Result<()> {
    let service = stack.service(name)?;
    service.tell("hold?n=10&secs=600&mode=leak")?;
    until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))?;
    let admin = stack.cluster().session("postgres")?;
    let idle = format!(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = '{name}' AND state = 'idle'
         AND state_change < now() - interval '2.2 s'"
    );
    until("its connections are idle", Duration::from_secs(5), || {
        admin.run(&idle).is_ok_and(|rows| rows.len() == 10)
    })
}

/// Its pool may be larger than the server. The other service loses its connections, as any does in time.
fn leak_every_slot(stack: &mut Stack) -> Result<()> {
    stack.set_environment(A, &[("POOL_MAX_SIZE", "60".into())])?;
    stack.wait_until_healthy()?;
    let leaks = stack.service(A)?.clone();
    leaks.tell("hold?n=28&secs=600&mode=leak")?;
    let other = stack.service("workflow-mcp")?.clone();
    for _ in 0..50 {
        // Those that get no connection are not waited for.
        let more = leaks.clone();
        std::thread::spawn(move || more.tell("hold?n=6&secs=600&mode=leak").is_ok());
        let theirs = "FROM pg_stat_activity WHERE application_name = 'workflow-mcp'";
        // Those that are being refused may hold even the reserved slots for a moment.
        let left = stack.cluster().sql(&format!("SELECT pg_terminate_backend(pid, 1000) {theirs}"));
        std::thread::sleep(Duration::from_millis(100));
        if left.is_ok_and(|l| l.is_empty()) && other.says("unhealthy") && leaks.says("unhealthy") {
            return idle_for_two_seconds(stack);
        }
    }
    bail!("the other service always gets a slot again")
}

/// A superuser still gets in.
fn idle_for_two_seconds(stack: &Stack) -> Result<()> {
    let young = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'codebase-mcp'
                 AND (state <> 'idle' OR state_change > now() - interval '2.2 s')";
    until("its connections are idle", Duration::from_secs(10), || {
        stack.cluster().sql(young).is_ok_and(|rows| rows.is_empty())
    })
}

fn running_for_two_seconds(stack: &Stack, count: usize) -> Result<()> {
    let admin = stack.cluster().session("postgres")?;
    let old = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend'
               AND query_start < now() - interval '2.2 s'";
    until("queries run for two seconds", Duration::from_secs(10), || {
        admin.run(old).is_ok_and(|rows| rows.len() >= count)
    })
    .context("no long query")
}
