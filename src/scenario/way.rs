//! What of this host's own lies on the way to an address: the route that takes it. Pure.
//! The rules that stop it are `firewall`'s.

use std::net::IpAddr;

use crate::diagnosis::Finding;
use crate::snapshot::network::{Route, RouteKind};
use crate::snapshot::{FailKind, Failure, Snapshot};

/// Of each address of a host the most specific route that matches: None where there is none.
fn routes<'a>(now: &'a Snapshot, host: &str) -> Vec<(IpAddr, Option<&'a Route>)> {
    let addresses = now.network.hosts.get(host).and_then(|h| h.seen()).map(|h| h.addresses.as_slice());
    let of = |a: &IpAddr| Some((*a, now.network.routes.get(a)?.seen()?.first()));
    addresses.unwrap_or_default().iter().filter_map(of).collect()
}

/// A route of this host that takes what goes there, and lets none of it out.
pub fn closed<'a>(now: &'a Snapshot, host: &str) -> Option<&'a Route> {
    let all = routes(now, host);
    let takes = |r: &Route| {
        matches!(r.kind, RouteKind::Blackhole | RouteKind::Prohibit | RouteKind::Unreachable) || r.down
    };
    let first = all.first().and_then(|(_, r)| *r)?;
    all.iter().all(|(_, r)| r.is_some_and(takes)).then_some(first)
}

/// As evidence: by which route it is, or that there is none.
pub fn saw(mut f: Finding, now: &Snapshot, host: &str) -> Finding {
    for (address, route) in routes(now, host).into_iter().take(3) {
        f = f.saw("routes", &address.to_string(), route.map_or_else(|| "no route matches".into(), text));
    }
    f
}

/// What this host itself says of the way, where it says more than that no answer came.
pub fn why(now: &Snapshot, host: &str, f: &Failure) -> String {
    // A route that takes it answers at once.
    let at_once = |r: &&Route| r.down || f.kind != FailKind::TimedOut;
    match closed(now, host).filter(at_once) {
        Some(r) if r.down => {
            format!("the link of {} is down", r.device.as_deref().unwrap_or("its interface"))
        }
        Some(r) => format!("a {} route of this host takes it", word(r.kind)),
        None => f.detail.clone(),
    }
}

fn word(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Local => "local",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Throw => "throw",
        RouteKind::Other => "special",
    }
}

fn text(r: &Route) -> String {
    let mut words = vec![match r.kind {
        RouteKind::Unicast => String::new(),
        kind => format!("{} ", word(kind)),
    }];
    words.push(if r.to.bits == 0 { "default".into() } else { format!("{}/{}", r.to.address, r.to.bits) });
    words.extend(r.via.map(|g| format!(" via {g}")));
    words.extend(r.device.as_ref().map(|d| format!(" dev {d}")));
    words.extend(r.down.then(|| ", whose link is down".to_owned()));
    words.concat()
}
