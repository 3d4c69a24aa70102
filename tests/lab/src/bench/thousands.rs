//! `lab bench --services 1000`: many services behind one server, a hundred of them with units, in
//! one look; beside Monit and curl with the same list, in the same run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Series, ms};
use crate::http;
use crate::measure::Measurable;
use crate::program::{installed, lab_binary};
use crate::stack::{Mode, Stack};
use crate::table::table;
use crate::tool::Tool;

/// How many have a unit, and how many hang where some do.
const UNITS: usize = 100;
const HANGING: usize = 100;
/// The deadline where some hang, and what may come on top.
const TIMEOUT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(50);

/// The list of services as one look has it.
struct Many<'a> {
    stack: &'a Stack,
    /// Where the many answer.
    port: u16,
}

/// Gives whether every figure is within its limit.
pub fn bench(services: usize, runs: usize, binary: Option<&Path>) -> Result<bool> {
    let tool = Tool::new(binary)?;
    let lab = lab_binary()?;
    let mut stack = Stack::start(Mode::Auto)?;
    let [port, closed] = stack.spare_ports();
    let listen = format!("127.0.0.1:{port}");
    stack.add_program(Command::new(&lab).args(["serve-many", "--listen", &listen]))?;
    wait_for(port)?;
    let many = Many { stack: &stack, port };
    many.start_units(services)?;

    let look = |name: &str, config: &Path, code: Option<i32>| {
        let command = Measurable::new(tool.binary())
            .args(["--config".as_ref(), config.as_os_str(), "diagnose".as_ref()])
            .env("MCP_IR_STATE_DIR", stack.dir().join("state"));
        Series::new(name, command, code)
    };
    let config = |name: &str, of: usize, url: &dyn Fn(usize) -> String| many.config(name, of, url);
    let well = |i: usize| format!("http://127.0.0.1:{port}/well/{i}");
    let none = |i: usize| format!("http://127.0.0.1:{closed}/well/{i}");
    let some = |i: usize| {
        let how = if (UNITS..UNITS + HANGING).contains(&i) { "mute" } else { "well" };
        format!("http://127.0.0.1:{port}/{how}/{i}")
    };
    let one = |i: usize| if i == UNITS { format!("http://127.0.0.1:{port}/mute/{i}") } else { well(i) };

    let mut all = vec![
        look(TOOL, &config("well", services, &well)?, Some(0)),
        look(FOUR, &config("four", 4 * services, &well)?, Some(0)),
        look(REFUSED, &config("none", services, &none)?, None),
    ];
    let mut missing = Vec::new();
    match installed("monit") {
        Some(monit) => {
            let rc = many.monitrc("well", services, port)?;
            let command = Measurable::new(&monit).args(["-c".as_ref(), rc.as_os_str(), "validate".as_ref()]);
            all.push(Series::new(MONIT, command, None));
        }
        None => missing.push("monit validate (monit is not installed)"),
    }
    match installed("curl") {
        Some(curl) => all.push(Series::new(CURL, many.curl(&curl, services)?, Some(0))),
        None => missing.push("curl --parallel (curl is not installed)"),
    }
    for round in 0..super::WARM_UP + runs {
        for series in &mut all {
            series.run(&lab, round >= super::WARM_UP)?;
        }
    }
    // These take what they take: a few runs tell.
    let few = 3.min(runs);
    let mut hanging = look(HANGS, &config("some", services, &some)?, Some(1));
    for _ in 0..few {
        hanging.run(&lab, true)?;
    }
    all.push(hanging);
    if let Some(monit) = installed("monit") {
        let rc = many.monitrc("none", services, closed)?;
        let command = Measurable::new(&monit).args(["-c".as_ref(), rc.as_os_str(), "validate".as_ref()]);
        let mut series = Series::new(MONIT_REFUSED, command, None);
        series.run(&lab, true)?;
        all.push(series);
    }
    let alone = many.slowest(tool.binary(), &config("well", services, &well)?, services)?;
    let beside = many.slowest(tool.binary(), &config("one", services, &one)?, services - 1)?;

    println!(
        "{services} services, {UNITS} with units, {runs} rounds, interleaved; {}\n",
        tool.binary().display()
    );
    println!("{}\n", times(&all));
    for what in missing {
        println!("left out: {what}");
    }
    let (text, good) = figures(&all, beside / alone);
    println!("{text}");
    Ok(good)
}

const TOOL: &str = "mcp-ir diagnose, all healthy";
const FOUR: &str = "four times as many";
const REFUSED: &str = "all refused";
const HANGS: &str = "100 hanging, --timeout 2s";
const MONIT: &str = "monit validate";
const MONIT_REFUSED: &str = "monit validate, all refused";
const CURL: &str = "curl --parallel";

impl Many<'_> {
    /// Sleepers: what is measured is the question, not the answer.
    fn start_units(&self, services: usize) -> Result<()> {
        let Some(booted) = self.stack.booted() else { return Ok(()) };
        let names: Vec<String> = (0..UNITS.min(services)).map(unit).collect();
        for name in &names {
            let text = "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n";
            fs::write(self.stack.dir().join("units").join(name), text)?;
        }
        booted.systemctl(&["daemon-reload"])?;
        let start: Vec<&str> = ["start"].into_iter().chain(names.iter().map(String::as_str)).collect();
        booted.systemctl(&start).map(drop)
    }

    fn config(&self, name: &str, services: usize, url: &dyn Fn(usize) -> String) -> Result<PathBuf> {
        let mut text =
            format!("timeout = \"{}s\"\npostgres = []\nredis = []\nollama = []\n", TIMEOUT.as_secs());
        for i in 0..services {
            text += &format!(
                "[[service]]\nname = \"{}\"\nurl = \"{}\"\nhealth = \"/health\"\n",
                subject(i),
                url(i)
            );
            if i < UNITS && self.stack.booted().is_some() {
                text += &format!("unit = \"{}\"\n", unit(i));
            }
        }
        if let Some(booted) = self.stack.booted() {
            text += &format!(
                "[systemd]\nbus = \"{}\"\njournal = \"{}\"\n[host]\nproc = \"{}\"\n",
                booted.bus(),
                booted.journal().display(),
                booted.proc().display()
            );
        }
        self.file(&format!("many-{name}.toml"), &text)
    }

    fn monitrc(&self, name: &str, services: usize, port: u16) -> Result<PathBuf> {
        let dir = self.stack.dir().display();
        let mut text =
            format!("set log {dir}/many.log\nset statefile {dir}/many.state\nset idfile {dir}/many.id\n");
        for i in 0..services {
            text += &format!(
                "check host {} with address 127.0.0.1\n  if failed port {port} protocol http \
                 request \"/well/{i}/health\" content = '\"status\":\"healthy\"' then alert\n",
                subject(i)
            );
        }
        self.file(&format!("many-{name}.monitrc"), &text)
    }

    fn curl(&self, curl: &Path, services: usize) -> Result<Measurable> {
        let lines: String = (0..services)
            .map(|i| {
                format!("url = \"http://127.0.0.1:{}/well/{i}/health\"\noutput = /dev/null\n", self.port)
            })
            .collect();
        let list = self.file("many.curl", &lines)?;
        let options = ["-s", "--parallel", "--parallel-max", "100", "-K"];
        Ok(Measurable::new(curl).args(options).args([list.into_os_string()]))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.stack.dir().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// The slowest of the health answers that came, in milliseconds; so many have to have come.
    fn slowest(&self, binary: &Path, config: &Path, seen: usize) -> Result<f64> {
        let out = Command::new(binary)
            .args(["--config".as_ref(), config.as_os_str(), "diagnose".as_ref(), "-ojson".as_ref()])
            .env("MCP_IR_STATE_DIR", self.stack.dir().join("state"))
            .output()?;
        let document: serde_json::Value = serde_json::from_slice(&out.stdout).context("no JSON document")?;
        let rows = document["readings"].as_array().context("no readings")?.iter();
        let took: Vec<f64> = rows
            .filter(|r| r["probe"] == "http health" && r["outcome"] == "seen")
            .filter_map(|r| r["elapsed_ms"].as_f64())
            .collect();
        ensure!(took.len() == seen, "{} health answers came, not {seen}", took.len());
        Ok(took.into_iter().fold(0.0, f64::max))
    }
}

fn subject(i: usize) -> String {
    format!("svc-{i:04}")
}

fn unit(i: usize) -> String {
    format!("lab-many-{i:03}.service")
}

pub fn wait_for(port: u16) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    let url = format!("http://127.0.0.1:{port}/well/0/health");
    while http::get(&url, Duration::from_secs(1)).is_err() {
        ensure!(Instant::now() < end, "the many do not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn find<'a>(all: &'a [Series], name: &str) -> Option<&'a Series> {
    all.iter().find(|s| s.name == name)
}

fn times(all: &[Series]) -> String {
    let base = find(all, MONIT);
    let of = |value: f64, base: Option<f64>| base.map_or("".to_owned(), |b| format!("{:.2}", value / b));
    let lines = all.iter().map(|s| {
        [
            s.name.clone(),
            format!("{:.1}", s.median()),
            of(s.median(), base.map(Series::median)),
            format!("{:.1}", s.peak_mb()),
            of(s.peak_mb(), base.map(Series::peak_mb)),
        ]
    });
    table(["program", "median ms", "× monit", "peak MB", "× monit"], lines.collect(), &[1, 2, 3, 4], 0)
}

/// The limits of the issue: (figure, measured, limit, unit).
fn figures(all: &[Series], delayed: f64) -> (String, bool) {
    let median = |name| find(all, name).map_or(f64::NAN, Series::median);
    let peak = |name| find(all, name).map_or(f64::NAN, Series::peak_mb);
    let worst = |name| find(all, name).map_or(f64::NAN, |s| s.extremes().1);
    let mut figures = vec![
        ("four times as many", median(FOUR) / median(TOOL), 4.5, "×"),
        ("100 hanging, worst", worst(HANGS), ms(TIMEOUT + GRACE), "ms"),
        ("the slowest other, one hung", delayed, 3.0, "×"),
    ];
    if find(all, MONIT).is_some() {
        figures.push(("time, all healthy", median(TOOL) / median(MONIT), 1.0, "× monit"));
        figures.push(("memory, all healthy", peak(TOOL) / peak(MONIT), 1.0, "× monit"));
        figures.push(("time, all refused", median(REFUSED) / median(MONIT), 1.0, "× monit, healthy"));
        figures.push(("memory, all refused", peak(REFUSED) / peak(MONIT), 1.0, "× monit, healthy"));
    }
    super::judged(&figures)
}
