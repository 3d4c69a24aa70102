//! TCP of one network: who listens, with the queues, and how many connections stand in which state, by their
//! other end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use procfs_core::net::{TcpNetEntry, TcpState};

use super::Excerpt;
use crate::probe::listeners;
use crate::snapshot::Failure;

/// So many rows, the most frequent first.
const ROWS: usize = 200;

/// As the host's first process sees it.
pub fn of_host(root: &Path) -> Result<Excerpt, Failure> {
    listeners::sockets(root).map(|all| table(&all))
}

/// Of a process that has a network of its own; `None`: it is the host's.
pub fn of_process(root: &Path, pid: u32) -> Result<Option<Excerpt>, Failure> {
    let network = |p: &Path| std::fs::read_link(p.join("ns/net")).ok();
    let folder = root.join(pid.to_string());
    let first = if root.join("self").exists() { root.join("self") } else { root.join("1") };
    match (network(&folder), network(&first)) {
        (Some(own), Some(host)) if own != host => listeners::of_process(&folder).map(|all| Some(table(&all))),
        _ => Ok(None),
    }
}

fn table(all: &[TcpNetEntry]) -> Excerpt {
    let listening: BTreeSet<u16> =
        all.iter().filter(|e| e.state == TcpState::Listen).map(|e| e.local_address.port()).collect();
    let mut out = Excerpt::of(format!(
        "{} TCP sockets\n\nlisteners, with the connections that nobody took yet\n",
        all.len()
    ));
    for e in all.iter().filter(|e| e.state == TcpState::Listen).take(ROWS) {
        out.text.push_str(&format!("{:<48} {:>6}\n", e.local_address.to_string(), e.rx_queue));
    }
    // A client's port is another each time: only its address tells anything.
    type Row = (String, &'static str);
    let mut counts: BTreeMap<Row, usize> = BTreeMap::new();
    for e in all.iter().filter(|e| e.state != TcpState::Listen) {
        let (own, other) = (e.local_address.port(), e.remote_address);
        let address: IpAddr = other.ip().to_canonical();
        let whom = if listening.contains(&own) {
            format!("clients of port {own} from {address}")
        } else {
            format!("to {}", std::net::SocketAddr::new(address, other.port()))
        };
        *counts.entry((whom, state(&e.state))).or_default() += 1;
    }
    let mut rows: Vec<(Row, usize)> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    out.cut = rows.len() > ROWS;
    out.text.push_str("\nconnections\n");
    for ((whom, state), count) in rows.into_iter().take(ROWS) {
        out.text.push_str(&format!("{count:>6} {state:<12} {whom}\n"));
    }
    out
}

fn state(s: &TcpState) -> &'static str {
    match s {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN-SENT",
        TcpState::SynRecv => "SYN-RECV",
        TcpState::FinWait1 => "FIN-WAIT-1",
        TcpState::FinWait2 => "FIN-WAIT-2",
        TcpState::TimeWait => "TIME-WAIT",
        TcpState::Close => "CLOSED",
        TcpState::CloseWait => "CLOSE-WAIT",
        TcpState::LastAck => "LAST-ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
        TcpState::NewSynRecv => "NEW-SYN-RECV",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_are_counted_by_state_and_other_end() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let _two =
            [TcpStream::connect(here.local_addr().unwrap()), TcpStream::connect(here.local_addr().unwrap())];
        let seen = of_host(Path::new("/proc")).unwrap().text;
        let line = |words: &str| seen.lines().any(|l| l.contains(words));
        assert!(line(&format!("127.0.0.1:{port}")), "{seen}");
        assert!(line(&format!("2 ESTABLISHED  clients of port {port} from 127.0.0.1")), "{seen}");
        assert!(line(&format!("2 ESTABLISHED  to 127.0.0.1:{port}")), "{seen}");
        assert_eq!(of_process(Path::new("/proc"), std::process::id()), Ok(None));
    }
}
