//! The end of PostgreSQL's own log file: so many bytes, and of them what tells a cause.
//! A journal is read by `systemd`; here stands what both make of a line.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::host::rooted;
use super::postgres::entry;
use super::{io_failure, said};
use crate::config::Postgres;
use crate::snapshot::host::Log;
use crate::snapshot::units::LogLine;
use crate::snapshot::{FailKind, Failure};

const BYTES: u64 = 64 << 10;
/// How many lines a snapshot keeps, and how long each may be.
const LINES: usize = 60;
const LINE_CHARS: usize = 300;
/// What is kept of a log: errors that end something, and the lines that belong to a cause.
const TELLING: [&str; 12] = [
    "PANIC:  ",
    "FATAL:  ",
    "terminated by signal",
    "Failed process was running",
    "reinitializing",
    "ready to accept",
    "shutdown request",
    "No space left on device",
    "Read-only file system",
    "index \"",
    "parameter \"",
    "could not bind",
];

/// The log of a server: where it is configured, where it says that it collects it, or where Debian puts
/// it. The last is a guess: a server that collects its own leaves an old file there.
pub fn read(proc: &str, p: &Postgres) -> Result<Log, Failure> {
    let (path, (text, _)) = first(proc, p)?;
    Ok(Log { path, lines: parse(&text) })
}

/// The end of the same file as it is, and whether that is all of it: what its lines tell of what people
/// stored is the caller's to take out. What goes on from a line that was cut off is left out.
pub fn end(proc: &str, p: &Postgres) -> Result<(String, Vec<String>, bool), Failure> {
    let (path, (text, cut)) = first(proc, p)?;
    let whole = text.lines().skip_while(|l| cut && l.starts_with('\t'));
    Ok((path, whole.map(ToOwned::to_owned).collect(), cut))
}

fn first(proc: &str, p: &Postgres) -> Result<(String, (String, bool)), Failure> {
    let nowhere = || Failure::new(FailKind::Missing, "no log file is known: set `log`");
    let collected = p.data_directory.as_deref().and_then(|data| collected(proc, data));
    let places = p.log.iter().cloned().chain(collected).chain(debian(p));
    let mut last = nowhere();
    for path in places {
        match tail(&rooted(proc, &path)) {
            Ok(end) => return Ok((path, end)),
            Err(f) => last = f,
        }
    }
    Err(last)
}

/// `postgresql@15-main.service`, or `/var/lib/postgresql/15/main`: `pg_ctlcluster`'s own place.
fn debian(p: &Postgres) -> Option<String> {
    let by_unit = p.unit.as_deref().and_then(|u| u.strip_prefix("postgresql@")?.strip_suffix(".service"));
    let by_folder = || {
        let rest = p.data_directory.as_deref()?.strip_prefix("/var/lib/postgresql/")?.trim_end_matches('/');
        Some(rest.replacen('/', "-", 1))
    };
    let cluster = by_unit.map(ToOwned::to_owned).or_else(by_folder)?;
    (!cluster.contains('/')).then(|| format!("/var/log/postgresql/postgresql-{cluster}.log"))
}

/// `logging_collector` writes down where it writes: `stderr log/postgresql-Tue.log`.
fn collected(proc: &str, data: &str) -> Option<String> {
    let mut text = String::new();
    let (file, _) = open(&rooted(proc, &format!("{data}/current_logfiles"))).ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    let file = text.lines().find_map(|l| l.strip_prefix("stderr "))?;
    Some(if file.starts_with('/') { file.to_owned() } else { format!("{data}/{file}") })
}

/// A file and its length; a pipe in its place is not waited for.
fn open(path: &Path) -> Result<(File, u64), Failure> {
    let named = path.display().to_string();
    let failed = |e: std::io::Error| io_failure(&e, &named);
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Failure::new(FailKind::Unsupported, format!("{named}: not a file")));
    }
    Ok((file, meta.len()))
}

/// So much of its end, and whether there is more.
fn tail(path: &Path) -> Result<(String, bool), Failure> {
    let failed = |e: std::io::Error| io_failure(&e, &path.display().to_string());
    let (mut file, length) = open(path)?;
    let from = length.saturating_sub(BYTES);
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line was cut.
    let whole = if from == 0 { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
    Ok((whole.to_owned(), from > 0))
}

/// The telling lines that say when they were written.
fn parse(text: &str) -> Vec<LogLine> {
    let mut lines = Vec::new();
    // A detail, and a hint, belong to the line before.
    let mut kept = false;
    for line in text.lines() {
        let follows = line.contains("DETAIL:  ") || line.contains("HINT:  ");
        kept = TELLING.iter().any(|w| line.contains(w)) || (kept && follows);
        let Some(at) = time(line).filter(|_| kept) else { continue };
        lines.push((at, line));
    }
    // Masking is the costly part: only what is kept.
    let surplus = lines.len().saturating_sub(LINES);
    let kept = lines.into_iter().skip(surplus);
    kept.map(|(at, line)| {
        let bad = line.contains("FATAL:  ") || line.contains("PANIC:  ") || line.contains("ERROR:  ");
        LogLine { at, priority: if bad { 3 } else { 6 }, text: said(&entry(line), LINE_CHARS) }
    })
    .collect()
}

/// `2026-11-24 18:19:49.368 UTC`, near the begin of a line. Of the zones that have only an abbreviation,
/// this machine's own is known, which `initdb` takes for the log's: in another, an hour is not known.
fn time(line: &str) -> Option<Timestamp> {
    let head: Vec<&str> = line.split([' ', '[', ']', '(']).filter(|w| !w.is_empty()).take(6).collect();
    head.windows(2).enumerate().find_map(|(i, two)| {
        let at: DateTime = format!("{}T{}", two[0], two[1].trim_end_matches(':')).parse().ok()?;
        let name = head.get(i + 2).map_or("", |z| z.trim_end_matches(':'));
        let hours = name.parse::<i8>().ok().filter(|_| name.starts_with(['+', '-']));
        match (name, hours) {
            ("UTC" | "GMT", _) => TimeZone::UTC.to_timestamp(at).ok(),
            (_, Some(hours)) => TimeZone::fixed(Offset::from_hours(hours).ok()?).to_timestamp(at).ok(),
            _ => {
                let own = TimeZone::system();
                let at = own.to_timestamp(at).ok()?;
                (own.to_offset_info(at).abbreviation() == name).then_some(at)
            }
        }
    })
}

#[cfg(test)]
mod tests;
