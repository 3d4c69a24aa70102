//! One line as monitoring plugins print it: `SERVICE STATUS: text | perfdata`.
//! Figures without a value are `U`, never left out: a graph with a hole is honest.

use super::figures::{Figure, figures};
use super::text;
use crate::diagnosis::{Diagnosis, Severity, Verdict};
use crate::snapshot::Snapshot;

/// A plugin's states, with their exit codes (Monitoring Plugins Development Guidelines).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

/// P1 and P2 are critical, P3 a warning; a problem outranks unknown.
pub fn state(d: &Diagnosis) -> State {
    match (d.verdict, d.severity) {
        (Verdict::Healthy, _) => State::Ok,
        (Verdict::Unknown, _) => State::Unknown,
        (Verdict::Problem, Some(Severity::P1 | Severity::P2)) => State::Critical,
        (Verdict::Problem, _) => State::Warning,
    }
}

/// How many services have figures of their own on the line, and how many unknown targets are named.
const SERVICES: usize = 30;
const UNKNOWN: usize = 5;

pub fn line(d: &Diagnosis, now: &Snapshot) -> String {
    let word = match state(d) {
        State::Ok => "OK",
        State::Warning => "WARNING",
        State::Critical => "CRITICAL",
        State::Unknown => "UNKNOWN",
    };
    // Of many services the line would be longer than a monitor takes: the configuration decides,
    // so that a graph keeps its labels.
    let named = now.config.service.len() <= SERVICES;
    let data = figures(d, now);
    let data = data.iter().filter(|f| named || !now.services.contains_key(&f.subject));
    let data: Vec<String> = data.map(perfdata).collect();
    format!("MCP-IR {word}: {} | {}\n", words(&about(d)), data.join(" "))
}

/// Where the program can't do its work.
pub fn error(e: &crate::error::Error) -> String {
    let hint = e.hints.first().map(|h| format!(" ({h})")).unwrap_or_default();
    format!("MCP-IR UNKNOWN: {}\n", words(&format!("{}{hint}", e.message)))
}

/// How long the text may be: classic NRPE cuts the whole line at 1,024 bytes, and so the figures.
const WORDS: usize = 400;

/// A bar begins the figures: none may stand in the text.
fn words(about: &str) -> String {
    let line = text::line(about).replace('|', "/");
    if line.chars().count() <= WORDS {
        return line;
    }
    line.chars().take(WORDS - 1).chain(['…']).collect()
}

fn about(d: &Diagnosis) -> String {
    let roots: Vec<_> = d.findings.iter().filter(|f| f.is_root() && f.severity < Severity::P4).collect();
    match (d.verdict, roots.first()) {
        (Verdict::Healthy, _) => format!("{} healthy", text::count(d.symptoms.len(), "target")),
        (_, Some(first)) => {
            let more = match roots.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            format!(
                "{} @ {}, {}: {}{more}",
                first.cause,
                first.subject,
                first.certainty.word(),
                first.summary
            )
        }
        (_, None) => {
            let shown = d.unknown.iter().take(UNKNOWN).map(|u| format!("{}: {}", u.subject, u.why));
            let more = d.unknown.len().saturating_sub(UNKNOWN);
            let more = (more > 0).then(|| format!("and {more} more"));
            shown.chain(more).collect::<Vec<_>>().join("; ")
        }
    }
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`; a quote in a label is doubled, `=` not allowed, and
/// a bar would begin more figures.
fn perfdata(f: &Figure) -> String {
    let label = text::line(&f.label).replace('\'', "''").replace('=', "-").replace('|', "/");
    let value = f.value.map_or_else(|| "U".to_owned(), |v| format!("{v}{}", f.unit));
    let bound = |b: Option<f64>| b.map(|b| b.to_string()).unwrap_or_default();
    format!("'{label}'={value};;{};0;{}", bound(f.critical), bound(f.max))
}
