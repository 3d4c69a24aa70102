//! The stack as other tests use it: it comes up healthy, breaks, heals, and is gone afterwards.
//! With root under a systemd, else without; never silently without anything.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Mode, Stack};

/// Processes that carry the folder in their arguments.
fn processes_of(dir: &Path) -> Vec<String> {
    let marker = dir.to_string_lossy().into_owned();
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " ")).filter(|l| l.contains(&marker)).collect()
}

fn gone(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(15);
    while dir.exists() || !processes_of(dir).is_empty() {
        assert!(Instant::now() < end, "{} is left with {:?}", dir.display(), processes_of(dir));
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stack_breaks_heals_and_is_gone_afterwards() {
    let mut stack = Stack::start(Mode::Auto).unwrap();
    let dir = stack.dir().to_owned();
    assert!(!processes_of(&dir).is_empty());

    let fault = lab::fault::find("postgres-stopped").unwrap();
    fault.inject(&mut stack).unwrap();
    assert!(stack.service("codebase-mcp").unwrap().says("unhealthy"));
    fault.heal(&mut stack).unwrap();
    assert!(stack.service("codebase-mcp").unwrap().says("healthy"));

    drop(stack);
    gone(&dir);
}

#[test]
fn an_owner_that_is_killed_leaves_nothing_behind() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(owner.stdout.take().unwrap()));
    let config = lines.find_map(|line| line.unwrap().strip_prefix("  ").map(PathBuf::from)).unwrap();
    let dir = config.parent().unwrap().to_owned();
    assert!(config.is_file());

    owner.kill().unwrap();
    owner.wait().unwrap();
    gone(&dir);
}
