//! Apart from this machine: a network and mounts of the lab's own, which end with it.
//! Firewall rules, routes, small file systems are made for real, and nobody else sees them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::is_root;

const MARK: &str = "LAB_APART";
const ENTER: &str = "ip link set lo up && exec \"$@\"";

/// Runs this very command again in namespaces of its own, unless it is in them. Only root can.
pub fn enter() -> Result<()> {
    if !is_root() || is_apart() {
        return Ok(());
    }
    let me = std::env::current_exe().context("the running program's own path is not known")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--", "sh", "-c", ENTER, "sh"]);
    command.arg(me).args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(command.exec()).context("unshare (package util-linux) does not run")
}

/// Whether that is so: by the mark, and by what can be seen.
pub fn is_apart() -> bool {
    let network = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    std::env::var_os(MARK).is_some() && network("self").is_some() && network("self") != network("1")
}
