//! Faults of slots and pools: the server's, a service's, and transactions left open.
//! The database is alive in each of them.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{BATCH, SERVICES};
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::BOTH;

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "server-slots-full/all",
        "pool-exhausted/server-slots-full",
        "postgres",
        "a nightly job takes every ordinary slot, the services' too",
        every_slot,
    )
    .explains(BOTH),
    Fault::new(
        "server-slots-full/free-ones",
        "pool-exhausted/server-slots-full",
        "postgres",
        "a nightly job takes every free slot; the services keep theirs",
        |stack| free_slots(stack, 0).map(drop),
    ),
    Fault::new(
        "client-pool-saturated/shape-a",
        "pool-exhausted/client-pool-saturated",
        "codebase-mcp",
        "14 quick requests at once for a pool of 10",
        |stack| busy(stack, "codebase-mcp"),
    ),
    Fault::new(
        "client-pool-saturated/shape-c",
        "pool-exhausted/client-pool-saturated",
        "workflow-mcp",
        "14 quick requests at once for a pool of 10",
        |stack| busy(stack, "workflow-mcp"),
    ),
    Fault::new(
        "blocking-chain/migration",
        "pool-exhausted/blocking-chain",
        "postgres",
        "a migration left open locks the table that searches read",
        |stack| {
            let session = stack.add_culprit(&SERVICES, "migration")?;
            session.run("BEGIN; ALTER TABLE code_chunks ADD COLUMN note text")?;
            blocked_searches(stack)
        },
    )
    .cascade()
    .explains(&["codebase-mcp"]),
    Fault::new(
        "blocking-chain/own-request",
        "pool-exhausted/blocking-chain",
        "postgres",
        "one of the service's own requests holds a lock in an idle transaction",
        |stack| {
            stack.service("codebase-mcp")?.tell("hold?n=1&secs=600&mode=lock")?;
            blocked_searches(stack)
        },
    )
    .explains(&["codebase-mcp"]),
    Fault::new(
        "idle-in-transaction/own-pool",
        "pool-exhausted/idle-in-transaction",
        "postgres",
        "a service's requests leave their transactions open, until its pool is full",
        |stack| {
            let service = stack.service("codebase-mcp")?;
            service.tell("hold?n=10&secs=600&mode=idle")?;
            until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))?;
            aged(stack)
        },
    )
    .cascade()
    .explains(&["codebase-mcp"])
    .with(|settings| settings.idle_in_transaction = Some("2s".into())),
    Fault::new(
        "idle-in-transaction/slots",
        "pool-exhausted/idle-in-transaction",
        "postgres",
        "idle transactions hold every slot but one",
        |stack| {
            for session in free_slots(stack, 1)? {
                session.run("BEGIN; SELECT count(*) FROM repositories")?;
            }
            aged(stack)
        },
    )
    .or_at_least("pool-exhausted/server-slots-full@postgres")
    .with(|settings| settings.idle_in_transaction = Some("2s".into())),
    Fault::new(
        "idle-in-transaction/every-slot",
        "pool-exhausted/idle-in-transaction",
        "postgres",
        "idle transactions hold every slot: nobody is let in to see them",
        |stack| {
            for session in free_slots(stack, 0)? {
                session.run("BEGIN; SELECT count(*) FROM repositories")?;
            }
            aged(stack)
        },
    )
    .or_at_least("pool-exhausted/server-slots-full@postgres")
    .with(|settings| settings.idle_in_transaction = Some("2s".into())),
];

/// Sessions until the server refuses one, then as many fewer as are to be left.
/// Gives the sessions, which stay.
pub(super) fn free_slots(stack: &mut Stack, left: usize) -> Result<&[crate::sql::Session]> {
    for _ in 0..60 {
        match stack.add_culprit(&BATCH, "nightly-batch") {
            Ok(session) => session.run("SELECT count(*) FROM code_chunks").map(drop)?,
            Err(e) if format!("{e:#}").contains("53300") || format!("{e:?}").contains("slots") => {
                stack.drop_culprits(left);
                return Ok(stack.culprits());
            }
            Err(e) => return Err(e),
        }
    }
    bail!("60 sessions and no end of slots")
}

/// The services' sessions are ended, and their slots taken, until none of theirs is left.
/// A superuser's own session counts as well: it must be gone before the last slot is taken.
fn every_slot(stack: &mut Stack) -> Result<()> {
    let theirs = format!("FROM pg_stat_activity WHERE usename = '{}'", SERVICES.role);
    for _ in 0..50 {
        free_slots(stack, 0)?;
        let left = stack.cluster().sql(&format!("SELECT pg_terminate_backend(pid, 1000) {theirs}"))?;
        if !left.is_empty() {
            continue;
        }
        // With the end of that session a slot is free again, and whoever is quicker has it.
        free_slots(stack, 0)?;
        let without = |_| {
            std::thread::sleep(Duration::from_millis(100));
            stack.services().iter().all(|service| service.says("unhealthy"))
        };
        if (0..3).all(without) {
            return Ok(());
        }
    }
    bail!("the services always get a slot again")
}

fn busy(stack: &mut Stack, name: &str) -> Result<()> {
    let service = stack.service(name)?;
    service.tell("hold?n=14&secs=600&mode=query")?;
    until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))
}

fn blocked_searches(stack: &mut Stack) -> Result<()> {
    blocked(stack)?;
    aged(stack)
}

/// Searches that wait for a lock until they fill the pool.
pub(super) fn blocked(stack: &Stack) -> Result<()> {
    stack.add_searches("codebase-mcp", 12)?;
    let service = stack.service("codebase-mcp")?;
    until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))
}

/// Until an idle transaction is older than the two seconds that the settings ask for.
fn aged(stack: &Stack) -> Result<()> {
    let admin = stack.cluster().session("postgres")?;
    let old = "SELECT 1 FROM pg_stat_activity
               WHERE state = 'idle in transaction' AND state_change < now() - interval '2.2 s'";
    until("a transaction is idle for two seconds", Duration::from_secs(5), || {
        admin.run(old).is_ok_and(|rows| !rows.is_empty())
    })
    .context("no idle transaction")
}
