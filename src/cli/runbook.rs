//! `mcp-ir runbook`: the table of scenarios, a scenario's runbook, or one cause of it.

use clap::Args;

use super::tree::Global;
use crate::error::{Error, Result, nearest};
use crate::render::{self, Out};
use crate::scenario::{ALL, Scenario};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir runbook                                  the table of scenarios
  mcp-ir runbook db-down                          the whole runbook
  mcp-ir runbook db-down#postgres-stopped         one cause of it
  mcp-ir runbook pool-exhausted/idle-in-transaction")]
pub struct RunbookArgs {
    /// A scenario, or a cause as reports name it
    #[arg(value_name = "SCENARIO[#CAUSE]")]
    pub what: Option<String>,
}

/// Built in: on the worst night there is no other place to read them.
static TEXTS: &[(&str, &str)] = &[
    ("db-down", include_str!("../../runbooks/db-down.md")),
    ("pool-exhausted", include_str!("../../runbooks/pool-exhausted.md")),
    ("server-crash", include_str!("../../runbooks/server-crash.md")),
    ("latency", include_str!("../../runbooks/latency.md")),
    ("memory", include_str!("../../runbooks/memory.md")),
];

pub fn run(args: &RunbookArgs, global: &Global, out: &Out) -> Result<String> {
    let Some(what) = args.what.as_deref() else { return overview(global, out) };
    let (name, cause) = match what.split_once(['#', '/']) {
        Some((s, c)) => (s, Some(c)),
        None => (what, None),
    };
    let scenario = ALL.iter().find(|s| s.name == name || s.alias == name);
    let Some(scenario) = scenario else {
        let names = ALL.iter().map(|s| s.name);
        let e = Error::usage(format!("there is no runbook `{name}`"));
        let e = match nearest(name, names) {
            Some(near) => e.hint(format!("did you mean `{near}`?")),
            None => e,
        };
        return Err(e.hint("`mcp-ir runbook` lists them"));
    };
    let text = TEXTS.iter().find(|(n, _)| *n == scenario.name).map_or("", |(_, t)| t);
    let text = match cause {
        None => text.to_owned(),
        Some(cause) => section(text, cause).ok_or_else(|| unknown_cause(scenario, cause))?,
    };
    if global.json() {
        return render::document(&serde_json::json!({
            "schema": "mcp-ir/runbook/1", "scenario": scenario.name, "cause": cause, "markdown": text,
        }));
    }
    Ok(render::markdown(&text, out.colors))
}

fn unknown_cause(scenario: &Scenario, cause: &str) -> Error {
    let short: Vec<&str> =
        scenario.causes.iter().filter_map(|c| c.name.split_once('/')).map(|(_, c)| c).collect();
    let e = Error::usage(format!("the runbook {} has no cause `{cause}`", scenario.name));
    let e = match nearest(cause, short.iter().copied()) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e,
    };
    e.hint(format!("its causes: {}", short.join(", ")))
}

/// The part of a runbook under the heading `## cause`.
fn section(text: &str, cause: &str) -> Option<String> {
    let heading = format!("## {cause}");
    let mut lines = text.lines().skip_while(|l| *l != heading).peekable();
    lines.peek()?;
    let first = lines.next()?;
    let body = lines.take_while(|l| !l.starts_with("## "));
    let out: Vec<&str> = std::iter::once(first).chain(body).collect();
    Some(out.join("\n").trim_end().to_owned() + "\n")
}

fn overview(global: &Global, out: &Out) -> Result<String> {
    if global.json() {
        let rows: Vec<_> = ALL
            .iter()
            .map(|s| {
                serde_json::json!({
                    "scenario": s.name, "severity": s.severity, "title": s.title,
                    "first_action": s.first_action,
                    "causes": s.causes.iter().map(|c| c.name).collect::<Vec<_>>(),
                })
            })
            .collect();
        return render::document(&serde_json::json!({ "schema": "mcp-ir/runbooks/1", "runbooks": rows }));
    }
    let mut rows = vec![vec!["scenario".into(), "sev.".into(), "what".into(), "first action".into()]];
    rows.extend(
        ALL.iter().map(|s| {
            vec![s.name.into(), s.severity.word().into(), s.title.into(), s.first_action.to_owned()]
        }),
    );
    let mut text = render::plain_table(&rows, 0, out.width, 28);
    text.push_str("\nRead one: mcp-ir runbook db-down\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_runbook_with_a_heading_per_cause_and_no_other() {
        for s in ALL {
            let text = TEXTS.iter().find(|(n, _)| *n == s.name).map(|(_, t)| *t);
            let text = text.unwrap_or_else(|| panic!("no runbook for {}", s.name));
            let headings: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("## ")).collect();
            for c in s.causes {
                let short = c.name.split_once('/').unwrap().1;
                assert!(headings.contains(&short), "{} has no heading `## {short}`", s.name);
                assert!(section(text, short).unwrap().lines().count() > 4, "{short} says nothing");
            }
            for h in headings {
                assert!(
                    s.causes.iter().any(|c| c.name == format!("{}/{h}", s.name)),
                    "{}: heading `{h}` is no cause",
                    s.name
                );
            }
        }
        assert_eq!(TEXTS.len(), ALL.len());
    }
}
