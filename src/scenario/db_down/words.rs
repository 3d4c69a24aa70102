//! What the server's log says of its own end: a start that failed, processes that crash again and again,
//! an index that is damaged.

use jiff::Timestamp;

use super::super::log::{self, Said};
use super::super::place::Place;
use super::super::{clusters, facts, witness};
use super::{DIES_OF_IT, cause};
use crate::config::{Config, Postgres};
use crate::diagnosis::Relation::{self, NeededBy, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::snapshot::units::{Event, UnitEvent};
use crate::snapshot::{Snapshot, postgres::PostgresLook};

pub static START_FAILED: Cause = cause("db-down/start-failed", "PostgreSQL does not start, and says why");

pub static BACKEND_CRASH: Cause = Cause {
    name: "db-down/backend-crash",
    severity: Severity::P2,
    title: "its processes crash again and again",
    explains: CRASHES,
};

const CRASHES: &[(&str, Relation)] = &[
    ("db-down/starting-up", Same),
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
];

pub static INDEX_CORRUPT: Cause = Cause {
    name: "db-down/index-corrupt",
    severity: Severity::P2,
    title: "an index is damaged: its table is not",
    explains: DIES_OF_IT,
};

/// So soon after its start, in seconds, ends what can't start.
const AT_ONCE_S: f64 = 10.0;

/// A start that failed, by this server's own unit.
pub struct FailedStart<'a> {
    pub unit: &'a str,
    since: Timestamp,
    why: Vec<Said<'a>>,
}

/// The unit's last start never became ready: systemd says so, or the log since then has a FATAL of the
/// server's own and never a "ready". A cluster that ran and died is another matter, and so is a start
/// that somebody stopped.
pub fn failed<'a>(p: &'a Postgres, now: &'a Snapshot) -> Option<FailedStart<'a>> {
    let unit = clusters::own_unit(p, now)?;
    let events = facts::journal(now, unit).map_or(&[][..], |j| &j.events);
    let began = events.iter().rposition(|e| e.what == Event::Starting)?;
    let after = &events[began..];
    let failed = after.iter().any(|e| matches!(e.what, Event::StartFailed { .. }));
    if after.iter().any(|e| e.what == Event::Stopping) {
        return None;
    }
    let started = after.iter().find(|e| e.what == Event::Started).filter(|_| !failed);
    if started.is_some_and(|s| !ended_at_once(s.at, after)) {
        return None;
    }
    let since = events[began].at;
    let lines: Vec<Said> = log::lines(p, now).into_iter().filter(|l| l.at >= since).collect();
    if became_ready(&lines) {
        return None;
    }
    let why = reason(&lines);
    (failed || !why.is_empty()).then_some(FailedStart { unit, since, why })
}

/// A unit of `Type=exec` counts as started whatever comes of it. What ran for longer did start, though
/// its "ready" may be long gone from its log, or stand there in another language.
fn ended_at_once(started: Timestamp, after: &[UnitEvent]) -> bool {
    let end = after.iter().find(|e| matches!(e.what, Event::ProcessExited { .. } | Event::Failed { .. }));
    end.is_some_and(|e| e.at.duration_since(started).as_secs_f64() <= AT_ONCE_S)
}

/// The same of a container that ended as soon as its engine had started it: `None` where it became ready.
pub fn of_start<'a>(p: &'a Postgres, from: Option<Timestamp>, now: &'a Snapshot) -> Option<Vec<Said<'a>>> {
    let during = |l: &Said| from.is_some_and(|from| l.at >= from);
    let lines: Vec<Said> = log::lines(p, now).into_iter().filter(during).collect();
    (!became_ready(&lines)).then(|| reason(&lines))
}

/// By its own word or, where that is long gone from its log, by what it told a client: who starts turns all
/// away alike.
fn became_ready(lines: &[Said]) -> bool {
    lines.iter().any(|l| l.has("ready to accept") || l.is(&["FATAL"]) && is_a_clients(l))
}

/// What a server that takes connections says to those that it refuses or ends.
const TO_CLIENTS: [&str; 13] = [
    "authentication failed for user",
    "no pg_hba.conf entry for",
    "pg_hba.conf rejects",
    "is not permitted to log in",
    "permission denied for database",
    "too many clients already",
    "too many connections for",
    "connection slots are reserved",
    "terminating connection",
    "canceling authentication",
    "connection to client lost",
    "unsupported frontend protocol",
    "no PostgreSQL user name",
];

fn is_a_clients(l: &Said) -> bool {
    let unknown = ["FATAL:  role \"", "FATAL:  database \""].iter().any(|named| l.has(named));
    unknown && l.has("does not exist") || TO_CLIENTS.iter().any(|words| l.has(words))
}

/// The last FATAL of the server's own, with what belongs to it: the complaint before, the detail after.
fn reason<'a>(lines: &[Said<'a>]) -> Vec<Said<'a>> {
    // What a client is told is none: they are all turned away while it starts.
    let own = |l: &Said| l.is(&["FATAL", "PANIC"]) && !l.has("the database system is") && !is_a_clients(l);
    let Some(at) = lines.iter().rposition(own) else { return Vec::new() };
    let before = |l: &&Said| {
        l.is(&["LOG"])
            && (l.has("parameter \"")
                || l.has("could not bind")
                || l.has("invalid value")
                || l.has("syntax error"))
    };
    let after = lines[at + 1..].iter().take_while(|l| l.is(&["DETAIL", "HINT"]));
    let mut out: Vec<Said> = lines[..at].iter().rev().find(before).copied().into_iter().collect();
    out.push(lines[at]);
    out.extend(after.take(2).copied());
    out
}

impl FailedStart<'_> {
    /// The evidence, and the look that shows whether the reason is gone.
    pub fn finding(&self, p: &Postgres, look: &PostgresLook) -> Finding {
        let fatal = self.why.iter().find(|l| l.is(&["FATAL", "PANIC"]));
        let (certainty, summary) = match (self.why.first(), fatal) {
            (Some(l), Some(_)) => (
                Certainty::Proven,
                format!("{} failed to start: {}", self.unit, l.parts().map_or("", |(_, text)| text)),
            ),
            _ => (Certainty::Likely, format!("{} failed to start; its log does not say why", self.unit)),
        };
        let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
        let mut f = Finding::new(&START_FAILED, &p.name, certainty, summary)
            .since(Some(self.since))
            .saw("postgres login", &look.endpoint, said)
            .saw("systemd", self.unit, "its last start failed");
        for l in &self.why {
            f = f.saw(l.probe, "PostgreSQL says", l.words());
        }
        let unit = shell_word(self.unit);
        let (command, what) = first(&self.why, p, Place::Unit(self.unit));
        let then = format!("{what}; then `systemctl reset-failed {unit}` and start it once");
        f.remedy(command, then, Risk::Safe)
    }
}

/// The look that shows whether the reason is gone, and what to do about it. A container's folders are its
/// own: only its log is at hand.
pub fn first(why: &[Said], p: &Postgres, place: Place) -> (String, &'static str) {
    let folder = p.data_directory.as_deref().map_or_else(|| "/var/lib/postgresql".into(), shell_word);
    let says = |word: &str| why.iter().any(|l| l.has(word));
    let on = |command: String| if let Place::Unit(_) = place { command } else { place.status() };
    if says("Address already in use") {
        (format!("ss -ltnp 'sport = :{}'", p.url.port), "See who holds its port")
    } else if says("permissions") || says("wrong ownership") {
        (on(format!("ls -ld {folder}")), "Give the folder back its owner and its mode 0700")
    } else if says("shared memory") {
        ("grep -i huge /proc/meminfo".to_owned(), "See what memory it may have: huge pages, shared_buffers")
    } else if says("configuration file") {
        (place.status(), "Correct the line that it names, in that file")
    } else if says("lock file") {
        let command = on(format!("head -n 1 {folder}/postmaster.pid"));
        (command, "See whether that process is a postmaster")
    } else {
        (place.status(), "Mend what its log names")
    }
}

/// Crash recovery over and over: twice within the window, by the server's own words. One is none, but
/// where its log can't be had, and a service is hit by it now, nothing else tells.
pub fn crashes(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    if look.here != Some(true) {
        return None;
    }
    let lines = log::recent(p, now);
    // The log of one that runs now: a start is another story.
    let crash = |l: &Said| l.is(&["LOG"]) && l.has("process (PID ") && l.has("was terminated by signal");
    let all: Vec<usize> = (0..lines.len()).filter(|i| crash(&lines[*i])).collect();
    if !log::is_seen(p, now) {
        return unlogged(p, look, now, config);
    }
    let (first, last) = (lines[*all.first()?], lines[*all.last()?]);
    if all.len() < 2 {
        return None;
    }
    let signal = last.words().split_once("terminated by ").map_or("a signal", |(_, s)| s);
    let summary = format!("its processes crashed {} times: the last by {signal}", all.len());
    let mut f = Finding::new(&BACKEND_CRASH, &p.name, Certainty::Proven, summary).since(Some(first.at));
    f = f.saw(last.probe, "PostgreSQL says", last.words());
    let query = lines[*all.last()?..].iter().find(|l| l.has("Failed process was running: "));
    f = f.saw_if(
        last.probe,
        "it was running",
        query.and_then(|l| l.words().split_once("was running: ")).map(|(_, sql)| sql),
    );
    f = f.saw_if("postgres sessions", "last recovery", recovered(look, now).map(since));
    Some(f.remedy(
        format!("mcp-ir runbook {}", BACKEND_CRASH.name.replace('/', "#")),
        "See what sends that query, or who sends that signal; the server recovers by itself",
        Risk::Safe,
    ))
}

/// Seconds since it recovered from a crash of one of its processes, where that was lately.
fn recovered(look: &PostgresLook, now: &Snapshot) -> Option<f64> {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    look.server.seen()?.crash_restart_s().filter(|s| *s <= window)
}

fn since(seconds: f64) -> String {
    format!("{seconds:.0} s ago")
}

/// SQL says that it recovered from a crash lately, and a service's words of now are of that.
fn unlogged(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let ago = recovered(look, now)?;
    let heard = witness::of(&p.name, now, config, witness::crashed);
    heard.first()?;
    let summary = format!("one of its processes crashed {}, and ended every session", since(ago));
    let f = Finding::new(&BACKEND_CRASH, &p.name, Certainty::Likely, summary);
    let f = f.saw("postgres sessions", "last recovery", since(ago));
    Some(witness::heard(f, &heard).remedy(
        format!("mcp-ir runbook {}", BACKEND_CRASH.name.replace('/', "#")),
        "Read its log: which process, which query, which signal, and how often; or set `log`",
        Risk::Safe,
    ))
}

/// What SQL says against a crash: it began with its server, or recovered too long ago.
pub fn no_recovery(look: &PostgresLook, now: &Snapshot) -> Option<String> {
    let server = look.server.seen()?;
    server.checkpointer_s?;
    match (recovered(look, now), server.crash_restart_s()) {
        (Some(_), _) => None,
        (None, Some(ago)) => Some(since(ago)),
        (None, None) => Some("none since its start".into()),
    }
}

/// `… index "chunks_pkey" …`
fn named(text: &str) -> Option<&str> {
    text.split_once("index \"").and_then(|(_, rest)| Some(rest.split_once('"')?.0))
}

/// The index that a finding is about, as the server names it: without its schema.
pub fn damaged_index(f: &Finding) -> Option<&str> {
    named(&f.summary).filter(|_| f.cause == INDEX_CORRUPT.name)
}

/// The server's own words on an index, or those of a service, or of our login (XX002). Corrupt data has
/// other words, and another cause.
pub fn index(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let refused = look.login.failure().filter(|f| witness::index(&f.detail));
    let lines = if look.here == Some(true) { log::recent(p, now) } else { Vec::new() };
    let line = lines.iter().rev().find(|l| l.is(&["ERROR", "FATAL", "PANIC"]) && witness::index(l.words()));
    let heard = witness::of(&p.name, now, config, witness::index);
    let text =
        refused.map(|f| f.detail.as_str()).or(line.map(Said::words)).or(heard.first().map(|w| w.text))?;
    let sure = refused.is_some() || line.is_some() || heard.iter().any(|w| w.sure);
    let name = named(text);
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let summary = format!("an index is damaged: {}", text.split_once(":  ").map_or(text, |(_, t)| t));
    let mut f = Finding::new(&INDEX_CORRUPT, &p.name, certainty, summary).saw_if(
        "postgres login",
        &look.endpoint,
        refused.map(|f| f.detail.clone()),
    );
    if let Some(l) = line {
        f = f.saw(l.probe, "PostgreSQL says", l.words()).since(Some(l.at));
    }
    // Who does not speak of it does not use that index, and works on.
    for (cause, _) in DIES_OF_IT {
        f = f.spares_if(cause, refused.is_none() && heard.is_empty());
    }
    let command = match name {
        Some(name) => {
            let sql = format!("REINDEX INDEX CONCURRENTLY \"{name}\"");
            format!("psql {} -c {}", shell_word(&p.place()), shell_word(&sql))
        }
        None => format!("mcp-ir runbook {}", INDEX_CORRUPT.name.replace('/', "#")),
    };
    Some(witness::heard(f, &heard).remedy(
        command,
        "Build it anew beside the damaged one, as its owner; then see why it broke: disk, memory, locale",
        Risk::Disruptive,
    ))
}
