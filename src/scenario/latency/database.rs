//! What a database makes requests wait for: its statements, its locks, its standbys. Each with its
//! share of the time that the requests took.

use super::super::facts;
use super::super::pool_exhausted::is_long_query;
use super::super::rate::{Grown, Total, rate};
use super::slow::Slow;
use super::tables;
use crate::config::{Config, Postgres};
use crate::diagnosis::Relation::{NeededBy, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::snapshot::postgres::Session;
use crate::snapshot::work::{Statement, Work};
use crate::snapshot::{Looks, Snapshot};

pub static SLOW_QUERIES: Cause = Cause {
    name: "latency/slow-queries",
    severity: Severity::P2,
    title: "statements take long in the database",
    explains: &[("latency/pool-wait", NeededBy)],
};
pub static LOCK_WAITS: Cause = Cause {
    name: "latency/lock-waits",
    severity: Severity::P2,
    title: "sessions wait for one another's locks",
    explains: &[("latency/slow-queries", Same), ("latency/pool-wait", NeededBy)],
};
pub static SYNC_REPLICATION_WAIT: Cause = Cause {
    name: "latency/sync-replication-wait",
    severity: Severity::P2,
    title: "commits wait for a standby",
    explains: &[
        ("latency/slow-queries", Same),
        ("latency/pool-wait", NeededBy),
        ("pool-exhausted/long-queries", Same),
        // Its locks are held until the standby has answered.
        ("pool-exhausted/blocking-chain", Same),
        ("pool-exhausted/client-pool-saturated", NeededBy),
    ],
};

/// What is less of the requests' time than this is not what makes them slow.
const SHARE: f64 = 0.25;
/// So much of the requests' time the statements may take: the two are counted a moment apart.
const ALL: f64 = 1.25;
/// What runs for so long makes a request slow by itself.
const LONG_S: f64 = 0.5;
/// A standby that is there answers long before.
const GONE_S: f64 = 1.0;

pub fn detect(p: &Postgres, slow: &[&Slow], looks: &Looks, config: &Config) -> Vec<Finding> {
    [lock_waits(p, slow, looks), slow_queries(p, slow, looks, config)].into_iter().flatten().collect()
}

pub fn work<'a>(look: &'a Snapshot, server: &str) -> Option<&'a Work> {
    look.postgres.get(server)?.work.as_ref()?.seen()
}

/// Both readings, where both were had and the server was not started in between.
pub fn works<'a>(looks: &'a Looks, server: &str) -> Option<(&'a Work, &'a Work)> {
    let both = (work(looks.before.as_ref()?, server)?, work(&looks.now, server)?);
    // The start is computed from the same clock each time: to the microsecond.
    ((both.0.started - both.1.started).abs() < 0.001).then_some(both)
}

/// A statement, and what it took in between.
pub struct Ran<'a> {
    pub statement: &'a Statement,
    pub calls: f64,
    pub ms: f64,
    pub seconds: f64,
}

impl Ran<'_> {
    pub fn mean_ms(&self) -> f64 {
        self.ms / self.calls
    }
}

/// All statements of the databases under care that ended between the two readings, the longest in all
/// first. `None`: it can't be told.
pub fn ran<'a>(looks: &'a Looks, server: &str) -> Option<Vec<Ran<'a>>> {
    let (before, now) = works(looks, server)?;
    let (old, new) = (before.statements.seen()?, now.statements.seen()?);
    let grown = |was: f64, is: f64| -> Option<Grown> {
        let total = |w: &Work, reset: Option<f64>, value| Total { at: w.at, value, run: reset };
        rate(&total(before, old.reset, was), &total(now, new.reset, is))
    };
    // Reset in between: nothing of it is a difference.
    grown(0.0, 0.0)?;
    let one = |s: &'a Statement| {
        let was = old.all.iter().find(|o| o.id == s.id && o.database == s.database);
        if was.is_none() && !old.complete {
            return None;
        }
        let (calls, ms) = was.map_or((0.0, 0.0), |o| (o.calls, o.total_ms));
        let (calls, ms) = (grown(calls, s.calls)?, grown(ms, s.total_ms)?);
        (calls.by > 0.0).then_some(Ran { statement: s, calls: calls.by, ms: ms.by, seconds: ms.seconds })
    };
    let requests = new.all.iter().filter(|s| is_under_care(server, &s.database, &looks.now));
    let requests = requests.filter(|s| !is_a_look(&s.query) && !is_maintenance(&s.query));
    let mut all: Vec<Ran> = requests.filter_map(one).collect();
    all.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Some(all)
}

/// Our own, and others' monitoring.
fn is_a_look(query: &str) -> bool {
    ["pg_stat_activity", "pg_stat_statements", "pg_stat_user_tables"].iter().any(|w| query.contains(w))
}

/// What is meant to take long, and is no part of a request.
fn is_maintenance(query: &str) -> bool {
    const WORDS: [&str; 7] = ["COPY", "VACUUM", "ANALYZE", "REINDEX", "CLUSTER", "REFRESH", "CREATE"];
    let first = query.split_whitespace().next().unwrap_or_default();
    WORDS.iter().any(|w| first.eq_ignore_ascii_case(w))
}

/// Another application's work on the same server is no part of these requests. Where only the database
/// for maintenance is configured, nothing says which are theirs.
fn is_under_care(server: &str, database: &str, now: &Snapshot) -> bool {
    now.config.postgres(server).is_none_or(|p| {
        let mut all = p.databases.iter().chain([&p.url.dbname]);
        all.clone().all(|d| d == "postgres") || all.any(|d| d == database)
    })
}

/// Those whose mean is over the limit.
pub fn slow_ones<'a>(looks: &'a Looks, server: &str, config: &Config) -> Option<Vec<Ran<'a>>> {
    let limit = config.thresholds.slow_query.as_secs_f64() * 1000.0;
    Some(ran(looks, server)?.into_iter().filter(|r| r.mean_ms() > limit).collect())
}

/// Client statements that run for over half a second, as many as at one of the readings, where no totals
/// are had: those that all begin at once are young at the other.
pub fn long_ones<'a>(looks: &'a Looks, server: &str) -> Vec<&'a Session> {
    let long = |all: &'a [Session]| -> Vec<&'a Session> { longer(all, server, LONG_S, &looks.now).collect() };
    let first = facts::server(&looks.now, server).map_or_else(Vec::new, |x| long(&x.sessions));
    let works = looks.before.iter().chain([&looks.now]).filter_map(|l| work(l, server));
    let all = works.map(|w| long(&w.running)).chain([first]);
    all.max_by_key(Vec::len).unwrap_or_default()
}

/// Client statements of a database under care that have run for more than these seconds.
pub fn longer<'a>(
    all: &'a [Session],
    server: &str,
    seconds: f64,
    now: &Snapshot,
) -> impl Iterator<Item = &'a Session> {
    all.iter().filter(move |s| {
        let runs = is_long_query(s) && s.state_s > seconds && !is_commit(s);
        runs && is_under_care(server, &s.database, now) && !is_maintenance(&s.query)
    })
}

/// It is done, but for its commit: that waits for the disk of the WAL, and no statement makes it wait.
fn is_commit(s: &Session) -> bool {
    s.wait.as_deref().is_some_and(|w| ["IO/WALSync", "IO/WALWrite", "LWLock/WALWrite"].contains(&w))
}

/// So many requests of these services are under way at a time.
pub fn load(slow: &[&Slow]) -> Option<f64> {
    let all: Vec<f64> = slow.iter().filter_map(|s| s.load()).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

/// `72 % of the requests' time`.
pub fn of_their_time(share: f64) -> String {
    format!("{:.0} % of the requests' time", share * 100.0)
}

fn slow_queries(p: &Postgres, slow: &[&Slow], looks: &Looks, config: &Config) -> Option<Finding> {
    let Some(all) = ran(looks, &p.name) else { return long_statements(p, slow, looks) };
    let slow_ones = slow_ones(looks, &p.name, config)?;
    let under_way = |of: &[Ran]| of.iter().map(|r| r.ms / 1000.0 / r.seconds).sum::<f64>();
    let busy = under_way(&slow_ones);
    let share = match load(slow) {
        Some(load) => (busy / load).min(1.0),
        None => busy / under_way(&all).max(f64::MIN_POSITIVE),
    };
    let Some(worst) = slow_ones.first().filter(|_| share >= SHARE) else {
        // What has not ended in between stands in no total.
        return long_statements(p, slow, looks);
    };
    let what = if load(slow).is_some() {
        of_their_time(share)
    } else {
        format!("{:.0} % of the statements' time", share * 100.0)
    };
    // A request contains its statements: what takes longer than all of them is, in part, of others.
    let sure = load(slow).is_some_and(|load| busy <= load * ALL);
    let mut f = Finding::new(
        &SLOW_QUERIES,
        &p.name,
        if sure { Certainty::Proven } else { Certainty::Likely },
        format!(
            "{} of {:.0} ms on average: {what}",
            facts::count(slow_ones.len(), "statement"),
            worst.mean_ms()
        ),
    )
    .share(share);
    for r in slow_ones.iter().take(3) {
        let took = format!("{:.0} times, {:.0} ms each", r.calls, r.mean_ms());
        f = f.saw("pg_stat_statements", &took, r.statement.query.clone());
    }
    let texts: Vec<&str> = slow_ones.iter().map(|r| r.statement.query.as_str()).collect();
    for (table, words) in tables::read_whole(looks, &p.name, &texts) {
        f = f.saw("postgres catalogue", &table, words);
    }
    Some(remedied(shown(f, slow)))
}

/// By what runs for long now.
fn long_statements(p: &Postgres, slow: &[&Slow], looks: &Looks) -> Option<Finding> {
    let long = long_ones(looks, &p.name);
    let oldest = long.iter().max_by(|a, b| a.state_s.total_cmp(&b.state_s))?;
    let share = load(slow).map(|l| (long.len() as f64 / l).min(1.0));
    if share.is_some_and(|s| s < SHARE) {
        return None;
    }
    let words = match long.len() {
        1 => format!("a statement runs for {}", facts::age(oldest.state_s)),
        n => format!("{n} statements run, one for {}", facts::age(oldest.state_s)),
    };
    let mut f = Finding::new(&SLOW_QUERIES, &p.name, Certainty::Likely, words).share(share.unwrap_or(0.0));
    for s in long.iter().take(3) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} for {}", s.pid, facts::age(s.state_s)),
            s.query.clone(),
        );
    }
    let texts: Vec<&str> = long.iter().map(|s| s.query.as_str()).collect();
    for (table, words) in tables::read_whole(looks, &p.name, &texts) {
        f = f.saw("postgres catalogue", &table, words);
    }
    Some(remedied(shown(f, slow)))
}

fn remedied(f: Finding) -> Finding {
    f.remedy(
        format!("mcp-ir runbook {}", SLOW_QUERIES.name.replace('/', "#")),
        "See the plan of the first one: an index that is missing, or statistics that are old",
        Risk::Safe,
    )
}

pub fn shown(f: Finding, slow: &[&Slow]) -> Finding {
    slow.iter().take(3).fold(f, |f, s| s.shown(f))
}

/// How many wait for this, in both readings: what is in one alone passes by.
pub fn waiting(looks: &Looks, server: &str, what: fn(&str) -> bool) -> Option<(f64, f64)> {
    let (before, now) = works(looks, server)?;
    let count = |w: &Work| w.waits.iter().filter(|x| what(&x.event)).map(|x| f64::from(x.count)).sum::<f64>();
    let longest = now.waits.iter().filter(|x| what(&x.event)).map(|x| x.longest_s).fold(0.0, f64::max);
    let (a, b) = (count(before), count(now));
    (a > 0.0 && b > 0.0).then_some(((a + b) / 2.0, longest))
}

pub fn is_lock(event: &str) -> bool {
    event.starts_with("Lock/")
}

pub fn is_sync(event: &str) -> bool {
    event == "IPC/SyncRep"
}

fn lock_waits(p: &Postgres, slow: &[&Slow], looks: &Looks) -> Option<Finding> {
    let (count, longest) = waiting(looks, &p.name, is_lock)?;
    let share = load(slow).map(|l| (count / l).min(1.0));
    if share.is_some_and(|s| s < SHARE) {
        return None;
    }
    let of = share.map(|s| format!(": {}", of_their_time(s))).unwrap_or_default();
    let mut f = Finding::new(
        &LOCK_WAITS,
        &p.name,
        if share.is_some() { Certainty::Proven } else { Certainty::Likely },
        format!(
            "{count:.0} sessions at a time wait for locks of others, the longest for {}{of}",
            facts::age(longest)
        ),
    )
    .share(share.unwrap_or(0.0));
    let sessions = facts::server(&looks.now, &p.name).map(|x| x.sessions.as_slice()).unwrap_or_default();
    for s in sessions.iter().filter(|s| !s.blocked_by.is_empty()).take(3) {
        let by: Vec<String> = s.blocked_by.iter().map(ToString::to_string).collect();
        f = f.saw(
            "postgres sessions",
            &format!("pid {} waits for {}", s.pid, by.join(", ")),
            s.query.clone(),
        );
    }
    let f = f.remedy(
        "mcp-ir who",
        "See who waits for whom; shorten the transactions that hold the lock",
        Risk::Safe,
    );
    Some(shown(f, slow))
}

/// A commit that waits for what is gone never ends, and stands in no histogram: nobody need be slow by one.
pub fn sync_wait(p: &Postgres, slow: &[&Slow], looks: &Looks) -> Option<Finding> {
    let (count, longest) = waiting(looks, &p.name, is_sync)?;
    let now = work(&looks.now, &p.name)?;
    let there = now.standbys.iter().filter(|s| s.sync_state != "async").count();
    let share = load(slow).map(|l| (count / l).min(1.0));
    // With its standby there a commit takes the way there and back: that has its share or has not.
    let gone = there == 0 && longest > GONE_S;
    if !gone && share.is_none_or(|s| s < SHARE) {
        return None;
    }
    let who = match there {
        0 => "no such standby is connected".to_owned(),
        n => format!("{n} of them connected"),
    };
    let f = Finding::new(
        &SYNC_REPLICATION_WAIT,
        &p.name,
        if there == 0 { Certainty::Proven } else { Certainty::Likely },
        format!("{count:.0} commits wait for a standby, the longest for {}; {who}", facts::age(longest)),
    )
    .share(share.unwrap_or(0.0))
    .saw("postgres settings", "synchronous_standby_names", now.synchronous.clone())
    .saw("postgres sessions", "standbys that count", who)
    .remedy(
        format!("mcp-ir runbook {}", SYNC_REPLICATION_WAIT.name.replace('/', "#")),
        "Bring the standby back; or take it out of synchronous_standby_names, and know what that gives up",
        Risk::Disruptive,
    );
    Some(shown(f, slow))
}
