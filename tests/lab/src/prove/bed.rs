//! A stack to kill the tool on, and what of it a recovery could leave behind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::boot::Booted;
use crate::settings::Settings;
use crate::stack::{Mode, Stack};
use crate::tool::{Run, Tool};
use crate::wait;

pub const A: &str = "codebase-mcp";
pub const UNIT: &str = "codebase-mcp.service";
const LIMIT: Duration = Duration::from_secs(30);

pub struct Bed {
    pub stack: Stack,
    pub tool: Tool,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Its drop-ins, and what systemd makes of them.
    pub settings: Vec<String>,
    pub size: Option<u64>,
    pub active: String,
    pub pid: String,
    /// By a signal.
    pub stopped: bool,
    /// By PostgreSQL, and by its file.
    pub connections: [String; 2],
    /// Whether the session that holds up others is there.
    pub culprit: bool,
}

impl World {
    pub fn is_well(&self) -> bool {
        self.active == "active" && !self.stopped && !self.culprit
    }
}

impl Bed {
    pub fn start(binary: Option<PathBuf>) -> Result<Option<Self>> {
        let stack = Stack::start(Mode::Auto)?;
        if let Some(why) = stack.left_out() {
            println!("nothing is proven: {why}");
            return Ok(None);
        }
        let mut bed = Self { stack, tool: Tool::new(binary.as_deref())? };
        bed.configure()?;
        // It has an interface for its size; the tool is told of it where a case wants it. It is started far
        // more often than systemd's limit would have it.
        let text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=LAB_RESIZE=1\n";
        bed.booted()?.drop_in(UNIT, text)?;
        let postgres = bed.stack.postgres_unit();
        bed.booted()?.drop_in(&postgres, "[Unit]\nStartLimitIntervalSec=0\n")?;
        bed.booted()?.systemctl(&["restart", UNIT])?;
        bed.stack.wait_until_healthy()?;
        Ok(Some(bed))
    }

    /// A stopped service answers nobody: no look shall wait for it for long.
    pub fn configure(&mut self) -> Result<()> {
        let settings = Settings { timeout: "1500ms".into(), ..Settings::default() };
        self.stack.configure(&settings)
    }

    /// Another one, where this one is spoilt.
    pub fn renew(&mut self, binary: Option<PathBuf>) -> Result<()> {
        *self = Self::start(binary)?.context("no second stack")?;
        Ok(())
    }

    pub fn booted(&self) -> Result<&Booted> {
        self.stack.systemd()
    }

    pub fn property(&self, name: &str) -> Result<String> {
        self.booted()?.property(UNIT, name)
    }

    pub fn run(&self, argv: &[String]) -> Result<Run> {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.tool.run(&self.stack, &argv)
    }

    /// Runs it to its end, which has to be this one.
    pub fn ends(&self, argv: &[String], code: i32) -> Result<Run> {
        let run = self.run(argv)?;
        ensure!(run.code == Some(code), "{argv:?} ended with {:?}: {}{}", run.code, run.stdout, run.stderr);
        Ok(run)
    }

    pub fn world(&self) -> Result<World> {
        let folder = self.stack.dir().join("units").join(format!("{UNIT}.d"));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut settings: Vec<String> = files.filter_map(|f| fs::read_to_string(f.path()).ok()).collect();
        settings.sort();
        // All by one question: there are thousands of looks.
        let names = "Environment,DropInPaths,MemoryMax,ActiveState,MainPID";
        let shown = self.booted()?.systemctl(&["show", "-p", names, UNIT])?;
        let of = |name: &str| {
            let mut all = shown.lines().filter_map(|l| l.split_once('='));
            all.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        settings.extend([of("Environment"), of("DropInPaths"), of("MemoryMax")]);
        Ok(World {
            settings,
            size: self.size(),
            active: of("ActiveState"),
            pid: of("MainPID"),
            stopped: self.stopped()?,
            connections: self.connections()?,
            culprit: self.culprit()?,
        })
    }

    fn size(&self) -> Option<u64> {
        let answer = self.stack.service(A).ok()?.health(Duration::from_secs(1)).ok()?;
        let body: Value = serde_json::from_str(&answer.body).ok()?;
        body["connection_pool"]["max_size"].as_u64()
    }

    fn stopped(&self) -> Result<bool> {
        let pid = self.property("MainPID")?;
        // Gone meanwhile is not stopped.
        let state = self.booted()?.exec(&["ps", "-o", "stat=", "-p", &pid]).unwrap_or_default();
        Ok(state.trim().starts_with('T'))
    }

    fn connections(&self) -> Result<[String; 2]> {
        let cluster = self.stack.cluster();
        let file = fs::read_to_string(cluster.data.join("postgresql.auto.conf"))?;
        Ok([cluster.sql("SHOW max_connections")?.concat(), file])
    }

    fn culprit(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migration'";
        Ok(!self.stack.cluster().sql(sql)?.is_empty())
    }

    /// What was asked of systemd goes on behind a dead asker.
    pub fn settle(&self) -> Result<()> {
        wait::until("systemd's job ends", LIMIT, || {
            self.property("Job").is_ok_and(|job| job.is_empty() || job == "0")
        })?;
        let unit = self.stack.postgres_unit();
        wait::until("PostgreSQL's job ends", LIMIT, || {
            let job = self.booted().and_then(|b| b.property(&unit, "Job")).unwrap_or_default();
            (job.is_empty() || job == "0") && self.stack.cluster().accepts()
        })?;
        let up = self.property("ActiveState")? == "active" && !self.stopped()?;
        // Who waits for a lock answers nobody either.
        if up && !self.culprit()? {
            let healthy = || self.stack.service(A).is_ok_and(|a| a.says("healthy") || a.says("degraded"));
            wait::until("it answers", LIMIT, healthy)?;
        }
        Ok(())
    }

    /// As it was before anything was broken.
    pub fn well(&mut self) -> Result<()> {
        self.stack.drop_culprits(usize::MAX);
        wait::until("no session is left", LIMIT, || self.culprit().is_ok_and(|there| !there))?;
        self.settle()?;
        if self.stopped()? {
            self.booted()?.kill(UNIT, "CONT")?;
        }
        if self.property("ActiveState")? != "active" {
            self.booted()?.systemctl(&["start", UNIT])?;
        }
        self.stack.wait_until_healthy()?;
        let _ = fs::remove_dir_all(self.incidents());
        Ok(())
    }

    fn incidents(&self) -> PathBuf {
        self.stack.dir().join("state/incidents")
    }

    /// The lines of all journals, and how many of them are none.
    pub fn lines(&self) -> Result<(Vec<Value>, usize)> {
        let files = fs::read_dir(self.incidents()).into_iter().flatten().flatten().map(|f| f.path());
        let mut files: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
        files.sort();
        let (mut all, mut torn) = (Vec::new(), 0);
        for path in files {
            let text = fs::read(&path)?;
            for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(line) => all.push(line),
                    Err(_) => torn += 1,
                }
            }
            torn += usize::from(text.last().is_some_and(|b| *b != b'\n'));
        }
        Ok((all, torn))
    }

    /// Every incident that there is. `Ok(true)` where a step stays since it is not known to be ours.
    pub fn undo_all(&self) -> Result<bool> {
        let list = self.ends(&words(&["incident", "list", "-o", "json"]), 0)?;
        let list: Value = serde_json::from_str(&list.stdout)?;
        let mut unknown = false;
        for incident in list["incidents"].as_array().into_iter().flatten() {
            let id = incident["id"].as_str().unwrap_or_default();
            let run = self.run(&words(&["undo", id, "--yes", "--allow", "destructive", "-o", "json"]))?;
            match run.code {
                Some(0) => {}
                Some(4) if run.stdout.contains("not known") => unknown = true,
                code => anyhow::bail!("undo {id} ended with {code:?}: {}{}", run.stdout, run.stderr),
            }
        }
        Ok(unknown)
    }
}

pub fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|w| (*w).to_owned()).collect()
}
