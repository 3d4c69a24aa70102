//! Locks that hold others up: a session's, or a prepared transaction's. The root, not its victims.

use std::collections::BTreeSet;

use super::super::{facts, removal};
use super::HOLDS;
use super::full::{CLIENT_POOL_SATURATED, SERVER_SLOTS_FULL};
use super::holders::{end_sessions, frees, session_name, within_rights};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::plan::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::{Prepared, Server, Session};

pub static BLOCKING_CHAIN: Cause = Cause {
    name: "pool-exhausted/blocking-chain",
    severity: Severity::P2,
    title: "one session's lock holds up others",
    explains: &HOLDS,
};
pub static PREPARED_TRANSACTION: Cause = Cause {
    name: "pool-exhausted/prepared-transaction",
    severity: Severity::P2,
    title: "a prepared transaction's lock holds up others",
    explains: &HOLDS,
};

/// A root blocker with victims that wait over a second. Victims are not ended: they are freed.
pub fn chain(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Option<Finding> {
    let roots = facts::root_blockers(server);
    let worst = roots.iter().max_by_key(|r| r.victims.len())?;
    // Who waits for two of them is one victim.
    let members: BTreeSet<i32> =
        roots.iter().flat_map(|r| r.victims.iter().copied().chain([r.session.pid])).collect();
    let members: Vec<&Session> = server.sessions.iter().filter(|s| members.contains(&s.pid)).collect();
    let freed = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let others = match roots.len() {
        1 => String::new(),
        n => format!("; and {} more like it", facts::count(n - 1, "session")),
    };
    let apart = pools_apart(p, &members, now, config);
    let mut f = Finding::new(
        &BLOCKING_CHAIN,
        &p.name,
        Certainty::Proven,
        format!(
            "{} of {} ({}) holds locks that {} wait for{others}",
            session_name(worst.session),
            worst.session.user,
            worst.session.state,
            facts::count(worst.victims.len(), "session")
        ),
    )
    .spares_if(SERVER_SLOTS_FULL.name, facts::slots_full(server.used.saturating_sub(freed), server, config))
    .spares_if(CLIENT_POOL_SATURATED.name, apart);
    for r in roots.iter().take(5) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} blocks {}", r.session.pid, r.victims.len()),
            format!("{} for {}: {}", r.session.state, facts::age(r.session.state_s), r.session.query),
        );
    }
    let roots: Vec<&Session> = roots.iter().map(|r| r.session).collect();
    Some(f.remedy(
        end_sessions(p, &roots),
        within_rights("End the root only: its victims go on by themselves", roots.len()),
        Risk::Disruptive,
    ))
}

/// Sessions that wait for pid 0, near or far: locks without a session (wire.md 9).
pub fn prepared(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Option<Finding> {
    let by_pid = facts::by_pid(server);
    let waits = |s: &&Session| s.state_s > 1.0 && facts::waits_for(s, &by_pid).contains(&0);
    let victims: Vec<&Session> = server.sessions.iter().filter(waits).collect();
    // Its locks are in its own database, and nobody has waited longer than it is old.
    let near = |x: &&Prepared| x.age_s > 1.0 && victims.iter().any(|v| v.database == x.database);
    let mut suspects: Vec<&Prepared> = server.prepared.iter().filter(near).collect();
    suspects.sort_by(|a, b| b.age_s.total_cmp(&a.age_s));
    let oldest = *suspects.first()?;
    let freed = u32::try_from(victims.len()).unwrap_or(u32::MAX);
    let sure = suspects.len() == 1;
    let mut f = Finding::new(
        &PREPARED_TRANSACTION,
        &p.name,
        if sure { Certainty::Proven } else { Certainty::Likely },
        format!(
            "prepared transaction '{}' of {} holds locks that {} wait for",
            oldest.gid,
            oldest.owner,
            facts::count(victims.len(), "session")
        ),
    )
    .spares_if(SERVER_SLOTS_FULL.name, facts::slots_full(server.used.saturating_sub(freed), server, config))
    .spares_if(CLIENT_POOL_SATURATED.name, pools_apart(p, &victims, now, config));
    for x in suspects.iter().take(5) {
        f = f.saw(
            "postgres sessions",
            &format!("prepared '{}'", x.gid),
            format!("by {} in {}, {} ago", x.owner, x.database, facts::age(x.age_s)),
        );
    }
    for v in victims.iter().take(3) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} waits", v.pid),
            format!("{}: {}", facts::age(v.state_s), v.query),
        );
    }
    Some(f.remedy(
        format!("mcp-ir runbook {}", PREPARED_TRANSACTION.name.replace('/', "#")),
        decided(p, oldest, config),
        Risk::Destructive,
    ))
}

/// Of which of the two it is said once somebody has decided; and of none that can't be typed.
fn decided(p: &Postgres, x: &Prepared, config: &Config) -> String {
    let ask = "Ask its coordinator whether to COMMIT PREPARED or ROLLBACK PREPARED: nobody else knows";
    if x.gid.chars().any(char::is_control) || x.database != p.url.dbname {
        return ask.into();
    }
    let typed = removal::typed(&Wanted::Prepared(x.gid.clone()), &p.name, config);
    format!("{ask}. Once it says the second: `{typed}`")
}

/// Whether a pool is full, and none that is full is so because of these sessions.
fn pools_apart(p: &Postgres, members: &[&Session], now: &Snapshot, config: &Config) -> bool {
    // A pool is behind the lock where its own sessions are; the nameless may be its own.
    let behind = |s: &Service| {
        let own = members.iter().filter(|m| m.application == s.name || m.application.is_empty()).count();
        frees(s, own, now, config)
    };
    let mut saturated =
        facts::dependents(&p.name, config).filter(|s| facts::saturated(now, &s.name, config)).peekable();
    saturated.peek().is_some() && !saturated.any(behind)
}
