//! `lab bench --recover`: the same faults, mended by the tool and by what a user has without it: how long until
//! the service is well by its own word, and what harm was done on the way. Beside them the bare stop and start
//! of the same unit, in the same run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{judged, ms};
use crate::fault;
use crate::program::installed;
use crate::stack::{Mode, Stack};
use crate::table::table;
use crate::tool::Tool;

const A: &str = "codebase-mcp";
const A_UNIT: &str = "codebase-mcp.service";
const C_UNIT: &str = "workflow-mcp.service";
const POOL: &str = "client-pool-saturated/shape-a";
/// Nobody waits longer for a cure.
const LIMIT: Duration = Duration::from_secs(40);
/// What a recovery may take beside a bare restart, and by a service's own interface.
const BESIDE_MS: f64 = 250.0;
const BY_API_MS: f64 = 100.0;

/// One way to mend, and what came of it each time.
struct Way {
    fault: &'static str,
    by: &'static str,
    runs: Vec<Came>,
}

struct Came {
    /// Until it is well by its own word; `None`: not within the limit.
    well: Option<Duration>,
    /// Until whoever mended it has ended.
    ended: Option<Duration>,
    harm: BTreeSet<String>,
}

/// Gives whether every figure is within its limit.
pub fn bench(runs: usize, binary: Option<&Path>, runbook: Option<&Path>) -> Result<bool> {
    let tool = Tool::new(binary)?;
    let mut stack = Stack::start(Mode::Auto)?;
    if let Some(why) = stack.left_out() {
        println!("left out: {why}");
        return Ok(true);
    }
    let script = runbook.map(|text| script(text, &stack)).transpose()?;
    let mut ways = Vec::new();
    let mut add = |fault, by| ways.push(Way { fault, by, runs: Vec::new() });
    for fault in [DIED, POOL] {
        add(fault, BARE);
        add(fault, RECOVER);
        for (by, here) in [(RUNBOOK, script.is_some()), (MONIT, installed("monit").is_some())] {
            if here {
                add(fault, by);
            }
        }
    }
    add(NEARLY, API);
    for round in 0..runs {
        for way in &mut ways {
            eprintln!("lab: round {} of {runs}: {} by {}", round + 1, way.fault, way.by);
            way.runs.push(once(way.fault, way.by, &mut stack, &tool, script.as_ref())?);
        }
    }
    println!("Each fault {runs} times by each, in turn, on one stack; {}\n", tool.binary().display());
    println!("{}\n", page(&ways));
    for (name, there) in [(RUNBOOK, script.is_some()), (MONIT, installed("monit").is_some())] {
        if !there {
            println!("left out: {name}");
        }
    }
    let median = |fault: &str, by: &str, of: fn(&Came) -> Option<Duration>| {
        let way = ways.iter().find(|w| w.fault == fault && w.by == by);
        way.map_or(f64::NAN, |w| w.median(of))
    };
    let beside = |fault| median(fault, RECOVER, |c| c.ended) - median(fault, BARE, |c| c.well);
    let (text, good) = judged(&[
        ("server-crash, beside a bare stop and start", beside(DIED), BESIDE_MS, "ms"),
        ("pool by drop-in, beside a bare stop and start", beside(POOL), BESIDE_MS, "ms"),
        ("pool by its interface, until it is well", median(NEARLY, API, |c| c.well), BY_API_MS, "ms"),
    ]);
    println!("{text}");
    Ok(good)
}

/// Nine of ten are taken: with the tenth it says so at once. A pool that is full of waits of its own health answer
/// is told of a second later.
const NEARLY: &str = "9 of 10 connections taken";
const DIED: &str = "failed/exit-1";
const BARE: &str = "systemctl stop, start";
const RECOVER: &str = "mcp-ir recover";
const API: &str = "mcp-ir recover, by API";
const RUNBOOK: &str = "the runbook's auto_recovery.py";
const MONIT: &str = "Monit, a look a second";

impl Way {
    fn median(&self, of: fn(&Came) -> Option<Duration>) -> f64 {
        let mut all: Vec<f64> = self.runs.iter().map(|c| of(c).map_or(f64::INFINITY, ms)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn once(
    name: &'static str,
    by: &str,
    stack: &mut Stack,
    tool: &Tool,
    script: Option<&PathBuf>,
) -> Result<Came> {
    let settings = stack.settings().clone();
    if by == API {
        stack.systemd()?.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_RESIZE=1\n")?;
        stack.systemd()?.systemctl(&["restart", A_UNIT])?;
        stack.wait_until_healthy()?;
    }
    if name == NEARLY {
        stack.service(A)?.tell("hold?n=9&secs=600&mode=query")?;
    } else {
        fault::find(name).context("no such fault")?.inject(stack)?;
    }
    // Behind the fault, which begins with settings of its own.
    if by == API {
        let text = fs::read_to_string(stack.config())?;
        let key = "max_env = \"POOL_MAX_SIZE\"";
        let with = format!("{key}, resize = \"/admin/pool/resize\"");
        anyhow::ensure!(text.contains(key), "the configuration names no variable of a pool");
        fs::write(stack.config(), text.replacen(key, &with, 1))?;
    }
    let before = Standing::of(stack)?;
    let begun = Instant::now();
    let mut child =
        mender(name, by, stack, tool, script)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let (mut well, mut ended) = (None, None);
    while begun.elapsed() < LIMIT && (well.is_none() || ended.is_none()) {
        if well.is_none() && stack.service(A)?.says("healthy") {
            well = Some(begun.elapsed());
        }
        if ended.is_none() && child.try_wait()?.is_some() {
            ended = Some(begun.elapsed());
        }
        // A watcher that goes on for ever has done what it does.
        if by == MONIT && well.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    end(&mut child, by, stack)?;
    let harm = before.harm(stack)?;
    stack.configure(&settings)?;
    undo_all(stack)?;
    Ok(Came { well, ended, harm })
}

fn mender(fault: &str, by: &str, stack: &Stack, tool: &Tool, script: Option<&PathBuf>) -> Result<Command> {
    let booted = stack.systemd()?;
    Ok(match by {
        BARE => {
            let both = format!("systemctl stop {A_UNIT}; systemctl start {A_UNIT}");
            booted.command(&["sh", "-c", &both])
        }
        RUNBOOK => {
            let script = script.context("no script")?.to_string_lossy().into_owned();
            booted.command(&["python3", &script])
        }
        MONIT => booted.command(&["monit", "-I", "-c", &monit(stack)?.to_string_lossy()]),
        _ if fault == POOL || fault == NEARLY => {
            tool.command(stack, &["recover", "pool", "--service", A, "--max-size", "20", "--yes"])
        }
        _ => tool.command(stack, &["recover", "server", "--service", A, "--yes"]),
    })
}

/// Only what this program started: the shell that enters the booted system, and Monit by its own word.
fn end(child: &mut Child, by: &str, stack: &Stack) -> Result<()> {
    if by == MONIT {
        let file = stack.dir().join("share/monitrc-cure");
        let _ = stack.systemd()?.exec(&["monit", "-c", &file.to_string_lossy(), "quit"]);
    }
    if child.try_wait()?.is_none() {
        child.kill()?;
    }
    child.wait()?;
    Ok(())
}

/// What of the stack nobody was to touch.
struct Standing {
    postmaster: String,
    neighbour: String,
    sessions: BTreeSet<String>,
}

impl Standing {
    fn of(stack: &Stack) -> Result<Self> {
        let rows = |sql: &str| stack.cluster().sql(sql);
        let started = rows("SELECT pg_postmaster_start_time()")?;
        let theirs = "SELECT pid FROM pg_stat_activity WHERE application_name = 'workflow-mcp'";
        Ok(Self {
            postmaster: started.concat(),
            neighbour: stack.systemd()?.property(C_UNIT, "MainPID")?,
            sessions: rows(theirs)?.into_iter().collect(),
        })
    }

    fn harm(&self, stack: &Stack) -> Result<BTreeSet<String>> {
        let mut harm = BTreeSet::new();
        match Self::of(stack) {
            Ok(now) => {
                if now.postmaster != self.postmaster {
                    harm.insert("PostgreSQL restarted".to_owned());
                }
                if now.neighbour != self.neighbour {
                    harm.insert("workflow-mcp restarted".to_owned());
                }
                let lost = self.sessions.difference(&now.sessions).count();
                if lost > 0 {
                    harm.insert(format!("{lost} sessions of workflow-mcp lost"));
                }
            }
            Err(_) => drop(harm.insert("PostgreSQL is down".to_owned())),
        }
        let environment = stack.systemd()?.systemctl(&["show-environment"])?;
        if environment.contains("POOL_MAX_SIZE") {
            harm.insert("POOL_MAX_SIZE in every unit's environment".to_owned());
        }
        Ok(harm)
    }
}

/// As it was, for the next one.
fn undo_all(stack: &mut Stack) -> Result<()> {
    let booted = stack.systemd()?;
    booted.systemctl(&["unset-environment", "POOL_MAX_SIZE"])?;
    booted.remove_drop_in(A_UNIT)?;
    // Who restarts it each second has used up what systemd allows.
    stack.systemd()?.systemctl(&["reset-failed"])?;
    stack.heal()?;
    stack.systemd()?.systemctl(&["restart", A_UNIT])?;
    stack.wait_until_healthy()?;
    let _ = fs::remove_dir_all(stack.dir().join("state/incidents"));
    stack.forget()
}

/// The script as it stands in the runbook's text, with this stack's address; nobody is paged.
fn script(runbook: &Path, stack: &Stack) -> Result<PathBuf> {
    let text = fs::read_to_string(runbook).with_context(|| format!("cannot read {}", runbook.display()))?;
    let begin = text.find("\"\"\"auto_recovery.py").context("no auto_recovery.py in that text")?;
    let whole = text.get(begin..).unwrap_or_default();
    let whole = whole.get(..whole.find("```").unwrap_or(whole.len())).unwrap_or_default();
    let url = stack.service(A)?.url();
    let ours = whole
        .replace("http://localhost:8000", &url)
        .replace("https://api.pagerduty.com", "http://127.0.0.1:9");
    // Both sides see that folder.
    let file = stack.dir().join("share/auto_recovery.py");
    fs::write(&file, ours)?;
    Ok(file)
}

fn monit(stack: &Stack) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let (dir, port) = (stack.dir().join("share"), stack.service(A)?.port);
    let text = format!(
        "set daemon 1\nset log {0}/monit-cure.log\nset statefile {0}/monit-cure.state\nset idfile {0}/monit-cure.id\n\
         set pidfile {0}/monit-cure.pid\ncheck host {A} with address 127.0.0.1\n  \
         start program = \"/bin/systemctl start {A}\"\n  stop program = \"/bin/systemctl stop {A}\"\n  \
         if failed port {port} protocol http request \"/health/status\" content = '\"status\":\"healthy\"' then restart\n",
        dir.display()
    );
    let file = dir.join("monitrc-cure");
    fs::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn page(ways: &[Way]) -> String {
    let time = |ms: f64| if ms.is_finite() { format!("{ms:.0}") } else { "never".into() };
    let lines = ways.iter().map(|w| {
        let harm: BTreeSet<&str> = w.runs.iter().flat_map(|c| c.harm.iter().map(String::as_str)).collect();
        let harm = harm.into_iter().collect::<Vec<_>>().join("; ");
        [
            w.fault.to_owned(),
            w.by.to_owned(),
            time(w.median(|c| c.well)),
            if w.by == MONIT { "–".into() } else { time(w.median(|c| c.ended)) },
            if harm.is_empty() { "none".into() } else { harm },
        ]
    });
    table(["fault", "mended by", "well after ms", "ended after ms", "harm"], lines.collect(), &[2, 3], 0)
}
