//! Faults of a service that its unit or its answer tells at once: stopped by somebody, not to be
//! executed, deaf since its listener is gone, answering what is no health answer.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::crash::reaches;
use super::died::dies_at_start;

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "stopped-on-purpose/systemctl",
        "server-crash/stopped-on-purpose",
        A,
        "somebody stops its unit",
        |stack| {
            stack.systemd()?.systemctl(&["stop", UNIT])?;
            reaches(stack, A, "inactive")
        },
    )
    .or_at_least("server-crash/stopped@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "stopped-on-purpose/ends-badly",
        "server-crash/stopped-on-purpose",
        A,
        "the same, and it dies of the signal that it is told to end by",
        |stack| {
            let booted = stack.systemd()?;
            booted.drop_in(UNIT, "[Service]\nKillSignal=SIGUSR2\n")?;
            booted.systemctl(&["stop", UNIT])?;
            reaches(stack, A, "failed")
        },
    )
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new("exec-failed/program", "server-crash/exec-failed", A, "its program is not there", |stack| {
        never_executed(stack, "ExecStart=\nExecStart=/opt/mcp/bin/server\n")
    })
    .under_systemd(),
    Fault::new(
        "exec-failed/user",
        "server-crash/exec-failed",
        A,
        "the user of its unit is not there",
        |stack| never_executed(stack, "User=nobody-of-that-name\n"),
    )
    .under_systemd(),
    Fault::new("exec-failed/folder", "server-crash/exec-failed", A, "its folder is not there", |stack| {
        never_executed(stack, "WorkingDirectory=/nonexistent/mcp\nRestart=always\nRestartSec=50ms\n")
    })
    .under_systemd(),
    Fault::new("not-listening/closed", "server-crash/not-listening", A, "it closes its listener", |stack| {
        stack.service(A)?.tell("close")?;
        refuses(stack)?;
        until("its start is long over", Duration::from_secs(40), || {
            running_s(stack).is_ok_and(|secs| secs > 31.0)
        })
    })
    .healed_by(|stack| stack.systemd()?.systemctl(&["restart", UNIT]).map(drop))
    .under_systemd(),
    Fault::control("unknown/starting", "it was started a moment ago and does not listen yet", |stack| {
        dies_at_start(stack, "Environment=LAB_START=exit:1:60\n", "")?;
        refuses(stack)
    })
    .not_known()
    .like("server-crash")
    .under_systemd(),
    Fault::new("malformed-health/html", "server-crash/malformed-health", A, "a proxy's page", |stack| {
        stack.service(A)?.tell("answer?as=html")
    }),
    Fault::new(
        "malformed-health/garbage",
        "server-crash/malformed-health",
        A,
        "neither JSON nor printable",
        |stack| stack.service(A)?.tell("answer?as=garbage"),
    ),
    Fault::new(
        "malformed-health/redirect",
        "server-crash/malformed-health",
        A,
        "a login page's way",
        |stack| stack.service(A)?.tell("answer?as=redirect"),
    ),
    Fault::control("unknown/denied", "its health answer is 401: alive, not to be looked at", |stack| {
        stack.service(A)?.tell("answer?as=denied")
    })
    .not_known()
    .like("server-crash"),
];

/// A restart, with lines under which systemd can't begin the program.
fn never_executed(stack: &Stack, lines: &str) -> Result<()> {
    dies_at_start(stack, lines, "").ok();
    reaches(stack, A, "failed")
}

fn refuses(stack: &Stack) -> Result<()> {
    let address = format!("127.0.0.1:{}", stack.service(A)?.port);
    until("its port is closed", Duration::from_secs(5), || TcpStream::connect(&address).is_err())
}

/// How long it is in its present state, in seconds, by the clock that systemd uses.
fn running_s(stack: &Stack) -> Result<f64> {
    let since: f64 = stack.systemd()?.property(UNIT, "StateChangeTimestampMonotonic")?.parse()?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let now: f64 = uptime.split(' ').next().context("no uptime")?.parse()?;
    Ok(now - since / 1e6)
}
