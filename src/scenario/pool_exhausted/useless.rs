//! Who holds slots of a server for nothing, the most useless first: idle in a transaction for long, then
//! idle for long by whoever is not under care. A pool keeps its spares: what its least is, it does not say.

use std::cmp::Reverse;

use super::holders;
use crate::config::{Config, Postgres};
use crate::snapshot::postgres::{Server, Session};

/// Room is made in lots: a plan shall be the same a moment later.
const LOT: usize = 8;

/// As many as it takes until the slots are as free as a pool that has recovered. `None`: all that there are
/// would not do.
pub fn sessions<'a>(
    p: &Postgres,
    all: &'a [Session],
    server: &Server,
    config: &Config,
) -> Option<Vec<&'a Session>> {
    let t = &config.thresholds;
    let limit = t.idle_in_transaction.as_secs_f64();
    let idle = |s: &Session| {
        let kept = may_be_a_spare(s, config) || listens(s) || holders::meant_to_last(&s.application);
        s.state == "idle" && !kept
    };
    let useless = |s: &&Session| {
        p.databases.contains(&s.database) && s.state_s > limit && (holders::is_idle(s) || idle(s))
    };
    let mut found: Vec<&Session> = all.iter().filter(useless).collect();
    let age = |s: &Session| (s.state_s * 1000.0) as u64;
    // Behind a keep-alive, or the end of a transaction, there may be a `LISTEN` that is not seen: last.
    let hides = |s: &Session| ["commit", "select ?"].iter().any(|q| is_just(s, q));
    found.sort_by_key(|s| (!s.idle_in_transaction(), hides(s), Reverse(age(s)), s.pid));
    let enough = (t.pool * f64::from(server.slots())) as usize;
    if (server.used as usize).saturating_sub(found.len()) >= enough {
        return None;
    }
    found.truncate(wanted(server, config));
    Some(found)
}

/// How many slots have to come free until they are as free as a pool that has recovered.
pub fn wanted(server: &Server, config: &Config) -> usize {
    let free = (config.thresholds.pool_recovered * f64::from(server.slots())) as usize;
    (server.used as usize).saturating_sub(free).next_multiple_of(LOT)
}

/// A nameless one may be of a pool.
pub fn may_be_a_spare(s: &Session, config: &Config) -> bool {
    is_nameless(&s.application) || is_under_care(&s.application, config)
}

/// Who listens waits for what comes.
pub fn listens(s: &Session) -> bool {
    s.state == "idle" && first_word_is(s, "listen")
}

/// `codebase-mcp/worker-2` is a service's as well.
fn is_under_care(application: &str, config: &Config) -> bool {
    let lower = application.to_ascii_lowercase();
    let goes_on = |name: &str| {
        let rest = lower.strip_prefix(&name.to_ascii_lowercase());
        rest.is_some_and(|r| !r.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    config.service.iter().any(|of| goes_on(&of.name))
}

/// What a driver calls itself where nobody gave it a name.
fn is_nameless(application: &str) -> bool {
    const DRIVERS: [&str; 3] = ["postgresql jdbc driver", "npgsql", "pgbouncer"];
    let lower = application.to_ascii_lowercase();
    lower.trim().is_empty() || DRIVERS.contains(&lower.as_str())
}

fn is_just(s: &Session, statement: &str) -> bool {
    s.query.trim().trim_end_matches(';').trim_end().eq_ignore_ascii_case(statement)
}

fn first_word_is(s: &Session, word: &str) -> bool {
    s.query.split_whitespace().next().is_some_and(|w| w.eq_ignore_ascii_case(word))
}
