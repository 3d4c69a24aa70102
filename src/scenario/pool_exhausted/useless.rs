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
    let under_care = |s: &Session| config.service.iter().any(|of| of.name == s.application);
    let idle = |s: &Session| {
        // A nameless one may be of a pool; who listens waits for what comes.
        let kept = s.application.is_empty() || under_care(s);
        s.state == "idle" && !kept && !first_word_is(s, "listen") && !holders::meant_to_last(&s.application)
    };
    let useless = |s: &&Session| {
        p.databases.contains(&s.database) && s.state_s > limit && (holders::is_idle(s) || idle(s))
    };
    let mut found: Vec<&Session> = all.iter().filter(useless).collect();
    let age = |s: &Session| (s.state_s * 1000.0) as u64;
    found.sort_by_key(|s| (!s.idle_in_transaction(), Reverse(age(s)), s.pid));
    let (used, slots) = (server.used as usize, f64::from(server.slots()));
    let (free, enough) = ((t.pool_recovered * slots) as usize, (t.pool * slots) as usize);
    if used.saturating_sub(found.len()) >= enough {
        return None;
    }
    found.truncate(used.saturating_sub(free).next_multiple_of(LOT));
    Some(found)
}

fn first_word_is(s: &Session, word: &str) -> bool {
    s.query.split_whitespace().next().is_some_and(|w| w.eq_ignore_ascii_case(word))
}
