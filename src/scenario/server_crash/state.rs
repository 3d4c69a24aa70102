//! It can't start from what it kept itself: a cache or a temporary file that can't be read any more.
//! A file that may not be read, or is not there, is another matter.

use super::died::{End, START_S};
use super::shortage::path;
use super::{cause, runbook};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::place::Place;
use crate::snapshot::units::LogLine;

pub static CORRUPTED_STATE: Cause =
    cause("server-crash/corrupted-state", Severity::P1, "the service can't read files of its own");

/// How far from its end the reason stands: it is told from the outside in.
const LAST: usize = 8;

pub fn detect(end: &End) -> Option<Finding> {
    end.last.as_ref()?.ran_s().filter(|ran| *ran <= START_S)?;
    let lines = end.lines();
    let lines = &lines[lines.len().saturating_sub(LAST)..];
    if lines.iter().any(|l| another_reason(&l.text)) || !lines.iter().any(|l| broken(&l.text)) {
        return None;
    }
    let (line, file) = lines.iter().find_map(|l| Some((l, in_cache(end, l)?))).unzip();
    // Of a folder that nobody named as a cache only its own word tells that it is one.
    let line = line.or_else(|| lines.iter().find(|l| broken(&l.text) && of_a_cache(&l.text)))?;
    // A broken file elsewhere, such as its settings, is the reason, whatever else it speaks of.
    let elsewhere = |l: &&LogLine| broken(&l.text) && path(&l.text).is_some() && in_cache(end, l).is_none();
    if file.is_some() && lines.iter().any(elsewhere) {
        return None;
    }
    // Of two lines it is likely that they speak of one thing; nothing is moved for that.
    let file = file.filter(|_| broken(&line.text));
    let certainty = if file.is_some() { Certainty::Proven } else { Certainty::Likely };
    let what = file.unwrap_or("its cache");
    let summary = format!("{} can't start: it can't read {what}{}", end.s.name, end.again());
    let mut f = end.finding(&CORRUPTED_STATE, certainty, summary).saw(end.place.log(), "says", &line.text);
    if let Some(reason) = lines.iter().rev().find(|l| broken(&l.text) && l.text != line.text) {
        f = f.saw(end.place.log(), "says", &reason.text);
    }
    let words = "Stop it, move that aside (it is kept), and start it: it makes it anew";
    Some(match file {
        Some(file) => {
            let (from, to) = (shell_word(file), shell_word(&format!("{file}.aside")));
            // What was moved aside before is kept as well.
            let mv = format!("mv -T --backup=numbered {from} {to}");
            let command = format!("{} && {mv} && {}", end.place.stop(), end.place.start());
            let f = f.saw("configuration", "caches", end.s.caches.join(", "));
            let f = f.remedy(command, words, Risk::Disruptive);
            match folder_of(end, file) {
                Some(folder) => f.sets_aside(folder),
                None => f,
            }
        }
        None => f.remedy(runbook(&CORRUPTED_STATE), words, Risk::Disruptive),
    })
}

/// The file that a line names, where it is inside a folder that is configured as a cache.
fn in_cache<'a>(end: &End, line: &'a LogLine) -> Option<&'a str> {
    // A path in a container is another on this host.
    let Place::Unit(_) = end.place else { return None };
    let file = path(&line.text).filter(|p| !p.split('/').any(|part| part == ".." || part == "."))?;
    folder_of(end, file).map(|_| file)
}

/// The configured folder that it is in.
fn folder_of<'a>(end: &'a End, file: &str) -> Option<&'a str> {
    let inside = |folder: &&String| {
        let rest = file.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|r| r.len() > 1 && r.starts_with('/'))
    };
    end.s.caches.iter().find(inside).map(String::as_str)
}

/// What readers of files say of one that is not what it was. A line that goes on is a warning.
fn broken(text: &str) -> bool {
    const WORDS: [&str; 14] = [
        "corrupt",
        "truncated",
        "checksum mismatch",
        "bad magic",
        "unexpected end of",
        "unexpected eof",
        "eof while parsing",
        "expected value at line",
        "jsondecodeerror",
        "unpicklingerror",
        "ran out of input",
        "disk image is malformed",
        "file is not a database",
        "invalid header",
    ];
    const GOES_ON: [&str; 7] = ["warn", "rebuild", "recreat", "ignor", "discard", "info:", "skipp"];
    let lower = text.to_lowercase();
    WORDS.iter().any(|w| lower.contains(w)) && !GOES_ON.iter().any(|w| lower.contains(w))
}

fn of_a_cache(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["cache", "temp file", "temporary file", "/tmp/", "/var/tmp/"].iter().any(|w| lower.contains(w))
}

/// It could not get at the file, or it is not a file of its own that is broken.
fn another_reason(text: &str) -> bool {
    const WORDS: [&str; 6] = [
        "permission denied",
        "no space left",
        "read-only file system",
        "connection",
        "postgres",
        "database error",
    ];
    let lower = text.to_lowercase();
    WORDS.iter().any(|w| lower.contains(w))
}
