//! The booted systemd: a real PID 1 in namespaces of its own, on an overlay of this machine's root.
//! The script does the booting; this module asks it to, and runs commands inside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::program::run;

const SCRIPT: &str = include_str!("../systemd.sh");

/// A running systemd, seen from outside.
#[derive(Clone, Debug)]
pub struct Booted {
    dir: PathBuf,
    /// Its PID 1, as this machine counts.
    pub leader: u32,
}

impl Booted {
    /// Writes the script; to be done before anything is booted.
    pub fn prepare(dir: &Path) -> Result<()> {
        ensure!(dir.as_os_str().len() < 75, "{}: too long for the sockets' paths", dir.display());
        let script = script(dir);
        fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(dir.join("units"))?;
        Ok(())
    }

    /// The systemd that was booted in `dir`, if its bus can be reached.
    pub fn find(dir: &Path) -> Option<Self> {
        let leader = fs::read_to_string(dir.join("leader")).ok()?.trim().parse().ok()?;
        dir.join("run/systemd/private").exists().then(|| Self { dir: dir.to_owned(), leader })
    }

    /// Its processes as the machine sees them.
    pub fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc", self.leader))
    }

    pub fn bus(&self) -> String {
        format!("unix:path={}", self.dir.join("run/dbus/system_bus_socket").display())
    }

    pub fn journal(&self) -> PathBuf {
        self.dir.join("run/log/journal")
    }

    /// A command inside, not yet run.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new(script(&self.dir));
        command.arg("exec").arg(&self.dir).args(argv).stdin(Stdio::null());
        command
    }

    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        run(&mut self.command(argv))
    }

    pub fn systemctl(&self, argv: &[&str]) -> Result<String> {
        let mut all = vec!["systemctl"];
        all.extend_from_slice(argv);
        self.exec(&all)
    }

    /// One property of a unit, as `systemctl show` prints it.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        Ok(self.systemctl(&["show", "--value", "-p", name, unit])?.trim().to_owned())
    }

    /// A signal to a unit's main process, sent as a person would: systemd writes no line about it.
    pub fn kill(&self, unit: &str, signal: &str) -> Result<()> {
        let pid = self.property(unit, "MainPID")?;
        ensure!(pid != "0", "{unit} has no main process");
        self.exec(&["kill", "-s", signal, &pid]).map(drop)
    }

    /// A signal to every process of a user; only those inside can be reached.
    pub fn kill_all_of(&self, user: &str, signal: &str) -> Result<()> {
        self.exec(&["pkill", "--signal", signal, "-u", user]).map(drop)
    }

    /// A drop-in of the lab's own for one unit.
    pub fn drop_in(&self, unit: &str, text: &str) -> Result<()> {
        let folder = self.drop_ins(unit);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("lab-fault.conf"), text)?;
        self.systemctl(&["daemon-reload"]).map(drop)
    }

    /// Makes it look as if it had been written so long ago.
    pub fn age_drop_in(&self, unit: &str, by: Duration) -> Result<()> {
        let folder = self.drop_ins(unit);
        for path in [folder.join("lab-fault.conf"), folder] {
            fs::File::open(path)?.set_modified(SystemTime::now() - by)?;
        }
        Ok(())
    }

    /// Takes the drop-in away again; gives whether there was one.
    pub fn remove_drop_in(&self, unit: &str) -> Result<bool> {
        let folder = self.drop_ins(unit);
        if !folder.exists() {
            return Ok(false);
        }
        fs::remove_dir_all(folder)?;
        self.systemctl(&["daemon-reload"]).map(|_| true)
    }

    fn drop_ins(&self, unit: &str) -> PathBuf {
        self.dir.join("units").join(format!("{unit}.d"))
    }
}

/// Where the script was written.
pub fn script(dir: &Path) -> PathBuf {
    dir.join("systemd.sh")
}
