//! Faults of what is a service's own: its threads, the disk of its cache, the cache itself.
//! The limits are real: the kernel refuses, the file system is full, the file ends in the middle.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::disk::{self, Disk, Format};
use crate::program::run;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::crash::reaches;
use super::died::{dies_at_start, limited};

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "tasks-limit/threads",
        "server-crash/tasks-limit",
        A,
        "it starts a thread for every job, until its TasksMax",
        |stack| {
            limited(stack, "TasksMax=24")?;
            stack.service(A)?.tell("threads?n=100")?;
            stack.service(A).and_then(|a| until("it says so", Duration::from_secs(5), || a.says("unhealthy")))
        },
    )
    .or_at_least("server-crash/unhealthy@codebase-mcp")
    .under_systemd(),
    Fault::control("healthy/many-threads", "a hundred threads, and room for more", |stack| {
        limited(stack, "TasksMax=512")?;
        stack.service(A)?.tell("threads?n=100")?;
        stack.wait_until_healthy()
    })
    .like("server-crash")
    .under_systemd(),
    Fault::new(
        "disk-full/cache",
        "server-crash/disk-full",
        A,
        "the file system of its cache is full; it can't write its index, and ends",
        |stack| {
            cache_on_disk(stack)?;
            fs::remove_file(stack.cache().join("index.json"))?;
            fill(stack)?;
            dies_at_start(stack, &with_cache(stack, "Restart=on-failure\nRestartSec=50ms\n"), "")?;
            reaches(stack, A, "failed")
        },
    )
    .with(|settings| settings.cache = true)
    .healed_by(take_disk_away)
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new("disk-full/once", "server-crash/disk-full", A, "the same, and nobody tries again", |stack| {
        cache_on_disk(stack)?;
        fs::remove_file(stack.cache().join("index.json"))?;
        fill(stack)?;
        dies_at_start(stack, &with_cache(stack, ""), "")?;
        reaches(stack, A, "failed")
    })
    .with(|settings| settings.cache = true)
    .healed_by(take_disk_away)
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::control("healthy/full-cache", "the same file system is full, and its index is there", |stack| {
        cache_on_disk(stack)?;
        fill(stack)?;
        limited(stack, &with_cache(stack, ""))
    })
    .with(|settings| settings.cache = true)
    .healed_by(take_disk_away)
    .like("server-crash")
    .under_systemd(),
    Fault::new(
        "corrupted-state/truncated",
        "server-crash/corrupted-state",
        A,
        "its index ends in the middle; Restart= tries again and again",
        |stack| {
            make_cache(stack)?;
            let index = File::options().write(true).open(stack.cache().join("index.json"))?;
            index.set_len(2048)?;
            dies_at_start(stack, &with_cache(stack, "Restart=on-failure\nRestartSec=50ms\n"), "")?;
            reaches(stack, A, "failed")
        },
    )
    .with(|settings| settings.cache = true)
    .healed_by(|stack| Ok(fs::remove_dir_all(stack.cache())?))
    .or_at_least("server-crash/failed@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "failed/cache-not-to-read",
        "server-crash/failed",
        A,
        "a folder stands where its index should: that is no broken file",
        |stack| {
            fs::create_dir_all(stack.cache().join("index.json"))?;
            dies_at_start(stack, &with_cache(stack, ""), "")?;
            reaches(stack, A, "failed")
        },
    )
    .with(|settings| settings.cache = true)
    .healed_by(|stack| Ok(fs::remove_dir_all(stack.cache())?))
    .under_systemd(),
];

fn with_cache(stack: &Stack, lines: &str) -> String {
    format!("{lines}Environment=CACHE_DIR={}\n", stack.cache().display())
}

/// The service makes its own, as at its first start.
fn make_cache(stack: &Stack) -> Result<()> {
    fs::create_dir_all(stack.cache())?;
    limited(stack, &with_cache(stack, ""))?;
    ensure!(stack.cache().join("index.json").exists(), "no index was made");
    Ok(())
}

fn cache_on_disk(stack: &Stack) -> Result<()> {
    let disk = Disk::mount(&stack.cache(), Format::new(8))?;
    disk.mount_inside(stack.systemd()?)?;
    make_cache(stack)
}

fn fill(stack: &Stack) -> Result<()> {
    let file: PathBuf = stack.cache().join("old-export");
    let script = "head -c 64M /dev/zero >\"$1\" || true";
    run(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&file))?;
    let more = fs::write(stack.cache().join("one-more"), [0_u8; 1 << 16]);
    ensure!(more.is_err(), "there is still room");
    Ok(())
}

fn take_disk_away(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    // Who has it open goes first.
    booted.systemctl(&["kill", "-s", "KILL", UNIT]).ok();
    booted.exec(&["umount", &stack.cache().to_string_lossy()])?;
    disk::unmount_below(&stack.cache());
    Ok(())
}
