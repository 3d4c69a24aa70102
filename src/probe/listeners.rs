//! Who listens at a port: the kernel's socket tables, then one pass over all processes' descriptors.
//! Roots are parameters. Nothing here reads what a stuck process could hold up: no `cmdline`, no
//! `environ`; a link of a descriptor needs no lock of the process's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs_core::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs_core::{ExplicitSystemInfo, FromBufReadSI};

use super::diag;
use super::host::{self, still};
use super::io_failure;
use crate::snapshot::Failure;
use crate::snapshot::process::{Holder, Listener};

/// The listeners of these ports. With `pause`, their queues are looked at again after it.
pub fn at(proc: &str, ports: &BTreeSet<u16>, pause: Option<Duration>) -> Result<Vec<Listener>, Failure> {
    let root = Path::new(proc);
    if is_free(root, ports) {
        return Ok(Vec::new());
    }
    let table = sockets(root)?;
    let listening: Vec<&TcpNetEntry> = table
        .iter()
        .filter(|e| e.state == TcpState::Listen && ports.contains(&e.local_address.port()))
        .collect();
    let inodes: BTreeSet<u64> = listening.iter().map(|e| e.inode).collect();
    let (mut holders, sees_all) =
        if inodes.is_empty() { (BTreeMap::new(), true) } else { holders(root, &inodes)? };
    let later = match pause.filter(|_| !inodes.is_empty()) {
        Some(pause) => {
            let pids: BTreeSet<u32> = holders.values().flatten().map(|h| h.pid).collect();
            let threads = still::Threads::of(root, &pids);
            std::thread::sleep(pause);
            let restless = threads.restless(root);
            for holder in holders.values_mut().flatten() {
                holder.restless = restless.get(&holder.pid).cloned();
            }
            Some(sockets(root)?)
        }
        None => None,
    };
    let listener = |e: &TcpNetEntry| {
        let port = e.local_address.port();
        let queue = queue(&table, port);
        Listener {
            port,
            address: e.local_address.to_string(),
            queued: e.rx_queue,
            still_queued: later.as_ref().map(|later| count(queue.intersection(&self::queue(later, port)))),
            holders: holders.get(&e.inode).cloned().unwrap_or_default(),
            sees_all,
        }
    };
    Ok(listening.into_iter().map(listener).collect())
}

/// Whether the kernel says that nobody listens at any of them: it is asked for listeners alone, while its
/// tables hold every connection, and those that have ended of late. Only of our own network.
fn is_free(root: &Path, ports: &BTreeSet<u16>) -> bool {
    let network = |of: &Path| fs::read_link(of.join("ns/net")).ok();
    let own = network(Path::new("/proc/self"));
    let there = ["self", "1"].iter().find_map(|p| network(&root.join(p)));
    if own.is_none() || own != there {
        return false;
    }
    let mut taken = false;
    let mut tell = |s: diag::Socket| taken |= s.local().is_none_or(|a| ports.contains(&a.port()));
    diag::each(diag::LISTENING, None, diag::MEMORY, &mut tell).is_ok() && !taken
}

/// What a process's own TCP sockets are, by inode: to whom, or clients of which port.
pub fn peers(process: &Path) -> BTreeMap<u64, String> {
    let all = of_process(process).unwrap_or_default();
    let listening: BTreeSet<u16> =
        all.iter().filter(|e| e.state == TcpState::Listen).map(|e| e.local_address.port()).collect();
    let said = |e: &TcpNetEntry| match (e.state.clone(), e.local_address.port()) {
        (TcpState::Listen, _) => "TCP listeners".to_owned(),
        (TcpState::CloseWait, port) if listening.contains(&port) => {
            format!("TCP clients of port {port} that are gone")
        }
        (_, port) if listening.contains(&port) => format!("TCP clients of port {port}"),
        _ => format!("TCP to {}", plain(e.remote_address)),
    };
    all.iter().filter(|e| e.inode != 0).map(|e| (e.inode, said(e))).collect()
}

/// An address of IPv4 as one, where a socket of IPv6 has it.
fn plain(a: SocketAddr) -> SocketAddr {
    SocketAddr::new(a.ip().to_canonical(), a.port())
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// The other ends of connections to a port that nobody took yet: these have no inode.
fn queue(table: &[TcpNetEntry], port: u16) -> BTreeSet<String> {
    let waits = |e: &&TcpNetEntry| {
        e.inode == 0
            && e.local_address.port() == port
            && matches!(e.state, TcpState::Established | TcpState::CloseWait)
    };
    table.iter().filter(waits).map(|e| e.remote_address.to_string()).collect()
}

/// Both families, as the machine's first process sees them where this one has no entry there: in
/// another's `/proc` there is no `self`.
pub(super) fn sockets(root: &Path) -> Result<Vec<TcpNetEntry>, Failure> {
    let net = [root.join("self/net"), root.join("1/net")].into_iter().find(|p| p.join("tcp").exists());
    let net = net.unwrap_or_else(|| root.join("net"));
    tables(&net)
}

/// Those of a process's own network.
pub(super) fn of_process(process: &Path) -> Result<Vec<TcpNetEntry>, Failure> {
    tables(&process.join("net"))
}

fn tables(net: &Path) -> Result<Vec<TcpNetEntry>, Failure> {
    let mut all = read(&net.join("tcp"))?;
    // Absent where the kernel has no IPv6.
    all.extend(read(&net.join("tcp6")).unwrap_or_default());
    Ok(all)
}

/// What the tables' addresses need to be read: the order of bytes.
const MACHINE: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: cfg!(target_endian = "little"),
};

fn read(path: &PathBuf) -> Result<Vec<TcpNetEntry>, Failure> {
    let failed = |e: &std::io::Error| io_failure(e, &path.display().to_string());
    let file = fs::File::open(path).map_err(|e| failed(&e))?;
    let table = TcpNetEntries::from_buf_read(BufReader::new(file), &MACHINE);
    table
        .map(|t| t.0)
        .map_err(|e| failed(&std::io::Error::new(std::io::ErrorKind::InvalidData, e.to_string())))
}

/// Every process that holds one of these sockets, by the socket's inode; and whether all could be seen.
pub(super) fn holders(
    root: &Path,
    inodes: &BTreeSet<u64>,
) -> Result<(BTreeMap<u64, Vec<Holder>>, bool), Failure> {
    let mut found: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    let mut sees_all = host::sees_others(root);
    for pid in fs::read_dir(root).map_err(|e| io_failure(&e, &root.display().to_string()))?.flatten() {
        let Some(pid) = pid.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let descriptors = match fs::read_dir(root.join(pid.to_string()).join("fd")) {
            Ok(descriptors) => descriptors,
            Err(e) => {
                sees_all &= e.kind() != std::io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        let held: BTreeSet<u64> = descriptors
            .flatten()
            .filter_map(|d| socket(&fs::read_link(d.path()).ok()?))
            .filter(|inode| inodes.contains(inode))
            .collect();
        if held.is_empty() {
            continue;
        }
        let Some(holder) = host::holder(root, pid) else { continue };
        for inode in held {
            found.entry(inode).or_default().push(holder.clone());
        }
    }
    Ok((found, sees_all))
}

/// `socket:[1234]`
fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn look(listener: &TcpListener, pause: bool) -> Listener {
        let port = listener.local_addr().unwrap().port();
        let pause = pause.then_some(Duration::from_millis(20));
        let mut all = at("/proc", &BTreeSet::from([port]), pause).unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn a_listener_is_found_with_its_process() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let seen = look(&here, false);
        assert_eq!(seen.address, here.local_addr().unwrap().to_string());
        assert!(seen.holders.iter().any(|h| h.pid == std::process::id()), "{seen:?}");
        assert_eq!((seen.queued, seen.still_queued), (0, None));
    }

    #[test]
    fn a_queue_that_nobody_takes_from_stands_and_one_that_is_taken_from_moves() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = here.local_addr().unwrap();
        let _waiting = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let seen = look(&here, true);
        assert_eq!((seen.queued, seen.still_queued), (2, Some(2)));
        let taker = std::thread::spawn({
            let here = here.try_clone().unwrap();
            move || {
                std::thread::sleep(Duration::from_millis(5));
                [here.accept().unwrap(), here.accept().unwrap()]
            }
        });
        let port = BTreeSet::from([address.port()]);
        let seen = at("/proc", &port, Some(Duration::from_millis(200))).unwrap().remove(0);
        let taken = taker.join().unwrap();
        assert_eq!((seen.queued, seen.still_queued), (2, Some(0)));
        // A connection that was taken is in no queue.
        let seen = look(&here, true);
        assert_eq!((seen.queued, seen.still_queued), (0, Some(0)));
        drop(taken);
    }

    #[test]
    fn nobody_listens_at_a_port_that_is_free() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(at("/proc", &BTreeSet::from([port]), None), Ok(Vec::new()));
    }

    #[test]
    fn the_kernel_says_at_once_which_ports_are_free_and_of_another_network_nothing() {
        let here = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = here.local_addr().unwrap().port();
        assert!(!is_free(Path::new("/proc"), &BTreeSet::from([port])));
        drop(here);
        assert!(is_free(Path::new("/proc"), &BTreeSet::from([port])));
        assert!(!is_free(Path::new("/nonexistent"), &BTreeSet::from([port])));
    }

    #[test]
    fn a_proc_that_is_none_is_a_failure() {
        assert!(at("/nonexistent", &BTreeSet::from([1]), None).is_err());
    }
}
