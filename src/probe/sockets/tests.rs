//! Counters, queues and ports from text as a kernel wrote it, and from sockets of this process.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::*;

const SNMP: &str = "Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 8012 7011 30 12 44 912033 911010 1201 0 99 0
";

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let t = tempfile::tempdir().unwrap();
    let path = t.path().join("snmp");
    fs::write(&path, text).unwrap();
    (t, path)
}

#[test]
fn a_counter_stands_below_its_name() {
    let (_t, path) = file(SNMP);
    let tcp = counters(&path, "Tcp").unwrap();
    assert_eq!((tcp["OutSegs"], tcp["RetransSegs"], tcp.get("MaxConn")), (911_010, 1201, None));
    for bad in ["", "Tcp: OutSegs\n", "TcpExt: OutSegs\nTcpExt: 1\n"] {
        assert!(counters(&file(bad).1, "Tcp").is_err(), "{bad:?}");
    }
    assert!(counters(Path::new("/nonexistent"), "Tcp").is_err());
}

#[test]
fn what_found_no_place_is_a_sum_of_all_processors() {
    let text = "entries  clashres found insert_failed drop early_drop\n\
                00000010 00000000 0000000a 00000001 0000001f 00000002\n\
                00000010 00000000 0000000a 00000001 00000001 00000002\n";
    assert_eq!(unplaced(text), Some(0x1f + 1));
    assert_eq!(unplaced("entries early_drop\n00000001 00000002\n"), None);
    assert_eq!(unplaced(""), None);
}

#[test]
fn ports_are_counted_towards_each_place() {
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = here.local_addr().unwrap();
    let kept: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(to).unwrap()).collect();
    let own = of("/proc", std::process::id(), None, &mut Shared::default()).unwrap();
    assert!(own.here && own.id.starts_with("net:["), "{own:?}");
    let (low, high) = own.range.unwrap();
    let outside = kept.iter().filter(|s| !(low..=high).contains(&s.local_addr().unwrap().port())).count();
    let t = own.towards.iter().find(|t| t.remote == to.to_string());
    // Other tests of this machine may go to more places than are kept.
    assert!(t.is_none_or(|t| t.taken as usize + outside == 3), "{t:?}");
    let table = listeners::of_process(Path::new("/proc/self")).unwrap();
    let none = towards(&table, (1, 1), 0);
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn a_listener_that_is_full_turns_connections_away_and_says_how_many() {
    let here =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&here, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&here, 2).unwrap();
    let listener = TcpListener::from(here.as_fd().try_clone_to_owned().unwrap());
    let to = listener.local_addr().unwrap();
    let before = of("/proc", std::process::id(), Some(to.port()), &mut Shared::default()).unwrap();
    let empty = Queue { address: to.to_string(), queued: 0, backlog: Some(2), dropped: Some(0) };
    assert_eq!(before.queues, [empty]);
    let limit = std::time::Duration::from_millis(100);
    let kept: Vec<_> = (0..6).map(|_| TcpStream::connect_timeout(&to, limit)).collect();
    assert!(kept.iter().any(Result::is_err), "all found a place");
    let after = of("/proc", std::process::id(), Some(to.port()), &mut Shared::default()).unwrap();
    let q = &after.queues[0];
    assert!(q.queued >= 2 && q.dropped.is_some_and(|d| d >= 3), "{q:?}");
    assert!(after.overflows >= before.overflows + 3, "{} after {}", after.overflows, before.overflows);
}

#[test]
fn of_a_process_that_is_gone_there_is_nothing() {
    assert!(of("/proc", u32::MAX, None, &mut Shared::default()).is_err());
}
