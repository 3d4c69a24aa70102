//! What speaks against each cause of a service that does not do its work. A line a cause.

use super::super::against::{Against, Against::Named, Against::Service, OfService, ruled_out, unseen, why};
use super::super::facts::{self, state};
use super::super::place::Place;
use super::{
    answer, certificate, dependency, died, mcp, port, shortage, silent, state as own_state, unit, unreachable,
};
use crate::diagnosis::{Cause, Fact, Stand};
use crate::snapshot::{FailKind, Reading};

pub static WHY_NOT: &[(&Cause, Against)] = &[
    (&unit::STOPPED, Service(|c, s| told(c, s, "a unit or container that ended without a failure"))),
    (&unit::STOPPED_ON_PURPOSE, Service(|c, s| told(c, s, "a unit or container that somebody had stopped"))),
    (&died::FAILED, Service(|c, s| told(c, s, "a unit or container that died"))),
    (
        &died::OOM_KILLED,
        Service(|c, s| {
            told(c, s, "a word of systemd's, the engine's or the kernel's that it was killed for memory")
        }),
    ),
    (&died::CRASH_LOOP, Service(|c, s| told(c, s, "three restarts of late, or the start limit"))),
    (
        &died::BAD_CONFIGURATION,
        Service(|c, s| told(c, s, "a death at its start, and last words that name a setting")),
    ),
    (
        &own_state::CORRUPTED_STATE,
        Service(|c, s| {
            told(c, s, "a death at its start, and last words on a file of its own that is broken")
        }),
    ),
    (&shortage::DISK_FULL, Service(|c, s| told(c, s, "a line of its own that finds no space left"))),
    (
        &shortage::TASKS_LIMIT,
        Service(|c, s| told(c, s, "a unit at its TasksMax, or a fork that was refused")),
    ),
    (
        &died::EXEC_FAILED,
        Service(|c, s| told(c, s, "a unit that ended with 200 to 243, or an engine that could not start it")),
    ),
    (
        &port::PORT_CONFLICT,
        Service(|c, s| told(c, s, "it is down, and its port held by a process of another")),
    ),
    (&unit::NOT_LISTENING, Service(|c, s| told(c, s, "it runs since long, its port refused"))),
    (&unit::UNIT_MISSING, Service(|c, s| told(c, s, "a unit or container that is not there, or masked"))),
    (
        &silent::PAUSED,
        Service(|c, s| told(c, s, "a control group that is frozen, or a container that is paused")),
    ),
    (
        &unreachable::UNREACHABLE,
        Service(|c, s| told(c, s, "no connection, by a route, a rule, or a host that does not answer")),
    ),
    (&silent::HUNG, Service(|c, s| told(c, s, "a connection that is made, and no answer in time"))),
    (&answer::UNHEALTHY, Service(|c, s| told(c, s, "an answer that says unhealthy, or a 5xx"))),
    (&answer::MALFORMED, Service(|c, s| told(c, s, "an answer that can't be read"))),
    (&mcp::MCP_BROKEN, Service(no_handshake)),
    (&dependency::DEPENDENCY_DOWN, Named(dependency::stands)),
    (&certificate::CERTIFICATE_ENDS, Named(|looks, config| certificate::stands(&looks.now, config))),
];

/// A service has one of these causes at most: the evidence of the one that it has rules out all others.
fn told(cause: &Cause, s: &OfService, needs: &str) -> Stand {
    match super::detect(s.s, s.unclear, s.now) {
        Some(f) if f.cause == cause.name => Stand::Holds,
        Some(f) => Stand::RuledOut(Fact::of(&f, needs)),
        None => nothing_found(cause, s, needs),
    }
}

fn no_handshake(cause: &Cause, s: &OfService) -> Stand {
    match super::detect(s.s, s.unclear, s.now) {
        Some(f) if f.cause == cause.name => Stand::Holds,
        Some(f) => Stand::RuledOut(Fact::of(&f, "a service that is alive, and a handshake that fails")),
        None => mcp::stand(s.s, s.now),
    }
}

fn nothing_found(cause: &Cause, s: &OfService, needs: &str) -> Stand {
    let by_answer = [&answer::UNHEALTHY, &answer::MALFORMED].iter().any(|c| c.name == cause.name);
    let by_silence =
        [&silent::HUNG, &silent::PAUSED, &unreachable::UNREACHABLE].iter().any(|c| c.name == cause.name);
    let look = s.now.services.get(&s.s.name).filter(|_| s.s.url.is_some() && s.s.health.is_some());
    let Some(look) = look else {
        if by_answer || by_silence || s.s.url.is_some() && s.s.health.is_some() {
            return unseen("http health", &s.s.name, "not looked at", needs);
        }
        return by_place(s, needs);
    };
    let health = vec![Fact::new("http health", &s.s.name, why(&look.health), needs)];
    match &look.health.reading {
        Reading::Seen { value } => {
            let says = match &value.database {
                Some(db) => format!("answers HTTP {}, not unhealthy; database {db}", value.http_status),
                None => format!("answers HTTP {}, not unhealthy", value.http_status),
            };
            ruled_out("http health", &s.s.name, says, needs)
        }
        Reading::Failed(f) => match f.kind {
            // It is alive, and does not let us look.
            FailKind::Denied if by_answer => Stand::Unseen(health),
            FailKind::Denied => Stand::RuledOut(health),
            FailKind::Refused | FailKind::Closed if by_answer => Stand::RuledOut(health),
            FailKind::Refused | FailKind::Closed if by_silence => Stand::RuledOut(health),
            FailKind::Refused | FailKind::Closed => by_place(s, needs),
            _ => Stand::Unseen(health),
        },
        Reading::NotAsked { .. } => Stand::Unseen(health),
    }
}

fn by_place(s: &OfService, needs: &str) -> Stand {
    match Place::of(s.s) {
        Some(Place::Unit(name)) => by_unit(name, s, needs),
        Some(Place::Container(name)) => by_container(name, s, needs),
        None => unseen("configuration", "unit, container", "none", needs),
    }
}

fn by_unit(name: &str, s: &OfService, needs: &str) -> Stand {
    let Reading::Seen { value } = &s.now.units.listed.reading else {
        return unseen("systemd", name, why(&s.now.units.listed), needs);
    };
    let Some(u) = value.get(name) else { return unseen("systemd", name, "not listed", needs) };
    let since = facts::detail(s.now, name).and_then(|d| d.state_since);
    let since = since.map_or_else(String::new, |t| format!(" since {t}"));
    ruled_out("systemd", name, format!("{}, {}{since}", u.load, state(u)), needs)
}

fn by_container(name: &str, s: &OfService, needs: &str) -> Stand {
    let Some(look) = s.now.containers.get(name) else {
        return unseen("docker", name, "not looked at", needs);
    };
    match &look.inspected.reading {
        Reading::Seen { value } => ruled_out("docker", name, value.words(), needs),
        Reading::Failed(f) if look.is_missing() => ruled_out("docker", name, f.detail.clone(), needs),
        Reading::Failed(_) | Reading::NotAsked { .. } => unseen("docker", name, why(&look.inspected), needs),
    }
}
