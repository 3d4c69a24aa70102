//! Where a stack lives: its folder, its ports, and the guard that takes both away.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

use crate::program::lab_binary;

pub const PREFIX: &str = "mcp-ir-lab-";

/// Where stacks live; a path that is too long for sockets in it is not taken.
pub fn base_folder() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() > 40 { PathBuf::from("/tmp") } else { usual }
}

pub(super) fn spawn_guard(dir: &Path, systemd: bool) -> Result<Child> {
    let mut command = Command::new(lab_binary()?);
    command.arg("guard").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = fs::File::create(dir.join("guard.log"))?;
    // A group of its own: ^C is for the owner, whose end the guard waits for.
    command.args(systemd.then_some("--systemd")).stderr(log).process_group(0);
    command.spawn().context("the guard does not start")
}

pub(super) fn listen_to(guard: &mut Child) -> Result<String> {
    let out = guard.stdout.take().context("the guard has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Below the range from which the kernel takes clients' ports: a stopped server's port stays free.
pub(super) fn free_ports() -> Result<[u16; 5]> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 11_000 + u32::from(NEXT.fetch_add(10, Ordering::Relaxed)) % 900;
    let mut candidate = 20_000 + u16::try_from(start)?;
    let mut held = Vec::new();
    for _ in 0..2_000 {
        candidate = if candidate >= 31_999 { 20_000 } else { candidate + 1 };
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", candidate)) {
            held.push((candidate, listener));
        }
        if let [(a, _), (b, _), (c, _), (d, _), (e, _)] = held.as_slice() {
            return Ok([*a, *b, *c, *d, *e]);
        }
    }
    bail!("no free ports between 20000 and 32000")
}
