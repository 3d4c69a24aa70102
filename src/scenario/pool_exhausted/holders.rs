//! Sessions that hold connections for long: idle in a transaction, or in a long query. A finding
//! where what they hold is what is missing; else a note.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::facts::{self, Fill};
use super::full::{CLIENT_POOL_SATURATED, SERVER_SLOTS_FULL};
use super::{HOLDS, useless};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::{Server, Session};

pub static IDLE_IN_TRANSACTION: Cause = Cause {
    name: "pool-exhausted/idle-in-transaction",
    severity: Severity::P2,
    title: "sessions sit idle in a transaction",
    explains: &HOLDS,
};
pub static LONG_QUERIES: Cause = Cause {
    name: "pool-exhausted/long-queries",
    severity: Severity::P2,
    title: "long queries hold the connections",
    explains: &HOLDS,
};

/// What a kind of holder is called, and what ends it.
pub(super) struct Kind {
    pub cause: &'static Cause,
    /// After "3 sessions of api ".
    pub does: &'static str,
    fact: &'static str,
    remedy: &'static str,
}

pub(super) const IDLE: Kind = Kind {
    cause: &IDLE_IN_TRANSACTION,
    does: "idle in a transaction for up to",
    fact: "idle in transaction",
    remedy: "End these sessions: cancelling does nothing to an idle one",
};
pub(super) const LONG: Kind = Kind {
    cause: &LONG_QUERIES,
    does: "in one statement for up to",
    fact: "long statements",
    remedy: "Cancel these statements; look again before ending a session",
};

pub fn detect(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Vec<Finding> {
    let found = |kind| held(kind, &of_kind(kind, server, config), p, server, now, config);
    [found(&IDLE), found(&LONG)].into_iter().flatten().collect()
}

/// All of a kind, without the heads of chains and what is meant to last.
fn of_kind<'a>(kind: &Kind, server: &'a Server, config: &Config) -> Vec<&'a Session> {
    let chain = facts::root_blockers(server);
    let is_root = |s: &Session| chain.iter().any(|root| root.session.pid == s.pid);
    let t = &config.thresholds;
    let idle = kind.cause.name == IDLE_IN_TRANSACTION.name;
    let limit = if idle { t.idle_in_transaction } else { t.long_query }.as_secs_f64();
    let is = if idle { is_idle } else { is_long_query };
    server.sessions.iter().filter(|s| is(s) && s.state_s > limit && !is_root(s)).collect()
}

/// Those whose end gives back what is missing: all of them where they hold the server's slots, else those
/// that fill the pool of their own service. Of nobody else's harm is anything ended.
///
/// `least` is how long it has to be so before it is ended.
pub fn harmful<'a>(
    kind: &Kind,
    least: f64,
    p: &Postgres,
    server: &'a Server,
    now: &Snapshot,
    config: &Config,
) -> Vec<&'a Session> {
    let held = of_kind(kind, server, config);
    let (mut own, others): (Vec<&Session>, Vec<&Session>) = held.iter().copied().partition(|s| may_end(s, p));
    own.retain(|s| s.state_s > least);
    let harm = Harm::of(&own, p, server, now, config);
    if harm.slots && harm.starved.is_empty() {
        // The oldest first, and no more than it takes.
        own.sort_by_key(|s| (Reverse((s.state_s * 1000.0) as u64), s.pid));
        own.truncate(useless::wanted(server, config));
    }
    // Whose end alone would give nothing back is left alone; all are shown.
    let ended = if harm.none() { Vec::new() } else { harm.by(&own) };
    let all = Harm::of(&held, p, server, now, config);
    ended.into_iter().chain(all.by(&others)).collect()
}

/// Of the configured databases, and no backup.
fn may_end(s: &Session, p: &Postgres) -> bool {
    p.databases.contains(&s.database) && !meant_to_last(&s.application)
}

/// Whether there are none of a kind.
pub fn none(kind: &Kind, server: &Server, config: &Config) -> bool {
    of_kind(kind, server, config).is_empty()
}

/// What they do to others.
struct Harm<'a> {
    slots: bool,
    /// Services whose pool they fill, and whether they are its by their name.
    starved: Vec<(&'a Service, bool)>,
}

impl<'a> Harm<'a> {
    fn of(held: &[&Session], p: &Postgres, server: &Server, now: &Snapshot, config: &'a Config) -> Self {
        let n = u32::try_from(held.len()).unwrap_or(u32::MAX);
        let full = |used| facts::slots_full(used, server, config);
        let starved = config
            .service
            .iter()
            .filter(|s| crate::diagnosis::needs(&s.name, config).contains(p.name.as_str()))
            .filter(|s| facts::saturated(now, &s.name, config))
            .filter_map(|s| Some((s, starves(s, held, now, p, config)?)))
            .collect();
        Self { slots: full(server.used) && !full(server.used.saturating_sub(n)), starved }
    }

    fn none(&self) -> bool {
        !self.slots && self.starved.is_empty()
    }

    fn by<'s>(&self, held: &[&'s Session]) -> Vec<&'s Session> {
        let its = |s: &Session, (of, by_name): &(&Service, bool)| {
            s.application == if *by_name { of.name.as_str() } else { "" }
        };
        let does = |s: &&&Session| self.slots || self.starved.iter().any(|of| its(s, of));
        held.iter().filter(does).copied().collect()
    }
}

/// What is meant to last.
pub(super) const TOOLS: [&str; 5] = ["pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "mcp-ir"];

/// A backup whose session is ended is lost; who makes it has a name that goes on (`pgBackRest [backup]`).
pub fn meant_to_last(application: &str) -> bool {
    const BACKUPS: [&str; 3] = ["pgbackrest", "barman", "wal-g"];
    let name = application.to_ascii_lowercase();
    TOOLS.contains(&application) || BACKUPS.iter().any(|b| name.starts_with(b))
}

pub fn is_idle(s: &Session) -> bool {
    s.idle_in_transaction() && !meant_to_last(&s.application)
}

/// A client's own statement that runs: not one that waits for a lock, nor a backup, a copy, or ours.
pub fn is_long_query(s: &Session) -> bool {
    s.state == "active"
        && s.blocked_by.is_empty()
        && !s.waits_for_standby()
        && !meant_to_last(&s.application)
        && !copies(s)
}

/// A load, or a dump's worker: what it has copied by then is lost.
pub fn copies(s: &Session) -> bool {
    let first = s.query.split_whitespace().next().unwrap_or_default();
    s.state == "active" && ["copy", "autovacuum:"].iter().any(|w| first.eq_ignore_ascii_case(w))
}

fn held(
    kind: &Kind,
    held: &[&Session],
    p: &Postgres,
    server: &Server,
    now: &Snapshot,
    config: &Config,
) -> Option<Finding> {
    if held.is_empty() {
        return None;
    }
    let all = Harm::of(held, p, server, now, config);
    let (holds_slots, starved) = (all.slots, &all.starved);
    let oldest = held.iter().map(|s| s.state_s).fold(0.0, f64::max);
    let certainty = if holds_slots || starved.iter().any(|(_, by_name)| *by_name) {
        Certainty::Proven
    } else {
        Certainty::Likely
    };
    let harm = match (holds_slots, starved.as_slice()) {
        (true, _) => "and hold the server's slots".to_owned(),
        (false, [(s, _), ..]) => format!("and hold the pool of {}", s.name),
        (false, []) => "and harm nobody yet".to_owned(),
    };
    let harmless = all.none();
    let mut f = Finding::new(
        kind.cause,
        &p.name,
        if harmless { Certainty::Proven } else { certainty },
        format!(
            "{} of {} {} {}, {harm}",
            facts::count(held.len(), "session"),
            whose(held),
            kind.does,
            facts::age(oldest)
        ),
    )
    .severity(if harmless { Severity::P4 } else { Severity::P2 })
    .spares_if(SERVER_SLOTS_FULL.name, !holds_slots)
    .spares_if(CLIENT_POOL_SATURATED.name, starved.is_empty())
    .saw("postgres sessions", kind.fact, format!("{}, oldest {}", held.len(), facts::age(oldest)));
    for s in held.iter().take(5) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} ({} as {} from {})", s.pid, session_name(s), s.user, s.client),
            format!("{}: {}", facts::age(s.state_s), s.query),
        );
    }
    let named = if harmless { held.to_vec() } else { all.by(held) };
    Some(f.remedy(
        if kind.cause.name == LONG_QUERIES.name { cancel(p, &named) } else { end_sessions(p, &named) },
        within_rights(kind.remedy, named.len()),
        Risk::Disruptive,
    ))
}

/// Whether the pool of this service would be free without these sessions, and whether they are
/// known to be its own by their application name. `None`: it would not, or they are others'.
fn starves(s: &Service, idle: &[&Session], now: &Snapshot, p: &Postgres, config: &Config) -> Option<bool> {
    if frees(s, idle.iter().filter(|x| x.application == s.name).count(), now, config) {
        return Some(true);
    }
    // Nameless sessions can only be this service's where no other service uses the server.
    let alone = facts::dependents(&p.name, config).count() == 1;
    let nameless = idle.iter().filter(|x| x.application.is_empty()).count();
    (alone && frees(s, nameless, now, config)).then_some(false)
}

/// Whether so many connections fewer would leave the pool with room, and nobody waiting for it.
pub fn frees(s: &Service, n: usize, now: &Snapshot, config: &Config) -> bool {
    let n = n as u64;
    let served = facts::pool(now, &s.name).and_then(|p| p.waiting).is_none_or(|w| w <= n);
    let room = facts::fill(now, &s.name)
        .is_none_or(|f| !Fill { in_use: f.in_use.saturating_sub(n), ..f }.over(config.thresholds.pool));
    n > 0 && served && room
}

/// By the name that most of them have.
fn whose(sessions: &[&Session]) -> String {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for s in sessions {
        *names.entry(session_name(s)).or_default() += 1;
    }
    let most = names.iter().max_by_key(|(_, n)| **n).map_or("", |(name, _)| name);
    if names.len() > 1 { format!("{most} and others") } else { most.to_owned() }
}

pub fn session_name(s: &Session) -> &str {
    if s.application.is_empty() { "a session without application name" } else { &s.application }
}

/// How many sessions one command names.
const NAMED: usize = 20;

/// What the command can't do by itself is said beforehand (errata 20).
pub fn within_rights(what: &str, sessions: usize) -> String {
    let first =
        if sessions > NAMED { format!("; these are the first {NAMED} of {sessions}") } else { String::new() };
    format!("{what}{first}. Needs a role with pg_signal_backend")
}

/// Ends sessions: those idle in a transaction, or running a statement.
pub fn end_sessions(p: &Postgres, sessions: &[&Session]) -> String {
    let idle = sessions.iter().all(|s| s.idle_in_transaction());
    let still = if idle { "state LIKE 'idle in transaction%'" } else { "state <> 'idle'" };
    by_pid(p, "pg_terminate_backend", sessions, still)
}

fn cancel(p: &Postgres, sessions: &[&Session]) -> String {
    by_pid(p, "pg_cancel_backend", sessions, "state = 'active'")
}

/// The precondition stands in the statement itself: a session that went on, or whose pid is
/// another's by now, is left alone.
fn by_pid(p: &Postgres, function: &str, sessions: &[&Session], still: &str) -> String {
    // The server's own text goes into a command that people paste: only what a time is made of.
    let time = |t: &str| t.chars().filter(|c| c.is_ascii_digit() || "-:+. ".contains(*c)).collect::<String>();
    let which: Vec<String> =
        sessions.iter().take(NAMED).map(|s| format!("({},'{}')", s.pid, time(&s.backend_start))).collect();
    format!(
        "psql '{}' -c \"SELECT pid, {function}(pid) FROM pg_stat_activity \
         WHERE (pid, backend_start) IN ({}) AND {still}\"",
        crate::config::PgUrl { password: None, ..p.url.clone() },
        which.join(",")
    )
}
