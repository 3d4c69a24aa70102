//! Another host on a wire of its own: a network namespace that holds nothing else.
//! It refuses what it does not serve, and drops what it is told to. It ends with its process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::apart;
use crate::program::run;

/// This side of the wire.
const HERE: &str = "192.0.2.1/24";

pub struct Neighbour {
    host: Child,
}

impl Neighbour {
    pub const ADDRESS: &str = "192.0.2.2";
    /// On the same wire, but nobody's.
    pub const NOBODY: &str = "192.0.2.77";

    pub fn start() -> Result<Self> {
        ensure!(apart::is_apart(), "this needs a network of its own: `lab up --apart`");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--", "sh", "-c"]);
        let mut host = command.arg("echo up; exec sleep infinity").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(host.stdout.take().context("no output")?).read_line(&mut line)?;
        let neighbour = Self { host };
        let pid = neighbour.host.id().to_string();
        let _ = run(Command::new("ip").args(["link", "del", "wire0"]));
        run(Command::new("ip").args("link add wire0 type veth peer name wire1 netns".split(' ')).arg(&pid))?;
        run(Command::new("ip").args(["addr", "add", HERE, "dev", "wire0"]))?;
        run(Command::new("ip").args(["link", "set", "wire0", "up"]))?;
        for there in ["link set lo up", "addr add 192.0.2.2/24 dev wire1", "link set wire1 up"] {
            neighbour.run(&format!("ip {there}"))?;
        }
        Ok(neighbour)
    }

    /// A command on that host.
    pub fn run(&self, command: &str) -> Result<String> {
        let pid = self.host.id().to_string();
        run(Command::new("nsenter").args(["-t", &pid, "--net", "--", "sh", "-c", command]))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.host.kill();
        let _ = self.host.wait();
        // The wire ends with its other end; that takes the kernel a moment, so it is cut here.
        let _ = run(Command::new("ip").args(["link", "del", "wire0"]));
    }
}
