//! A pooler that has no connection to give: by its own console, else by what its clients say.

use super::super::against::{OfServer, ruled_out, unseen, why};
use super::super::facts;
use super::super::witness::{self, Witness};
use super::STARVED;
use crate::config::{Config, Pooler, Postgres};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Stand};
use crate::snapshot::pooler::Pool;
use crate::snapshot::{Looks, Snapshot};

pub static POOLER_FULL: Cause = Cause {
    name: "pool-exhausted/pooler-full",
    severity: Severity::P2,
    title: "the pooler has no connection to give",
    explains: &STARVED,
};

/// Clients wait for moments wherever a pool is used well.
pub const WAIT_S: f64 = 1.0;

pub fn detect(now: &Snapshot, config: &Config) -> Vec<Finding> {
    let poolers = config.pooler.iter().filter_map(|p| by_console(p, now, config));
    poolers.chain(config.postgres.iter().filter_map(|p| by_words(p, now, config))).collect()
}

/// All connections of a pool are taken, and clients have waited for one; or no client is taken.
fn by_console(p: &Pooler, now: &Snapshot, config: &Config) -> Option<Finding> {
    let look = now.poolers.get(&p.name)?;
    let witnesses = witness::of(&p.name, now, config, witness::pooler_full);
    let Some(pools) = look.pools.seen() else {
        // It can't be looked into, or gives nothing any more: then its clients' words are all there is.
        let first = witnesses.first()?;
        let summary = format!("{} gives {} no connection: {}", p.name, first.service, first.text);
        let f = Finding::new(&POOLER_FULL, &p.name, Certainty::Likely, summary);
        return Some(remedy(witness::heard(f, &witnesses)));
    };
    // Those who gave up waiting count as well: between two of them nobody waits.
    let full = |x: &&Pool| x.taken() && (x.waiting > 0 && x.max_wait_s >= WAIT_S || !witnesses.is_empty());
    let full: Vec<&Pool> = pools.all.iter().filter(full).collect();
    let summary = match full.first() {
        Some(x) => format!(
            "all {} connections of {} for {} as {} are taken, and {} wait",
            x.busy,
            p.name,
            x.database,
            x.user,
            facts::count(usize::try_from(x.waiting).unwrap_or(usize::MAX), "client")
        ),
        None if pools.no_more_clients() => {
            format!("{} takes no more clients: {} are there", p.name, pools.clients.unwrap_or(0))
        }
        None => return None,
    };
    let mut f = Finding::new(&POOLER_FULL, &p.name, Certainty::Proven, summary);
    for x in full.iter().take(5) {
        f = f.saw("pgbouncer", &format!("pool {} as {}", x.database, x.user), shown(x));
    }
    if let (Some(n), Some(max)) = (pools.clients, pools.max_clients) {
        f = f.saw("pgbouncer", "clients", format!("{n} of max_client_conn {max}"));
    }
    Some(remedy(witness::heard(f, &witnesses)))
}

fn shown(x: &Pool) -> String {
    let size = x.size.map_or_else(|| "?".to_owned(), |s| s.to_string());
    format!("{} of {size} taken, {} waiting, the longest for {:.1} s", x.busy, x.waiting, x.max_wait_s)
}

/// Only a pgbouncer says so: one that is not configured stands between. Where the server itself takes
/// no logins, it is that which is missing.
fn by_words(p: &Postgres, now: &Snapshot, config: &Config) -> Option<Finding> {
    let look = now.postgres.get(&p.name).filter(|l| facts::takes_logins(l))?;
    let witnesses = unconfigured(p, now, config);
    let first = witnesses.first()?;
    let summary =
        format!("a pooler before {} has no connection for {}: {}", p.name, first.service, first.text);
    let f = witness::heard(Finding::new(&POOLER_FULL, &p.name, Certainty::Likely, summary), &witnesses);
    Some(remedy(f.saw("postgres login", &look.endpoint, "answers logins")))
}

/// The words of services that go through no configured pooler.
fn unconfigured<'a>(p: &'a Postgres, now: &'a Snapshot, config: &'a Config) -> Vec<Witness<'a>> {
    let mut all = witness::of(&p.name, now, config, witness::pooler_full);
    all.retain(|w| !config.needs(w.service).iter().any(|n| config.pooler(n).is_some()));
    all
}

fn remedy(f: Finding) -> Finding {
    f.remedy(
        format!("mcp-ir runbook {}", POOLER_FULL.name.replace('/', "#")),
        "See who holds its connections; then a larger pool_size, within the server's slots, and RELOAD",
        Risk::Disruptive,
    )
}

/// What speaks against it, at each pooler and at each server.
pub fn why_not(looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let now = &looks.now;
    let found = detect(now, config);
    let holds = |name: &str| found.iter().any(|f| f.subject == name);
    let poolers = config.pooler.iter().map(|p| {
        let needs = "all its connections taken, and clients that wait for over 1 s";
        let stand = match now.poolers.get(&p.name) {
            _ if holds(&p.name) => Stand::Holds,
            None => unseen("pgbouncer", &p.name, "not looked at", needs),
            Some(look) => match look.pools.seen() {
                None => unseen("pgbouncer", &p.name, why(&look.pools), needs),
                Some(pools) => {
                    let all: Vec<String> =
                        pools.all.iter().map(|x| format!("{}: {}", x.database, shown(x))).collect();
                    let all = if all.is_empty() { "none is used".into() } else { all.join("; ") };
                    ruled_out("pgbouncer", "pools", all, needs)
                }
            },
        };
        (p.name.clone(), stand)
    });
    let servers = config.postgres.iter().map(|p| {
        let needs = "a service that says so of a pooler that is not configured";
        let stand = match now.postgres.get(&p.name) {
            _ if holds(&p.name) => Stand::Holds,
            None => unseen("postgres login", &p.name, "not looked at", needs),
            Some(look) => {
                let s = OfServer { p, look, now, before: None, config };
                match Stand::all([s.takes_logins(), s.says(witness::pooler_full, needs)]) {
                    Stand::Holds => {
                        ruled_out("configuration", "pooler", "they go through one of these", needs)
                    }
                    stand => stand,
                }
            }
        };
        (p.name.clone(), stand)
    });
    poolers.chain(servers).collect()
}
