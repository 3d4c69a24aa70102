//! Facts that several scenarios derive from the same readings. Pure; one place for each.
//! Nothing here is a finding: it only says what stands in the snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::login::{Meaning, meaning};
use crate::config::{Config, Service};
use crate::snapshot::postgres::{PostgresLook, Server, Session};
use crate::snapshot::service::{Health, PoolReport};
use crate::snapshot::slots::SlotHolder;
use crate::snapshot::units::{Journal, LogLine, Unit, UnitDetail};
use crate::snapshot::{Reading, Snapshot};

/// The services that need a server, near or far.
pub fn dependents<'a>(server: &'a str, config: &'a Config) -> impl Iterator<Item = &'a Service> + use<'a> {
    config.service.iter().filter(move |s| crate::diagnosis::needs(&s.name, config).contains(server))
}

/// The services that use a server themselves, or through a pooler: only these can say how it treats them.
pub fn clients<'a>(server: &'a str, config: &'a Config) -> impl Iterator<Item = &'a Service> + use<'a> {
    let leads = move |n: &String| {
        n == server || config.pooler(n).is_some_and(|p| p.needs.iter().any(|n| n == server))
    };
    config.service.iter().filter(move |s| s.needs.iter().any(leads))
}

pub fn health<'a>(now: &'a Snapshot, service: &str) -> Option<&'a Health> {
    now.services.get(service).and_then(|s| s.health.seen())
}

/// A service that uses this server and says that its database answers.
pub fn says_connected<'a>(server: &'a str, now: &'a Snapshot, config: &'a Config) -> Option<&'a str> {
    clients(server, config)
        .filter(|s| !super::targets::elsewhere(s, now, config).is_some_and(|e| e.how.sure()))
        .find(|s| health(now, &s.name).is_some_and(|h| h.says_connected()))
        .map(|s| s.name.as_str())
}

/// What the login of a server came to; `None` where it worked or was not asked.
pub fn login_meaning(look: &PostgresLook) -> Option<Meaning> {
    look.login.failure().map(meaning)
}

/// No ordinary slot is left on it: it let us not in, and nobody else.
pub fn is_closed(look: &PostgresLook) -> bool {
    login_meaning(look) == Some(Meaning::SlotsFull)
}

/// It answers, and takes nobody any more: its clients are waited for, or its last checkpoint.
pub fn is_shutting_down(look: &PostgresLook) -> bool {
    login_meaning(look) == Some(Meaning::ShuttingDown)
}

/// `mcp_user on codebase_mcp from 127.0.0.1, process 4711 (python3)`
pub fn holder(h: &SlotHolder) -> String {
    let who = format!("{} on {} from {}", h.user, h.database, h.client);
    h.owner.as_ref().map_or_else(|| who.clone(), |o| format!("{who}, process {} ({})", o.pid, o.name))
}

pub fn held(h: &SlotHolder) -> String {
    let since = match (h.newest_s.map(age), h.oldest_s.map(age)) {
        (Some(newest), Some(oldest)) if newest != oldest => format!(" for {newest} to {oldest}"),
        (Some(newest), _) => format!(" for {newest}"),
        (None, _) => String::new(),
    };
    format!("{} {}{since}", h.count, h.state)
}

/// The server itself answered as one that looks at logins, whether or not it let us in: 57P03 comes
/// before any password.
pub fn takes_logins(look: &PostgresLook) -> bool {
    match &look.login.reading {
        Reading::Seen { .. } => true,
        Reading::Failed(f) => match &f.postgres {
            Some(refusal) => refusal.sqlstate != "57P03",
            None => meaning(f) == Meaning::OurLogin,
        },
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

/// A look that had no time to wait for its answer: that is neither one nor silence.
pub fn is_unheard(now: &Snapshot, s: &Service) -> bool {
    let asks = s.url.is_some() && s.health.is_some();
    let health = now.services.get(&s.name).map(|look| &look.health.reading);
    asks && matches!(health, Some(Reading::NotAsked { .. }))
}

/// What a size is known by, where the service itself says it.
pub const PAYLOAD: &str = "payload";

/// The largest size of a service's pool, where it is known, and by what.
pub fn pool_max<'a>(now: &'a Snapshot, service: &str) -> Option<(u64, &'a str)> {
    if let Some(max) = pool(now, service)?.max {
        return Some((max, PAYLOAD));
    }
    let named = now.services.get(service)?.pool_max.seen().filter(|m| m.value > 0)?;
    Some((named.value, &named.source))
}

pub fn fill(now: &Snapshot, service: &str) -> Option<Fill> {
    let in_use = pool(now, service)?.in_use?;
    let (max, source) = pool_max(now, service)?;
    Some(Fill { in_use, max, max_source: source.into() })
}

/// The pool of a service is used up: over the threshold of its maximum, or callers wait and
/// nothing is idle. Far below a known maximum they wait for a connection that is being made.
pub fn saturated(now: &Snapshot, service: &str, config: &Config) -> bool {
    let waits = pool(now, service).is_some_and(|p| {
        p.waiting.is_some_and(|w| w > 0) && p.idle == Some(0) && p.in_use.is_some_and(|u| u > 0)
    });
    match fill(now, service) {
        Some(f) if waits => f.in_use as f64 >= config.thresholds.pool_recovered * f.max as f64,
        Some(f) => f.over(config.thresholds.pool),
        None => waits,
    }
}

/// A session at the head of a chain of waits, and the pids that wait for it.
pub struct Blocker<'a> {
    pub session: &'a Session,
    pub victims: Vec<i32>,
}

/// Sessions that others have waited for, for more than a second: the heads of the chains, not their
/// victims. Those who wait in a circle have none; a prepared transaction (pid 0) has no session.
pub fn root_blockers(server: &Server) -> Vec<Blocker<'_>> {
    let by_pid = by_pid(server);
    let mut roots: Vec<Blocker<'_>> = Vec::new();
    for victim in server.sessions.iter().filter(|s| waited(s, &by_pid) > 1.0) {
        for pid in waits_for(victim, &by_pid) {
            let Some(session) = by_pid.get(&pid).copied().filter(|s| s.blocked_by.is_empty()) else {
                continue;
            };
            // It holds its locks for the standby's sake: ending it is no cure.
            if session.waits_for_standby() {
                continue;
            }
            if let Some(root) = roots.iter_mut().find(|r| r.session.pid == pid) {
                root.victims.push(victim.pid);
            } else {
                roots.push(Blocker { session, victims: vec![victim.pid] });
            }
        }
    }
    roots
}

pub fn by_pid(server: &Server) -> BTreeMap<i32, &Session> {
    server.sessions.iter().map(|s| (s.pid, s)).collect()
}

/// All that a session waits for, near and far; 0 is a prepared transaction (wire.md 9).
pub fn waits_for(s: &Session, by_pid: &BTreeMap<i32, &Session>) -> BTreeSet<i32> {
    let mut seen = BTreeSet::new();
    let mut todo = s.blocked_by.clone();
    while let Some(pid) = todo.pop() {
        // What was seen is not walked again.
        if seen.insert(pid) {
            todo.extend(by_pid.get(&pid).map(|b| b.blocked_by.as_slice()).unwrap_or_default());
        }
    }
    seen
}

/// The longest that a session can have waited, in seconds: its statement may be older than its wait,
/// but nobody waits for a lock longer than the transaction that holds it is old.
fn waited(s: &Session, by_pid: &BTreeMap<i32, &Session>) -> f64 {
    let held = |pid: &i32| by_pid.get(pid).and_then(|b| b.transaction_s).unwrap_or(f64::INFINITY);
    s.blocked_by.iter().map(held).fold(0.0, f64::max).min(s.state_s)
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

/// Of a level of a log: `DEBUG` or `TRACE`.
pub fn is_chatty(level: &str) -> bool {
    ["debug", "trace", "all"].iter().any(|l| level.trim().eq_ignore_ascii_case(l))
}
