//! `lab measure`: one program from start to end, its time and its peak memory.
//! A small process of its own: the kernel counts a parent's memory into a new child's peak.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use wait4::Wait4;

#[derive(Debug, Args)]
pub struct MeasureArgs {
    #[arg(required = true, last = true)]
    pub argv: Vec<OsString>,
}

/// What one run took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub wall: Duration,
    /// Bytes; of the program or the largest of its children.
    pub peak: u64,
    pub code: Option<i32>,
}

/// Runs the program and prints what it took.
pub fn measure(args: &MeasureArgs) -> Result<()> {
    let (program, rest) = args.argv.split_first().context("no program")?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{} does not run", program.display()))?;
    let used = child.wait4().context("the child is lost")?;
    let wall = began.elapsed();
    let measured = Measured { wall, peak: used.rusage.maxrss, code: used.status.code() };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// A command to be measured: what it is wrapped in is not counted.
#[derive(Clone, Debug)]
pub struct Measurable {
    pub argv: Vec<OsString>,
    pub environment: Vec<(String, OsString)>,
    /// Run in a network of its own, in which packets to 192.0.2.0/24 vanish.
    pub dropping: bool,
}

impl Measurable {
    pub fn new(program: &Path) -> Self {
        Self { argv: vec![program.into()], environment: Vec::new(), dropping: false }
    }

    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub fn dropping(mut self) -> Self {
        self.dropping = true;
        self
    }

    /// Measures it once, by a process of its own.
    pub fn once(&self, lab: &Path) -> Result<Measured> {
        // A packet to an address that is not ours, sent to the loopback device, comes
        // in again, is not for us, and is dropped without a word: no firewall needed.
        const DROP: &str = "ip link set lo up && ip route add 192.0.2.0/24 dev lo && exec \"$@\"";
        let mut command = if self.dropping {
            let mut command = Command::new("unshare");
            command.args(["--net", "--", "sh", "-c", DROP, "sh"]).arg(lab);
            command
        } else {
            Command::new(lab)
        };
        command.arg("measure").arg("--").args(&self.argv).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("lab measure does not run")?;
        let mut text = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        let status = child.wait()?;
        ensure!(status.success(), "{:?} could not be measured", self.argv);
        serde_json::from_str(&text).context("lab measure printed something else")
    }
}
