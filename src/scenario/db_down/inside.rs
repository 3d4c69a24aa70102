//! What the server says of itself once we are in: read-only, its transaction ids, its WAL, its pages.

use super::super::facts;
use super::super::login::Meaning;
use super::super::removal;
use super::super::witness;
use super::cause;
use crate::config::{Config, Expect, Postgres};
use crate::diagnosis::Relation::{self, NeededBy};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::plan::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::{Archiver, ChecksumFailure, PostgresLook, ReplicationSlot, Server};

/// What a service shows that can read and not write: it is not starved, and need not hang.
const NO_WRITES: &[(&str, Relation)] = &[
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/crash-loop", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
];

pub static READ_ONLY: Cause = Cause {
    name: "db-down/read-only",
    severity: Severity::P1,
    title: "the server takes no writes",
    explains: NO_WRITES,
};
pub static WRAPAROUND: Cause = Cause {
    name: "db-down/wraparound",
    severity: Severity::P2,
    title: "transaction ids run out",
    explains: NO_WRITES,
};
pub static WAL_RETAINED: Cause = Cause {
    name: "db-down/wal-retained",
    severity: Severity::P2,
    title: "WAL piles up: an archiver fails, or a slot keeps it",
    explains: &[],
};
pub static DATA_CORRUPTION: Cause = cause("db-down/data-corruption", "pages of the database are damaged");

/// Of 2,147 million (causes.md).
pub const XID_AGE: u64 = 1_500_000_000;
/// The server takes no writes any more: 3 million before the end.
const XID_STOP: u64 = 2_144_000_000;
/// How young a checksum failure is, in seconds, to be of now.
const CHECKSUM_S: f64 = 3600.0;
/// How long ago the archiver may have failed last: it tries again at least once a minute.
const ARCHIVER_S: f64 = 120.0;

pub fn detect(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Vec<Finding> {
    let corrupt = corruption(p, look, now, config);
    let server = facts::server(now, &p.name);
    let of_server = |rule: fn(&Postgres, &Server) -> Option<Finding>| server.and_then(|s| rule(p, s));
    let wal = server.and_then(|s| wal_retained(p, s, config));
    [corrupt, wraparound(p, look, server, now, config), of_server(read_only), wal]
        .into_iter()
        .flatten()
        .collect()
}

fn read_only(p: &Postgres, server: &Server) -> Option<Finding> {
    if p.expect == Expect::Standby || !(server.in_recovery || server.read_only) {
        return None;
    }
    let (fact, why, remedy) = if server.in_recovery {
        (
            "pg_is_in_recovery()",
            "is a standby, where a primary is expected",
            "SELECT * FROM pg_stat_wal_receiver",
        )
    } else {
        (
            "default_transaction_read_only",
            "makes every transaction read-only",
            "SELECT setting, source, sourcefile, sourceline FROM pg_settings WHERE name = 'default_transaction_read_only'",
        )
    };
    Some(
        Finding::new(&READ_ONLY, &p.name, Certainty::Proven, format!("{} {why}", p.name))
            .saw("postgres sessions", fact, "on")
            .remedy(
                psql(p, remedy),
                if server.in_recovery {
                    "See where the primary is; promoting is the business of who manages the cluster"
                } else {
                    "See who set it and why; nothing to restart"
                },
                Risk::Safe,
            ),
    )
}

/// By the oldest transaction id, or by a service's word on a write that was refused.
fn wraparound(
    p: &Postgres,
    look: &PostgresLook,
    server: Option<&Server>,
    now: &Snapshot,
    config: &Config,
) -> Option<Finding> {
    let oldest = server.and_then(|s| s.oldest_xid.as_ref()).filter(|x| x.age > XID_AGE);
    let mut witnesses = witness::of(&p.name, now, config, witness::wraparound);
    witnesses.retain(|_| facts::takes_logins(look));
    let summary = match (oldest, witnesses.first()) {
        (Some(x), _) => {
            format!(
                "{} million of 2,147 million transaction ids are used up in database {}",
                x.age / 1_000_000,
                x.database
            )
        }
        (None, Some(w)) => format!("transaction ids are used up: {} says {}", w.service, w.text),
        (None, None) => return None,
    };
    let sure = oldest.is_some() || witnesses.iter().any(|w| w.sure);
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    // Until then it takes all writes, and what is unhealthy is so of something else.
    let stopped = !witnesses.is_empty() || oldest.is_some_and(|x| x.age >= XID_STOP);
    let mut f = Finding::new(&WRAPAROUND, &p.name, certainty, summary);
    for (cause, _) in NO_WRITES {
        f = f.spares_if(cause, !stopped);
    }
    if let Some(x) = oldest {
        f = f.saw("postgres sessions", "age of datfrozenxid", format!("{} in {}", x.age, x.database));
    }
    f = witness::heard(f, &witnesses);
    for s in server.iter().flat_map(|s| &s.replication_slots).filter(|s| !s.active).take(3) {
        f = f.saw("postgres sessions", "inactive slot", &s.name);
    }
    for x in server.iter().flat_map(|s| &s.prepared).take(3) {
        f = f.saw(
            "postgres sessions",
            "prepared transaction",
            format!("{} for {}", x.gid, facts::age(x.age_s)),
        );
    }
    Some(f.remedy(
        format!("mcp-ir runbook {}", WRAPAROUND.name.replace('/', "#")),
        "End what holds the oldest transaction, then vacuum that database",
        Risk::Disruptive,
    ))
}

/// The archiver fails *now*: its last try did, and nothing was archived since. Or a slot keeps WAL
/// beyond what the server may keep, or beyond its usual size for nobody.
fn wal_retained(p: &Postgres, server: &Server, config: &Config) -> Option<Finding> {
    let archiver = server.archiver.as_ref().filter(|a| archiver_fails(a));
    let slots: Vec<_> = server.replication_slots.iter().filter(|s| keeps_too_much(s)).collect();
    let why = match (archiver, slots.first()) {
        (Some(a), _) => format!(
            "the archiver fails at {} and keeps all WAL since",
            a.failed_wal.as_deref().unwrap_or("its first file")
        ),
        (None, Some(s)) => {
            let status = s.wal_status.as_deref().unwrap_or("behind");
            let read = if s.active { "" } else { ", and nobody reads it" };
            format!("WAL is kept for replication slot {} ({status}{read})", s.name)
        }
        (None, None) => return None,
    };
    let mut f = Finding::new(&WAL_RETAINED, &p.name, Certainty::Proven, why);
    if let Some(a) = archiver {
        let failed = a.failed_s.map_or_else(String::new, |s| format!(", last {} ago", facts::age(s)));
        f = f.saw("postgres sessions", "archiver", format!("{} failures{failed}", a.failed_count)).saw_if(
            "postgres sessions",
            "archived last",
            a.archived_s.map(|s| format!("{} ago", facts::age(s))),
        );
    }
    for s in slots.iter().take(5) {
        let active = if s.active { "active" } else { "inactive" };
        f = f.saw(
            "postgres sessions",
            &format!("slot {}", s.name),
            format!("{}, {active}", s.wal_status.as_deref().unwrap_or("?")),
        );
    }
    Some(f.remedy(
        format!("mcp-ir runbook {}", WAL_RETAINED.name.replace('/', "#")),
        mended(p, archiver.is_some(), &slots, config),
        Risk::Safe,
    ))
}

/// A slot is some reader's until its owner says otherwise: that comes first.
fn mended(p: &Postgres, archiver: bool, slots: &[&ReplicationSlot], config: &Config) -> String {
    const NEVER: &str = "never delete in pg_wal by hand";
    match slots.iter().find(|s| !s.active) {
        Some(s) => {
            let first = if archiver { "the archive command, and " } else { "" };
            let typed = removal::typed(&Wanted::Slot(s.name.clone()), &p.name, config);
            format!("Mend {first}the slot's reader; where nobody needs it any more: `{typed}`; {NEVER}")
        }
        None => format!("Mend the archive command, or the slot's reader; {NEVER}"),
    }
}

pub fn archiver_fails(a: &Archiver) -> bool {
    a.failed_s.is_some_and(|f| f < ARCHIVER_S && a.archived_s.is_none_or(|ok| f < ok))
}

/// WAL beyond `max_wal_size` is kept for a slot that nobody reads, or the server is about to drop, or
/// has dropped, what its reader still needs. One that is read and lags catches up by itself.
pub fn keeps_too_much(s: &ReplicationSlot) -> bool {
    match s.wal_status.as_deref() {
        Some("unreserved" | "lost") => true,
        Some("extended") => !s.active,
        _ => false,
    }
}

pub fn fresh(c: &ChecksumFailure) -> bool {
    c.last_s.is_some_and(|s| s < CHECKSUM_S)
}

/// A failed checksum within the hour, or XX001 in our own or a service's words. An old counter is none.
fn corruption(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let failures: Vec<_> = facts::server(now, &p.name)
        .map(|s| s.checksum_failures.as_slice())
        .unwrap_or_default()
        .iter()
        .filter(|c| fresh(c))
        .collect();
    let ours = facts::login_meaning(look) == Some(Meaning::Corrupt);
    let witnesses = witness::of(&p.name, now, config, witness::corrupt);
    if failures.is_empty() && !ours && witnesses.is_empty() {
        return None;
    }
    let sure = ours || !failures.is_empty() || witnesses.iter().any(|w| w.sure);
    let mut f = Finding::new(
        &DATA_CORRUPTION,
        &p.name,
        if sure { Certainty::Proven } else { Certainty::Likely },
        "PostgreSQL found damaged pages in its data files",
    );
    if let Some(said) = look.login.failure().filter(|_| ours) {
        f = f.saw("postgres login", &look.endpoint, &said.detail);
    }
    for c in failures {
        let last = c.last_s.map_or_else(String::new, |s| format!(", last {} ago", facts::age(s)));
        f = f.saw(
            "postgres sessions",
            &format!("checksum failures in {}", c.database),
            format!("{}{last}", c.count),
        );
    }
    f = witness::heard(f, &witnesses);
    Some(f.remedy(
        format!("mcp-ir runbook {}", DATA_CORRUPTION.name.replace('/', "#")),
        "Stop all writes, and copy the data folder before anything else",
        Risk::Disruptive,
    ))
}

fn psql(p: &Postgres, sql: &str) -> String {
    format!("psql '{}' -c \"{sql}\"", crate::config::PgUrl { password: None, ..p.url.clone() })
}
