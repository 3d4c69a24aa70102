//! A service that is told of another database than what is looked at: all else that is said of the
//! two would be beside the point. Which of them is right only people know.

use super::super::facts;
use super::super::targets::{Elsewhere, How, elsewhere, uses};
use crate::config::{Config, Service};
use crate::diagnosis::Relation::Same;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::snapshot::Snapshot;

pub static WRONG_TARGET: Cause = Cause {
    name: "db-down/wrong-target",
    severity: Severity::P2,
    title: "a service's own settings name another database",
    explains: &[
        ("server-crash/unhealthy", Same),
        ("server-crash/hung", Same),
        ("server-crash/failed", Same),
        ("server-crash/not-listening", Same),
        ("server-crash/malformed-health", Same),
        ("server-crash/mcp-broken", Same),
    ],
};

/// A service that is well with another database is told as well where it is seen there: it may write
/// into a copy, and nobody else will notice. Its environment alone is a note then: that is what it was
/// started with, not what it uses.
pub fn detect(s: &Service, now: &Snapshot, config: &Config) -> Option<Finding> {
    let Elsewhere { target, server, how } = elsewhere(s, now, config)?;
    let well = facts::health(now, &s.name).is_some_and(|h| !h.is_bad());
    let looked = match how {
        How::Database => format!("{}, database {}", endpoint(server, now), server.databases.join(" or ")),
        _ => endpoint(server, now),
    };
    let proven = how.sure() && (!well || uses(s, target, server, now));
    let what = match how {
        How::Database => "another database of the same server",
        How::Cluster(_) => "another cluster of this host",
        How::Closed => "nothing listens there",
        How::Unresolved => "a name that does not resolve here",
        How::Unclear => "not known to lead to the same server",
    };
    let mut f = Finding::new(
        &WRONG_TARGET,
        &s.name,
        if proven { Certainty::Proven } else { Certainty::Likely },
        format!("{} is told of {target}, and {looked} is looked at: {what}", s.name),
    )
    .severity(if well && !proven { Severity::P4 } else { Severity::P2 })
    .saw("/proc", &target.source, target.to_string())
    .saw_if("/proc", "as role", target.user.clone())
    .saw("configuration", &format!("url of {}", server.name), looked);
    if let How::Cluster(pid) = how {
        f = f.saw("/proc", "listens there", format!("postmaster {pid}"));
    }
    let door = now.network.doors.get(&target.endpoint()).and_then(|d| d.failure());
    f = f.saw_if("tcp", &target.endpoint(), door.map(|d| d.detail.clone()));
    Some(f.remedy(
        match &s.unit {
            Some(unit) => format!("systemctl cat {}", shell_word(unit)),
            None => format!("mcp-ir runbook {}", WRONG_TARGET.name.replace('/', "#")),
        },
        format!(
            "Mend whichever is wrong: the service's setting, or `url` and `databases` of {}",
            server.name
        ),
        Risk::Safe,
    ))
}

fn endpoint(p: &crate::config::Postgres, now: &Snapshot) -> String {
    now.postgres.get(&p.name).map_or_else(|| p.url.to_string(), |l| l.endpoint.clone())
}
