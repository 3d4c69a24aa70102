//! Faults of a service that takes connections and answers nothing, and of one that has no unit.
//! Stopped by a signal, frozen by its control group, or busy with itself.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::stack::Stack;
use crate::wait::until;

use super::Fault;

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";

pub const FAULTS: &[Fault] = &[
    Fault::new("hung/stopped", "server-crash/hung", A, "SIGSTOP to its process", |stack| {
        stack.systemd()?.kill(UNIT, "STOP")?;
        falls_silent(stack)
    })
    .healed_by(|stack| stack.systemd()?.kill(UNIT, "CONT"))
    .under_systemd(),
    Fault::new("hung/spin", "server-crash/hung", A, "a thread loops and holds what answers need", |stack| {
        stack.service(A)?.tell("spin")?;
        falls_silent(stack)
    })
    .healed_by(restart)
    .under_systemd(),
    Fault::new("hung/deaf", "server-crash/hung", A, "it accepts nobody any more", |stack| {
        stack.service(A)?.tell("deaf")?;
        falls_silent(stack)
    })
    .healed_by(restart)
    .under_systemd(),
    Fault::new("paused/frozen", "server-crash/paused", A, "its control group is frozen", |stack| {
        freeze(stack)?;
        falls_silent(stack)
    })
    .healed_by(thaw)
    .under_systemd(),
    Fault::new("unit-missing/masked", "server-crash/unit-missing", A, "stopped and masked", |stack| {
        stack.systemd()?.systemctl(&["stop", UNIT])?;
        stack.systemd()?.systemctl(&["mask", "--runtime", UNIT]).map(drop)?;
        let file = stack.dir().join("units").join(UNIT);
        std::fs::rename(&file, file.with_extension("away"))?;
        stack.systemd()?.systemctl(&["daemon-reload"]).map(drop)
    })
    .healed_by(bring_back_unit)
    .under_systemd(),
    Fault::new(
        "unit-missing/not-found",
        "server-crash/unit-missing",
        A,
        "stopped, and its file taken away",
        |stack| take_unit_away(stack),
    )
    .healed_by(bring_back_unit)
    .under_systemd(),
    Fault::new(
        "unhealthy/bare",
        "server-crash/unhealthy",
        A,
        "no unit runs it; it says unhealthy",
        |stack| {
            run_bare(stack)?;
            stack.service(A)?.tell("answer?as=unhealthy")
        },
    )
    .healed_by(end_bare)
    .under_systemd(),
    Fault::control("healthy/bare", "its unit is gone, and a process without one serves its port", run_bare)
        .healed_by(end_bare)
        .like("server-crash")
        .under_systemd(),
];

pub(super) fn falls_silent(stack: &Stack) -> Result<()> {
    let service = stack.service(A)?;
    until("it answers nothing", Duration::from_secs(10), || service.health(Duration::from_secs(1)).is_err())
}

fn restart(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    booted.kill(UNIT, "KILL").ok();
    booted.systemctl(&["reset-failed", UNIT]).ok();
    booted.systemctl(&["restart", UNIT]).map(drop)
}

/// cgroup v1 has a hierarchy for it, which systemd leaves alone; on v2 it is systemd's.
const FREEZER: &str = "/sys/fs/cgroup/freezer";

fn freeze(stack: &Stack) -> Result<()> {
    let booted = stack.systemd()?;
    if booted.exec(&["test", "-d", FREEZER]).is_err() {
        return booted.systemctl(&["freeze", UNIT]).map(drop);
    }
    let pid = booted.property(UNIT, "MainPID")?;
    let script = "mkdir -p $1/box && echo $2 > $1/box/cgroup.procs && echo FROZEN > $1/box/freezer.state";
    booted.exec(&["sh", "-c", script, "sh", FREEZER, &pid]).map(drop)
}

fn thaw(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    if booted.exec(&["test", "-d", FREEZER]).is_err() {
        return booted.systemctl(&["thaw", UNIT]).map(drop);
    }
    let script = "echo THAWED > $1/box/freezer.state; for p in $(cat $1/box/cgroup.procs); do \
                  echo $p > $1/cgroup.procs; done; rmdir $1/box";
    booted.exec(&["sh", "-c", script, "sh", FREEZER]).map(drop)
}

fn take_unit_away(stack: &Stack) -> Result<()> {
    let booted = stack.systemd()?;
    booted.systemctl(&["stop", UNIT])?;
    let file = stack.dir().join("units").join(UNIT);
    std::fs::rename(&file, file.with_extension("away"))?;
    booted.systemctl(&["daemon-reload"]).map(drop)
}

fn bring_back_unit(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    booted.systemctl(&["unmask", "--runtime", UNIT]).ok();
    let file = stack.dir().join("units").join(UNIT);
    std::fs::rename(file.with_extension("away"), &file)?;
    booted.systemctl(&["daemon-reload"]).map(drop)
}

/// The same program in a scope of somebody's session: no unit of the service's.
fn run_bare(stack: &mut Stack) -> Result<()> {
    take_unit_away(stack)?;
    let service = stack.service(A)?.clone();
    let program = stack.binary().display().to_string();
    let mut run: Vec<String> = ["systemd-run", "--unit=session", "--collect", "-q"].map(String::from).into();
    for (name, value) in crate::units::environment(stack.cluster().port) {
        run.push(format!("--setenv={name}={value}"));
    }
    run.push(program);
    run.extend(service.arguments());
    let argv: Vec<&str> = run.iter().map(String::as_str).collect();
    stack.systemd()?.exec(&argv)?;
    let address = format!("127.0.0.1:{}", service.port);
    until("it listens", Duration::from_secs(5), || TcpStream::connect(&address).is_ok())?;
    stack.wait_until_healthy()
}

fn end_bare(stack: &mut Stack) -> Result<()> {
    stack.systemd()?.systemctl(&["stop", "session.service"])?;
    bring_back_unit(stack)
}
