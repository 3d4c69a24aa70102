//! One act: is it consented to, does its precondition still hold, and then it is done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::systemd::{Job, RESTART, START, STOP};
use super::{
    Tell, aside, care, connections, files, holder, http, postgres, proof, redis, removal, systemd, upkeep,
};
use crate::config::Loaded;
use crate::consent::Consent;
use crate::plan::{Act, Needs};
use crate::probe::postgres::Session;
use crate::snapshot::Failure;

/// Where acts are done: the configuration, with its secrets, and the sessions that are ours already, by
/// server: the last slot is not taken twice. And whom it is told to, how far a long one has come.
#[derive(Clone, Copy)]
pub struct World<'a>(pub &'a Loaded, pub Option<&'a Sessions>, pub Option<Tell<'a>>);

pub type Sessions = BTreeMap<String, Session>;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    pub detail: String,
    /// The run of the unit that was begun: its undo is for that one alone.
    pub made: Option<String>,
    /// It was so already: nothing was changed.
    pub already: bool,
}

/// Why not, and whether the world is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// Not a step of the plan that was consented to.
    NotInPlan,
    /// What was seen does not hold any more: nothing was changed.
    Changed(String),
    /// It was not begun: nothing was changed.
    Refused { why: String, hint: Option<String> },
    /// It was begun, and did not end well or not in time.
    Broken(String),
    /// It was begun, and goes on without us: what it comes to a look has to say.
    GoesOn(String),
    /// A proof that could not be looked at: that is none, and no evidence against what it was for.
    Unseen(String),
}

impl Done {
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::default() }
    }

    pub fn already(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), already: true, made: None }
    }
}

impl Failed {
    pub fn words(&self) -> String {
        match self {
            Failed::NotInPlan => "it is no step of the plan that was agreed to".into(),
            Failed::Changed(why) | Failed::Broken(why) | Failed::GoesOn(why) | Failed::Unseen(why) => {
                why.clone()
            }
            Failed::Refused { why, hint: Some(hint) } => format!("{why} ({hint})"),
            Failed::Refused { why, hint: None } => why.clone(),
        }
    }

    /// Whether something may be another than before.
    pub fn touched(&self) -> bool {
        matches!(self, Failed::Broken(_) | Failed::GoesOn(_))
    }

    /// A failure before anything was begun. Of a login, an address, an answer: what the bus denies says itself
    /// who may.
    pub fn before(f: &Failure) -> Self {
        Failed::Refused { why: f.detail.clone(), hint: None }
    }
}

/// Does one act of the plan that was consented to.
pub async fn apply(
    act: &Act,
    needs: &Needs,
    consent: &Consent,
    world: World<'_>,
    deadline: Instant,
) -> Result<Done, Failed> {
    if !consent.covers(act, needs) {
        return Err(Failed::NotInPlan);
    }
    let Loaded { config, secrets, .. } = world.0;
    care::under_care(act, config).map_err(|why| Failed::Refused { why, hint: None })?;
    match act {
        Act::StartUnit { unit } => systemd::job(START, unit, needs, config, deadline).await,
        Act::StopUnit { unit } => systemd::job(STOP, unit, needs, config, deadline).await,
        Act::RestartUnit { unit } => systemd::job(RESTART, unit, needs, config, deadline).await,
        Act::RestartByForce { unit, grace_s } => {
            let job = Job { grace: Some(Duration::from_secs(*grace_s)), ..RESTART };
            systemd::job(job, unit, needs, config, deadline).await
        }
        Act::RestartFast { unit, grace_s } => {
            let job = Job { grace: grace_s.map(Duration::from_secs), fast: true, ..RESTART };
            systemd::job(job, unit, needs, config, deadline).await
        }
        Act::ResetFailed { unit } => systemd::call("ResetFailedUnit", unit, needs, config, deadline).await,
        Act::Thaw { unit } => systemd::call("ThawUnit", unit, needs, config, deadline).await,
        Act::Freeze { unit } => systemd::call("FreezeUnit", unit, needs, config, deadline).await,
        Act::Continue { unit } => systemd::go_on(unit, needs, config, deadline).await,
        Act::DropIn { unit, from, to } => {
            if *needs != Needs::Nothing {
                systemd::holds(unit, needs, config, deadline).await?;
            }
            let done = files::swap(unit, from.as_deref(), to.as_deref(), config, deadline).await?;
            // Also where the file stands already: a run that was cut off may not have come to it.
            systemd::reload(config, deadline).await?;
            Ok(done)
        }
        Act::Prove { unit, variable, value } => {
            proof::variable(unit, variable, value, config, deadline).await
        }
        Act::ProveQuiet { unit, level } => proof::quiet(unit, level, config, deadline).await,
        Act::ProveLimit { unit, key, value } => proof::limit(unit, key, *value, config, deadline).await,
        Act::ResizePool { service, url, from, to } => {
            let s = config.service(service).ok_or_else(|| gone(service))?;
            http::resize(s, secrets.headers(service), url, (*from, *to), deadline).await
        }
        Act::EndSession(whom) => {
            let p = config.postgres(&whom.server).ok_or_else(|| gone(&whom.server))?;
            let session = world.1.and_then(|all| all.get(&whom.server));
            postgres::end(p, session, secrets.postgres(&whom.server), whom, deadline).await
        }
        Act::SetAside { service, aside: a } | Act::PutBack { service, aside: a } => {
            let unit =
                config.service(service).and_then(|s| s.unit.as_deref()).ok_or_else(|| gone(service))?;
            systemd::holds(unit, needs, config, deadline).await?;
            aside::swap(a, matches!(act, Act::PutBack { .. }), config, deadline).await
        }
        Act::EndHolder(h) => {
            let s = config.service(&h.service).ok_or_else(|| gone(&h.service))?;
            let unit = s.unit.as_deref().ok_or_else(|| gone(&h.service))?;
            systemd::holds(unit, needs, config, deadline).await?;
            holder::end(h, s, config, deadline).await
        }
        Act::Upkeep(u) => {
            let p = config.postgres(&u.server).ok_or_else(|| gone(&u.server))?;
            upkeep::upkeep(p, secrets.postgres(&u.server), u, world.2, deadline).await
        }
        Act::Flush(f) => {
            let r = config.redis(&f.redis).ok_or_else(|| gone(&f.redis))?;
            redis::flush(r, secrets.redis(&f.redis), f, deadline).await
        }
        Act::Remove(r) => {
            let p = config.postgres(&r.server).ok_or_else(|| gone(&r.server))?;
            let session = world.1.and_then(|all| all.get(&r.server));
            removal::remove(p, session, secrets.postgres(&r.server), r, deadline).await
        }
        Act::Connections(c) => {
            let p = config.postgres(&c.server).ok_or_else(|| gone(&c.server))?;
            connections::set(p, secrets.postgres(&c.server), c, config, deadline).await
        }
        Act::ProveConnections { server, value } => {
            let p = config.postgres(server).ok_or_else(|| gone(server))?;
            connections::prove(p, secrets.postgres(server), *value, deadline).await
        }
        Act::Wait { .. } => Ok(Done::new("it goes on by itself")),
    }
}

fn gone(name: &str) -> Failed {
    Failed::Refused { why: format!("nothing under care is called {name} any more"), hint: None }
}
