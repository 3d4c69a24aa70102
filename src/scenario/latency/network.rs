//! Packets that get lost, and connections for which there is no place: in the queue of a listener, in the
//! firewall's table, among the ports that they go out from. Each told of the network that it is of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::host::{self, Judged, in_time, not_two, own};
use super::slow::Slow;
use crate::config::Config;
use crate::diagnosis::Relation::{Host, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Stand, needs};
use crate::scenario::against::{ruled_out, unseen};
use crate::scenario::facts::count;
use crate::snapshot::load::{Lossy, OwnNetwork, Queue};
use crate::snapshot::{Looks, Reading, Snapshot};

pub static LISTEN_OVERFLOW: Cause = Cause {
    name: "latency/listen-overflow",
    severity: Severity::P2,
    title: "connections find no place in the service's queue",
    explains: &[],
};
pub static NETWORK_LOSS: Cause = Cause {
    name: "latency/network-loss",
    severity: Severity::P2,
    title: "packets get lost on the way, and are sent again",
    explains: &[("latency/pool-wait", Host), ("latency/replication-lag", Host)],
};
pub static CONNTRACK_FULL: Cause = Cause {
    name: "latency/conntrack-full",
    severity: Severity::P2,
    title: "the firewall's table of connections is full",
    explains: &[("latency/network-loss", Same)],
};
pub static EPHEMERAL_PORTS: Cause = Cause {
    name: "latency/ephemeral-ports",
    severity: Severity::P2,
    title: "no port is left to connect from",
    explains: &[("server-crash/unhealthy", Same), ("latency/pool-wait", Same)],
};

/// Of all that was sent.
const LOST: f64 = 0.01;
/// Fewer are the noise of any network.
const PACKETS: u64 = 5;
/// What each costs at the least: the kernel waits so long before it sends again.
const AGAIN_S: f64 = 0.2;
/// Of the requests' time.
const COST: f64 = 0.1;
/// Of a table, or of a range of ports.
const FULL: f64 = 0.95;
/// So many that were turned away are no accident, though the queue was not full when it was looked at.
const TURNED_AWAY: u64 = 3;

/// Both readings of the network that it is in.
fn networks<'a>(name: &str, looks: &'a Looks) -> Option<(&'a OwnNetwork, &'a OwnNetwork, f64)> {
    let (before, now) = own(name, looks)?;
    let both = (before.network.seen()?, now.network.seen()?);
    (both.0.id == both.1.id).then_some((both.0, both.1, now.uptime_s - before.uptime_s))
}

fn is_full(q: &Queue) -> bool {
    q.backlog.is_some_and(|most| q.queued >= most.max(1))
}

pub fn overflow(slow: &Slow, looks: &Looks) -> Judged {
    let name = slow.s.name.as_str();
    let needs = "connections that its own listener turns away, its queue being full";
    let fact = "queue of connections";
    let Some((before, now, seconds)) = networks(name, looks) else { return Err(not_two(looks, fact, needs)) };
    let overflows = now.overflows.saturating_sub(before.overflows);
    if overflows == 0 {
        return Err(ruled_out("/proc/net", "ListenOverflows", format!("none {}", in_time(seconds)), needs));
    }
    let pairs =
        now.queues.iter().filter_map(|q| Some((before.queues.iter().find(|b| b.address == q.address)?, q)));
    let (mut known, mut worst): (bool, Option<(&Queue, u64, bool, bool)>) = (false, None);
    for (b, n) in pairs {
        let Some(dropped) = b.dropped.zip(n.dropped).and_then(|(b, n)| n.checked_sub(b)) else { continue };
        known = true;
        if worst.as_ref().is_none_or(|w| w.1 < dropped) {
            worst = Some((n, dropped, is_full(b), is_full(n)));
        }
    }
    let Some((queue, dropped, was, is)) = worst.filter(|_| known) else {
        let why = if now.here { "its listener was not found" } else { "it is in a network of its own" };
        return Err(unseen("sock_diag", fact, why, needs));
    };
    let backlog = queue.backlog.unwrap_or(0);
    let said = format!("{dropped} turned away by {} {}", queue.address, in_time(seconds));
    if dropped == 0 || !(was || is || dropped >= TURNED_AWAY) {
        return Err(ruled_out("sock_diag", fact, said, needs));
    }
    let summary = format!(
        "{name} takes connections too slowly for its queue of {backlog}: {dropped} were turned away {}",
        in_time(seconds)
    );
    let sure = if was && is { Certainty::Proven } else { Certainty::Likely };
    let f = Finding::new(&LISTEN_OVERFLOW, name, sure, summary)
        .saw("sock_diag", fact, format!("{} wait, {backlog} may", queue.queued))
        .saw("sock_diag", "turned away", said)
        .saw("/proc/net", "ListenOverflows", format!("{overflows} {}", in_time(seconds)))
        .remedy(
            format!("mcp-ir runbook {}", LISTEN_OVERFLOW.name.replace('/', "#")),
            "Raise the backlog by the service's own key, and see why it accepts so slowly",
            Risk::Disruptive,
        );
    host::about(f, &[slow])
}

/// An address as text, `10.0.0.7:5432` or `[::1]:5432`.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// Whether that is an address of a host; `None` where what its name stands for is not known.
fn is_of(ip: IpAddr, host: &str, now: &Snapshot) -> Option<bool> {
    let host = host.trim_matches(['[', ']']);
    match (host.parse::<IpAddr>(), now.network.hosts.get(host).and_then(Reading::seen)) {
        (Ok(own), _) => Some(own == ip),
        (_, Some(resolved)) => Some(resolved.addresses.contains(&ip)),
        (..) if host == "localhost" => Some(ip.is_loopback()),
        _ => None,
    }
}

/// Whether an end of a connection is where that is reached: by its port, and by its address where that is known.
fn is_at(end: &str, (host, port): &(String, u16), now: &Snapshot) -> Option<bool> {
    let (ip, p) = end_of(end)?;
    if p == *port { is_of(ip, host, now) } else { Some(false) }
}

fn end_of(end: &str) -> Option<(IpAddr, u16)> {
    let (at, port) = split(end)?;
    Some((at.parse::<IpAddr>().ok()?.to_canonical(), port))
}

/// A connection, between it and what it needs or its clients, and how much was sent again through it.
struct Lost<'a> {
    l: &'a Lossy,
    need: Option<&'a str>,
    packets: u64,
}

impl Lost<'_> {
    fn whose(&self, service: &str) -> String {
        self.need.map_or_else(|| format!("clients of {service}"), ToOwned::to_owned)
    }
}

/// What was sent again through connections of this service: between it and what it needs, or its clients.
fn lost<'a>(
    s: &'a Slow,
    before: &OwnNetwork,
    now: &'a OwnNetwork,
    snapshot: &Snapshot,
    config: &'a Config,
) -> Vec<Lost<'a>> {
    let old: BTreeMap<(&str, &str), u64> =
        before.lossy.iter().map(|l| ((l.local.as_str(), l.remote.as_str()), l.retransmitted)).collect();
    let places: Vec<(&str, (String, u16))> =
        needs(&s.s.name, config).into_iter().filter_map(|n| Some((n, config.place(n)?))).collect();
    let own_port = s.s.address().map(|(_, port)| port);
    // Of a name that stands for nobody knows what, the port alone tells, where it leads to one place only.
    let led: BTreeSet<(IpAddr, u16)> = now.lossy.iter().filter_map(|l| end_of(&l.remote)).collect();
    let alone = |port| led.iter().filter(|(_, p)| *p == port).count() == 1;
    let need = |l: &Lossy| {
        let (from, to) = end_of(&l.local).zip(end_of(&l.remote))?;
        let out = |p: &(String, u16)| is_at(&l.remote, p, snapshot).unwrap_or_else(|| alone(p.1));
        // The other end of one of this host's own; who comes from elsewhere is another's client.
        let within = from.0 == to.0 || from.0.is_loopback() && to.0.is_loopback();
        let back = |n: &str, port| within && from.1 == port && config.is_here(n);
        let found = places.iter().find(|(n, p)| out(p) || back(n, p.1));
        found.map(|(n, _)| *n)
    };
    let is_client = |l: &Lossy| end_of(&l.local).is_some_and(|(_, p)| Some(p) == own_port);
    let grown = |l: &Lossy| match old.get(&(l.local.as_str(), l.remote.as_str())) {
        Some(was) => l.retransmitted.checked_sub(*was).filter(|n| *n > 0),
        // The list holds the worst alone: where it was full, nobody knows what this one had lost by then.
        None => (before.lossy.len() < OwnNetwork::LOSSY).then_some(l.retransmitted),
    };
    let one = |l: &'a Lossy| {
        let need = need(l);
        (need.is_some() || is_client(l)).then_some(())?;
        Some(Lost { l, need, packets: grown(l)? })
    };
    let mut all: Vec<Lost> = now.lossy.iter().filter_map(one).collect();
    all.sort_by_key(|l| std::cmp::Reverse(l.packets));
    all
}

/// Each network is judged once. The first that loses what the slow ones send is told; where none does, one
/// that could not be looked into keeps it open.
pub fn loss(slow: &[Slow], looks: &Looks, config: &Config) -> Judged {
    let needs = format!("over {:.0} % of what was sent, on connections of the slow ones", LOST * 100.0);
    let mut judged = BTreeSet::new();
    let mut open: Option<Stand> = None;
    for s in slow {
        let Some(both) = networks(&s.s.name, looks).filter(|(_, n, _)| judged.insert(n.id.as_str())) else {
            continue;
        };
        match lost_in(both, s, slow, looks, config, &needs) {
            Ok(found) => return Ok(found),
            Err(stand) => {
                let told = open.as_ref().is_some_and(|o| matches!(o, Stand::Unseen(_)));
                if open.is_none() || !told && matches!(stand, Stand::Unseen(_)) {
                    open = Some(stand);
                }
            }
        }
    }
    Err(open.unwrap_or_else(|| not_two(looks, AGAIN, &needs)))
}

const AGAIN: &str = "segments sent again";

fn lost_in(
    (before, now, seconds): (&OwnNetwork, &OwnNetwork, f64),
    of: &Slow,
    slow: &[Slow],
    looks: &Looks,
    config: &Config,
    needs: &str,
) -> Judged {
    let again = now.retransmitted.saturating_sub(before.retransmitted);
    let sent = now.sent.saturating_sub(before.sent).max(again);
    let rate = again as f64 / sent.max(1) as f64;
    let said = format!("{again} of {sent} ({:.1} %) {}", rate * 100.0, in_time(seconds));
    if again < PACKETS || rate <= LOST {
        return Err(ruled_out("/proc/net", AGAIN, said, needs));
    }
    if !now.here {
        return Err(unseen("sock_diag", AGAIN, format!("{} is in a network of its own", of.s.name), needs));
    }
    let mut hit: Vec<(&Slow, Vec<Lost>, f64)> = Vec::new();
    let mut most = 0;
    for s in within(slow, now, looks) {
        let all = lost(s, before, now, &looks.now, config);
        // What its clients are sent again costs them: the request itself is over by then.
        let to_needs: u64 = all.iter().filter(|l| l.need.is_some()).map(|l| l.packets).sum();
        let packets = to_needs.min(again);
        most = most.max(packets);
        // Where both ends are seen, what one sends again the other does not.
        let cost = packets as f64 * AGAIN_S / seconds;
        let share = s.load().map_or(0.0, |load| (cost / load).min(1.0));
        if packets >= PACKETS && s.load().is_none_or(|_| share >= COST) {
            hit.push((s, all, share));
        }
    }
    let Some((first, all, share)) = hit.first() else {
        let few = format!("{most} of these on connections from the slow ones to what they need");
        return Err(ruled_out("sock_diag", AGAIN, few, needs));
    };
    let mut by_need: BTreeMap<&str, u64> = BTreeMap::new();
    for (need, packets) in all.iter().filter_map(|l| Some((l.need?, l.packets))) {
        *by_need.entry(need).or_default() += packets;
    }
    let (peer, packets) = by_need.iter().max_by_key(|(_, n)| **n).map_or(("?", 0), |(p, n)| (*p, *n));
    let slow: Vec<&Slow> = hit.iter().map(|(s, ..)| *s).collect();
    let summary = format!(
        "on the way between {} and {peer} packets get lost: {} were sent again {}",
        host::names(&slow),
        packets.min(again),
        in_time(seconds)
    );
    let mut f = Finding::new(&NETWORK_LOSS, &looks.now.vantage.host, Certainty::Likely, summary)
        .share(*share)
        .saw("/proc/net", AGAIN, said);
    for lost in all.iter().take(3) {
        let fact = format!("{}: {} to {}", lost.whose(&first.s.name), lost.l.local, lost.l.remote);
        f = f.saw("sock_diag", &fact, format!("{} sent again", lost.packets));
    }
    let f = f.remedy(
        "ss -tino state established",
        "See the way to that one: its interface's errors, a cable, a firewall that drops, a full link",
        Risk::Safe,
    );
    host::about(f, &slow)
}

/// The slow ones that are in this network.
fn within<'a>(slow: &'a [Slow<'a>], now: &OwnNetwork, looks: &Looks) -> Vec<&'a Slow<'a>> {
    let is_in = |s: &&Slow| networks(&s.s.name, looks).is_some_and(|(_, n, _)| n.id == now.id);
    slow.iter().filter(is_in).collect()
}

pub fn tracked(slow: &[Slow], looks: &Looks) -> Judged {
    let needs = format!("over {:.0} % of it, both times, and what finds no place", FULL * 100.0);
    let fact = "nf_conntrack_count";
    let seen = slow.iter().find_map(|s| {
        let (b, n, seconds) = networks(&s.s.name, looks)?;
        n.here.then_some((b, n, seconds))
    });
    let Some((before, now, seconds)) = seen else { return Err(not_two(looks, fact, &needs)) };
    let Some((was, is)) = before.tracked.zip(now.tracked) else {
        return Err(unseen(
            "/proc/sys/net",
            fact,
            "no connections are tracked, or that is not ours to see",
            &needs,
        ));
    };
    let said = format!("{} of {}", is.count, is.max);
    let full = |t: crate::snapshot::load::Tracked| t.count as f64 > FULL * t.max as f64;
    if !full(was) || !full(is) {
        return Err(ruled_out("/proc/sys/net", fact, said, &needs));
    }
    let dropped = was.dropped.zip(is.dropped).map(|(b, n)| n.saturating_sub(b));
    if dropped == Some(0) {
        let none = format!("{said}; none was turned away {}", in_time(seconds));
        return Err(ruled_out("/proc/sys/net", fact, none, &needs));
    }
    let away = dropped.map(|n| format!("{n} {}", in_time(seconds)));
    let subject = looks.now.vantage.host.as_str();
    let summary = format!("the table of connections of {subject} has {said}: new ones find no place");
    let sure = if dropped.is_some() { Certainty::Proven } else { Certainty::Likely };
    let f = Finding::new(&CONNTRACK_FULL, subject, sure, summary)
        .saw("/proc/sys/net", fact, said)
        .saw_if("/proc/net/stat", "found no place", away)
        .remedy(
            "sysctl net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_count",
            "See who opens so many (`conntrack -L`); raise nf_conntrack_max within the memory there is",
            Risk::Safe,
        );
    host::about(f, &within(slow, now, looks))
}

/// Of a service that is slow, or that says itself that it gets none.
pub fn ports(name: &str, looks: &Looks, config: &Config) -> Judged {
    let needs_text =
        format!("over {:.0} % of the range taken towards what it needs, both times", FULL * 100.0);
    let fact = "ports to connect from";
    let Some((before, now, _)) = networks(name, looks) else {
        return Err(not_two(looks, fact, &needs_text));
    };
    let Some((low, high)) = now.range else {
        return Err(unseen("/proc/sys/net", fact, "the range is not seen from here", &needs_text));
    };
    let size = u32::from(high.saturating_sub(low)) + 1;
    let full = |taken: u32| f64::from(taken) > FULL * f64::from(size);
    let mut most: Option<(&str, &str, u32, bool)> = None;
    for need in needs(name, config) {
        let Some(place) = config.place(need) else { continue };
        for t in now.towards.iter().filter(|t| is_at(&t.remote, &place, &looks.now).unwrap_or(true)) {
            let was = before.towards.iter().any(|b| b.remote == t.remote && full(b.taken));
            if most.is_none_or(|(.., taken, _)| taken < t.taken) {
                most = Some((need, &t.remote, t.taken, was));
            }
        }
    }
    let Some((need, remote, taken, was)) = most else {
        return Err(ruled_out("/proc/net", fact, "none is taken towards what it needs", &needs_text));
    };
    let said = format!("{taken} of {size} ({low} to {high}) towards {remote}");
    if !was || !full(taken) {
        return Err(ruled_out("/proc/net", fact, said, &needs_text));
    }
    let sure = if taken >= size { Certainty::Proven } else { Certainty::Likely };
    let left = size.saturating_sub(taken);
    let summary = format!("{name} has {} left to connect to {need} from", count(left as usize, "port"));
    let f = Finding::new(&EPHEMERAL_PORTS, name, sure, summary).saw("/proc/net", fact, said).remedy(
        format!("mcp-ir runbook {}", EPHEMERAL_PORTS.name.replace('/', "#")),
        "See who opens so many connections and keeps none; widen net.ipv4.ip_local_port_range",
        Risk::Safe,
    );
    Ok((f, vec![name.to_owned()]))
}
