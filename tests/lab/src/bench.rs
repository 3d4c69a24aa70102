//! `lab bench`: whole processes, interleaved, on one healthy stack: medians and ratios of one run.
//! A benchmark, not a test: it prints the limits and says what missed them.

mod mending;
mod second;
mod thousands;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::contenders::Field;
use crate::measure::{Measurable, Measured};
use crate::program::lab_binary;
use crate::settings::Settings;
use crate::stack::{Mode, Stack};
use crate::table::table;
use crate::tool::Tool;

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Rounds; each runs every program once
    #[arg(long, default_value_t = 30)]
    pub runs: usize,
    /// So many services in one look, instead of the healthy stack
    #[arg(long, value_name = "N")]
    pub services: Option<usize>,
    /// A large metrics page, and looks that read a second time, instead of the healthy stack
    #[arg(long, conflicts_with = "services")]
    pub second: bool,
    /// Faults mended by the tool, by a bare restart, and by what a user has without it
    #[arg(long, conflicts_with_all = ["services", "second"])]
    pub recover: bool,
    /// A runbook with an `auto_recovery.py` in its text, to be compared with
    #[arg(long, value_name = "FILE", requires = "recover")]
    pub runbook: Option<PathBuf>,
    /// The tool; without it the release build beside this one
    #[arg(long)]
    pub binary: Option<PathBuf>,
}

/// Rounds that are not counted: caches fill.
const WARM_UP: usize = 2;
/// The whole look's limit where every packet is lost, and what may come on top.
const TIMEOUT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(50);
const DROPPED_RUNS: usize = 5;
/// TEST-NET-1: nobody's address, lost on the way by `Measurable::dropping`.
const NOWHERE: &str = "192.0.2.9";

struct Series {
    name: String,
    command: Measurable,
    expected: Option<i32>,
    runs: Vec<Measured>,
}

impl Series {
    fn new(name: &str, command: Measurable, expected: Option<i32>) -> Self {
        Self { name: name.to_owned(), command, expected, runs: Vec::new() }
    }

    fn run(&mut self, lab: &Path, counted: bool) -> Result<()> {
        let measured = self.command.once(lab)?;
        ensure!(
            self.expected.is_none() || measured.code == self.expected,
            "{} ended with {:?}, not {:?}",
            self.name,
            measured.code,
            self.expected
        );
        if counted {
            self.runs.push(measured);
        }
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut times: Vec<f64> = self.runs.iter().map(|m| ms(m.wall)).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn extremes(&self) -> (f64, f64) {
        let times = self.runs.iter().map(|m| ms(m.wall));
        times.fold((f64::INFINITY, 0.0), |(low, high), t| (low.min(t), high.max(t)))
    }

    fn peak_mb(&self) -> f64 {
        self.runs.iter().map(|m| m.peak).max().unwrap_or(0) as f64 / 1e6
    }
}

/// Gives whether every figure is within its limit.
pub fn bench(args: &BenchArgs) -> Result<bool> {
    let binary = args.binary.clone().or_else(release_build);
    if let Some(services) = args.services {
        return thousands::bench(services, args.runs, binary.as_deref());
    }
    if args.second {
        return second::bench(args.runs, binary.as_deref());
    }
    if args.recover {
        return mending::bench(args.runs, binary.as_deref(), args.runbook.as_deref());
    }
    let tool = Tool::new(binary.as_deref())?;
    let lab = lab_binary()?;
    let stack = Stack::start(Mode::Auto)?;
    let config = stack.config().as_os_str().to_owned();
    let look = |config: std::ffi::OsString| {
        Measurable::new(tool.binary())
            .args(["--config".into(), config])
            .env("MCP_IR_STATE_DIR", stack.dir().join("state"))
    };

    let mut all = vec![
        Series::new("mcp-ir diagnose, healthy", look(config).args(["diagnose"]), Some(0)),
        Series::new("mcp-ir --version", Measurable::new(tool.binary()).args(["--version"]), Some(0)),
    ];
    let field = Field::on(&stack)?;
    for contender in field.here {
        all.push(Series::new(contender.name, contender.command, contender.code));
    }
    let terminal = std::io::stderr().is_terminal();
    for round in 0..WARM_UP + args.runs {
        if terminal {
            eprint!("\rlab: round {} of {}", round + 1, WARM_UP + args.runs);
        }
        for series in &mut all {
            series.run(&lab, round >= WARM_UP)?;
        }
    }
    if terminal {
        eprint!("\r");
    }

    let lost = Settings { address: NOWHERE.into(), ..Settings::default() }.write(&stack, "dropped")?;
    let command = look(lost.into_os_string()).args(["diagnose", "--timeout", "1s"]).dropping();
    let mut dropped = Series::new("mcp-ir diagnose, every packet lost", command, None);
    let left_out = if stack.left_out().is_some() {
        Some("every packet lost: needs root".to_owned())
    } else {
        for _ in 0..DROPPED_RUNS {
            dropped.run(&lab, true)?;
        }
        None
    };
    println!("{}", head(&stack, tool.binary(), args.runs));
    println!("{}\n", times(&all, &dropped));
    for missing in field.missing.into_iter().chain(left_out) {
        println!("left out: {missing}");
    }
    let (text, good) = figures(&all, &dropped);
    println!("{text}");
    Ok(good)
}

fn head(stack: &Stack, binary: &Path, runs: usize) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let size = fs::metadata(binary).map_or(0.0, |m| m.len() as f64 / 1e6);
    format!(
        "Whole processes, {runs} rounds, interleaved; PostgreSQL {}, {cores} cores;\n{} ({size:.1} MB)\n",
        stack.cluster().postgres.major,
        binary.display()
    )
}

fn times(all: &[Series], dropped: &Series) -> String {
    let base = all.iter().find(|s| s.name == "psql, the program").map_or(f64::NAN, Series::median);
    let lines = all.iter().chain((!dropped.runs.is_empty()).then_some(dropped)).map(|series| {
        let (low, high) = series.extremes();
        [
            series.name.clone(),
            format!("{:.1}", series.median()),
            format!("{low:.1}"),
            format!("{high:.1}"),
            format!("{:.2}", series.median() / base),
            format!("{:.1}", series.peak_mb()),
        ]
    });
    table(["program", "median ms", "min", "max", "× psql", "peak MB"], lines.collect(), &[1, 2, 3, 4, 5], 0)
}

/// The limits of the issue: (figure, measured, limit, unit).
fn figures(all: &[Series], dropped: &Series) -> (String, bool) {
    let find = |name: &str| all.iter().find(|s| s.name == name);
    let median = |name| find(name).map_or(f64::NAN, Series::median);
    let look = "mcp-ir diagnose, healthy";
    let peak = find(look).map_or(0.0, Series::peak_mb).max(dropped.peak_mb());
    let mut figures = vec![
        ("a healthy look", median(look) / median("psql, the program"), 2.0, "× psql"),
        ("--version", median("mcp-ir --version"), 5.0, "ms"),
        ("peak memory", peak, 25.0, "MB"),
    ];
    if !dropped.runs.is_empty() {
        let limit = ms(TIMEOUT + GRACE);
        figures.push(("every packet lost, --timeout 1s, worst", dropped.extremes().1, limit, "ms"));
    }
    judged(&figures)
}

/// (figure, measured, limit, unit) as a table, and whether all are within their limits.
fn judged(figures: &[(&str, f64, f64, &str)]) -> (String, bool) {
    let good = figures.iter().all(|(_, seen, limit, _)| seen <= limit);
    let lines = figures.iter().map(|(name, seen, limit, unit)| {
        let mark = if seen <= limit { "✓" } else { "✗" };
        [(*name).to_owned(), format!("{seen:.2}"), format!("≤ {limit}"), (*unit).to_owned(), mark.to_owned()]
    });
    (table(["figure", "measured", "limit", "unit", ""], lines.collect(), &[1, 2], 0), good)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// `target/release/mcp-ir`, also when this program is a debug build.
fn release_build() -> Option<PathBuf> {
    let target = lab_binary().ok()?.parent()?.parent()?.to_owned();
    Some(target.join("release/mcp-ir")).filter(|path| path.is_file())
}
