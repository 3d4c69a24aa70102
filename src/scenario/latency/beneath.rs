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

/// Of so many it is read what they wait for: those first that others need. The rest is like them.
const CLOSELY: usize = 32;

/// What is read of the host for these, and for those that say that they get no port.
pub fn again<'a>(mut names: BTreeSet<&'a str>, looks: &Looks, config: &'a Config) -> Option<Again> {
    let without = config.service.iter().filter(|s| is_without_port(s, looks));
    names.extend(without.map(|s| s.name.as_str()));
    names.retain(|n| config.is_here(n));
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|n| config.service(n).is_some());
    names.truncate(CLOSELY);
    names.sort_unstable();
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
    let with: Vec<(&Slow, BTreeSet<&str>)> = slow.iter().map(|s| (s, involved(&s.s.name, config))).collect();
    let seen = |name: &&str| looks.now.host.own.contains_key(*name);
    let names: BTreeSet<&str> = with.iter().flat_map(|(_, all)| all).copied().filter(seen).collect();
    all.extend(names.into_iter().map(|name| {
        let own: Vec<&Slow> = with.iter().filter(|(_, all)| all.contains(name)).map(|(s, _)| *s).collect();
        processors::throttled(name, &own, looks, config)
    }));
    all.extend(slow.iter().map(|s| network::overflow(s, looks)));
    let without = |s: &&Service| slow.iter().any(|x| x.s.name == s.name) || is_without_port(s, looks);
    all.extend(config.service.iter().filter(without).map(|s| network::ports(&s.name, looks, config)));
    let (found, about): (Vec<_>, Vec<_>) = all.into_iter().filter_map(Result::ok).unzip();
    (found, about.into_iter().flatten().collect())
}

/// What was seen of the host as a whole, and spoke against it; or could not be seen: the first word of each.
pub fn of_all(slow: &[Slow], told: &[Finding], looks: &Looks, config: &Config) -> Vec<Evidence> {
    let busy = busy(told);
    against([
        processors::saturated(slow, &busy, looks, config),
        devices::saturated(slow, &busy, looks, config),
        network::loss(slow, looks, config),
    ])
}

/// The same of one service, after what was seen of all.
pub fn looked_at(s: &Slow, of_all: &[Evidence], looks: &Looks, config: &Config) -> Vec<Evidence> {
    if matches!(looks.now.host.load, Reading::NotAsked { .. }) || !config.is_here(&s.s.name) {
        return Vec::new();
    }
    let own = [processors::throttled(&s.s.name, &[s], looks, config), network::overflow(s, looks)];
    of_all.iter().cloned().chain(against(own)).collect()
}

fn against(judged: impl IntoIterator<Item = Judged>) -> Vec<Evidence> {
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
    processors::throttled(name, &own, looks, config)
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
