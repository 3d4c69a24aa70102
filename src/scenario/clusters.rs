//! Which of this host's PostgreSQL units and postmasters are a configured server's. Pure.
//! A host may have several clusters: what can't be told apart is left open, never guessed.

use super::facts;
use crate::config::Postgres;
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::{PostgresLook, Postmaster};
use crate::snapshot::units::Unit;

/// Debian's umbrella unit: "active (exited)" whatever its clusters do (errata 14).
const UMBRELLA: &str = "postgresql.service";

/// The configured unit, where it speaks for one cluster.
pub fn named_unit(p: &Postgres) -> Option<&str> {
    p.unit.as_deref().filter(|n| *n != UMBRELLA)
}

/// The unit that is this server's and no other's: the configured one, or the only one there is.
pub fn own_unit<'a>(p: &'a Postgres, now: &'a Snapshot) -> Option<&'a str> {
    match units(p, now).as_slice() {
        [(name, _)] => Some(name),
        _ => named_unit(p),
    }
}

/// The configured unit, else the clusters that systemd lists. The umbrella unit says nothing and is
/// left out, unless something really runs in it.
pub fn units<'a>(p: &'a Postgres, now: &'a Snapshot) -> Vec<(&'a str, &'a Unit)> {
    let Some(listed) = now.units.listed.seen() else { return Vec::new() };
    if let Some(name) = named_unit(p) {
        let there = listed.get_key_value(name).filter(|(_, u)| u.load != "not-found");
        return there.map(|(n, u)| (n.as_str(), u)).into_iter().collect();
    }
    // One in a container is no unit of this host.
    if p.container.is_some() {
        return Vec::new();
    }
    listed
        .iter()
        .filter(|(n, u)| is_cluster(n) && u.load == "loaded")
        .filter(|(n, u)| *n != UMBRELLA || u.sub == "running")
        .map(|(n, u)| (n.as_str(), u))
        .collect()
}

/// `postgresql@15-main.service`, `postgresql-15.service`, `postgresql.service`: not those of backups
/// or exporters, which only begin with the same word.
pub fn is_cluster(unit: &str) -> bool {
    let Some(rest) = unit.strip_prefix("postgresql").and_then(|r| r.strip_suffix(".service")) else {
        return false;
    };
    let version = |r: &str| !r.is_empty() && r.chars().all(|c| c.is_ascii_digit() || c == '.');
    let (version_part, instance) = rest.split_once('@').map_or((rest, None), |(v, i)| (v, Some(i)));
    match (version_part.strip_prefix('-'), instance) {
        (None, _) => version_part.is_empty(),
        (Some(v), _) => version(v),
    }
}

/// The running postmasters that are this server's, by folder or port; and whether there is one that
/// may be, because neither could be read.
pub fn postmasters<'a>(p: &Postgres, look: &'a PostgresLook) -> (Vec<&'a Postmaster>, bool) {
    let all = look.postmasters.seen().map(Vec::as_slice).unwrap_or_default();
    (
        all.iter().filter(|m| is_ours(p, m) == Some(true)).collect(),
        all.iter().any(|m| is_ours(p, m).is_none()),
    )
}

/// The same folder is the same cluster; another folder may be the same by another path, so then
/// the port decides. `None`: not known.
fn is_ours(p: &Postgres, m: &Postmaster) -> Option<bool> {
    match (same_folder(p, m), m.port) {
        (Some(true), _) => Some(true),
        (_, Some(port)) => Some(port == p.url.port),
        (Some(false), None) => Some(false),
        (None, None) => None,
    }
}

fn same_folder(p: &Postgres, m: &Postmaster) -> Option<bool> {
    let folders = p.data_directory.as_deref().zip(m.data_directory.as_deref());
    folders.map(|(a, b)| a.trim_end_matches('/') == b.trim_end_matches('/'))
}

/// The postmaster of the server's own folder, where its pid file says another port than the URL.
pub fn on_another_port<'a>(p: &Postgres, look: &'a PostgresLook) -> Option<(&'a Postmaster, u16)> {
    let ours = look.postmasters.seen()?.iter().filter(|m| same_folder(p, m) == Some(true));
    ours.filter_map(|m| Some((m, m.port?))).find(|(_, port)| *port != p.url.port)
}

/// The server's postmaster, where it can't answer by the kernel's own word.
pub fn stuck(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<(u32, &'static str)> {
    if look.here != Some(true) {
        return None;
    }
    // Of several units the one that is stuck may be another's.
    let by_unit = || match units(p, now).as_slice() {
        [(name, _)] => facts::stuck_process(now, name),
        _ => None,
    };
    let by_table = || stuck_of(p, look.postmasters.seen()?);
    by_unit().or_else(by_table)
}

/// Whether a postmaster that is known to be this server's is the main process of this unit.
pub fn runs_in(p: &Postgres, look: &PostgresLook, unit: &str, now: &Snapshot) -> bool {
    let main = now.units.process.get(unit).and_then(|l| l.seen()).map(|process| process.pid);
    let own = |m: &&&Postmaster| Some(m.pid) == main && same_folder(p, m) != Some(false);
    postmasters(p, look).0.iter().any(|m| own(&m))
}

/// The postmaster of these that is the server's: the only one is, unless it is known to be another's.
pub fn one<'a>(p: &Postgres, all: &'a [Postmaster]) -> Option<&'a Postmaster> {
    match all {
        [one] if is_ours(p, one) != Some(false) => Some(one),
        _ => all.iter().find(|m| is_ours(p, m) == Some(true)),
    }
}

/// That one, where it can't answer.
pub fn stuck_of(p: &Postgres, all: &[Postmaster]) -> Option<(u32, &'static str)> {
    one(p, all).and_then(|m| Some((m.pid, facts::stuck(&m.state)?)))
}
