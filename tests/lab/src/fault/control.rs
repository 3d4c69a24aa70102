//! Noise that is no fault: the verdict must stay healthy, with exit code 0.
//! Most of them look like a cause of the catalogue from one side.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::BATCH;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;

pub const CONTROLS: &[Fault] = &[
    Fault::control("healthy/idle", "nothing at all", |_| Ok(())),
    Fault::control("healthy/idle-tx-2s", "a transaction idle for two seconds, holding a row lock", |stack| {
        let session = stack.add_culprit(&BATCH, "psql")?;
        session.run("BEGIN; UPDATE workflow_tasks SET done = true WHERE id = 1")?;
        let admin = stack.cluster().session("postgres")?;
        let old = "SELECT 1 FROM pg_stat_activity
                       WHERE state = 'idle in transaction' AND state_change < now() - interval '2 s'";
        until("two seconds pass", Duration::from_secs(5), || admin.run(old).is_ok_and(|r| !r.is_empty()))
    })
    .like("pool-exhausted"),
    Fault::control("healthy/70-percent", "7 of 10 connections busy in both pools", |stack| {
        for name in stack.names() {
            stack.service(name)?.tell("hold?n=7&secs=600&mode=query")?;
        }
        Ok(())
    })
    .like("pool-exhausted"),
    Fault::control("healthy/90-percent", "9 of 10 busy: \"degraded\" by its own word", |stack| {
        let service = stack.service("codebase-mcp")?;
        service.tell("hold?n=9&secs=600&mode=query")?;
        until("it says degraded", Duration::from_secs(5), || service.says("degraded"))
    })
    .like("pool-exhausted"),
    Fault::control("healthy/restarted", "a service was restarted by its administrator", |stack| {
        let unit = stack.service("codebase-mcp")?.unit();
        stack.systemd()?.systemctl(&["restart", &unit])?;
        stack.wait_until_healthy()
    })
    .like("server-crash")
    .under_systemd(),
    Fault::control("healthy/came-back", "a service died by SIGKILL; Restart= brought it back", |stack| {
        let booted = stack.systemd()?;
        let unit = stack.service("workflow-mcp")?.unit();
        booted.drop_in(&unit, "[Service]\nRestart=always\nRestartSec=0\n")?;
        let former = booted.property(&unit, "MainPID")?;
        booted.kill(&unit, "KILL")?;
        until("it was restarted", Duration::from_secs(5), || {
            booted.property(&unit, "MainPID").is_ok_and(|now| now != "0" && now != former)
        })?;
        stack.wait_until_healthy()
    })
    .like("server-crash")
    .under_systemd(),
    Fault::control("healthy/own-password", "the tool's own password is wrong", |_| Ok(()))
        .with(|settings| settings.tool_password = "not-the-password".into())
        .like("db-down"),
    Fault::control("healthy/slow-login", "every login takes a second", slow_login).like("db-down"),
];

fn slow_login(stack: &mut Stack) -> Result<()> {
    let admin = stack.cluster().session("postgres")?;
    admin.run("ALTER SYSTEM SET pre_auth_delay = '1s'")?;
    admin.run("SELECT pg_reload_conf()")?;
    until("the delay is in force", Duration::from_secs(5), || {
        admin.run("SHOW pre_auth_delay").is_ok_and(|rows| rows.first().is_some_and(|v| v == "1s"))
    })
}
