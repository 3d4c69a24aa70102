//! The last entries of a unit's journal, by `journalctl -o json`: there is no other reader of the
//! format. Absolute path, no shell, a deadline, a size limit; where it is absent, a failed reading.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::probe::postgres::{entry as entry_of_log, is_entry};
use crate::probe::program::run;
use crate::probe::said;
use crate::snapshot::units::{Event, Journal, LogLine, UnitEvent};
use crate::snapshot::{FailKind, Failure};

const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];
/// The newest entries that are read of one unit, and how many bytes of them. journalctl itself
/// leaves out what is longer than 4 KiB; a byte takes up to five where it is no UTF-8.
const ENTRIES: &str = "100";
const MAX_BYTES: u64 = 4 << 20;
/// How many of the unit's own lines a snapshot keeps, and how long each may be.
const LINES: usize = 40;
const LINE_CHARS: usize = 300;
const FIELDS: &str = "MESSAGE,MESSAGE_ID,PRIORITY,EXIT_CODE,EXIT_STATUS,UNIT_RESULT,N_RESTARTS,_PID,\
                      _SOURCE_REALTIME_TIMESTAMP";

/// Reads the journal of this boot, or the whole of a configured folder. Two questions at once, so
/// that a talkative service can't push systemd's messages about it out of the last entries.
pub async fn read(unit: &str, folder: Option<&str>, deadline: Instant) -> Result<Journal, Failure> {
    let (about, own) = (format!("UNIT={unit}"), format!("_SYSTEMD_UNIT={unit}"));
    let (about, own) = ([about.as_str(), "_PID=1"], [own.as_str()]);
    let (about, own) = tokio::try_join!(entries(&about, folder, deadline), entries(&own, folder, deadline))?;
    let journal = Journal { events: parse(&about).events, lines: parse(&own).lines };
    // An empty answer may be a journal that is not ours to read: that is no evidence of silence.
    if journal.events.is_empty() && journal.lines.is_empty() {
        readable(folder)?;
    }
    Ok(journal)
}

pub(super) async fn entries(
    matches: &[&str],
    folder: Option<&str>,
    deadline: Instant,
) -> Result<String, Failure> {
    newest(ENTRIES, matches, folder, deadline).await
}

/// The last lines that match, oldest first, as they are: each behind its time and priority. What they
/// tell of what people stored is the caller's to take out.
pub async fn lines(
    matches: &[&str],
    folder: Option<&str>,
    count: usize,
    deadline: Instant,
) -> Result<Vec<(String, String)>, Failure> {
    let text = newest(&count.to_string(), matches, folder, deadline).await?;
    if text.is_empty() {
        readable(folder)?;
    }
    let line = |line: &str| {
        let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(line) else { return None };
        let priority = field(&entry, "PRIORITY").filter(|p| p.len() == 1).unwrap_or_else(|| "-".into());
        let by = if field(&entry, "_PID").as_deref() == Some("1") { " systemd:" } else { "" };
        let before = format!("{:.3} {priority}{by} ", time(&entry)?);
        let text = field(&entry, "MESSAGE").unwrap_or_else(|| "(a message of more than 4 KiB)".into());
        Some(text.lines().map(|l| (before.clone(), l.to_owned())).collect::<Vec<_>>())
    };
    Ok(text.lines().filter_map(line).flatten().collect())
}

async fn newest(
    count: &str,
    matches: &[&str],
    folder: Option<&str>,
    deadline: Instant,
) -> Result<String, Failure> {
    let place = match folder {
        Some(folder) => vec!["-D", folder],
        None => vec!["-b"],
    };
    let arguments = ["-o", "json", "--no-pager", "-q", "-n", count, "--output-fields", FIELDS];
    let arguments: Vec<&str> = arguments.into_iter().chain(place).chain(matches.iter().copied()).collect();
    let done = run(&PROGRAMS, &arguments, MAX_BYTES, deadline).await?;
    let why = done.why;
    if !done.ok {
        let kind = match () {
            () if why.contains("ermission") => FailKind::Denied,
            () if why.contains("No such file") => FailKind::Missing,
            () => FailKind::Unsupported,
        };
        let why = if why.is_empty() { "it failed" } else { &why };
        return Err(Failure::new(kind, format!("journalctl: {}", said(why, 200))));
    }
    // It passes over a file that it can't read, with a word on it: that is no silence.
    if done.out.is_empty() && !why.is_empty() {
        return Err(Failure::new(FailKind::Malformed, format!("journalctl: {}", said(&why, 200))));
    }
    Ok(String::from_utf8_lossy(&done.out).into_owned())
}

/// Whether there is a journal, and this user can open its files.
fn readable(folder: Option<&str>) -> Result<(), Failure> {
    let folders: Vec<&str> = folder.map_or_else(|| vec!["/var/log/journal", "/run/log/journal"], |f| vec![f]);
    let mut hidden = false;
    for folder in &folders {
        let machines = match std::fs::read_dir(folder) {
            Ok(machines) => machines,
            Err(e) => {
                hidden |= e.kind() == std::io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        for machine in machines.flatten() {
            match std::fs::File::open(machine.path().join("system.journal")) {
                Ok(_) => return Ok(()),
                Err(e) => hidden |= e.kind() == std::io::ErrorKind::PermissionDenied,
            }
        }
    }
    if hidden {
        return Err(Failure::new(FailKind::Denied, "this user may not read the journal"));
    }
    Err(Failure::new(FailKind::Missing, format!("no journal in {}", folders.join(" or "))))
}

/// One JSON object a line; a line that can't be read is left out.
pub fn parse(text: &str) -> Journal {
    let mut journal = Journal::default();
    // What goes on from an entry of PostgreSQL's is the rest of a statement, or of a value.
    let mut goes_on = false;
    for line in text.lines() {
        let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(line) else { continue };
        let Some(at) = time(&entry) else { continue };
        match event(&entry) {
            Some(what) => journal.events.push(UnitEvent { at, what }),
            // systemd's own prose about the unit is not what the unit said.
            None if field(&entry, "_PID").as_deref() == Some("1") => {}
            None => {
                let priority = field(&entry, "PRIORITY").and_then(|p| p.parse().ok()).filter(|p| *p <= 7);
                let text = match entry.get("MESSAGE") {
                    // So journalctl writes what is longer than 4 KiB.
                    Some(Value::Null) => Some("(a message of more than 4 KiB)".to_owned()),
                    _ => field(&entry, "MESSAGE").filter(|t| !t.trim().is_empty()),
                };
                let Some(text) = text else { continue };
                goes_on = is_entry(&text) || (goes_on && text.starts_with('\t'));
                if goes_on && text.starts_with('\t') {
                    continue;
                }
                let text = said(&entry_of_log(&text), LINE_CHARS);
                journal.lines.push(LogLine { at, priority: priority.unwrap_or(6), text });
            }
        }
    }
    let surplus = journal.lines.len().saturating_sub(LINES);
    journal.lines.drain(..surplus);
    journal
}

/// When it was sent, where that is known, else when it was noted: journald reads its sockets in no
/// order, and what a quick process says may be noted before that it was started.
pub(super) fn time(entry: &Map<String, Value>) -> Option<Timestamp> {
    let at = |name| Timestamp::from_microsecond(field(entry, name)?.parse().ok()?).ok();
    at("_SOURCE_REALTIME_TIMESTAMP").or_else(|| at("__REALTIME_TIMESTAMP"))
}

/// systemd's message ids (`systemd/sd-messages.h`); the texts may change, these don't.
fn event(entry: &Map<String, Value>) -> Option<Event> {
    let result = || field(entry, "UNIT_RESULT").unwrap_or_else(|| "unknown".into());
    Some(match field(entry, "MESSAGE_ID")?.as_str() {
        "7d4958e842da4a758f6c1cdc7b36dcc5" => Event::Starting,
        "39f53479d3a045ac8e11786248231fbf" => Event::Started,
        "be02cf6855d2428ba40df7e9d022f03d" => Event::StartFailed { result: result() },
        "de5b426a63be47a7b6ac3eaac82e2f6f" => Event::Stopping,
        "9d1aaa27d60140bd96365438aad20286" => Event::Stopped,
        "98e322203f7a4ed290d09fe03c09fe15" => Event::ProcessExited {
            code: field(entry, "EXIT_CODE").unwrap_or_default(),
            status: field(entry, "EXIT_STATUS").unwrap_or_default(),
        },
        "7ad2d189f7e94e70a38c781354912448" => Event::Succeeded,
        "d9b373ed55a64feb8242e02dbe79a49c" => Event::Failed { result: result() },
        "5eb03494b6584870a536b337290809b3" => Event::RestartScheduled {
            restarts: field(entry, "N_RESTARTS").and_then(|n| n.parse().ok()).unwrap_or(0),
        },
        "fe6faa94e7774663a0da52717891d8ef" => Event::OomKilled,
        _ => return None,
    })
}

/// A field as text. journald gives bytes that are no UTF-8 as an array of numbers, and a field that
/// stands there several times as an array of these: then the first counts.
pub(super) fn field(entry: &Map<String, Value>, key: &str) -> Option<String> {
    text(entry.get(key)?)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Array(all) if all.iter().all(Value::is_number) => {
            let bytes: Option<Vec<u8>> = all.iter().map(|b| u8::try_from(b.as_u64()?).ok()).collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        Value::Array(all) => all.first().filter(|v| !v.is_number()).and_then(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
