//! `diagnose --evidence`: what an engineer wants afterwards, in a folder or in one archive.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;

use super::place::Place;
use super::tree::{Global, Output};
use super::who::{self, WhoArgs};
use crate::config::Loaded;
use crate::diagnosis::Diagnosis;
use crate::engine::evidence::{self, Evidence, Keep, Piece, fit};
use crate::engine::{self, Awaited};
use crate::error::Result;
use crate::probe::evidence::Excerpt;
use crate::render::{self, Out, Progress, text};
use crate::snapshot::Looks;

#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// Keep what an engineer wants afterwards, in a new folder, or in one archive where the name ends
    /// in .tar.zst: looks, logs, sessions, processes, sockets. Takes at most --timeout once more; the
    /// exit code stays that of the diagnosis
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    pub evidence: Option<PathBuf>,
    /// The most that it may take, such as 5M; what was cut is said in its INDEX.md
    #[arg(long, value_name = "SIZE", default_value = "20M", requires = "evidence")]
    pub evidence_limit: Size,
}

/// Kept of the limit for the two indexes: of some 250 files at most.
const INDEX: usize = 192 << 10;
/// With less there is room for nothing.
const LEAST: usize = 1 << 20;

/// Bytes, as people write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let bad = || format!("`{s}` is not a size (examples: 5M, 512K, 1G)");
        let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let shift = match s[digits..].to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            _ => return Err(bad()),
        };
        let bytes =
            s[..digits].parse::<usize>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(bad)?;
        if bytes < LEAST { Err(format!("{s} is too little: 1M at least")) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Gathers and writes; says where it is, for people.
pub fn keep(
    place: Place,
    args: &EvidenceArgs,
    loaded: &Loaded,
    looks: &Looks,
    d: &Diagnosis,
    global: &Global,
    out: &Out,
) -> Result<()> {
    let people = global.output == Output::Human && !global.quiet;
    let seen = gather(loaded, looks, d, people)?;
    let pieces = documents(looks, d, &seen)?.into_iter().chain(seen.pieces.iter().cloned()).map(printable);
    let pieces = fit(pieces.collect(), args.evidence_limit.0 - INDEX);
    let about = render::evidence::About {
        d,
        taken_at: seen.taken_at,
        limit: args.evidence_limit.0,
        left_out: &seen.left_out,
    };
    let mut files = vec![
        ("INDEX.md".to_owned(), seen.scrub.text(render::evidence::index(&about, &pieces))),
        ("index.json".to_owned(), seen.scrub.json(render::evidence::document(&about, &pieces)?)),
    ];
    let missing = pieces.iter().filter(|p| p.text.is_err()).count();
    files.extend(pieces.into_iter().filter_map(|p| Some((p.path, p.text.ok()?.text))));
    let bytes: usize = files.iter().map(|(_, t)| t.len()).sum();
    let said = format!(
        "evidence: {}, {} KiB, in {}; INDEX.md says what each is{}\n",
        text::count(files.len(), "file"),
        bytes.div_ceil(1 << 10),
        place.path().display(),
        if missing == 0 { String::new() } else { format!(", and what could not be had ({missing})") },
    );
    place.fill(files, seen.taken_at)?;
    if people {
        out.note(&said);
    }
    Ok(())
}

/// Others' text is shown on terminals.
fn printable(mut piece: Piece) -> Piece {
    if let Ok(seen) = &mut piece.text {
        seen.text = match piece.keep {
            Keep::Whole => text::json(&seen.text),
            _ => text::block(&seen.text).into_owned(),
        };
    }
    piece
}

fn gather(loaded: &Loaded, looks: &Looks, d: &Diagnosis, people: bool) -> Result<Evidence> {
    let (runtime, awaited, start) = (engine::runtime()?, Awaited::default(), Instant::now());
    let progress = Progress::new(!people);
    let seen = runtime.block_on(async {
        tokio::select! {
            seen = evidence::gather(loaded, looks, d, &awaited, start + loaded.config.timeout.0) => seen,
            never = progress.run(start, || awaited.names()) => match never {},
        }
    });
    runtime.shutdown_background();
    Ok(seen)
}

/// What this program makes itself: the looks and what was said of them, the sessions.
fn documents(looks: &Looks, d: &Diagnosis, seen: &Evidence) -> Result<Vec<Piece>> {
    let plain = Out { colors: false, width: 100, quiet: false, all: true };
    let one = |path: &str, what: &str, source: &str, keep, text: String| {
        let text = if keep == Keep::Whole { seen.scrub.json(text) } else { seen.scrub.text(text) };
        Piece {
            path: path.into(),
            what: what.into(),
            source: source.into(),
            at: seen.taken_at,
            keep,
            text: Ok(Excerpt::of(text)),
        }
    };
    let report = render::human_diagnosis(d, &plain) + &render::human_readings(d, &plain);
    let all = WhoArgs::default();
    let of_sessions = "the databases' sessions, and who waits for whom";
    let mut out = vec![
        one("diagnosis.txt", "what is broken and why, for people", "this look", Keep::Begin, report),
        one("diagnosis.json", "the same as a document", "this look", Keep::Whole, render::document(d)?),
        one(
            "snapshot.json",
            "all readings: mcp-ir diagnose --from snapshot.json judges them again, on any machine",
            "this look",
            Keep::Whole,
            looks.now.to_json()?,
        ),
    ];
    if let Some(before) = &looks.before {
        let what = "the earlier readings that it was compared with: a second --from";
        out.push(one("earlier.json", what, "an earlier look", Keep::Whole, before.to_json()?));
    }
    if !seen.sessions.is_empty() {
        let document = who::document(seen.taken_at, &seen.sessions, &all)?;
        let page = who::text(&seen.sessions, &all, &plain);
        out.push(one("sessions.txt", of_sessions, "pg_stat_activity", Keep::Begin, page));
        out.push(one("sessions.json", "the same as a document", "pg_stat_activity", Keep::Whole, document));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("20M", 20 << 20), ("5MiB", 5 << 20), ("2mb", 2 << 20), ("1G", 1 << 30), ("1048576", 1 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "M", "5X", "-5M", "1K", "5 M", "99999999999999999999G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
