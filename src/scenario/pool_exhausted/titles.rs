//! Sessions that hold every slot for long, where the server lets nobody in any more to ask for them: by
//! its host's word.

use super::full::CLIENT_POOL_SATURATED;
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
        f = f.saw("/proc backends", &facts::holder(h), facts::held(h));
    }
    let words = "A superuser is still let in, by the slots that are reserved";
    // Those of other databases are shown, and never ended; nor is what cannot be named in a command.
    let named =
        held.iter().all(|h| p.databases.contains(&h.database) && plain(&h.database) && plain(&h.user));
    if !named || p.container.is_some() {
        let command = format!("mcp-ir runbook {}", kind.cause.name.replace('/', "#"));
        return Some(f.remedy(command, format!("See what these sessions are. {words}"), Risk::Safe));
    }
    Some(if state == "active" {
        f.remedy(
            look_at(p, &held, limit),
            format!("See these statements, then cancel them. {words}"),
            Risk::Safe,
        )
    } else {
        f.remedy(end(p, &held, limit), format!("End these sessions. {words}"), Risk::Disruptive)
    })
}

fn look_at(p: &Postgres, held: &[&SlotHolder], limit: f64) -> String {
    let what = "pid, usename, application_name, now() - query_start AS age, left(query, 80)";
    let select = format!("SELECT {what} FROM pg_stat_activity WHERE state = 'active'");
    as_superuser(p, &select, "query_start", held, limit)
}

fn end(p: &Postgres, held: &[&SlotHolder], limit: f64) -> String {
    let from = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity";
    let tools: Vec<String> = TOOLS.iter().map(|t| format!("'{t}'")).collect();
    let select = format!(
        "{from} WHERE state LIKE 'idle in transaction%' AND application_name NOT IN ({})",
        tools.join(",")
    );
    as_superuser(p, &select, "state_change", held, limit)
}

/// What can stand in a command that people paste.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Only of the users and in the databases that were seen.
fn as_superuser(p: &Postgres, select: &str, age: &str, held: &[&SlotHolder], limit: f64) -> String {
    let list = |of: fn(&SlotHolder) -> &str| {
        let all: std::collections::BTreeSet<&str> = held.iter().map(|h| of(h)).collect();
        all.into_iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(",")
    };
    format!(
        "sudo -u postgres psql -p {} -c \"{select} AND {age} < now() - interval '{limit:.0} s' \
         AND datname IN ({}) AND usename IN ({})\"",
        p.url.port,
        list(|h| &h.database),
        list(|h| &h.user)
    )
}
