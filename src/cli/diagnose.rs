//! `mcp-ir diagnose`: look, or read looks from files; then say what is broken and why.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::exit::Exit;
use super::look::look;
use super::run::say;
use super::save::Saved;
use super::tree::{Global, Output};
use crate::config::{Config, Env, load};
use crate::diagnosis::Diagnosis;
use crate::engine::{self, Depth, Filter};
use crate::error::{Error, Result, nearest};
use crate::render::{self, Out};
use crate::scenario;
use crate::snapshot::{Looks, Snapshot};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir diagnose                          everything
  mcp-ir diagnose pool --service api       what exhausts the pool of one service
  mcp-ir diagnose --save now.json          keep the look, to be read again anywhere:
  mcp-ir diagnose --from now.json -o json
  mcp-ir diagnose -o nagios                a line and exit code for a monitor

Detection always covers all scenarios; naming some filters the report, but a
root elsewhere that explains them is shown.

Exit codes: 0 healthy, 1 problem of P1 to P3, 2 usage or configuration,
3 unknown: a symptom could not be seen, or no cause fits it.")]
pub struct DiagnoseArgs {
    /// db-down, pool-exhausted, server-crash (or db, pool, server)
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Only what concerns this service or server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Judge a saved snapshot instead of looking; may be repeated
    #[arg(long, value_name = "SNAPSHOT")]
    pub from: Vec<PathBuf>,
    /// Keep the snapshot (mode 0600, without secrets)
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
}

pub fn run(args: &DiagnoseArgs, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let scenarios = args.scenarios.iter().map(|s| known_scenario(s)).collect::<Result<Vec<_>>>()?;
    let looks = if args.from.is_empty() {
        let loaded = load(&global.flags(), &Env::process())?;
        known_names(&args.service, &loaded.config)?;
        for warning in loaded.warnings.iter().filter(|_| !global.quiet) {
            out.note(&format!("warning: {}\n", render::text::line(warning)));
        }
        // Before the look: who can't save shall not wait for it.
        let saved = args.save.as_deref().map(Saved::begin).transpose()?;
        let snapshot = look(&loaded, global, start, Depth::Wrong)?;
        if let Some(saved) = saved {
            saved.end(&render::text::json(&snapshot.to_json()?))?;
        }
        Looks { now: snapshot, before: None }
    } else {
        let looks = recorded(&args.from)?;
        known_names(&args.service, &looks.now.config)?;
        looks
    };
    let d = engine::diagnose(&looks, &Filter { scenarios, subjects: args.service.clone() });
    say(&text(&d, &looks.now, global, out)?, out)?;
    Ok(match global.output {
        Output::Nagios => Exit::from(render::nagios_state(&d)),
        Output::Human | Output::Json | Output::Prometheus => Exit::from(d.verdict),
    })
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

/// The newest is now, the one before it is before.
fn recorded(files: &[PathBuf]) -> Result<Looks> {
    let mut all = files.iter().map(|f| read(f)).collect::<Result<Vec<_>>>()?;
    all.sort_by_key(|s| s.taken_at);
    let now = all.pop().ok_or_else(|| Error::usage("no snapshot was named"))?;
    Ok(Looks { now, before: all.pop() })
}

fn read(path: &Path) -> Result<Snapshot> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::file(format!("{} can't be read: {e}", path.display())))?;
    Snapshot::from_json(&text).map_err(|mut e| {
        e.message = format!("{}: {}", path.display(), e.message);
        e
    })
}

fn known_scenario(name: &str) -> Result<String> {
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
