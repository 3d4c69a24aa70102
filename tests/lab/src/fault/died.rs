//! Faults that end a service for a reason: memory, a setting, a restart that helps nothing.
//! The reason is real: the kernel kills, the program itself refuses.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::crash::reaches;

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";

pub const FAULTS: &[Fault] = &[
    Fault::new("oom-killed/limit", "server-crash/oom-killed", A, "it takes more than its MemoryMax", |stack| {
        limited(stack, "MemoryMax=64M")?;
        stack.service(A)?.tell("allocate?mib=200")?;
        reaches(stack, A, "failed")
    })
    .under_systemd(),
    Fault::new(
        "oom-killed/restarted",
        "server-crash/oom-killed",
        A,
        "the same; Restart= brings it back, and it does not listen yet",
        |stack| {
            limited(stack, "MemoryMax=64M\nRestart=always\nRestartSec=100ms")?;
            let booted = stack.systemd()?;
            let former = booted.property(UNIT, "MainPID")?;
            let slow = "[Service]\nMemoryMax=64M\nRestart=always\nRestartSec=100ms\nEnvironment=LAB_START=exit:1:20\n";
            booted.drop_in(UNIT, slow)?;
            stack.service(A)?.tell("allocate?mib=200")?;
            until("Restart= brought it back", Duration::from_secs(10), || {
                let pid = booted.property(UNIT, "MainPID").unwrap_or_default();
                pid != "0" && pid != former
            })
        },
    )
    .under_systemd(),
    Fault::new(
        "failed/sigkill",
        "server-crash/failed",
        A,
        "somebody's SIGKILL, and it has a MemoryMax",
        |stack| {
            limited(stack, "MemoryMax=64M")?;
            stack.systemd()?.kill(UNIT, "KILL")?;
            reaches(stack, A, "failed")
        },
    )
    .under_systemd(),
    Fault::new(
        "crash-loop/limit",
        "server-crash/crash-loop",
        A,
        "it dies at every start, until systemd gives up",
        |stack| {
            dies_at_start(stack, "Restart=always\nRestartSec=50ms\nEnvironment=LAB_START=exit:3:0\n", "")?;
            reaches(stack, A, "failed")
        },
    )
    .under_systemd(),
    Fault::new(
        "crash-loop/no-limit",
        "server-crash/crash-loop",
        A,
        "it dies at every start, and systemd never gives up",
        |stack| {
            let unit = "StartLimitIntervalSec=0\n";
            dies_at_start(stack, "Restart=always\nRestartSec=200ms\nEnvironment=LAB_START=exit:3:0\n", unit)?;
            let booted = stack.systemd()?;
            until("it was restarted four times", Duration::from_secs(10), || {
                booted.property(UNIT, "NRestarts").is_ok_and(|n| n.parse().is_ok_and(|n: u32| n >= 4))
            })
        },
    )
    .under_systemd(),
    Fault::new(
        "bad-configuration/pool-size",
        "server-crash/bad-configuration",
        A,
        "a pool larger than the server allows; Restart= tries again and again",
        |stack| {
            dies_at_start(stack, "Restart=always\nRestartSec=50ms\nEnvironment=POOL_MAX_SIZE=200\n", "")?;
            reaches(stack, A, "failed")
        },
    )
    .changed("drop-in lab-fault.conf of codebase-mcp.service")
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "bad-configuration/old-drop-in",
        "server-crash/bad-configuration",
        A,
        "the same by a drop-in of yesterday, which a restart of now makes hold",
        |stack| {
            let booted = stack.systemd()?;
            booted.drop_in(UNIT, "[Service]\nEnvironment=POOL_MAX_SIZE=200\n")?;
            booted.age_drop_in(UNIT, Duration::from_secs(86_400))?;
            booted.systemctl(&["restart", UNIT]).ok();
            reaches(stack, A, "failed")
        },
    )
    .not_changed("lab-fault.conf")
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "bad-configuration/argument",
        "server-crash/bad-configuration",
        A,
        "a drop-in with an argument that the program does not take",
        |stack| {
            let line = stack.systemd()?.property(UNIT, "ExecStart")?;
            let argv = line.split("argv[]=").nth(1).and_then(|l| l.split(" ;").next()).unwrap_or_default();
            ensure!(argv.ends_with("--shape a"), "unexpected ExecStart: {line}");
            let argv = argv.replace("--shape a", "--shape z");
            dies_at_start(stack, &format!("ExecStart=\nExecStart={argv}\n"), "")?;
            reaches(stack, A, "failed")
        },
    )
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "bad-configuration/missing",
        "server-crash/bad-configuration",
        A,
        "DATABASE_URL is not in its environment",
        |stack| {
            dies_at_start(stack, "UnsetEnvironment=DATABASE_URL\n", "")?;
            reaches(stack, A, "failed")
        },
    )
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "port-conflict/another-program",
        "server-crash/port-conflict",
        A,
        "another program took its port while it was stopped; its start fails",
        port_taken,
    )
    .healed_by(end_intruder)
    .under_systemd(),
];

/// A server of another unit, with a database of its own that is not there, listens first.
pub(super) fn intrude(stack: &Stack) -> Result<()> {
    let port = stack.service(A)?.port;
    let booted = stack.systemd()?;
    booted.systemctl(&["stop", UNIT])?;
    let listen = format!("127.0.0.1:{port}");
    let program = stack.binary().display().to_string();
    let mut other = vec!["systemd-run", "--unit=intruder", "--collect", "-q"];
    other.extend(["--setenv=DATABASE_URL=postgresql://nobody@127.0.0.1:1/none", &program]);
    other.extend(["serve", "--name", "intruder", "--listen", &listen, "--shape", "c"]);
    booted.exec(&other)?;
    until("the other program listens", Duration::from_secs(5), || TcpStream::connect(&listen).is_ok())
}

pub(super) fn end_intruder(stack: &mut Stack) -> Result<()> {
    stack.systemd()?.systemctl(&["stop", "intruder.service"]).map(drop)
}

fn port_taken(stack: &mut Stack) -> Result<()> {
    intrude(stack)?;
    stack.systemd()?.systemctl(&["start", UNIT]).ok();
    reaches(stack, A, "failed")
}

/// A drop-in for the service, in force.
pub(super) fn limited(stack: &Stack, lines: &str) -> Result<()> {
    let booted = stack.systemd()?;
    booted.drop_in(UNIT, &format!("[Service]\n{lines}\n"))?;
    booted.systemctl(&["restart", UNIT])?;
    stack.wait_until_healthy()
}

/// Restarts it with settings with which no start succeeds.
pub(super) fn dies_at_start(stack: &Stack, service: &str, unit: &str) -> Result<()> {
    let booted = stack.systemd()?;
    booted.drop_in(UNIT, &format!("[Unit]\n{unit}[Service]\n{service}"))?;
    // With Type=exec the start itself succeeds, if the program outlives the moment in which it is looked
    // at; a start that was seen to fail is the same fault.
    let _ = booted.systemctl(&["restart", UNIT]);
    Ok(())
}
