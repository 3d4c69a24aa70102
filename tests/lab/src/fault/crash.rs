//! Faults of the services: ended, failed, brought back in vain, unhealthy by their own word.
//! Each ends as a real process does: by its own exit status or by a signal.

use std::time::Duration;

use anyhow::Result;

use crate::stack::Stack;
use crate::wait::until;

use super::Fault;

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "stopped/exit-0",
        "server-crash/stopped",
        "codebase-mcp",
        "the main process exits 0 by itself",
        |stack| {
            stack.service("codebase-mcp")?.tell("exit?code=0")?;
            reaches(stack, "codebase-mcp", "inactive")
        },
    )
    .under_systemd(),
    Fault::new("failed/exit-1", "server-crash/failed", "codebase-mcp", "the main process exits 1", |stack| {
        stack.service("codebase-mcp")?.tell("exit?code=1")?;
        reaches(stack, "codebase-mcp", "failed")
    })
    .under_systemd(),
    Fault::new("failed/abort", "server-crash/failed", "workflow-mcp", "the main process aborts", |stack| {
        stack.service("workflow-mcp")?.tell("exit")?;
        reaches(stack, "workflow-mcp", "failed")
    })
    .under_systemd(),
    Fault::new(
        "failed/auto-restart",
        "server-crash/failed",
        "codebase-mcp",
        "SIGKILL; Restart= waits five minutes",
        |stack| {
            let booted = stack.systemd()?;
            booted.drop_in("codebase-mcp.service", "[Service]\nRestart=always\nRestartSec=300\n")?;
            booted.kill("codebase-mcp.service", "KILL")?;
            reaches(stack, "codebase-mcp", "activating")
        },
    )
    .under_systemd(),
    Fault::new(
        "failed/in-vain",
        "server-crash/failed",
        "codebase-mcp",
        "exit 1; Restart= brings it back, it listens no more and dies again",
        restarted_in_vain,
    )
    .under_systemd(),
    Fault::new(
        "unhealthy/shape-a",
        "server-crash/unhealthy",
        "codebase-mcp",
        "it answers unhealthy (HTTP 200) though the database is connected",
        |stack| unhealthy(stack, "codebase-mcp"),
    ),
    Fault::new(
        "unhealthy/shape-c",
        "server-crash/unhealthy",
        "workflow-mcp",
        "it answers unhealthy (HTTP 503) though the database is connected",
        |stack| unhealthy(stack, "workflow-mcp"),
    ),
];

fn unhealthy(stack: &Stack, name: &str) -> Result<()> {
    let service = stack.service(name)?;
    service.tell("answer?as=unhealthy")?;
    until("it says unhealthy", Duration::from_secs(5), || service.says("unhealthy"))
}

pub(super) fn reaches(stack: &Stack, name: &str, state: &str) -> Result<()> {
    let booted = stack.systemd()?;
    let unit = stack.service(name)?.unit();
    until(&format!("{unit} is {state}"), Duration::from_secs(10), || {
        booted.property(&unit, "ActiveState").is_ok_and(|now| now == state)
    })
}

/// D-Bus then says active, running, success; only the journal knows better.
fn restarted_in_vain(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    let unit = "codebase-mcp.service";
    booted.drop_in(
        unit,
        "[Unit]\nStartLimitIntervalSec=0\n\
         [Service]\nRestart=always\nRestartSec=100ms\nEnvironment=LAB_START=exit:1:20\n",
    )?;
    let former = booted.property(unit, "MainPID")?;
    stack.service("codebase-mcp")?.tell("exit?code=1")?;
    until("Restart= brought it back", Duration::from_secs(10), || {
        let pid = booted.property(unit, "MainPID").unwrap_or_default();
        let state = booted.property(unit, "ActiveState").unwrap_or_default();
        pid != "0" && pid != former && state == "active"
    })
}
