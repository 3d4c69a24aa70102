//! The index of what was kept as evidence: what each file is, whence and when, what was cut, and what could
//! not be had and why.

use jiff::Timestamp;
use serde::Serialize;

use super::json;
use super::text;
use crate::diagnosis::{Diagnosis, Severity, Verdict};
use crate::engine::evidence::Piece;
use crate::error::Result;

pub const SCHEMA: &str = "mcp-ir/evidence/1";

/// Of causes, and of those that were left out, so many are named: an index is to be read, and has a limit.
const NAMED: usize = 50;
/// How long a reason may be.
const WHY_CHARS: usize = 300;

/// What all of it is about.
pub struct About<'a> {
    pub d: &'a Diagnosis,
    pub taken_at: Timestamp,
    pub limit: usize,
    /// Names of those that were not looked at.
    pub left_out: &'a [String],
}

pub fn index(about: &About<'_>, pieces: &[Piece]) -> String {
    let d = about.d;
    let severity = d.severity.map(|s| format!(", {}", Severity::word(s))).unwrap_or_default();
    let mut page = format!(
        "# Evidence from {}\n\nGathered {} by mcp-ir {} as {}, right after a look that came to: **{}**{severity}.\n\
         Passwords and what people stored are masked. At most {} KiB in all.\n",
        cell(&d.vantage.host),
        about.taken_at,
        env!("CARGO_PKG_VERSION"),
        cell(&d.vantage.user),
        d.verdict.word(),
        about.limit >> 10,
    );
    let roots: Vec<_> = d.findings.iter().filter(|f| f.explained_by.is_empty()).collect();
    for f in roots.iter().take(NAMED) {
        page.push_str(&format!("\n- {} `{}`: {}", f.severity.word(), cell(&f.id), cell(&f.summary)));
    }
    if roots.len() > NAMED {
        page.push_str(&format!("\n- and {} more", roots.len() - NAMED));
    }
    page.push_str("\n\n| file | what | whence | bytes |\n|---|---|---|---|\n");
    for p in pieces {
        let Ok(seen) = &p.text else { continue };
        let cut = if seen.cut { ", cut" } else { "" };
        let row = [&p.path, &p.what, &p.source].map(|t| cell(t));
        page.push_str(&format!("| {} | {} | {} | {}{cut} |\n", row[0], row[1], row[2], seen.text.len()));
    }
    let missed = missed(pieces);
    if !missed.is_empty() || !about.left_out.is_empty() {
        page.push_str("\n## What could not be had\n\n");
    }
    for m in &missed {
        page.push_str(&format!("- {} ({}): {}\n", cell(m.what), cell(m.path), cell(&m.why)));
    }
    if let [_, ..] = about.left_out {
        let names: Vec<String> = about.left_out.iter().take(NAMED).map(|n| cell(n)).collect();
        let more = about.left_out.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        page.push_str(&format!("- beyond the number that is looked at: {}{more}\n", names.join(", ")));
    }
    page
}

/// Within a row of a table.
fn cell(t: &str) -> String {
    text::line(t).replace('|', "\\|")
}

#[derive(Serialize)]
struct Index<'a> {
    schema: &'static str,
    version: &'static str,
    taken_at: Timestamp,
    vantage: &'a crate::snapshot::Vantage,
    verdict: Verdict,
    severity: Option<Severity>,
    limit_bytes: usize,
    files: Vec<Kept<'a>>,
    missed: Vec<Missed<'a>>,
    /// The first of them.
    left_out: &'a [String],
    left_out_count: usize,
}

#[derive(Serialize)]
struct Kept<'a> {
    path: &'a str,
    what: &'a str,
    source: &'a str,
    at: Timestamp,
    bytes: usize,
    /// Its source holds more than this.
    cut: bool,
}

#[derive(Serialize)]
struct Missed<'a> {
    /// The file in which it would stand.
    path: &'a str,
    what: &'a str,
    source: &'a str,
    why: String,
}

fn missed(pieces: &[Piece]) -> Vec<Missed<'_>> {
    let mut out = Vec::new();
    for p in pieces {
        let missed = |why: &str| {
            let why = why.chars().take(WHY_CHARS).collect();
            Missed { path: &p.path, what: &p.what, source: &p.source, why }
        };
        match &p.text {
            Ok(seen) => out.extend(seen.missed.iter().map(|why| missed(why))),
            Err(why) => out.push(missed(why)),
        }
    }
    out
}

pub fn document(about: &About<'_>, pieces: &[Piece]) -> Result<String> {
    let kept = |p: &'_ Piece| -> Option<(usize, bool)> {
        let seen = p.text.as_ref().ok()?;
        Some((seen.text.len(), seen.cut))
    };
    let files = pieces.iter().filter_map(|p| {
        let (bytes, cut) = kept(p)?;
        Some(Kept { path: &p.path, what: &p.what, source: &p.source, at: p.at, bytes, cut })
    });
    json::document(&Index {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        taken_at: about.taken_at,
        vantage: &about.d.vantage,
        verdict: about.d.verdict,
        severity: about.d.severity,
        limit_bytes: about.limit,
        files: files.collect(),
        missed: missed(pieces),
        left_out: &about.left_out[..about.left_out.len().min(NAMED)],
        left_out_count: about.left_out.len(),
    })
}
