//! Faults of a start: it fails, by the log for a reason, or it must begin again and again.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::SERVICES;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

/// True as well, for who may not read the words it failed with.
pub(super) const STOPPED: &str = "db-down/postgres-stopped@postgres";

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "start-failed/configuration",
        "db-down/start-failed",
        "postgres",
        "a setting's name is typed wrong; somebody restarts",
        |stack| {
            stack.cluster().write_auto_conf("max_connection = 400\n")?;
            restart_in_vain(stack)
        },
    )
    .healed_by(|stack| stack.cluster().write_auto_conf(""))
    .or_at_least(STOPPED)
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "start-failed/permissions",
        "db-down/start-failed",
        "postgres",
        "somebody opens the data folder to everybody, then restarts",
        |stack| {
            fs::set_permissions(&stack.cluster().data, fs::Permissions::from_mode(0o777))?;
            restart_in_vain(stack)
        },
    )
    .healed_by(|stack| Ok(fs::set_permissions(&stack.cluster().data, fs::Permissions::from_mode(0o700))?))
    .or_at_least(STOPPED)
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "start-failed/port-taken",
        "db-down/start-failed",
        "postgres",
        "another program took the port while PostgreSQL was stopped",
        |stack| {
            stack.stop_postgres()?;
            take_port(stack.cluster().port)?;
            stack.try_to_start_postgres()?;
            has_failed(stack)
        },
    )
    .healed_by(|stack| {
        give_port_back(stack.cluster().port);
        Ok(())
    })
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "start-failed/huge-pages",
        "db-down/start-failed",
        "postgres",
        "huge pages are asked for, and the machine has none; somebody restarts",
        |stack| {
            stack.cluster().write_auto_conf("huge_pages = on\n")?;
            restart_in_vain(stack)
        },
    )
    .healed_by(|stack| stack.cluster().write_auto_conf(""))
    .or_at_least(STOPPED)
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "backend-crash/signal-9",
        "db-down/backend-crash",
        "postgres",
        "a backend gets SIGKILL, three times: crash recovery over and over",
        crash_backends,
    )
    .healed_by(|stack| {
        stack.restart_postgres()?;
        stack.forget()
    })
    .under_systemd(),
];

fn restart_in_vain(stack: &mut Stack) -> Result<()> {
    stack.stop_postgres()?;
    stack.try_to_start_postgres()?;
    has_failed(stack)
}

pub(super) fn has_failed(stack: &Stack) -> Result<()> {
    let booted = stack.systemd()?;
    let unit = stack.postgres_unit();
    until("the start has failed", Duration::from_secs(10), || {
        booted.property(&unit, "ActiveState").is_ok_and(|state| state == "failed")
    })?;
    all_unhealthy(stack)
}

/// Who took a port, until it is given back.
static TAKEN: Mutex<Option<u16>> = Mutex::new(None);

/// A listener of this program, which hangs up on whoever calls.
fn take_port(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).context("the port is not free")?;
    listener.set_nonblocking(true)?;
    *TAKEN.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))? = Some(port);
    thread::spawn(move || {
        while TAKEN.lock().is_ok_and(|taken| *taken == Some(port)) {
            drop(listener.accept());
            thread::sleep(Duration::from_millis(5));
        }
    });
    Ok(())
}

fn give_port_back(port: u16) {
    if let Ok(mut taken) = TAKEN.lock() {
        *taken = None;
    }
    let _ =
        until("the port is free", Duration::from_secs(2), || TcpListener::bind(("127.0.0.1", port)).is_ok());
}

fn crash_backends(stack: &mut Stack) -> Result<()> {
    crash_backends_by(stack, |stack, pid| stack.systemd()?.exec(&["kill", "-s", "KILL", pid]).map(drop))
}

/// Three kills, by whoever knows the process by the number that PostgreSQL gives it, and between them the
/// time that recovery takes.
pub(super) fn crash_backends_by(stack: &mut Stack, kill: fn(&Stack, &str) -> Result<()>) -> Result<()> {
    // Its processes that start anew are told from those that started with it by their age.
    const RUN: &str = "SELECT 1 WHERE now() - pg_postmaster_start_time() > interval '3 s'";
    let admin = stack.cluster().session("postgres")?;
    until("it has run for a while", Duration::from_secs(10), || admin.run(RUN).is_ok_and(|r| !r.is_empty()))?;
    drop(admin);
    for _ in 0..3 {
        until("a crash is recovered from", Duration::from_secs(10), || stack.cluster().accepts())?;
        let session = stack.session(&SERVICES, "codebase-mcp")?;
        let pid = session.run("SELECT pg_backend_pid()")?;
        session.send("SELECT count(*) FROM generate_series(1, 1e12)");
        let pid = pid.first().context("no backend")?;
        ensure!(pid.parse::<u32>().is_ok_and(|pid| pid > 1), "{pid} is no process id");
        let admin = stack.cluster().session("postgres")?;
        let runs = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");
        until("its query runs", Duration::from_secs(5), || admin.run(&runs).is_ok_and(|r| !r.is_empty()))?;
        kill(stack, pid)?;
        until("the crash is noticed", Duration::from_secs(5), || admin.run("SELECT 1").is_err())?;
    }
    until("the last crash is recovered from", Duration::from_secs(10), || stack.cluster().accepts())?;
    stack.wait_until_healthy()
}
