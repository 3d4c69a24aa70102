//! `diagnose --why-not CAUSE`: which causes are meant, and the answer.

use super::tree::{Global, Output};
use crate::diagnosis::Cause;
use crate::engine;
use crate::error::{Error, Result, nearest};
use crate::render::{self, Out};
use crate::scenario;
use crate::snapshot::Looks;

/// `scenario/cause`, with the scenario's alias too, or the last part: then all that end so.
pub fn known_causes(names: &[String]) -> Result<Vec<&'static Cause>> {
    let mut out: Vec<&'static Cause> = Vec::new();
    for name in names {
        let (scenario, short) = match name.split_once(['/', '#']) {
            Some((s, c)) => (Some(scenario::by_name(s).map_or(s, |s| s.name)), c),
            None => (None, name.as_str()),
        };
        let all = scenario::causes();
        let meant = |c: &&'static Cause| {
            c.name.ends_with(&format!("/{short}")) && scenario.is_none_or(|s| s == c.scenario())
        };
        let before = out.len();
        out.extend(all.iter().copied().filter(meant));
        if out.len() == before {
            return Err(unknown(name, short, &all));
        }
    }
    out.dedup_by_key(|c| c.name);
    Ok(out)
}

fn unknown(name: &str, short: &str, all: &[&'static Cause]) -> Error {
    let names = all.iter().flat_map(|c| [Some(c.name), c.name.split_once('/').map(|(_, s)| s)]).flatten();
    let e = Error::usage(format!("no cause is called `{name}`"));
    let e = match nearest(name, names.clone()).or_else(|| nearest(short, names)) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e,
    };
    e.hint("`mcp-ir runbook SCENARIO` has all of them as its headings")
}

pub fn for_people_or_as_json(global: &Global) -> Result<()> {
    if matches!(global.output, Output::Nagios | Output::Prometheus) {
        return Err(Error::usage("--why-not prints for people, or as JSON").hint("-o human, or -o json"));
    }
    Ok(())
}

pub fn text(
    looks: &Looks,
    causes: &[&'static Cause],
    subjects: &[String],
    global: &Global,
    out: &Out,
) -> Result<String> {
    let answer = engine::why_not(looks, causes, subjects);
    if global.json() { render::document(&answer) } else { Ok(render::why_not(&answer, out)) }
}
