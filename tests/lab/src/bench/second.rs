//! `lab bench --second`: what reading a metrics page of 5 MB adds to a look, and what a look takes whose rates
//! need a second reading. Whole processes, interleaved.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::thousands::wait_for;
use super::{Series, WARM_UP, judged};
use crate::measure::Measurable;
use crate::program::lab_binary;
use crate::serve::large;
use crate::settings::Settings;
use crate::stack::{Mode, Stack};
use crate::table::table;
use crate::tool::Tool;

/// What may come on top of the interval, and what reading the page may take.
const GRACE_MS: f64 = 50.0;
/// Between two readings, as the tool has it.
const INTERVAL_MS: f64 = 1000.0;

const WITHOUT: &str = "a service without metrics";
const PAGE: &str = "the same with a page of 5 MB";
const SECOND: &str = "diagnose latency, the lab's stack with metrics";
const SECOND_PAGE: &str = "diagnose latency, the page of 5 MB read twice";

/// Gives whether every figure is within its limit.
pub fn bench(runs: usize, binary: Option<&Path>) -> Result<bool> {
    let tool = Tool::new(binary)?;
    let lab = lab_binary()?;
    let mut stack = Stack::start(Mode::Auto)?;
    let [port, _] = stack.spare_ports();
    stack.add_program(Command::new(&lab).args(["serve-many", "--listen", &format!("127.0.0.1:{port}")]))?;
    wait_for(port)?;
    let one = |name: &str, more: &str| {
        let text = format!(
            "postgres = []\nredis = []\nollama = []\n[[service]]\nname = \"large\"\n\
             url = \"http://127.0.0.1:{port}/large\"\nhealth = \"/health\"\n{more}"
        );
        file(&stack.dir().join(name), &text)
    };
    let (without, page) = (one("without.toml", "")?, one("page.toml", "metrics = \"/metrics\"\n")?);
    let settings = Settings { metrics: true, ..Settings::default() };
    let second = settings.write(&stack, "second")?;
    let look = |name: &str, config: &Path, verb: &[&str]| {
        let command = Measurable::new(tool.binary())
            .args(["--config".as_ref(), config.as_os_str()])
            .args(verb)
            .env("MCP_IR_STATE_DIR", stack.dir().join("state"));
        Series::new(name, command, Some(0))
    };
    let mut all = [
        look(WITHOUT, &without, &["diagnose"]),
        look(PAGE, &page, &["diagnose"]),
        look(SECOND, &second, &["diagnose", "latency"]),
        look(SECOND_PAGE, &page, &["diagnose", "latency"]),
    ];
    for round in 0..WARM_UP + runs {
        for series in &mut all {
            series.run(&lab, round >= WARM_UP)?;
        }
    }
    println!(
        "Whole processes, {runs} rounds, interleaved; a page of {:.1} MB; {}\n",
        large().len() as f64 / 1e6,
        tool.binary().display()
    );
    println!("{}\n", times(&all));
    let median = |name: &str| all.iter().find(|s| s.name == name).map_or(f64::NAN, Series::median);
    let (text, good) = judged(&[
        ("a page of 5 MB, beside none", median(PAGE) - median(WITHOUT), GRACE_MS, "ms"),
        ("a look with a second reading", median(SECOND), INTERVAL_MS + GRACE_MS, "ms"),
    ]);
    println!("{text}");
    Ok(good)
}

fn file(path: &Path, text: &str) -> Result<PathBuf> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(path.to_owned())
}

fn times(all: &[Series]) -> String {
    let lines = all.iter().map(|series| {
        let (low, high) = series.extremes();
        [
            series.name.clone(),
            format!("{:.1}", series.median()),
            format!("{low:.1}"),
            format!("{high:.1}"),
            format!("{:.1}", series.peak_mb()),
        ]
    });
    table(["program", "median ms", "min", "max", "peak MB"], lines.collect(), &[1, 2, 3, 4], 0)
}
