//! Faults of disks, on small file systems of the lab's own: full, nearly full, read-only, filled by WAL.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::SERVICES;
use crate::disk::{Disk, Format};
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};
use super::start::{STOPPED, has_failed};

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "disk-full/data",
        "db-down/disk-full",
        "postgres",
        "somebody's dump fills the data's file system; writes fail, reading goes on",
        |stack| {
            let disk = stack.put_on_disk("", Format::new(192))?;
            stack.start_postgres()?;
            ballast(stack, &disk, 0)?;
            let error = write_until_refused(stack)?;
            ensure!(error.contains("No space left on device"), "{error}");
            stack.wait_until_healthy()
        },
    )
    .under_systemd(),
    Fault::new(
        "disk-full/wal",
        "db-down/disk-full",
        "postgres",
        "the WAL fills its file system: PANIC, and no start succeeds",
        |stack| {
            stack.put_on_disk("pg_wal", Format::new(24))?;
            stack.cluster().write_auto_conf("wal_keep_size = '1GB'\n")?;
            stack.start_postgres()?;
            write_until_refused(stack)?;
            let unit = stack.postgres_unit();
            until("PostgreSQL gives up", Duration::from_secs(20), || {
                let state = stack.systemd().and_then(|booted| booted.property(&unit, "ActiveState"));
                state.is_ok_and(|state| state == "failed" || state == "inactive")
            })?;
            all_unhealthy(stack)
        },
    )
    .or_at_least(STOPPED)
    .cascade()
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "disk-full/inodes",
        "db-down/disk-full",
        "postgres",
        "the data's file system can hold no more files, though it has space",
        |stack| {
            let disk = stack.put_on_disk("", Format { megabytes: 192, inodes: Some(2000) })?;
            stack.start_postgres()?;
            let folder = disk.place.join("old-sessions");
            fs::create_dir(&folder)?;
            let full = (0..4000).any(|n| File::create(folder.join(n.to_string())).is_err());
            ensure!(full, "there is no end of files");
            let error = stack.cluster().sql("CREATE TABLE one_more (n int)").err();
            ensure!(error.is_some_and(|e| format!("{e:?}").contains("No space left")), "a table was made");
            stack.wait_until_healthy()
        },
    )
    .under_systemd(),
    Fault::new(
        "disk-low/data",
        "db-down/disk-low",
        "postgres",
        "5 % of the data's file system are left",
        |stack| {
            let disk = stack.put_on_disk("", Format::new(256))?;
            stack.start_postgres()?;
            ballast(stack, &disk, 13 << 20)?;
            stack.wait_until_healthy()
        },
    )
    .under_systemd(),
    Fault::new(
        "read-only-filesystem/error",
        "db-down/read-only-filesystem",
        "postgres",
        "an error of the data's file system: the kernel makes it read-only",
        |stack| {
            let disk = stack.put_on_disk("", Format::new(192))?;
            stack.start_postgres()?;
            stack.wait_until_healthy()?;
            let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device);
            fs::write(&trigger, "lab").with_context(|| format!("no {trigger}"))?;
            // The kernel takes a moment to make it so.
            let mut tables = (0..).map(|n| format!("CREATE TABLE one_more_{n} (n int)"));
            until("no table can be made", Duration::from_secs(10), || {
                let error = tables.next().and_then(|make| stack.cluster().sql(&make).err());
                error.is_some_and(|e| format!("{e:?}").contains("Read-only file system"))
            })
        },
    )
    .under_systemd(),
    Fault::new(
        "read-only-filesystem/mount",
        "db-down/read-only-filesystem",
        "postgres",
        "the data's file system was mounted read-only; PostgreSQL can't start",
        |stack| {
            let disk = stack.put_on_disk("", Format::new(192))?;
            crate::program::run(
                std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.place),
            )?;
            stack.try_to_start_postgres()?;
            has_failed(stack)
        },
    )
    .or_at_least(STOPPED)
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "wal-retained/archive",
        "db-down/wal-retained",
        "postgres",
        "the archive command fails; segments pile up",
        |stack| {
            stack.keep_data()?;
            let settings = "archive_mode = on\narchive_command = 'cp %p /mnt/archive-that-is-gone/%f'\n";
            stack.cluster().write_auto_conf(settings)?;
            stack.start_postgres()?;
            write_wal(stack, 20)?;
            let failed = "SELECT 1 FROM pg_stat_archiver WHERE failed_count >= 3";
            until("archiving fails", Duration::from_secs(10), || {
                stack.cluster().sql(failed).is_ok_and(|rows| !rows.is_empty())
            })?;
            stack.wait_until_healthy()
        },
    ),
    Fault::new(
        "wal-retained/slot",
        "db-down/wal-retained",
        "postgres",
        "a slot that nobody reads keeps half of the WAL's file system",
        |stack| {
            stack.put_on_disk("pg_wal", Format::new(192))?;
            stack.cluster().write_auto_conf("max_wal_size = '8MB'\nmin_wal_size = '2MB'\n")?;
            stack.start_postgres()?;
            stack.cluster().sql("SELECT pg_create_physical_replication_slot('old_standby', true)")?;
            write_wal(stack, 90)?;
            stack.cluster().sql("CHECKPOINT")?;
            stack.wait_until_healthy()
        },
    )
    .under_systemd(),
    Fault::new(
        "wal-retained/slot-lost",
        "db-down/wal-retained",
        "postgres",
        "a slot that nobody read was given up by the server: its standby can't come back",
        |stack| {
            stack.keep_data()?;
            let settings = "max_slot_wal_keep_size = '4MB'\nmax_wal_size = '4MB'\nmin_wal_size = '2MB'\n";
            stack.cluster().write_auto_conf(settings)?;
            stack.start_postgres()?;
            stack.cluster().sql("SELECT pg_create_physical_replication_slot('old_standby', true)")?;
            let lost = "SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'";
            until("the slot is lost", Duration::from_secs(10), || {
                let written = write_wal(stack, 10).and_then(|()| stack.cluster().sql("CHECKPOINT"));
                written.and_then(|_| stack.cluster().sql(lost)).is_ok_and(|rows| !rows.is_empty())
            })?;
            stack.wait_until_healthy()
        },
    ),
    Fault::control("healthy/short-lag", "a slot is some segments behind", |stack| {
        stack.keep_data()?;
        stack.start_postgres()?;
        stack.cluster().sql("SELECT pg_create_physical_replication_slot('standby', true)")?;
        write_wal(stack, 3)?;
        stack.wait_until_healthy()
    })
    .like("db-down"),
    Fault::control("healthy/large-disk", "5 % of a large disk are left: 19 GB", |stack| {
        let disk = stack.put_on_disk("", Format::new(400 << 10))?;
        stack.start_postgres()?;
        let file = disk.place.join("ballast");
        let wanted = disk.available()? - (19 << 30);
        let mut allocate = std::process::Command::new("fallocate");
        crate::program::run(allocate.args(["-l", &wanted.to_string()]).arg(&file))?;
        stack.wait_until_healthy()
    })
    .like("db-down")
    .under_systemd(),
    Fault::control("healthy/other-disk", "another file system is full", |stack| {
        let disk = Disk::mount(&stack.dir().join("share/films"), Format::new(16))?;
        let mut file = File::create(disk.place.join("film"))?;
        while file.write_all(&[7; 1 << 16]).is_ok() {}
        Ok(())
    })
    .healed_by(|stack| {
        crate::disk::unmount_below(&stack.dir().join("share/films"));
        Ok(())
    })
    .like("db-down")
    .under_systemd(),
];

/// A file of PostgreSQL's own user that leaves only so much.
fn ballast(stack: &Stack, disk: &Disk, left: u64) -> Result<()> {
    let file = disk.place.join("dump.sql");
    File::create(&file)?;
    stack.cluster().own(&file)?;
    let bytes = disk.available()?.saturating_sub(left);
    let script = "head -c \"$1\" /dev/zero >\"$2\" || true";
    let mut fill = stack.cluster().as_owner("sh");
    fill.args(["-c", script, "sh", &bytes.to_string()]).arg(&file);
    crate::program::run(&mut fill)?;
    until("the space is used", Duration::from_secs(5), || {
        disk.available().is_ok_and(|now| now <= left + (1 << 20))
    })
}

/// A service's writes, committed one by one, until one is refused; gives the refusal.
fn write_until_refused(stack: &Stack) -> Result<String> {
    let session = stack.session(&SERVICES, "codebase-mcp")?;
    let insert = "INSERT INTO code_chunks SELECT (SELECT max(id) FROM code_chunks) + n, 1, 'src/new.py',
                  repeat(md5(n::text), 20) FROM generate_series(1, 500) n";
    for _ in 0..2000 {
        if let Err(e) = session.run(insert) {
            return Ok(format!("{e:?}"));
        }
    }
    bail!("a million rows, and no end of space")
}

/// So many segments of WAL.
fn write_wal(stack: &Stack, segments: usize) -> Result<()> {
    let session = stack.cluster().session("codebase_mcp")?;
    session.run("CREATE TABLE IF NOT EXISTS written (n int, t text)")?;
    for _ in 0..segments {
        session.run("INSERT INTO written SELECT n, md5(n::text) FROM generate_series(1, 2000) n")?;
        session.run("SELECT pg_switch_wal()")?;
    }
    Ok(())
}
