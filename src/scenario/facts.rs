//! Facts that several scenarios derive from the same readings. Pure; one place for each.
//! Nothing here is a finding: it only says what stands in the snapshot.

use jiff::Timestamp;

use super::login::{Meaning, meaning};
use crate::config::{Config, Postgres, Service};
use crate::snapshot::postgres::{PostgresLook, Server, Session};
use crate::snapshot::service::{Health, PoolReport};
use crate::snapshot::units::{Event, Journal, LogLine, Unit, UnitDetail};
use crate::snapshot::{Reading, Snapshot};

/// Debian's umbrella unit: "active (exited)" whatever its clusters do (errata 14).
const UMBRELLA: &str = "postgresql.service";

/// The services that need a server, near or far.
pub fn dependents<'a>(server: &'a str, config: &'a Config) -> impl Iterator<Item = &'a Service> + use<'a> {
    config.service.iter().filter(move |s| crate::diagnosis::needs(&s.name, config).contains(server))
}

pub fn health<'a>(now: &'a Snapshot, service: &str) -> Option<&'a Health> {
    now.services.get(service).and_then(|s| s.health.seen())
}

/// A service that needs this server and says that its database answers.
pub fn says_connected<'a>(server: &'a str, now: &'a Snapshot, config: &'a Config) -> Option<&'a str> {
    dependents(server, config)
        .find(|s| health(now, &s.name).is_some_and(|h| !h.is_bad() && h.says_connected()))
        .map(|s| s.name.as_str())
}

/// What the login of a server came to; `None` where it worked or was not asked.
pub fn login_meaning(look: &PostgresLook) -> Option<Meaning> {
    look.login.failure().map(meaning)
}

/// The server itself answered, whether or not it let us in.
pub fn answers(look: &PostgresLook) -> bool {
    match &look.login.reading {
        Reading::Seen { .. } => true,
        Reading::Failed(f) => f.postgres.is_some() || meaning(f) == Meaning::OurLogin,
        Reading::NotAsked { .. } => false,
    }
}

pub fn server<'a>(now: &'a Snapshot, name: &str) -> Option<&'a Server> {
    now.postgres.get(name).and_then(|p| p.server.seen())
}

/// Whether so many used slots count as exhausted.
pub fn slots_full(used: u32, server: &Server, config: &Config) -> bool {
    f64::from(used) >= config.thresholds.pool * f64::from(server.slots())
}

/// The unit of a server: the configured one, else the clusters that systemd lists. Debian's
/// umbrella unit says nothing and is left out, unless it is the configured one and really runs.
pub fn postgres_units<'a>(p: &'a Postgres, now: &'a Snapshot) -> Vec<(&'a str, &'a Unit)> {
    let Some(listed) = now.units.listed.seen() else { return Vec::new() };
    let there = |name: &str| listed.get_key_value(name).filter(|(_, u)| u.load != "not-found");
    if let Some(name) = p.unit.as_deref().filter(|n| *n != UMBRELLA) {
        return there(name).map(|(n, u)| (n.as_str(), u)).into_iter().collect();
    }
    listed
        .iter()
        .filter(|(n, u)| n.starts_with("postgresql") && u.load == "loaded")
        .filter(|(n, u)| *n != UMBRELLA || u.sub == "running")
        .map(|(n, u)| (n.as_str(), u))
        .collect()
}

pub fn detail<'a>(now: &'a Snapshot, unit: &str) -> Option<&'a UnitDetail> {
    now.units.details.get(unit).and_then(|d| d.seen())
}

pub fn journal<'a>(now: &'a Snapshot, unit: &str) -> Option<&'a Journal> {
    now.units.journal.get(unit).and_then(|j| j.seen())
}

/// `stopped (T)` or `in disk sleep (D)`: a process that can't answer, by the kernel's word.
pub fn stuck_process(now: &Snapshot, unit: &str) -> Option<(u32, &'static str)> {
    now.units.process.get(unit)?.seen().and_then(|p| Some((p.pid, stuck(&p.state)?)))
}

pub fn stuck(state: &str) -> Option<&'static str> {
    match state {
        "T" => Some("T (stopped by a signal)"),
        "t" => Some("t (stopped by a debugger)"),
        "D" => Some("D (waits for a device)"),
        _ => None,
    }
}

/// A unit's state in one phrase: `inactive (dead)`.
pub fn state(u: &Unit) -> String {
    format!("{} ({})", u.active, u.sub)
}

/// The last failure in the journal that is young enough to explain what is seen now, and how many
/// there were.
pub fn recent_failures(journal: &Journal, now: &Snapshot) -> Option<(Timestamp, String, usize)> {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    let age = |at: Timestamp| now.taken_at.duration_since(at).as_secs_f64();
    let failures: Vec<_> = journal
        .events
        .iter()
        .filter(|e| age(e.at) <= window)
        .filter_map(|e| match &e.what {
            Event::ProcessExited { code, status } if code != "exited" || status != "0" => {
                Some((e.at, format!("main process {code}, status {status}")))
            }
            Event::OomKilled => Some((e.at, "killed for memory".into())),
            _ => None,
        })
        .collect();
    let count = failures.len();
    failures.into_iter().next_back().map(|(at, how)| (at, how, count))
}

/// The newest line of the service itself that is a warning or worse, else its newest line.
pub fn last_words(journal: &Journal) -> Option<&str> {
    last_line(journal).map(|l| l.text.as_str())
}

pub fn last_line(journal: &Journal) -> Option<&LogLine> {
    let worst = journal.lines.iter().rev().find(|l| l.priority <= 4);
    worst.or_else(|| journal.lines.last())
}

/// In use of maximum, where both are known. `in use / open` is another number (errata 9).
pub struct Fill {
    pub in_use: u64,
    pub max: u64,
    pub max_source: String,
}

impl Fill {
    pub fn over(&self, threshold: f64) -> bool {
        self.max > 0 && self.in_use as f64 > threshold * self.max as f64
    }
}

pub fn pool<'a>(now: &'a Snapshot, service: &str) -> Option<&'a PoolReport> {
    health(now, service).and_then(|h| h.pool.as_ref())
}

pub fn fill(now: &Snapshot, service: &str) -> Option<Fill> {
    let report = pool(now, service)?;
    let in_use = report.in_use?;
    if let Some(max) = report.max {
        return Some(Fill { in_use, max, max_source: "payload".into() });
    }
    let named = now.services.get(service)?.pool_max.seen()?;
    Some(Fill { in_use, max: named.value, max_source: named.source.clone() })
}

/// The pool of a service is used up: over the threshold of its maximum, or callers wait and
/// nothing is idle.
pub fn saturated(now: &Snapshot, service: &str, config: &Config) -> bool {
    let waits = pool(now, service).is_some_and(|p| {
        p.waiting.is_some_and(|w| w > 0) && p.idle == Some(0) && p.in_use.is_some_and(|u| u > 0)
    });
    waits || fill(now, service).is_some_and(|f| f.over(config.thresholds.pool))
}

/// Sessions that others have waited for, for more than a second, with how many wait in all:
/// the roots of the chains, not their victims.
pub fn root_blockers(server: &Server) -> Vec<(&Session, usize)> {
    let blocked = |pid: i32| server.sessions.iter().find(|s| s.pid == pid && !s.blocked_by.is_empty());
    let mut roots: Vec<(&Session, usize)> = Vec::new();
    for victim in server.sessions.iter().filter(|s| !s.blocked_by.is_empty() && s.state_s > 1.0) {
        // Walk up to those that wait for nobody; a set of seen pids ends cycles.
        let mut seen = vec![victim.pid];
        let mut todo = victim.blocked_by.clone();
        while let Some(pid) = todo.pop() {
            if seen.contains(&pid) {
                continue;
            }
            seen.push(pid);
            if let Some(middle) = blocked(pid) {
                todo.extend(&middle.blocked_by);
            } else if let Some(root) = server.sessions.iter().find(|s| s.pid == pid) {
                match roots.iter_mut().find(|(r, _)| r.pid == pid) {
                    Some((_, n)) => *n += 1,
                    None => roots.push((root, 1)),
                }
            }
        }
    }
    roots
}

/// An age in whole words: `4 min`, `12 s`, `3 h`.
pub fn age(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}

/// `1 session`, `3 sessions`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
