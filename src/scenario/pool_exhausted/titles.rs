//! Sessions that hold every slot for long, where the server lets nobody in any more to ask for them: by
//! its host's word.

use super::full::{self, CLIENT_POOL_SATURATED};
use super::holders::{IDLE, Kind, LONG, TOOLS};
use crate::config::{Config, Postgres};
use crate::diagnosis::{Certainty, Finding, Risk};
use crate::scenario::facts;
use crate::snapshot::Snapshot;
use crate::snapshot::slots::SlotHolder;

pub fn detect(p: &Postgres, now: &Snapshot, config: &Config) -> Vec<Finding> {
    let t = &config.thresholds;
    let idle = of(&IDLE, "idle in transaction", t.idle_in_transaction.as_secs_f64(), p, now, config);
    let long = of(&LONG, "active", t.long_query.as_secs_f64(), p, now, config);
    idle.into_iter().chain(long).collect()
}

fn of(
    kind: &Kind,
    state: &str,
    limit: f64,
    p: &Postgres,
    now: &Snapshot,
    config: &Config,
) -> Option<Finding> {
    let look = now.postgres.get(&p.name).filter(|l| facts::is_closed(l))?;
    let slots = look.slots.seen()?;
    let tool = |h: &SlotHolder| h.owner.as_ref().is_some_and(|o| TOOLS.contains(&o.name.as_str()));
    let old = |h: &&SlotHolder| h.state == state && h.newest_s.is_some_and(|s| s > limit) && !tool(h);
    let held: Vec<&SlotHolder> = slots.holders.iter().filter(old).collect();
    let n: u32 = held.iter().map(|h| h.count).sum();
    // Some others would be as many: without these the server must have room.
    if f64::from(n) <= (1.0 - config.thresholds.pool) * f64::from(slots.backends) {
        return None;
    }
    let most = held.iter().max_by_key(|h| h.count)?;
    let oldest = facts::age(held.iter().filter_map(|h| h.oldest_s).fold(0.0, f64::max));
    let whose =
        most.owner.as_ref().map_or_else(|| most.user.clone(), |o| format!("{} ({})", o.name, most.user));
    let summary = format!(
        "{} of {whose}{} {} {oldest}, and hold the server's slots",
        facts::count(n as usize, "session"),
        if held.len() > 1 { " and others" } else { "" },
        kind.does,
    );
    // A title does not say what its statement is meant to do.
    let certainty = if state == "active" { Certainty::Likely } else { Certainty::Proven };
    let mut f = Finding::new(kind.cause, &p.name, certainty, summary)
        .spares_if(CLIENT_POOL_SATURATED.name, true)
        .saw_if("postgres login", &look.endpoint, look.login.failure().map(|f| f.detail.clone()));
    for h in held.iter().take(5) {
        f = f.saw("/proc backends", &full::holder(h), full::held(h));
    }
    let words = "A superuser is still let in, by the slots that are reserved";
    Some(if state == "active" {
        f.remedy(look_at(p, limit), format!("See these statements, then cancel them. {words}"), Risk::Safe)
    } else {
        f.remedy(end(p, limit), format!("End these sessions. {words}"), Risk::Disruptive)
    })
}

fn look_at(p: &Postgres, limit: f64) -> String {
    let what = "pid, usename, application_name, now() - query_start AS age, left(query, 80)";
    as_superuser(
        p,
        &format!("SELECT {what} FROM pg_stat_activity WHERE state = 'active'"),
        "query_start",
        limit,
    )
}

fn end(p: &Postgres, limit: f64) -> String {
    let from = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity";
    as_superuser(p, &format!("{from} WHERE state LIKE 'idle in transaction%'"), "state_change", limit)
}

/// Only in the databases under care, and of those whose name can stand in a command that people paste.
fn as_superuser(p: &Postgres, select: &str, age: &str, limit: f64) -> String {
    let plain = |d: &&String| d.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let names: Vec<String> = p.databases.iter().filter(plain).map(|d| format!("'{d}'")).collect();
    format!(
        "sudo -u postgres psql -p {} -c \"{select} AND {age} < now() - interval '{limit:.0} s' \
         AND datname IN ({})\"",
        p.url.port,
        names.join(",")
    )
}
