//! The guard of a stack: a process of its own that cleans up when its owner is gone.
//! The owner holds its stdin. An end of that, by a drop, a panic or SIGKILL, ends the stack.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::boot::{Booted, script};
use crate::disk;
use crate::wait;

#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The stack's folder; removed at the end
    pub dir: PathBuf,
    /// Boot a systemd
    #[arg(long)]
    pub systemd: bool,
}

/// Boots, says `ready` or why not on stdout, waits for the end of stdin, cleans up.
pub fn guard(args: &GuardArgs) -> Result<()> {
    let dir = &args.dir;
    let mut boot = None;
    let said = match args.systemd.then(|| start(dir)).transpose() {
        Ok(child) => {
            boot = child;
            "ready".to_owned()
        }
        Err(e) => format!("{e:#}").replace('\n', "; "),
    };
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{said}");
    let _ = out.flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());

    if script(dir).exists() {
        let _ = Command::new(script(dir)).arg("stop").arg(dir).stdin(Stdio::null()).status();
    }
    if let Some(child) = &mut boot {
        let _ = child.kill();
        let _ = child.wait();
    }
    end_plain_processes(dir);
    disk::unmount_below(dir);
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// The supervisor of the booted system is told to die with this process.
fn start(dir: &Path) -> Result<Child> {
    Booted::prepare(dir)?;
    let log = dir.join("log");
    let file = File::create(&log)?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(script(dir))
        .arg("boot")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("setpriv (package util-linux) does not run")?;
    let mut ended = false;
    let booted = wait::until("systemd boots", Duration::from_secs(10), || {
        ended = matches!(child.try_wait(), Ok(Some(_)));
        ended || Booted::find(dir).is_some()
    });
    if let (Ok(()), false, Some(system)) = (&booted, ended, Booted::find(dir)) {
        // Its answer is "running" or "degraded"; that it answers is what counts here.
        let _ = system.systemctl(&["is-system-running", "--wait"]);
        return Ok(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    let said = fs::read_to_string(log).unwrap_or_default();
    bail!("systemd does not boot here: {}", said.trim());
}

/// Where a stack without systemd notes its processes' groups.
pub fn pid_folder(dir: &Path) -> PathBuf {
    dir.join("pids")
}

/// Ends what a stack without systemd left; only what still carries the stack's folder in its arguments.
fn end_plain_processes(dir: &Path) {
    let marker = dir.to_string_lossy().into_owned();
    // A process that ended has no arguments, though it may wait for its parent to notice.
    let ours = |number: i32| {
        fs::read(format!("/proc/{number}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&marker))
    };
    for entry in fs::read_dir(pid_folder(dir)).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let Ok(number) = text.trim().parse::<i32>() else { continue };
        if let (true, Some(pid)) = (ours(number), Pid::from_raw(number)) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = wait::until("a process ends", Duration::from_secs(3), || !ours(number));
        }
    }
}
