//! The network of one process: what its kernel had to send again, the queues of its listeners, the ports that
//! its connections go out from. By its own `/proc/PID/net`; by `sock_diag` too where it is in ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use procfs_core::net::{TcpNetEntry, TcpState};

use super::{diag, listeners};
use crate::probe::host::memory::{malformed, read};
use crate::snapshot::Failure;
use crate::snapshot::load::{Lossy, OwnNetwork, Queue, Towards, Tracked};

/// So many places that are gone to say it.
const PLACES: usize = 8;
/// In `struct tcp_info`: `tcpi_total_retrans`, `tcpi_segs_out`.
const RETRANSMITTED: usize = 100;
const SENT: usize = 136;
/// The last word of `sk_meminfo`.
const DROPPED: usize = 32;

/// What all who are in one network have together, by its id: for each of these the kernel goes through all
/// that it has room for, however few there are.
#[derive(Default)]
pub struct Shared(BTreeMap<String, (Vec<TcpNetEntry>, Vec<Lossy>)>);

impl Shared {
    fn of(
        &mut self,
        id: &str,
        folder: &Path,
        here: bool,
    ) -> Result<&(Vec<TcpNetEntry>, Vec<Lossy>), Failure> {
        if !self.0.contains_key(id) {
            let read = (listeners::of_process(folder)?, if here { lossy() } else { Vec::new() });
            self.0.insert(id.to_owned(), read);
        }
        self.0.get(id).ok_or_else(|| malformed(folder))
    }
}

/// Of a process, and of the port that it serves.
pub fn of(proc: &str, pid: u32, port: Option<u16>, shared: &mut Shared) -> Result<OwnNetwork, Failure> {
    let folder = Path::new(proc).join(pid.to_string());
    let id = |of: &Path| fs::read_link(of.join("ns/net")).ok().map(|l| l.to_string_lossy().into_owned());
    let own = id(&folder);
    let here = own.is_some() && own == id(Path::new("/proc/self"));
    let tcp = counters(&folder.join("net/snmp"), "Tcp")?;
    let more = counters(&folder.join("net/netstat"), "TcpExt")?;
    let total = |all: &BTreeMap<String, u64>, name: &str| {
        all.get(name).copied().ok_or_else(|| malformed(&folder.join("net").join(name)))
    };
    // One whose network nobody may know shares it with nobody.
    let known = own.clone().unwrap_or_else(|| format!("of {pid}"));
    let (table, lossy) = shared.of(&known, &folder, here)?;
    let range = if here { range(proc) } else { None };
    let mut network = OwnNetwork {
        id: own.unwrap_or_default(),
        here,
        sent: total(&tcp, "OutSegs")?,
        retransmitted: total(&tcp, "RetransSegs")?,
        overflows: total(&more, "ListenOverflows")?,
        queues: queues(table, port),
        lossy: lossy.clone(),
        tracked: if here { tracked(proc) } else { None },
        range,
        towards: range.map_or_else(Vec::new, |r| towards(table, r, reused(proc))),
    };
    if let Some(port) = port.filter(|_| here) {
        limits(&mut network.queues, port);
    }
    Ok(network)
}

/// Two lines a kind: names, then as many values.
fn counters(path: &Path, kind: &str) -> Result<BTreeMap<String, u64>, Failure> {
    let text = read(path)?;
    let mut lines = text.lines().filter_map(|l| l.strip_prefix(kind)?.strip_prefix(':'));
    let (names, values) = lines.next().zip(lines.next()).ok_or_else(|| malformed(path))?;
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

/// Of a listener the receive queue counts connections.
fn queues(table: &[TcpNetEntry], port: Option<u16>) -> Vec<Queue> {
    let own = table.iter().filter(|e| e.state == TcpState::Listen && Some(e.local_address.port()) == port);
    own.map(|e| Queue {
        address: e.local_address.to_string(),
        queued: e.rx_queue,
        backlog: None,
        dropped: None,
    })
    .collect()
}

/// Where several share a port each has a queue of its own: only one that is alone is told apart.
fn limits(queues: &mut [Queue], port: u16) {
    let mut found: Vec<(String, (u32, u32), Option<u64>)> = Vec::new();
    let _ = diag::each(diag::LISTENING, Some(port), diag::MEMORY, &mut |s| {
        let (Some(local), Some(queue)) = (s.local(), s.queue()) else { return };
        let dropped = s.attribute(diag::MEMORY).and_then(|m| diag::u32_at(m, DROPPED)).map(u64::from);
        found.push((local.to_string(), queue, dropped));
    });
    for q in queues {
        let address = q.address.parse().map_or_else(|_| q.address.clone(), |a| plain(a).to_string());
        let mut own = found.iter().filter(|(local, ..)| *local == address);
        if let (Some((_, (queued, backlog), dropped)), None) = (own.next(), own.next()) {
            (q.queued, q.backlog, q.dropped) = (*queued, Some(*backlog), *dropped);
        }
    }
}

fn plain(a: SocketAddr) -> SocketAddr {
    SocketAddr::new(a.ip().to_canonical(), a.port())
}

fn lossy() -> Vec<Lossy> {
    let mut all: Vec<Lossy> = Vec::new();
    let _ = diag::each(diag::OPEN, None, diag::INFO, &mut |s| {
        let word = |at| s.attribute(diag::INFO).and_then(|i| diag::u32_at(i, at)).map(u64::from);
        let (Some(retransmitted), Some(sent)) = (word(RETRANSMITTED), word(SENT)) else { return };
        if let (Some(local), Some(remote), true) = (s.local(), s.remote(), retransmitted > 0) {
            all.push(Lossy { local: local.to_string(), remote: remote.to_string(), sent, retransmitted });
        }
    });
    all.sort_by_key(|l| std::cmp::Reverse(l.retransmitted));
    all.truncate(OwnNetwork::LOSSY);
    all
}

/// These belong to whoever reads them: only one in the same network sees its own.
fn tracked(proc: &str) -> Option<Tracked> {
    let number = |name: &str| {
        let path = Path::new(proc).join("sys/net/netfilter").join(name);
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    let text = fs::read_to_string("/proc/self/net/stat/nf_conntrack").unwrap_or_default();
    Some(Tracked {
        count: number("nf_conntrack_count")?,
        max: number("nf_conntrack_max").filter(|m| *m > 0)?,
        dropped: unplaced(&text),
    })
}

/// A line of names, then one of hexadecimal numbers for each processor.
fn unplaced(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    // What was turned away; for an `early_drop` an old one was turned out, and the new one got its place.
    let away = names.iter().position(|n| *n == "drop")?;
    let of = |line: &str| u64::from_str_radix(line.split_whitespace().nth(away)?, 16).ok();
    lines.filter_map(of).reduce(u64::saturating_add)
}

fn range(proc: &str) -> Option<(u16, u16)> {
    let text = fs::read_to_string(Path::new(proc).join("sys/net/ipv4/ip_local_port_range")).ok()?;
    let mut ends = text.split_whitespace().map(|n| n.parse().ok());
    let (low, high) = (ends.next()??, ends.next()??);
    (low <= high).then_some((low, high))
}

/// Which ports of connections that are over may be had again at once: of none, of all, of the loopback's.
fn reused(proc: &str) -> u8 {
    let text = fs::read_to_string(Path::new(proc).join("sys/net/ipv4/tcp_tw_reuse"));
    text.ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

/// Ports are taken towards each place apart: the same one may lead to two.
fn towards(table: &[TcpNetEntry], (low, high): (u16, u16), reused: u8) -> Vec<Towards> {
    let mut all: BTreeMap<(SocketAddr, IpAddr), BTreeSet<u16>> = BTreeMap::new();
    let listening: BTreeSet<u16> =
        table.iter().filter(|e| e.state == TcpState::Listen).map(|e| e.local_address.port()).collect();
    for e in table {
        let (local, remote) = (plain(e.local_address), plain(e.remote_address));
        let over = e.state == TcpState::TimeWait && (reused == 1 || reused == 2 && remote.ip().is_loopback());
        let out = !over && remote.port() != 0 && !listening.contains(&local.port());
        if out && (low..=high).contains(&local.port()) {
            all.entry((remote, local.ip())).or_default().insert(local.port());
        }
    }
    let taken = |((remote, _), ports): ((SocketAddr, IpAddr), BTreeSet<u16>)| Towards {
        remote: remote.to_string(),
        taken: u32::try_from(ports.len()).unwrap_or(u32::MAX),
    };
    let mut all: Vec<Towards> = all.into_iter().map(taken).collect();
    all.sort_by_key(|t| std::cmp::Reverse(t.taken));
    all.truncate(PLACES);
    all
}

#[cfg(test)]
mod tests;
