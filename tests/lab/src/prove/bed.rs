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

impl Bed {
    pub fn start(binary: Option<PathBuf>) -> Result<Option<Self>> {
        let stack = Stack::start(Mode::Auto)?;
        if let Some(why) = stack.left_out() {
            println!("nothing is proven: {why}");
            return Ok(None);
        }
        let mut bed = Self { stack, tool: Tool::new(binary.as_deref())? };
        bed.furnish()?;
        Ok(Some(bed))
    }

    /// It has an interface for its size; the tool is told of it where a case wants it. It is started far more
    /// often than systemd's limit would have it.
    pub fn furnish(&mut self) -> Result<()> {
        self.configure()?;
        let text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=LAB_RESIZE=1\n";
        let booted = self.booted()?;
        booted.drop_in(UNIT, text)?;
        booted.drop_in(&self.stack.postgres_unit(), "[Unit]\nStartLimitIntervalSec=0\n")?;
        booted.systemctl(&["restart", UNIT])?;
        self.stack.wait_until_healthy()
    }

    /// After a fault that has none of its own.
    pub fn heal(&mut self) -> Result<()> {
        self.stack.heal()?;
        self.furnish()
    }

    pub fn configure(&mut self) -> Result<()> {
        self.stack.configure(&Settings::default())
    }

    /// A stopped service answers nobody: no look shall wait for it for long.
    pub fn hurry(&mut self) -> Result<()> {
        let settings = Settings { timeout: "1500ms".into(), ..self.stack.settings().clone() };
        self.stack.configure(&settings)
    }

    /// What the tool's role may.
    pub fn grant(&self, what: &str) -> Result<()> {
        self.stack.cluster().sql(&format!("GRANT {what} TO {}", crate::TOOL.role)).map(drop)
    }

    /// What it is.
    pub fn attribute(&self, what: &str) -> Result<()> {
        self.stack.cluster().sql(&format!("ALTER ROLE {} {what}", crate::TOOL.role)).map(drop)
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

    pub fn paused(&self) -> Result<bool> {
        let pid = self.property("MainPID")?;
        // Gone meanwhile is not stopped.
        let state = self.booted()?.exec(&["ps", "-o", "stat=", "-p", &pid]).unwrap_or_default();
        Ok(state.trim().starts_with('T'))
    }

    pub fn culprit(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migration'";
        Ok(!self.asked(sql)?.is_empty())
    }

    /// Of who shuts down nothing is seen.
    pub fn asked(&self, sql: &str) -> Result<Vec<String>> {
        match self.stack.cluster().sql(sql) {
            Err(_) if self.shuts_down() => Ok(Vec::new()),
            rows => rows,
        }
    }

    /// By its own word, and nobody's job: it waits for a client.
    pub fn shuts_down(&self) -> bool {
        let file = fs::read_to_string(self.stack.cluster().data.join("postmaster.pid")).unwrap_or_default();
        file.lines().nth(7).is_some_and(|status| status.trim() == "stopping")
    }

    /// Whether nobody looks after a table or an index.
    pub fn no_upkeep(&self) -> bool {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()
                    AND query ~ '^(VACUUM|ANALYZE|REINDEX|DROP INDEX)'";
        self.asked(sql).is_ok_and(|rows| rows.is_empty())
    }

    /// What was asked of systemd goes on behind a dead asker.
    pub fn settle(&self) -> Result<()> {
        wait::until("systemd's job ends", LIMIT, || {
            self.property("Job").is_ok_and(|job| job.is_empty() || job == "0")
        })?;
        let unit = self.stack.postgres_unit();
        wait::until("PostgreSQL's job ends", LIMIT, || {
            let job = self.booted().and_then(|b| b.property(&unit, "Job")).unwrap_or_default();
            (job.is_empty() || job == "0") && (self.stack.cluster().accepts() || self.shuts_down())
        })?;
        wait::until("no upkeep goes on", LIMIT, || self.no_upkeep())?;
        let up = self.property("ActiveState")? == "active" && !self.paused()?;
        // Who waits for a lock answers nobody either.
        if up && !self.culprit()? && !self.shuts_down() {
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
        if self.paused()? {
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
