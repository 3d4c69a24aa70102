//! The tool under test, run as a user runs it, and its JSON read by names alone.
//! Only what the published schema promises is relied on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::settings::plain_user;
use crate::stack::Stack;
use crate::wait;

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Finding {
    pub id: String,
    pub cause: String,
    pub subject: String,
    pub severity: String,
    pub certainty: String,
    #[serde(default)]
    pub explained_by: Vec<String>,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub remedy: Remedy,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Evidence {
    pub value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Remedy {
    pub command: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Diagnosis {
    pub schema: String,
    pub verdict: String,
    pub severity: Option<String>,
    pub findings: Vec<Finding>,
    #[serde(default)]
    pub changes: Vec<Change>,
    #[serde(default)]
    pub vantage: Vantage,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Vantage {
    pub host: String,
}

/// The subject of what is said of the host, whatever that is called.
pub const HOST: &str = "this-host";

impl Diagnosis {
    fn of_this_host(mut self) -> Self {
        let end = format!("@{}", self.vantage.host);
        let renamed = |id: &str| id.strip_suffix(&end).map(|cause| format!("{cause}@{HOST}"));
        for f in self.findings.iter_mut().filter(|_| end.len() > 1) {
            if let Some(id) = renamed(&f.id) {
                (f.id, f.subject) = (id, HOST.into());
            }
            for id in &mut f.explained_by {
                *id = renamed(id).unwrap_or_else(|| id.clone());
            }
        }
        self
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Change {
    pub what: String,
}

impl Finding {
    /// P4 is a note.
    pub fn is_problem(&self) -> bool {
        self.severity != "P4"
    }

    pub fn is_root(&self) -> bool {
        self.explained_by.is_empty() && self.is_problem()
    }
}

/// One run: exit code, time, and what was printed.
pub struct Run {
    pub code: Option<i32>,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

pub struct Tool {
    binary: PathBuf,
}

impl Tool {
    pub fn new(binary: Option<&Path>) -> Result<Self> {
        let binary = binary.map_or_else(crate::program::tool_binary, |path| {
            path.canonicalize().with_context(|| format!("no program {}", path.display()))
        })?;
        Ok(Self { binary })
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The causes that this version tells, by its own word.
    pub fn causes(&self) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Runbooks {
            runbooks: Vec<Runbook>,
        }
        #[derive(Deserialize)]
        struct Runbook {
            causes: Vec<String>,
        }
        let said = crate::program::run(Command::new(&self.binary).args(["runbook", "-o", "json"]))?;
        let known: Runbooks = serde_json::from_str(&said).context("`runbook -o json` is not understood")?;
        Ok(known.runbooks.into_iter().flat_map(|book| book.causes).collect())
    }

    /// A command with the stack's configuration and nothing of the caller's.
    pub fn command(&self, stack: &Stack, argv: &[&str]) -> Command {
        let mut command = if stack.settings().plain_user {
            // What is shown to everybody, and no group's rights: the journal and others' files are closed.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all", "--"]);
            command.arg(stack.dir().join("plain/mcp-ir")).env("HOME", "/nonexistent").current_dir("/");
            command
        } else {
            Command::new(&self.binary)
        };
        command.arg("--config").arg(stack.config()).args(argv);
        for name in ["PGPASSWORD", "PGHOST", "PGUSER", "PGSERVICE", "MCP_IR_CONFIG"] {
            command.env_remove(name);
        }
        let state = if stack.settings().plain_user { "plain/state" } else { "state" };
        command.env("MCP_IR_STATE_DIR", stack.dir().join(state)).stdin(Stdio::null());
        command
    }

    /// A folder of the plain user's, with a copy of the tool: the build's folder may be closed to it.
    fn prepare_plain(&self, stack: &Stack) -> Result<()> {
        let folder = stack.dir().join("plain");
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&folder)?;
        fs::copy(&self.binary, folder.join("mcp-ir"))?;
        let (uid, gid) = plain_user();
        Ok(chown(&folder, Some(uid), Some(gid))?)
    }

    /// Runs it to its end, which is awaited for a minute.
    pub fn run(&self, stack: &Stack, argv: &[&str]) -> Result<Run> {
        let (out, err) = (stack.dir().join("tool.out"), stack.dir().join("tool.err"));
        let mut command = self.command(stack, argv);
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("{} does not run", self.binary.display()))?;
        let mut status = None;
        let ended = wait::until("mcp-ir ends", Duration::from_secs(60), || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        let took = began.elapsed();
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
            bail!("mcp-ir {argv:?} did not end within a minute");
        }
        let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let code = status.and_then(|s| s.code());
        Ok(Run { code, took, stdout: text(out)?, stderr: text(err)? })
    }

    /// One look, as JSON; the snapshot goes to `save`. `since` is an earlier one, to compare with.
    pub fn diagnose(&self, stack: &Stack, save: &Path, since: Option<&Path>) -> Result<(Run, Diagnosis)> {
        let plain = stack.settings().plain_user;
        let snapshot = if plain {
            self.prepare_plain(stack)?;
            stack.dir().join("plain/snapshot.json")
        } else {
            save.to_owned()
        };
        let (save_to, since) = (snapshot.to_string_lossy(), since.map(Path::to_string_lossy));
        let mut argv = vec!["diagnose", "-o", "json", "--save", &save_to];
        argv.extend(since.iter().flat_map(|s| ["--since", s]));
        let run = self.run(stack, &argv)?;
        if plain && snapshot.exists() {
            fs::copy(&snapshot, save)?;
        }
        let diagnosis: Diagnosis = serde_json::from_str(&run.stdout).with_context(|| {
            let said = if run.stderr.trim().is_empty() { &run.stdout } else { &run.stderr };
            format!(
                "no diagnosis (exit {:?}): {}",
                run.code,
                said.trim().chars().take(300).collect::<String>()
            )
        })?;
        Ok((run, diagnosis.of_this_host()))
    }
}
