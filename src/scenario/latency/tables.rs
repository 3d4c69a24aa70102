//! What the catalogue says of the tables that the slow statements use, and what stands behind it; and
//! a standby that is late.

use super::super::facts;
use super::database::{SLOW_QUERIES, long_ones, shown, slow_ones, work, works};
use super::slow::Slow;
use crate::config::{Config, Postgres};
use crate::diagnosis::Relation::Same;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::snapshot::Looks;
use crate::snapshot::work::{Holder, Index, Table, Work};

pub static XMIN_HELD: Cause = Cause {
    name: "latency/xmin-held",
    severity: Severity::P3,
    title: "something old keeps dead rows from being removed",
    explains: &[("latency/stale-statistics", Same)],
};
pub static STALE_STATISTICS: Cause = Cause {
    name: "latency/stale-statistics",
    severity: Severity::P2,
    title: "a table was not vacuumed or analyzed for long",
    explains: &[(SLOW_QUERIES.name, Same)],
};
pub static INVALID_INDEX: Cause = Cause {
    name: "latency/invalid-index",
    severity: Severity::P3,
    title: "an index is not valid, and not used",
    explains: &[(SLOW_QUERIES.name, Same)],
};
pub static REPLICATION_LAG: Cause = Cause {
    name: "latency/replication-lag",
    severity: Severity::P3,
    title: "a standby is late",
    explains: &[],
};

/// So many rows, and such a part of the table, are many.
const ROWS: f64 = 10_000.0;
const PART: f64 = 0.2;
/// A table of fewer rows is read from its beginning to its end by right.
const SMALL: f64 = 10_000.0;
/// A standby that is so late is late.
const LATE_S: f64 = 10.0;

pub fn detect(p: &Postgres, slow: &[&Slow], looks: &Looks, config: &Config) -> Vec<Finding> {
    let Some(now) = work(&looks.now, &p.name) else { return Vec::new() };
    let used = used(p, now, looks, config);
    let old: Vec<&Table> = used.iter().copied().filter(|t| is_stale(t)).collect();
    [
        held(p, now, &old, config).map(|f| shown(f, slow)),
        stale(p, &old).map(|f| shown(f, slow)),
        invalid(p, now, &used).map(|f| shown(f, slow)),
        lag(p, now).map(|f| shown(f, slow)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The texts of what is slow there.
fn texts<'a>(server: &str, looks: &'a Looks, config: &Config) -> Vec<&'a str> {
    let ended = slow_ones(looks, server, config).unwrap_or_default();
    let long = long_ones(looks, server);
    ended.iter().map(|r| r.statement.query.as_str()).chain(long.iter().map(|s| s.query.as_str())).collect()
}

/// The tables that slow statements name.
pub fn used<'a>(p: &Postgres, now: &'a Work, looks: &Looks, config: &Config) -> Vec<&'a Table> {
    let texts = texts(&p.name, looks, config);
    now.tables.iter().filter(|t| texts.iter().any(|q| names(q, &t.name))).collect()
}

/// As a word of its own.
fn names(query: &str, table: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let lower = query.to_lowercase();
    let table = table.to_lowercase();
    lower.match_indices(&table).any(|(at, _)| {
        let before = lower[..at].chars().next_back();
        let after = lower[at + table.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

pub fn is_stale(t: &Table) -> bool {
    is_dead(t) || many(t.changed, t)
}

/// Statistics alone would leave what makes it slow.
pub fn is_dead(t: &Table) -> bool {
    many(t.dead, t)
}

fn many(rows: f64, t: &Table) -> bool {
    rows > ROWS && rows > PART * t.live
}

/// Those that slow statements use.
pub fn stale_ones<'a>(p: &Postgres, looks: &'a Looks, config: &Config) -> Vec<&'a Table> {
    let Some(now) = work(&looks.now, &p.name) else { return Vec::new() };
    used(p, now, looks, config).into_iter().filter(|t| is_stale(t)).collect()
}

pub fn invalid_ones<'a>(p: &Postgres, looks: &'a Looks, config: &Config) -> Vec<&'a Index> {
    let Some(now) = work(&looks.now, &p.name) else { return Vec::new() };
    invalid_of(now, &used(p, now, looks, config))
}

fn invalid_of<'a>(now: &'a Work, used: &[&Table]) -> Vec<&'a Index> {
    let of_used = |i: &&Index| used.iter().any(|t| t.name == i.table && t.schema == i.schema);
    now.invalid_indexes.iter().filter(of_used).collect()
}

/// Large tables that these statements name and that were read from beginning to end in between, while no
/// index of theirs was used: that is proven, and none serves them.
pub fn read_whole(looks: &Looks, server: &str, texts: &[&str]) -> Vec<(String, String)> {
    let Some((before, now)) = works(looks, server) else { return Vec::new() };
    let whole = |t: &Table| {
        let old = before.tables.iter().find(|o| o.schema == t.schema && o.name == t.name)?;
        let (scans, rows) = (t.scans - old.scans, t.scanned - old.scanned);
        let large = scans >= 1.0 && rows / scans >= SMALL && t.by_index <= old.by_index;
        large.then(|| {
            let words = format!(
                "read from its beginning to its end {scans:.0} times, {:.0} rows each; by no index: one is missing",
                rows / scans
            );
            (format!("{}.{}", t.schema, t.name), words)
        })
    };
    let used = now.tables.iter().filter(|t| texts.iter().any(|q| names(q, &t.name)));
    used.filter_map(whole).take(3).collect()
}

/// The oldest that still sees what is dead, for longer than a transaction may be idle; a slot has no age.
pub fn holder<'a>(now: &'a Work, config: &Config) -> Option<&'a Holder> {
    let limit = config.thresholds.idle_in_transaction.as_secs_f64();
    let old = |h: &&Holder| h.age_s.map_or(h.age > ROWS, |s| s > limit);
    now.holders.iter().filter(old).max_by(|a, b| a.age.total_cmp(&b.age))
}

fn held(p: &Postgres, now: &Work, old: &[&Table], config: &Config) -> Option<Finding> {
    let dead = old.iter().find(|t| t.dead > ROWS && t.dead > PART * t.live)?;
    let h = holder(now, config)?;
    let age = h.age_s.map(|s| format!(" for {}", facts::age(s))).unwrap_or_default();
    let f = Finding::new(
        &XMIN_HELD,
        &p.name,
        Certainty::Likely,
        format!("{} {} keeps dead rows{age}: no vacuum can remove them", h.kind, h.name),
    )
    .saw("postgres catalogue", &h.kind, format!("{}, {:.0} transactions old{age}", h.name, h.age))
    .saw("postgres catalogue", &format!("{}.{}", dead.schema, dead.name), rows(dead));
    Some(f.remedy("mcp-ir who", "End it, or have it ended; then vacuum the table", Risk::Disruptive))
}

fn rows(t: &Table) -> String {
    format!("{:.0} live rows, {:.0} dead, {:.0} changed since it was analyzed", t.live, t.dead, t.changed)
}

fn stale(p: &Postgres, old: &[&Table]) -> Option<Finding> {
    let worst = old.iter().max_by(|a, b| a.dead.max(a.changed).total_cmp(&b.dead.max(b.changed)))?;
    let mut f = Finding::new(
        &STALE_STATISTICS,
        &p.name,
        Certainty::Likely,
        format!("the slow statements use {}.{}: {}", worst.schema, worst.name, rows(worst)),
    );
    for t in old.iter().take(3) {
        f = f.saw("postgres catalogue", &format!("{}.{}", t.schema, t.name), rows(t));
    }
    Some(f.remedy(
        "mcp-ir recover latency",
        "Vacuum and analyze it, as its owner; see why autovacuum did not",
        if old.iter().any(|t| is_dead(t)) { Risk::Disruptive } else { Risk::Safe },
    ))
}

fn invalid(p: &Postgres, now: &Work, used: &[&Table]) -> Option<Finding> {
    let all = invalid_of(now, used);
    let first = all.first()?;
    let mut f = Finding::new(
        &INVALID_INDEX,
        &p.name,
        Certainty::Likely,
        format!("{}.{} of {} is not valid: no statement uses it", first.schema, first.name, first.table),
    );
    for i in all.iter().take(5) {
        let left = if i.name.ends_with("_ccnew") || i.name.contains("_ccnew") {
            "left by a REINDEX CONCURRENTLY that did not end"
        } else {
            "indisvalid is false"
        };
        f = f.saw(
            "postgres catalogue",
            &format!("{}.{}", i.schema, i.name),
            format!("of {}: {left}", i.table),
        );
    }
    Some(f.remedy(
        "mcp-ir recover latency",
        "REINDEX INDEX CONCURRENTLY; a leftover named _ccnew is dropped",
        Risk::Disruptive,
    ))
}

/// The latest standby, or this one itself.
fn lag(p: &Postgres, now: &Work) -> Option<Finding> {
    let late = |s: Option<f64>| s.filter(|s| *s > LATE_S);
    let behind = |b: Option<f64>| b.is_some_and(|b| b > 0.0);
    let standby = now
        .standbys
        .iter()
        .filter(|s| behind(s.behind))
        .filter_map(|s| Some((s.name.as_str(), late(s.replay_s)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let own = late(now.replay_s).map(|s| (p.name.as_str(), s));
    let (name, seconds) = standby.or(own)?;
    Some(
        Finding::new(
            &REPLICATION_LAG,
            &p.name,
            Certainty::Likely,
            format!("standby {name} is {} late", facts::age(seconds)),
        )
        .saw("postgres sessions", name, format!("replays what is {} old", facts::age(seconds)))
        .remedy(
            format!("mcp-ir runbook {}", REPLICATION_LAG.name.replace('/', "#")),
            "See what holds its replay up: a query there, its disk, or the way to it",
            Risk::Safe,
        ),
    )
}
