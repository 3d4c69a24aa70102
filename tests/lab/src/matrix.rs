//! `lab matrix`: every fault injected, every diagnosis scored.
//! One stack serves for all of them; it is healed between, and replaced where it does not heal.

mod jobs;
mod turns;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault, Vantage};
use crate::program::build_folder;
use crate::score::{complaints, untruths};
use crate::stack::{Mode, Stack};
use crate::table::table;
use crate::tool::{Diagnosis, Run as Ran, Tool};

#[derive(Debug, Clone, Args)]
pub struct MatrixArgs {
    /// How often each fault is injected
    #[arg(long, default_value_t = 1)]
    pub tries: usize,
    /// A fault that was told wrong is injected so often more, and passes if it is right each time; at
    /// most three faults may, and no control. For machines that others use as well: the table shows every try
    #[arg(long, default_value_t = 0)]
    pub again: usize,
    /// Only faults whose name or cause contains this
    #[arg(long)]
    pub only: Vec<String>,
    /// Only faults of these scenarios, and the controls that look like them; `pairs` are made of two,
    /// `cascades` are those of any scenario by which one root makes others red
    #[arg(long, value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Also faults whose cause the tool does not list
    #[arg(long)]
    pub all: bool,
    /// Looks with less than usual; then nothing wrong may be said, though less may be seen
    #[arg(long = "as", value_enum)]
    pub vantage: Option<Vantage>,
    /// So many stacks at once, each in a process and in namespaces of its own
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Every Nth of the faults, from the Kth on: K/N, as one of several jobs
    #[arg(long, hide = true)]
    pub part: Option<String>,
    /// So many looks in all at each control, spread over its tries; one a try without it
    #[arg(long, default_value_t = 0)]
    pub controls: usize,
    /// How many looks at the healthy stack
    #[arg(long, default_value_t = 50)]
    pub healthy: usize,
    /// The tool; without it the one beside this program
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Writes the rows as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Keeps every snapshot, by fault and try, in this folder
    #[arg(long)]
    pub save: Option<PathBuf>,
}

/// One line of the matrix.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub fault: String,
    cause: Option<String>,
    tries: usize,
    right: usize,
    found_first: String,
    median_ms: u128,
    complaints: Vec<String>,
}

impl Row {
    fn new(fault: &Fault) -> Self {
        Self {
            fault: fault.name.into(),
            cause: fault.cause.map(ToOwned::to_owned),
            tries: 0,
            right: 0,
            found_first: String::new(),
            median_ms: 0,
            complaints: Vec::new(),
        }
    }

    /// Wrong once, and right as often as it was tried again. A healthy stack is never called ill.
    fn is_doubtful(&self, again: usize) -> bool {
        again > 0 && self.cause.is_some() && self.tries - self.right == 1 && self.right >= again
    }
}

/// Gives whether everything was right.
pub fn matrix(args: &MatrixArgs) -> Result<bool> {
    let mut faults = chosen(args)?;
    // Afterwards there is no way out to fetch anything.
    if args.part.is_none() && faults.iter().any(|f| f.from_pypi) {
        crate::pypi::prepare()?;
    }
    let room = crate::disk::Room::at(&crate::stack::base_folder())?;
    ensure!(!room.is_low(), "{}: every look would rightly call that `disk-low`", room);
    let tool = Tool::new(args.binary.as_deref())?;
    let folder = match (&args.save, build_folder()) {
        (Some(folder), _) => folder.clone(),
        (None, Some(build)) => build.join("lab-matrix"),
        (None, None) => bail!("no folder for the snapshots: name one by --save"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let known = tool.causes()?;
    let before = faults.len();
    faults.retain(|f| args.all || f.cause.is_none_or(|cause| known.contains(cause)));
    let waiting = before - faults.len();
    if waiting > 0 {
        println!("{waiting} faults wait for causes that this version does not tell");
    }
    ensure!(!faults.is_empty(), "none is left");
    let rows = match &args.part {
        None if args.jobs > 1 => jobs::rows(args, &faults)?,
        None => in_turn(&faults, &tool, &folder, args)?,
        Some(part) => in_turn(&jobs::part(part, faults)?, &tool, &folder, args)?,
    };
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{}", shown(&rows));
    for complaint in rows.iter().flat_map(|row| &row.complaints) {
        println!("wrong: {complaint}");
    }
    let (right, tries) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.right, sum.1 + row.tries));
    println!("{right} of {tries} right");
    let wrong: Vec<&Row> = rows.iter().filter(|row| row.right < row.tries).collect();
    Ok(wrong.len() <= DOUBTFUL && wrong.iter().all(|row| row.is_doubtful(args.again)))
}

/// One after another, on one stack.
fn in_turn(faults: &[Fault], tool: &Tool, folder: &Path, args: &MatrixArgs) -> Result<Vec<Row>> {
    crate::apart::enter()?;
    let turns = turns::Turns::of(folder)?;
    let mut stack = Stack::start(Mode::Systemd)?;
    let mut rows = Vec::new();
    for fault in faults {
        let control = fault.name == "healthy/idle";
        let tries = if control { args.healthy } else { args.tries };
        let mut run = Run { stack: &mut stack, tool, folder, args, turns: &turns };
        rows.push(run.one(fault, tries)?);
    }
    Ok(rows)
}

/// Of a process, before it is compared with itself.
const WARM_UP: Duration = Duration::from_secs(32);
/// How many faults may be right only at the second glance.
const DOUBTFUL: usize = 3;

fn chosen(args: &MatrixArgs) -> Result<Vec<Fault>> {
    let all = fault::all();
    for scenario in &args.scenario {
        let cascades = scenario == "cascades";
        ensure!(cascades || all.iter().any(|f| f.scenario() == scenario), "no fault belongs to {scenario}");
    }
    let in_scenario = |f: &Fault| {
        let named = |s: &String| s == f.scenario() || s == "cascades" && f.is_cascade;
        args.scenario.is_empty() || f.scenario().is_empty() || args.scenario.iter().any(named)
    };
    let named = |f: &Fault| {
        let has = |word: &String| f.name.contains(word) || f.cause.is_some_and(|c| c.contains(word));
        args.only.is_empty() || args.only.iter().any(has)
    };
    let faults: Vec<Fault> = all.iter().filter(|f| in_scenario(f) && named(f)).cloned().collect();
    ensure!(!faults.is_empty(), "no fault has {:?} in its name", args.only);
    Ok(faults)
}

/// What every try needs.
struct Run<'a> {
    stack: &'a mut Stack,
    tool: &'a Tool,
    folder: &'a Path,
    args: &'a MatrixArgs,
    turns: &'a turns::Turns,
}

impl Run<'_> {
    fn one(&mut self, fault: &Fault, tries: usize) -> Result<Row> {
        let mut row = Row::new(fault);
        let mut times = Vec::new();
        let mut left = tries;
        while left > 0 {
            left -= 1;
            let _turn = self.turns.take(fault.alone)?;
            match self.make(fault) {
                Ok(before) => {
                    for _ in 0..looks(fault, tries, self.args.controls) {
                        let save = self.save(fault, &row);
                        let seen = self.tool.diagnose(self.stack, &save, before.as_deref());
                        self.score(fault, seen, &mut row, &mut times);
                    }
                }
                Err(e) => self.score(fault, Err(e), &mut row, &mut times),
            }
            if row.tries == tries && row.complaints.len() == 1 {
                left = self.args.again;
            }
            if changes(fault)
                && let Err(e) = fault.heal(self.stack)
            {
                eprintln!("lab: {e:#}; a new stack is started");
                *self.stack = Stack::start(Mode::Systemd)?;
            }
        }
        times.sort();
        row.median_ms = times.get(times.len() / 2).map_or(0, Duration::as_millis);
        eprintln!("lab: {} {} of {} right, {} ms", fault.name, row.right, row.tries, row.median_ms);
        Ok(row)
    }

    /// Where the next look is kept.
    fn save(&self, fault: &Fault, row: &Row) -> PathBuf {
        self.folder.join(format!("{}-{}.json", fault.name.replace('/', "-"), row.tries + 1))
    }

    /// Puts one look into the row: what it came to, or that it came to nothing.
    fn score(&self, fault: &Fault, seen: Result<(Ran, Diagnosis)>, row: &mut Row, times: &mut Vec<Duration>) {
        let save = self.save(fault, row);
        let (wrong, first) = match seen {
            Ok((run, seen)) => {
                times.push(run.took);
                let wrong = match self.args.vantage {
                    Some(_) => untruths(fault, &seen),
                    None => complaints(fault, run.code, &seen),
                };
                (wrong, first(fault, &seen))
            }
            Err(e) => (vec![format!("{e:#}")], "-".to_owned()),
        };
        row.tries += 1;
        row.found_first = first;
        if wrong.is_empty() {
            row.right += 1;
            if self.args.save.is_none() {
                let _ = fs::remove_file(&save);
            }
            return;
        }
        let place = if save.exists() { save.display().to_string() } else { "no snapshot".into() };
        row.complaints.push(format!("{}, look {}: {} ({place})", fault.name, row.tries, wrong.join("; ")));
    }

    /// Injects the fault, and gives the look that was taken before it, where it needs one.
    fn make(&mut self, fault: &Fault) -> Result<Option<PathBuf>> {
        let before = if fault.two_looks {
            // What has just been started warms up.
            std::thread::sleep(WARM_UP);
            // Of this fault: another job has its own.
            let before = self.folder.join(format!("{}.before", fault.name.replace('/', "-")));
            self.tool.diagnose(self.stack, &before, None)?;
            Some(before)
        } else {
            None
        };
        if changes(fault) {
            fault.inject(self.stack)?;
        }
        if let Some(vantage) = self.args.vantage {
            let mut settings = self.stack.settings().clone();
            vantage.lessen(&mut settings);
            self.stack.configure(&settings)?;
        }
        Ok(before)
    }
}

/// At a control several looks are taken while it lasts, at a fault one: that it is seen each time it is
/// made is the harder question.
fn looks(fault: &Fault, tries: usize, controls: usize) -> usize {
    if fault.cause.is_some() || !changes(fault) { 1 } else { controls.div_ceil(tries).max(1) }
}

/// A look at the healthy stack changes nothing: it need not be healed.
fn changes(fault: &Fault) -> bool {
    fault.name != "healthy/idle"
}

/// Shortened where it is what was expected.
fn first(fault: &Fault, seen: &Diagnosis) -> String {
    match (seen.findings.first(), fault.cause) {
        (Some(finding), Some(cause)) if finding.cause == cause => format!("@{}", finding.subject),
        (Some(finding), _) if finding.is_problem() => finding.id.clone(),
        _ => seen.verdict.clone(),
    }
}

fn shown(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        let (cause, variant) = row.fault.split_once('/').unwrap_or((&row.fault, ""));
        let mark = if row.right == row.tries { "" } else { " ✗" };
        [
            cause.to_owned(),
            variant.to_owned(),
            row.tries.to_string(),
            format!("{}{mark}", row.right),
            row.found_first.clone(),
            row.median_ms.to_string(),
        ]
    });
    table(["cause", "variant", "tries", "right", "found first", "ms"], lines.collect(), &[2, 3, 5], 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_looked_at_often_and_a_fault_once_each_time_it_is_made() {
        let all = fault::all();
        let control = all.iter().find(|f| f.cause.is_none() && changes(f)).expect("a control");
        let made = all.iter().find(|f| f.cause.is_some()).expect("a fault");
        assert_eq!([looks(control, 3, 20), looks(control, 3, 0), looks(control, 1, 20)], [7, 1, 20]);
        assert_eq!(looks(made, 3, 20), 1);
    }

    fn row(tries: usize, right: usize) -> Row {
        let every = fault::all();
        Row { tries, right, ..Row::new(&every[0]) }
    }

    #[test]
    fn wrong_once_passes_only_where_it_was_tried_again_and_right_each_time() {
        assert!(row(3, 2).is_doubtful(2));
        assert!(!row(3, 1).is_doubtful(2), "wrong twice");
        assert!(!row(1, 0).is_doubtful(0), "not tried again");
        assert!(!row(2, 1).is_doubtful(2), "one of two is a coin");
        assert!(!Row { cause: None, ..row(3, 2) }.is_doubtful(2), "a control");
    }
}
