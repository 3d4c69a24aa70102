//! Faults of the database itself: stopped, starting, hung, refusing the services.
//! The tool's own role is left alone in each.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::cluster::{SERVICES, copy};
use crate::program::run;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "postgres-stopped/stopped",
        "db-down/postgres-stopped",
        "postgres",
        "the cluster's unit is stopped; the umbrella unit stays active",
        |stack| {
            stack.stop_postgres()?;
            all_unhealthy(stack)
        },
    )
    .cascade()
    .explains(BOTH),
    Fault::new(
        "postgres-stopped/killed",
        "db-down/postgres-stopped",
        "postgres",
        "the postmaster gets SIGKILL",
        |stack| {
            stack.signal_postgres(false, Signal::KILL)?;
            all_unhealthy(stack)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "starting-up/slow-replay",
        "db-down/starting-up",
        "postgres",
        "a base backup is restored; its WAL comes one segment a second",
        slow_replay,
    )
    .healed_by(end_replay)
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "hung/postmaster",
        "db-down/hung",
        "postgres",
        "the postmaster gets SIGSTOP; sessions that are open go on",
        |stack| stack.signal_postgres(false, Signal::STOP),
    ),
    Fault::new(
        "hung/cluster",
        "db-down/hung",
        "postgres",
        "every process of the cluster gets SIGSTOP",
        |stack| stack.signal_postgres(true, Signal::STOP),
    ),
    Fault::new(
        "auth-failed/password",
        "db-down/auth-failed",
        "postgres",
        "the services' role gets another password, its sessions are ended",
        other_password,
    )
    .explains(BOTH),
];

fn other_password(stack: &mut Stack) -> Result<()> {
    let role = SERVICES.role;
    let admin = stack.cluster().session("postgres")?;
    admin.run(&format!("ALTER ROLE {role} PASSWORD 'rotated-and-not-told'"))?;
    admin.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"))?;
    all_unhealthy(stack)
}

/// Segments of the archive, and so seconds until the replay is done.
const SEGMENTS: usize = 90;

/// A base backup is consistent only at its end: until the last segment is replayed
/// every login gets 57P03, and the startup process moves on.
fn slow_replay(stack: &mut Stack) -> Result<()> {
    let cluster = stack.cluster();
    let folder = &cluster.folder;
    let (base, archive) = (folder.join("base"), folder.join("archive"));
    let admin = cluster.session("codebase_mcp")?;
    admin.run("SELECT pg_backup_start('lab', true)")?;
    copy(&cluster.data, &base)?;
    admin.run("CREATE TABLE replayed (n int)")?;
    for _ in 0..SEGMENTS {
        admin.run("INSERT INTO replayed SELECT generate_series(1, 200)")?;
        admin.run("SELECT pg_switch_wal()")?;
    }
    let label = admin.run("SELECT labelfile FROM pg_backup_stop(false)")?;
    let label = label.first().context("the backup has no label")?;
    admin.run("DROP TABLE replayed")?;

    fs::create_dir_all(&archive)?;
    for entry in fs::read_dir(cluster.data.join("pg_wal"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), archive.join(entry.file_name()))?;
        }
    }
    fs::remove_dir_all(base.join("pg_wal"))?;
    fs::create_dir_all(base.join("pg_wal/archive_status"))?;
    let _ = fs::remove_file(base.join("postmaster.pid"));
    fs::write(base.join("backup_label"), label)?;
    fs::write(base.join("recovery.signal"), "")?;
    let restore = format!("restore_command = 'sleep 1; cp {}/%f %p'\n", archive.display());
    fs::write(base.join("postgresql.auto.conf"), restore)?;
    if crate::cluster::is_root() {
        run(Command::new("chown").args(["-R", "postgres:postgres"]).args([&base, &archive]))?;
    }

    stack.stop_postgres()?;
    let cluster = stack.cluster();
    fs::rename(&cluster.data, cluster.folder.join("live"))?;
    fs::rename(cluster.folder.join("base"), &cluster.data)?;
    let unit = stack.postgres_unit();
    stack.systemd()?.systemctl(&["start", "--no-block", &unit])?;
    let starting =
        || stack.cluster().session("postgres").is_err_and(|e| format!("{e:#}").contains("starting up"));
    until("PostgreSQL says that it is starting up", Duration::from_secs(10), starting)?;
    all_unhealthy(stack)
}

fn end_replay(stack: &mut Stack) -> Result<()> {
    let live = stack.cluster().folder.join("live");
    ensure!(live.is_dir(), "the former data folder is gone");
    // No orderly end is owed to a copy, and a restore command may keep it waiting.
    let _ = stack.signal_postgres(true, Signal::KILL);
    stack.stop_postgres()?;
    let cluster = stack.cluster();
    fs::remove_dir_all(&cluster.data)?;
    fs::remove_dir_all(cluster.folder.join("archive"))?;
    fs::rename(live, &cluster.data)?;
    Ok(())
}
