//! Where the tool is killed: before and behind each line of its journal, exactly, and at a moment between a
//! step's intent and its end. The one that is killed is this program, which runs the tool with a hook.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use mcp_ir::incident::{Edge, at_each_line};
use serde_json::Value;

use super::Seed;
use super::bed::Bed;
use super::case::Case;
use crate::program::lab_binary;

#[derive(Debug, Args)]
pub struct ToolArgs {
    /// Its death: `LINE before|after MICROSECONDS`
    #[arg(long)]
    at: String,
    /// The tool's arguments
    #[arg(last = true)]
    args: Vec<String>,
}

/// The tool, which ends itself at that line, or so long behind it.
pub fn as_the_tool(args: &ToolArgs) -> Result<ExitCode> {
    let words: Vec<&str> = args.at.split(' ').collect();
    let [line, edge, delay] = words[..] else { bail!("`{}` is no place", args.at) };
    let (line, delay): (usize, u64) = (line.parse()?, delay.parse()?);
    let edge = if edge == "before" { Edge::Before } else { Edge::After };
    let die = || {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // It comes at once, but to this thread perhaps not before it goes on.
        std::thread::sleep(Duration::from_secs(60));
    };
    at_each_line(Box::new(move |n, e| {
        if (n, e) != (line, edge) {
            return;
        }
        if delay == 0 {
            die();
        } else {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(delay));
                die();
            });
        }
    }));
    let argv = std::iter::once("mcp-ir".to_owned()).chain(args.args.iter().cloned());
    let code = mcp_ir::cli::run(argv.map(Into::into).collect(), Instant::now());
    Ok(ExitCode::from(code))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Counted from 1, of the lines that this run writes.
    line: usize,
    edge: &'static str,
    what: String,
    /// What the step takes, where it is killed inside it.
    within: Option<u64>,
}

impl Point {
    pub fn boundary(line: usize, edge: &'static str, what: &str) -> Self {
        Self { line, edge, what: what.into(), within: None }
    }

    pub fn inside(&self) -> bool {
        self.within.is_some()
    }

    pub fn label(&self) -> String {
        match self.within {
            Some(_) => format!("inside {}", self.what),
            None => format!("{} {}", self.edge, self.what),
        }
    }

    /// Whether it was killed before it ended.
    pub fn kill(&self, bed: &Bed, argv: &[String], seed: &mut Seed) -> Result<bool> {
        let delay = self.within.map_or(0, |took| 1 + seed.below(took));
        let mut child = self.spawn(bed, argv, delay)?;
        let end = Instant::now() + Duration::from_secs(90);
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > end => {
                    child.kill()?;
                    child.wait()?;
                    bail!("it neither ended nor died");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        Ok(status.signal() == Some(9))
    }

    fn spawn(&self, bed: &Bed, argv: &[String], delay: u64) -> Result<Child> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let tool = bed.tool.command(&bed.stack, &words);
        dies_at(&tool, self.line, self.edge, delay)?.spawn().context("this very program does not run")
    }
}

/// The same command, by the tool that ends itself so many microseconds behind a line's edge.
pub fn dies_at(tool: &Command, line: usize, edge: &str, delay: u64) -> Result<Command> {
    let mut command = Command::new(lab_binary()?);
    command.args(["tool", "--at", &format!("{line} {edge} {delay}"), "--"]).args(tool.get_args());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// How often a case is run until it has something to do.
const TRIES: usize = 10;

/// All places of a case, by the lines that it writes where nobody kills it.
pub fn points(case: &Case, bed: &mut Bed) -> Result<Vec<Point>> {
    let (_, argv) = case.ready(bed)?;
    let known = bed.lines()?.0.len();
    let mut lines: Vec<Value> = Vec::new();
    // Not every look meets who is slow: then nothing was done, and it is looked once more.
    for _ in 0..TRIES {
        bed.ends(&argv, 0)?;
        lines = bed.lines()?.0.split_off(known);
        if !lines.is_empty() {
            break;
        }
    }
    ensure!(!lines.is_empty(), "it writes nothing");
    bed.undo_all()?;
    case.heal(bed)?;
    let mut all = Vec::new();
    let (mut of, mut begun) = (String::new(), None);
    for (i, line) in lines.iter().enumerate() {
        let event = line["event"].as_str().unwrap_or_default();
        let at: Option<Timestamp> = line["at"].as_str().and_then(|t| t.parse().ok());
        match event {
            "intent" => of = line["act"]["act"].as_str().unwrap_or_default().to_owned(),
            "undo-intent" => of = format!("undo of {}", case.name.trim_start_matches("undo-")),
            _ => {}
        }
        let step = matches!(event, "intent" | "done" | "undo-intent" | "undone");
        let what = if step { format!("{event} ({of})") } else { event.to_owned() };
        all.extend(["before", "after"].map(|edge| Point::boundary(i + 1, edge, &what)));
        if matches!(event, "intent" | "undo-intent") {
            begun = at.map(|at| (i + 1, at));
        } else if let (Some((line, since)), Some(at)) = (begun.take(), at) {
            let took = u64::try_from(at.duration_since(since).as_micros()).unwrap_or(0).max(200);
            all.push(Point { line, edge: "after", what: of.clone(), within: Some(took) });
        }
    }
    Ok(all)
}
