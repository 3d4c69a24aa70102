//! Memory and descriptors that run short, by the kernel's own limits; and what only looks so.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::died::limited;

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";
/// Of its unit, in MiB.
const LIMIT: usize = 96;

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "near-limit/kept",
        "memory/near-limit",
        A,
        "94 % of its MemoryMax are kept, and it writes a log besides",
        |stack| {
            fill(stack, true)?;
            hit(stack)
        },
    )
    .under_systemd(),
    Fault::control("healthy/high-memory", "94 % of its MemoryMax are kept, and that is all", |stack| {
        fill(stack, false)?;
        settled();
        stack.wait_until_healthy()
    })
    .like("memory")
    .under_systemd(),
    Fault::control("healthy/page-cache", "a log fills its MemoryMax: the kernel's cache of it", |stack| {
        limited(stack, &format!("MemoryMax={LIMIT}M"))?;
        stack.service(A)?.tell(&format!("churn?mib=0&file={}", log(stack)?))?;
        hit(stack)?;
        stack.wait_until_healthy()
    })
    .like("memory")
    .under_systemd(),
    Fault::new("leak/steady", "memory/leak", A, "3 MiB more every second, for 35 seconds", |stack| {
        stack.service(A)?.tell("grow?mib=3&secs=35")?;
        thread::sleep(Duration::from_secs(35));
        Ok(())
    })
    .told_by_two_looks()
    .healed_by(restart)
    .under_systemd(),
    Fault::new(
        "fd-exhaustion/forgotten",
        "memory/fd-exhaustion",
        A,
        "connections that it does not close: 240 of 256 descriptors",
        |stack| open(stack, 240),
    )
    .under_systemd(),
    Fault::new(
        "fd-exhaustion/none-left",
        "memory/fd-exhaustion",
        A,
        "the same, to the last: it can take no connection",
        |stack| {
            limited(stack, "LimitNOFILE=256")?;
            let to = format!("127.0.0.1:{}", stack.service("workflow-mcp")?.port);
            stack.service(A)?.tell(&format!("open?to={to}&n=1000"))
        },
    )
    .or_at_least("server-crash/hung@codebase-mcp")
    .under_systemd(),
    Fault::control("healthy/many-descriptors", "200 of 256 descriptors", |stack| {
        open(stack, 200)?;
        stack.wait_until_healthy()
    })
    .like("memory")
    .under_systemd(),
];

/// Up to 94 % of the limit.
fn fill(stack: &Stack, with_log: bool) -> Result<()> {
    limited(stack, &format!("MemoryMax={LIMIT}M"))?;
    settled();
    let taken = current(stack)? >> 20;
    let more = (LIMIT * 94 / 100).saturating_sub(taken);
    let file = if with_log { format!("&file={}", log(stack)?) } else { String::new() };
    stack.service(A)?.tell(&format!("churn?mib={more}{file}"))
}

fn current(stack: &Stack) -> Result<usize> {
    let text = stack.systemd()?.property(UNIT, "MemoryCurrent")?;
    text.parse().with_context(|| format!("MemoryCurrent={text}"))
}

fn log(stack: &Stack) -> Result<String> {
    std::fs::create_dir_all(stack.cache())?;
    Ok(stack.cache().join("lab.log").display().to_string())
}

/// What a start takes is taken by then.
fn settled() {
    thread::sleep(Duration::from_millis(500));
}

/// Until its limit is reached, and a little longer.
fn hit(stack: &Stack) -> Result<()> {
    until("its limit is reached", Duration::from_secs(20), || {
        current(stack).is_ok_and(|now| now >= (LIMIT << 20) * 98 / 100)
    })?;
    settled();
    Ok(())
}

/// So many descriptors in all, of 256.
fn open(stack: &Stack, all: usize) -> Result<()> {
    limited(stack, "LimitNOFILE=256")?;
    settled();
    let booted = stack.systemd()?;
    let pid = booted.property(UNIT, "MainPID")?;
    let has = std::fs::read_dir(booted.proc().join(pid).join("fd"))?.count();
    let to = format!("127.0.0.1:{}", stack.service("workflow-mcp")?.port);
    stack.service(A)?.tell(&format!("open?to={to}&n={}", all.saturating_sub(has)))
}

fn restart(stack: &mut Stack) -> Result<()> {
    stack.systemd()?.systemctl(&["restart", UNIT]).map(drop)
}
