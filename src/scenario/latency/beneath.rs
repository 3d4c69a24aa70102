//! What lies beneath services that are slow: the host that they run on. Asked of those that run here alone,
//! and said last: what takes the host may be the work that another cause is told of.

use std::collections::BTreeSet;

use super::host::{Judged, involved};
use super::slow::{Slow, slow};
use super::{database, devices, network, processors, service, tables};
use crate::config::{Config, Service};
use crate::diagnosis::{Cause, Evidence, Finding, Stand};
use crate::scenario::against::ruled_out;
use crate::scenario::facts;
use crate::snapshot::{Again, Looks, Reading};

/// What is read of the host for these, and for those that say that they get no port.
pub fn again<'a>(mut names: BTreeSet<&'a str>, looks: &Looks, config: &'a Config) -> Option<Again> {
    let without = config.service.iter().filter(|s| is_without_port(s, looks));
    names.extend(without.map(|s| s.name.as_str()));
    names.retain(|n| config.is_here(n));
    (!names.is_empty()).then(|| Again::Load(names.into_iter().map(ToOwned::to_owned).collect()))
}

/// By its own words: EADDRNOTAVAIL, or EAGAIN of a system whose range is used up.
fn is_without_port(s: &Service, looks: &Looks) -> bool {
    facts::health(&looks.now, &s.name).is_some_and(|h| {
        h.is_bad() && h.messages.iter().any(|m| m.to_lowercase().contains("assign requested address"))
    })
}

/// All that holds, and the services of which it is told.
pub fn detect(
    slow: &[Slow],
    told: &[Finding],
    looks: &Looks,
    config: &Config,
) -> (Vec<Finding>, BTreeSet<String>) {
    let busy = busy(told);
    let mut all: Vec<Judged> = Vec::new();
    if !slow.is_empty() {
        all.extend([
            processors::saturated(slow, &busy, looks, config),
            devices::saturated(slow, &busy, looks, config),
            network::loss(slow, looks, config),
            network::tracked(slow, looks),
        ]);
    }
    let names: BTreeSet<&str> = slow.iter().flat_map(|s| involved(&s.s.name, config)).collect();
    all.extend(names.into_iter().map(|name| of_quota(name, slow, looks, config)));
    all.extend(slow.iter().map(|s| network::overflow(s, looks)));
    let without = |s: &&Service| slow.iter().any(|x| x.s.name == s.name) || is_without_port(s, looks);
    all.extend(config.service.iter().filter(without).map(|s| network::ports(&s.name, looks, config)));
    let (found, about): (Vec<_>, Vec<_>) = all.into_iter().filter_map(Result::ok).unzip();
    (found, about.into_iter().flatten().collect())
}

/// What was seen of the host, and spoke against it; or could not be seen: the first word of each.
pub fn looked_at(s: &Slow, slow: &[Slow], told: &[Finding], looks: &Looks, config: &Config) -> Vec<Evidence> {
    if matches!(looks.now.host.load, Reading::NotAsked { .. }) || !config.is_here(&s.s.name) {
        return Vec::new();
    }
    let busy = busy(told);
    let judged = [
        processors::saturated(slow, &busy, looks, config),
        processors::throttled(&s.s.name, &[s], looks),
        devices::saturated(slow, &busy, looks, config),
        network::overflow(s, looks),
        network::loss(slow, looks, config),
    ];
    let seen = judged.into_iter().filter_map(|j| match j {
        Err(Stand::RuledOut(facts) | Stand::Unseen(facts)) => facts.into_iter().next().map(|f| f.seen),
        Err(Stand::Holds) | Ok(_) => None,
    });
    seen.collect()
}

/// Of whom something is told that takes processors and disks. Who only waits takes nothing.
fn busy(told: &[Finding]) -> BTreeSet<&str> {
    let waits: [&Cause; 4] = [
        &service::POOL_WAIT,
        &database::LOCK_WAITS,
        &database::SYNC_REPLICATION_WAIT,
        &tables::REPLICATION_LAG,
    ];
    let works = told.iter().filter(|f| waits.iter().all(|c| c.name != f.cause));
    works.map(|f| f.subject.as_str()).collect()
}

fn of_quota(name: &str, slow: &[Slow], looks: &Looks, config: &Config) -> Judged {
    let own: Vec<&Slow> = slow.iter().filter(|s| involved(&s.s.name, config).contains(name)).collect();
    processors::throttled(name, &own, looks)
}

/// How a cause of the host as a whole stands, where somebody is slow.
pub fn stand(cause: &Cause, told: &[Finding], looks: &Looks, config: &Config) -> Stand {
    let slow = slow(looks, config);
    let busy = busy(told);
    let judged = match cause.name {
        name if name == processors::CPU_SATURATED.name => processors::saturated(&slow, &busy, looks, config),
        name if name == devices::IO_SATURATED.name => devices::saturated(&slow, &busy, looks, config),
        name if name == network::NETWORK_LOSS.name => network::loss(&slow, looks, config),
        _ => network::tracked(&slow, looks),
    };
    judged.map_or_else(|stand| stand, |_| Stand::Holds)
}

/// What speaks against a quota of this one being why those that need it are slow.
pub fn quota(name: &str, looks: &Looks, config: &Config) -> Stand {
    of_quota(name, &slow(looks, config), looks, config).map_or_else(|stand| stand, |_| Stand::Holds)
}

pub fn ports(name: &str, looks: &Looks, config: &Config) -> Stand {
    network::ports(name, looks, config).map_or_else(|stand| stand, |_| Stand::Holds)
}

/// What speaks against a full queue.
pub fn queue(name: &str, looks: &Looks, config: &Config) -> Stand {
    match slow(looks, config).iter().find(|s| s.s.name == name) {
        Some(s) => network::overflow(s, looks).map_or_else(|stand| stand, |_| Stand::Holds),
        None => ruled_out("http health", name, "it is not slow", "a service that is slow"),
    }
}
