//! From an engine's answers to readings. Pure: the same for a live and for a recorded answer.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::probe::postgres::{entry, is_entry};
use crate::probe::said;
use crate::snapshot::containers::{Check, Container};
use crate::snapshot::units::{Event, LogLine, UnitEvent};

/// How long each line may be.
const LINE_CHARS: usize = 300;

/// Without an id and a state it is no container.
pub fn container(v: &Value) -> Option<Container> {
    let state = v.get("State")?;
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |v: &Value, key: &str| v.get(key).and_then(Value::as_i64);
    let small = |v: &Value, key: &str| number(v, key).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let host = v.get("HostConfig").unwrap_or(&Value::Null);
    let policy = host.get("RestartPolicy").unwrap_or(&Value::Null);
    let id = text(v, "Id");
    let word = text(state, "Status");
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric()) || word.is_empty() {
        return None;
    }
    Some(Container {
        id,
        state: said(&word, 40),
        exit_code: number(state, "ExitCode").and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
        oom_killed: state.get("OOMKilled").and_then(Value::as_bool).unwrap_or(false),
        error: said(text(state, "Error").trim(), LINE_CHARS * 2),
        pid: small(state, "Pid"),
        started_at: time(state.get("StartedAt")),
        finished_at: time(state.get("FinishedAt")),
        restarts: small(v, "RestartCount"),
        // Of older engines an empty one is none.
        policy: Some(said(&text(policy, "Name"), 40))
            .filter(|p| !p.is_empty())
            .unwrap_or_else(|| "no".into()),
        policy_max: small(policy, "MaximumRetryCount"),
        health: state.get("Health").and_then(check),
        clock_ahead_s: None,
        memory_max: number(host, "Memory").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0),
        memory_swap: number(host, "MemorySwap").filter(|n| *n != 0),
    })
}

/// As getenv: the first counts.
pub fn variable(v: &Value, name: &str) -> Option<String> {
    let all = v.get("Config")?.get("Env")?.as_array()?;
    let all = all.iter().filter_map(|e| e.as_str()?.split_once('='));
    all.into_iter().find(|(n, _)| *n == name).map(|(_, text)| text.to_owned())
}

/// Whether this is what was asked for: by its name, or by its id in the length that `docker ps` shows.
pub fn is_named(v: &Value, id: &str, asked: &str) -> bool {
    let name = v.get("Name").and_then(Value::as_str).unwrap_or_default();
    name.trim_start_matches('/') == asked || is_shown(id, asked)
}

/// In the length that `docker ps` shows, or more of it.
fn is_shown(id: &str, asked: &str) -> bool {
    const SHOWN: usize = 12;
    asked.len() >= SHOWN && id.starts_with(asked)
}

fn check(v: &Value) -> Option<Check> {
    let status = v.get("Status")?.as_str()?;
    let log = v.get("Log").and_then(Value::as_array);
    let says = log.and_then(|l| l.last()?.get("Output")?.as_str()).map(str::trim).filter(|t| !t.is_empty());
    let failed = v.get("FailingStreak").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let known = !status.is_empty() && status != "none";
    known.then(|| Check {
        status: said(status, 40),
        failed: failed.unwrap_or(0),
        says: says.map(|t| said(&t.split_whitespace().collect::<Vec<_>>().join(" "), LINE_CHARS)),
    })
}

/// The year 1 is "never".
fn time(v: Option<&Value>) -> Option<Timestamp> {
    v?.as_str()?.parse().ok().filter(|t: &Timestamp| t.as_second() > 0)
}

/// What an engine says of a container, before it is known what it means.
pub(super) struct Raw {
    pub at: Timestamp,
    pub action: String,
    exit_code: Option<String>,
    /// Its number.
    pub signal: Option<String>,
    id: String,
    name: Option<String>,
    pub image: Option<String>,
}

impl Raw {
    pub fn seconds_after(&self, other: &Raw) -> f64 {
        self.at.duration_since(other.at).as_secs_f64()
    }

    /// The engine takes the beginning of a name for it as well.
    pub fn is_of(&self, asked: &str) -> bool {
        self.name.as_deref() == Some(asked) || is_shown(&self.id, asked)
    }
}

/// What is told to end has so long to do it, in seconds: more is another story, unless the engine says that
/// it was its stop that ended it.
pub(super) const ENDS_S: f64 = 60.0;
/// These are sent to end: SIGINT, SIGQUIT, SIGKILL, SIGTERM. Others make a program read its settings or
/// open its log anew; an image may have its own, and then its end is followed by a `stop`.
pub(super) const ENDING: [&str; 4] = ["2", "3", "9", "15"];
/// A process that was killed for memory was the main one, if that ended so soon.
const OOM_S: f64 = 2.0;
/// `stop` is said when the end of it is known.
const STOPPED_S: f64 = 5.0;

/// The events of one container, one JSON object a line, oldest first: told to stop, started, ended. A signal
/// that did not end it is left out, and so is what was killed in it beside its main process.
pub fn events(text: &str, now_s: f64) -> Vec<UnitEvent> {
    let raw: Vec<Raw> = text.lines().filter_map(|l| raw(&serde_json::from_str(l).ok()?)).collect();
    let mut out = Vec::new();
    for (i, e) in raw.iter().enumerate() {
        // Until it was started again.
        let rest = || raw[i + 1..].iter().take_while(|r| r.action != "start");
        let after = |r: &Raw| r.seconds_after(e);
        let end = || rest().find(|r| r.action == "die");
        let what = match e.action.as_str() {
            "start" => Some(Event::Started),
            "die" => Some(Event::ProcessExited {
                code: "exited".into(),
                status: e.exit_code.clone().unwrap_or_else(|| "0".into()),
            }),
            "stop" => Some(Event::Stopped),
            "kill" => {
                let ends = e.signal.as_deref().is_none_or(|s| ENDING.contains(&s));
                let ended_by_it = match end() {
                    Some(d) => {
                        let stop = |r: &Raw| r.action == "stop" && r.seconds_after(d) <= STOPPED_S;
                        ends && after(d) <= ENDS_S || rest().any(stop)
                    }
                    // It goes on.
                    None => ends && now_s - seconds(e.at) <= ENDS_S,
                };
                ended_by_it.then_some(Event::Stopping)
            }
            "oom" => end().filter(|d| after(d) <= OOM_S).map(|_| Event::OomKilled),
            _ => None,
        };
        out.extend(what.map(|what| UnitEvent { at: e.at, what }));
    }
    out
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

pub(super) fn raw(v: &Value) -> Option<Raw> {
    let nanos = v.get("timeNano").and_then(Value::as_i64)?;
    let attributes = v.get("Actor").and_then(|a| a.get("Attributes"));
    let text = |key: &str| attributes.and_then(|a| Some(a.get(key)?.as_str()?.to_owned()));
    let id = v.get("Actor").and_then(|a| a.get("ID")?.as_str()).unwrap_or_default();
    Some(Raw {
        id: id.to_owned(),
        name: text("name"),
        image: text("image"),
        at: Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_nanos(nanos)).ok()?,
        action: v.get("Action").and_then(Value::as_str)?.to_owned(),
        exit_code: text("exitCode").filter(|c| c.parse::<i32>().is_ok()),
        signal: text("signal"),
    })
}

/// The lines of a log, oldest first: each begins with its time. Of a container without a terminal they stand
/// in frames, eight bytes before each: the stream, three zeros, the length.
pub fn lines(body: &[u8]) -> Vec<LogLine> {
    let mut text = Vec::new();
    let mut rest = body;
    while let [0..=2, 0, 0, 0, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, next) = after.split_at(length.min(after.len()));
        text.extend_from_slice(frame);
        rest = next;
    }
    text.extend_from_slice(rest);
    let text = String::from_utf8_lossy(&text);
    // What goes on from an entry of PostgreSQL's is the rest of a statement, or of a value.
    let mut goes_on = false;
    let whole = text.lines().filter_map(|l| l.split_once(' ')).filter(|(_, words)| {
        goes_on = is_entry(words) || (goes_on && words.starts_with('\t'));
        !(goes_on && words.starts_with('\t'))
    });
    whole.filter_map(|(at, words)| line(at, words.trim())).collect()
}

fn line(at: &str, words: &str) -> Option<LogLine> {
    (!words.is_empty()).then_some(())?;
    Some(LogLine { at: at.parse().ok()?, priority: 6, text: said(&entry(words), LINE_CHARS) })
}
