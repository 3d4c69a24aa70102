//! `mcp-ir diagnose`: look, or read looks from files; then say what is broken and why.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::before::{self, Since};
use super::evidence::{self, EvidenceArgs};
use super::exit::Exit;
use super::load::load;
use super::look::look;
use super::place::Place;
use super::ring::Ring;
use super::run::say;
use super::save::Saved;
use super::tree::{Global, Output};
use super::why_not;
use crate::config::{Config, Env, Loaded};
use crate::diagnosis::{Diagnosis, Verdict};
use crate::engine::{self, Depth, Filter, Looked, Plan};
use crate::error::{Error, Result, nearest};
use crate::render::{self, Out};
use crate::scenario;
use crate::snapshot::Snapshot;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir diagnose                          everything
  mcp-ir diagnose pool --service api       what exhausts the pool of one service
  mcp-ir diagnose --save now.json          keep the look, to be read again anywhere:
  mcp-ir diagnose --from now.json -o json
  mcp-ir diagnose --since 10m              compared with the look of ten minutes ago
  mcp-ir diagnose --evidence /root/inc-7   and keep what is wanted afterwards
  mcp-ir diagnose -o nagios                a line and exit code for a monitor
  mcp-ir diagnose --why-not hung           what speaks against a cause
  mcp-ir diagnose -o prometheus --write /var/lib/node_exporter/mcp_ir.prom

Detection always covers all scenarios; naming some filters the report, but a
root elsewhere that explains them is shown.

Exit codes: 0 healthy, 1 problem of P1 to P3, 2 usage or configuration,
3 unknown: a symptom could not be seen, or no cause fits it.")]
pub struct DiagnoseArgs {
    /// db-down, pool-exhausted, server-crash, latency, memory (or db, pool, server, slow)
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Only what concerns this service or server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Judge a saved snapshot instead of looking; of two, the later one, compared with the earlier
    #[arg(long, value_name = "SNAPSHOT")]
    pub from: Vec<PathBuf>,
    /// Compare with an earlier look: a file of --save, or 10m for the one that was kept ten minutes ago
    #[arg(long, value_name = "FILE|TIME", value_parser = before::parse)]
    pub since: Option<Since>,
    /// Wait for no second reading, where one alone can't tell
    #[arg(long)]
    pub quick: bool,
    /// Keep the snapshot (mode 0600, without secrets)
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// Write the report there and print nothing: aside, then renamed, as node_exporter's textfile
    /// collector wants it (mode 0644). Kept as it was where the program can't do its work
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Say which fact rules this cause out, or which reading it lacks; the exit code is still that
    /// of the diagnosis; may be repeated
    #[arg(long, value_name = "CAUSE")]
    pub why_not: Vec<String>,
}

pub fn run(args: &DiagnoseArgs, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let scenarios = args.scenarios.iter().map(|s| known_scenario(s)).collect::<Result<Vec<_>>>()?;
    let causes = why_not::known_causes(&args.why_not)?;
    if !causes.is_empty() {
        why_not::for_people_or_as_json(global)?;
    }
    let mut saving = None;
    let mut unconfigured = false;
    let report = args.write.as_deref().map(|f| Saved::begin(f, 0o644)).transpose()?;
    let mut ring = None;
    let mut kept = None;
    let Looked { looks, found } = if args.from.is_empty() {
        let loaded = load(global)?;
        known_names(&args.service, &loaded.config)?;
        unconfigured = loaded.file.is_none() && global.output == Output::Human && !global.quiet;
        for warning in loaded.warnings.iter().filter(|_| !global.quiet) {
            out.note(&format!("warning: {}\n", render::text::line(warning)));
        }
        // Before the look: who can't save shall not wait for it.
        saving = args.save.as_deref().map(|f| Saved::begin(f, 0o600)).transpose()?;
        let place = args.evidence.evidence.as_deref().map(Place::begin).transpose()?;
        ring = Ring::of(&loaded.config, &Env::process());
        let looked = live(&loaded, args, &scenarios, ring.as_ref(), global, out, start)?;
        kept = place.map(|place| (place, loaded));
        looked
    } else {
        Looked { looks: before::from_files(&args.from, args.since.as_ref())?, found: None }
    };
    known_names(&args.service, &looks.now.config)?;
    let found = found.unwrap_or_else(|| engine::detect(&looks));
    let mut d = engine::judge(&looks, found, &Filter { scenarios, subjects: args.service.clone() });
    if let Some(file) = &global.config {
        same_stack(&mut d, file);
    }
    let text = if causes.is_empty() {
        text(&d, &looks.now, global, out)?
    } else {
        why_not::text(&looks, &causes, &args.service, global, out)?
    };
    match report {
        Some(file) => file.end(&text)?,
        None => drop(say(&text, out)?),
    }
    if unconfigured && d.verdict != Verdict::Healthy {
        out.note("note: there is no configuration file: only what the defaults name was looked at; `mcp-ir config init` writes one\n");
    }
    let exit = match global.output {
        Output::Nagios => Exit::from(render::nagios_state(&d)),
        Output::Human | Output::Json | Output::Prometheus => Exit::from(d.verdict),
    };
    // After the report, too: it costs the answer nothing.
    if let Some(Err(e)) = ring.map(|r| r.keep(&looks.now))
        && out.all
    {
        out.note(&format!("note: this look is not kept: {}\n", render::text::line(&e.message)));
    }
    // After the report: a full disk must not cost the diagnosis of a full disk.
    let saved = saving.map_or(Ok(()), |s| s.end(&render::text::json(&looks.now.to_json()?)));
    let kept = kept.map_or(Ok(()), |(place, loaded)| {
        evidence::keep(place, &args.evidence, &loaded, &looks, &d, global, out)
    });
    let mut failed = [saved, kept].into_iter().filter_map(Result::err);
    match failed.next() {
        Some(e) if exit == Exit::Fine => return Err(e),
        first => {
            first.into_iter().chain(failed).for_each(|e| out.note(&render::error(&e, false, out.colors)))
        }
    }
    Ok(exit)
}

/// Looks, with the earlier look to compare with where there is to be one.
fn live(
    loaded: &Loaded,
    args: &DiagnoseArgs,
    scenarios: &[String],
    ring: Option<&Ring>,
    global: &Global,
    out: &Out,
    start: Instant,
) -> Result<Looked> {
    #[expect(clippy::disallowed_methods, reason = "how long ago a kept look was taken")]
    let now = jiff::Timestamp::now();
    let before = match &args.since {
        Some(since) => before::before(since, ring, now, out)?,
        None => None,
    };
    let plan = Plan { quick: args.quick, asked: scenarios.to_vec(), before, ..Plan::of(Depth::Wrong) };
    let looked = look(loaded, global, start, &plan)?;
    if args.since.is_some()
        && let Some(before) = &looked.looks.before
    {
        before::comparable(before, &looked.looks.now)?;
    }
    Ok(looked)
}

/// What is offered to type looks at the stack that this run looked at.
fn same_stack(d: &mut Diagnosis, config: &Path) {
    let file = crate::diagnosis::shell_word(&config.display().to_string());
    for f in &mut d.findings {
        for verb in ["diagnose", "who"] {
            let bare = format!("mcp-ir {verb}");
            if let Some(rest) = f.remedy.command.strip_prefix(&bare) {
                f.remedy.command = format!("mcp-ir --config {file} {verb}{rest}");
            }
        }
    }
}

fn text(d: &Diagnosis, now: &Snapshot, global: &Global, out: &Out) -> Result<String> {
    match global.output {
        Output::Human => {}
        Output::Json => return render::document(d),
        Output::Nagios => return Ok(render::nagios_line(d, now)),
        Output::Prometheus => return Ok(render::prometheus_page(d, now)),
    }
    let mut text = render::human_diagnosis(d, out);
    if global.verbose > 0 {
        text.push_str(&render::human_readings(d, out));
    }
    Ok(text)
}

pub fn known_scenario(name: &str) -> Result<String> {
    if let Some(s) = scenario::by_name(name) {
        return Ok(s.name.to_owned());
    }
    let names = scenario::ALL.iter().flat_map(|s| [s.name, s.alias]);
    let e = Error::usage(format!("no scenario is called `{name}`"));
    let e = match nearest(name, names) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e,
    };
    Err(e.hint("`mcp-ir runbook` lists the scenarios"))
}

pub fn known_names(names: &[String], config: &Config) -> Result<()> {
    for name in names {
        let known: Vec<&str> = config.names().into_iter().map(|(_, n)| n).collect();
        if !known.contains(&name.as_str()) {
            let e = Error::usage(format!("nothing under care is called `{name}`"));
            let e = match nearest(name, known.iter().copied()) {
                Some(near) => e.hint(format!("did you mean `{near}`?")),
                None => e,
            };
            return Err(e.hint(format!("known names: {}", known.join(", "))));
        }
    }
    Ok(())
}
