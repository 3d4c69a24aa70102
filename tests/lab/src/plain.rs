//! The ground of a stack where no systemd can be booted: processes of our own.
//! Each leads a group of its own and is noted for the guard, which ends what is left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::guard::pid_folder;

pub struct Plain {
    dir: PathBuf,
    children: BTreeMap<String, Child>,
}

impl Plain {
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(pid_folder(dir))?;
        Ok(Self { dir: dir.to_owned(), children: BTreeMap::new() })
    }

    /// Its output goes to a file of its name.
    pub fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.end(name, Signal::KILL)?;
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        fs::write(pid_folder(&self.dir).join(name), child.id().to_string())?;
        self.children.insert(name.to_owned(), child);
        Ok(())
    }

    /// Whether it still runs.
    pub fn runs(&mut self, name: &str) -> bool {
        self.children.get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A signal to the process, or to its children as well: PostgreSQL's lead groups of their own.
    pub fn signal(&self, name: &str, children: bool, signal: Signal) -> Result<()> {
        let Some(child) = self.children.get(name) else { return Ok(()) };
        let main = child.id();
        let mut all = vec![main];
        if children {
            let listed = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
            all.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        for pid in all {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Ends it and waits for that.
    pub fn end(&mut self, name: &str, signal: Signal) -> Result<()> {
        if self.runs(name) {
            self.signal(name, false, signal)?;
        }
        if let Some(mut child) = self.children.remove(name) {
            child.wait()?;
        }
        Ok(())
    }
}
