//! Faults of a pooler between the services and the server: pgbouncer, with two connections for all.

use std::time::Duration;

use anyhow::Result;

use crate::settings::Place;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "pooler-full/direct",
        "pool-exhausted/pooler-full",
        "postgres",
        "two queries hold both connections of a pgbouncer of which the tool is not told",
        |stack| fill(stack).map(drop),
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "pooler-full/console",
        "pool-exhausted/pooler-full",
        "pgbouncer",
        "two queries hold both connections of pgbouncer, others wait; the tool may ask its console",
        |stack| {
            let port = fill(stack)?;
            told_of(stack, port)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "pooler-full/through",
        "pool-exhausted/pooler-full",
        "postgres",
        "two queries hold both connections of pgbouncer, others wait; the tool goes through it, too",
        |stack| {
            let port = fill(stack)?;
            let mut settings = stack.settings().clone();
            let local = Some((stack.postgres_unit(), stack.cluster().data.clone()));
            settings.database = Some(Place { host: "127.0.0.1".into(), port, query: String::new(), local });
            stack.configure(&settings)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::control("healthy/pooler", "the services go through a pgbouncer that has room", |stack| {
        stack.add_pooler()?;
        stack.wait_until_healthy()
    })
    .like("pool-exhausted")
    .under_systemd(),
    Fault::control(
        "healthy/pooler-burst",
        "clients of a pgbouncer wait for moments: five users at once",
        |stack| {
            let port = stack.add_pooler()?;
            told_of(stack, port)?;
            stack.keep_asking("workflow-mcp", 5)
        },
    )
    .like("pool-exhausted")
    .under_systemd(),
];

/// The tool is told of the pooler, as an engineer would.
fn told_of(stack: &mut Stack, port: u16) -> Result<()> {
    let mut settings = stack.settings().clone();
    settings.pooler = Some(port);
    stack.configure(&settings)
}

fn fill(stack: &mut Stack) -> Result<u16> {
    let port = stack.add_pooler()?;
    stack.service("codebase-mcp")?.tell("hold?n=2&secs=600&mode=long")?;
    let admin = stack.cluster().session("postgres")?;
    let running = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%'
                   AND pid <> pg_backend_pid()";
    until("both connections are busy", Duration::from_secs(5), || {
        admin.run(running).is_ok_and(|rows| rows.len() == 2)
    })?;
    stack.keep_asking("workflow-mcp", 5)?;
    all_unhealthy(stack)?;
    Ok(port)
}
