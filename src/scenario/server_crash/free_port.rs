//! A port is freed only where that was asked for, and only of somebody's own process: of a unit, a container or
//! who passes connections on, people end the thing itself.

use super::remedy::needs;
use crate::config::{Config, Service};
use crate::plan::{Act, Ask, Draft, Holding, Named, Needs, Risk, draft};
use crate::scenario::place::Place;
use crate::snapshot::Snapshot;
use crate::snapshot::containers::id_of;
use crate::snapshot::process::{Occupant, Occupied};

/// The step that ends whoever listens there, and who that is; `Err` says why it is for people.
pub fn step(
    s: &Service,
    unit: &str,
    grace_s: u64,
    ask: &Ask,
    now: &Snapshot,
    config: &Config,
) -> Result<(Draft, Vec<String>), String> {
    let seen = match ask.near.occupied.get(&s.name) {
        Some(Ok(seen)) => seen,
        Some(Err(why)) => return Err(why.clone()),
        None => return Err("who listens at its port could not be seen".into()),
    };
    let port = s.address().map_or(0, |(_, port)| port);
    let first = root(seen, port)?;
    for o in &seen.by {
        if let Some(why) = spared(o, now, config) {
            return Err(format!("process {} ({}) is not ended: {why}", o.pid, o.name));
        }
    }
    let named = |o: &Occupant| Named {
        pid: o.pid,
        began: o.began,
        program: o.program.clone().unwrap_or_else(|| o.name.clone()),
    };
    let others = seen.by.iter().filter(|o| o.pid != first.pid).map(named);
    let processes = std::iter::once(named(first)).chain(others).collect();
    let notes = seen.by.iter().map(who).collect();
    let act = Act::EndHolder(Holding { service: s.name.clone(), port, processes, grace_s });
    // While it is down: whatever it was started with since then is another matter.
    let down = ["inactive", "failed", "activating"].map(ToOwned::to_owned).to_vec();
    let loops = now.unit(unit).is_some_and(|u| u.sub.starts_with("auto-restart"));
    let needs = if loops {
        Needs::Unit { active: down, invocation: None }
    } else {
        needs(unit, &["inactive", "failed"], now)
    };
    let why = "what it was doing is lost; who needs it starts it again, at another port";
    Ok((draft(act, Risk::Destructive).needs(needs).because(why), notes))
}

/// The one that the others came from.
fn root(seen: &Occupied, port: u16) -> Result<&Occupant, String> {
    if !seen.sees_all {
        return Err("not all processes could be looked at: run it as root".into());
    }
    let roots: Vec<&Occupant> =
        seen.by.iter().filter(|o| !seen.by.iter().any(|other| other.pid == o.parent)).collect();
    match roots[..] {
        [one] => Ok(one),
        [] => Err(format!("nobody listens at port {port} any more")),
        _ => {
            let pids: Vec<String> = roots.iter().map(|o| o.pid.to_string()).collect();
            Err(format!("processes {} listen there, and do not come from one another", pids.join(", ")))
        }
    }
}

/// Who is never ended, and what people do instead.
fn spared(o: &Occupant, now: &Snapshot, config: &Config) -> Option<String> {
    if o.pid <= 1 || o.name == "systemd" {
        return Some("systemd listens for a socket unit: `systemctl list-sockets`".into());
    }
    if let Some(why) = &o.spared {
        return Some(why.clone());
    }
    if o.name == "docker-proxy" {
        return Some("it passes connections on to a container: `docker ps` shows which".into());
    }
    // `pasta.avx2`, `rootlessport-child`.
    if ["rootlessport", "slirp4netns", "pasta"].iter().any(|n| o.name.starts_with(n)) {
        return Some("it passes connections on to somebody's container: `podman ps` shows which".into());
    }
    if o.name.starts_with("sshd") {
        return Some("a session, perhaps yours, goes through it".into());
    }
    if o.name == "ssh" || o.name == "kubectl" {
        return Some("it passes connections on to another machine, for whoever began it".into());
    }
    let Some(group) = o.control_group.as_deref() else {
        return Some("whose it is can't be seen: run it as root".into());
    };
    if let Some(id) = id_of(group) {
        return Some(format!("it is of container {id}: `docker stop {id}` ends it"));
    }
    let own = |s: &&Service| Place::of(s).is_some_and(|place| place.owns(group, now));
    if let Some(s) = config.service.iter().find(own) {
        return Some(format!("it is of {}, which is under care", s.name));
    }
    // The innermost: a scope holds what people start, in whatever that is.
    let innermost = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    let unit = group.rsplit('/').find(innermost).filter(|u| u.ends_with(".service"))?;
    let user = if group.contains("/user@") { " --user" } else { "" };
    Some(format!("it is of {unit}, which would start it again: `systemctl{user} stop {unit}` ends it"))
}

/// Whom somebody agrees to end.
fn who(o: &Occupant) -> String {
    let since = o.since.map(|at| format!(" since {at}")).unwrap_or_default();
    let (program, group) =
        (o.program.as_deref().unwrap_or(&o.name), o.control_group.as_deref().unwrap_or_default());
    let (pid, user, at, line) = (o.pid, &o.user, o.addresses.join(", "), &o.arguments);
    format!("process {pid} is {program} of {user}{since}, in {group}, and listens at {at}: {line}")
}
