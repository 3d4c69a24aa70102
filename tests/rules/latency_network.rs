//! Slow because of the network of the host: a queue that is full, packets that get lost, a table or a range
//! of ports without a place. And what only looks like that.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::load::{Lossy, OwnNetwork, Queue, Towards, Tracked};
use mcp_ir::snapshot::network::Host;

use crate::payload;
use crate::stack::{A, C};
use crate::two::{Two, evidence};

const OWN: &[&str] = &["unattributed@codebase-mcp"];

/// Answers late both times.
fn late(mut two: Two) -> Two {
    for look in [&mut two.before, &mut two.now] {
        look.now.services.get_mut(A).unwrap().health.elapsed_ms = 1200.0;
    }
    two
}

fn queue(n: &mut OwnNetwork, port: u16, queued: u32, dropped: Option<u64>) {
    let address = format!("127.0.0.1:{port}");
    n.queues = vec![Queue { address, queued, backlog: Some(8), dropped }];
}

/// Its queue is full both times, and turned away twelve.
fn full_queue() -> Two {
    let mut two = late(Two::idle_host());
    for (look, dropped, overflows) in [(&mut two.before, 40, 40), (&mut two.now, 52, 60)] {
        let Reading::Seen { value } = &mut look.now.host.own.get_mut(A).unwrap().network else { panic!() };
        queue(value, 8000, 9, Some(dropped));
        value.overflows = overflows;
    }
    two
}

fn of_a(mut two: Two, bend: impl FnOnce(&mut OwnNetwork)) -> Two {
    let Reading::Seen { value } = &mut two.now.now.host.own.get_mut(A).unwrap().network else { panic!() };
    bend(value);
    two
}

#[test]
fn a_queue_that_is_full_and_turns_connections_away() {
    let d = full_queue().is(&["listen-overflow@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Proven);
    assert!(
        d.findings[0].summary.contains("its queue of 8: 12 were turned away in 1 s"),
        "{}",
        d.findings[0].summary
    );
    let said = evidence(&d);
    assert!(said.contains("9 wait, 8 may"), "{said}");
    assert!(said.contains("ListenOverflows: 20 in 1 s"), "{said}");
    assert!(!d.findings[0].remedy.summary.contains("somaxconn"));
    // Full at one of them, it is likely.
    let d = of_a(full_queue(), |n| n.queues[0].queued = 2).is(&["listen-overflow@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Likely);
}

#[test]
fn connections_that_another_listener_turns_away_are_not_its_own() {
    // The host's counter rises, and its own does not.
    of_a(full_queue(), |n| n.queues[0].dropped = Some(40)).is(OWN, &[]);
    // Its own turned away what found no memory: no queue overflowed.
    of_a(full_queue(), |n| n.overflows = 40).is(OWN, &[]);
    // In a network of its own nobody tells whose it was.
    of_a(full_queue(), |n| (n.here, n.queues[0].dropped, n.queues[0].backlog) = (false, None, None))
        .is(OWN, &[]);
    // It listens anew.
    of_a(full_queue(), |n| n.queues[0].dropped = Some(2)).is(OWN, &[]);
    // Quick for all that: a burst.
    let mut quick = full_queue();
    quick.now.now.services.get_mut(A).unwrap().health.elapsed_ms = 3.0;
    quick.now.now.services.get_mut(A).unwrap().metrics =
        Some(crate::two::histogram([500.0, 500.0, 500.0, 500.0], 5.0));
    quick.is(&[], &[]);
}

fn lossy(local: &str, remote: &str, retransmitted: u64) -> Lossy {
    Lossy { local: local.into(), remote: remote.into(), sent: 500, retransmitted }
}

const TO_POSTGRES: (&str, &str) = ("127.0.0.1:41000", "127.0.0.1:5432");

/// 40 of 1000 segments were sent again, 30 of them to its database.
fn loss() -> Two {
    let (local, remote) = TO_POSTGRES;
    Two::idle_host().net_before(|n| n.lossy = vec![lossy(local, remote, 10)]).net(|n| {
        (n.sent, n.retransmitted) = (11_000, 43);
        n.lossy = vec![lossy(local, remote, 40)];
    })
}

#[test]
fn packets_that_get_lost_on_the_way_to_what_it_needs() {
    let d = loss().is(&["network-loss@db1"], &[]);
    let said = evidence(&d);
    assert!(d.findings[0].summary.contains("between codebase-mcp and postgres"), "{}", d.findings[0].summary);
    assert!(said.contains("40 of 1000 (4.0 %) in 1 s"), "{said}");
    assert!(said.contains("postgres: 127.0.0.1:41000 to 127.0.0.1:5432: 30 sent again"), "{said}");
    // From its database, which is here.
    loss()
        .net(|n| n.lossy = vec![lossy("127.0.0.1:5432", "127.0.0.1:41000", 30)])
        .is(&["network-loss@db1"], &[]);
    loss()
        .net(|n| n.lossy = vec![lossy("10.0.0.1:5432", "10.0.0.1:41000", 30)])
        .is(&["network-loss@db1"], &[]);
}

/// Its histogram ends before they get theirs: a way to them that loses packets makes no request longer.
#[test]
fn what_clients_are_sent_again_is_no_reason_for_slow_requests() {
    let clients = lossy("10.0.0.1:8000", "10.0.0.77:50000", 30);
    loss().net(|n| n.lossy = vec![clients.clone()]).is(OWN, &[]);
    // Beside the reason it is shown.
    let (local, remote) = TO_POSTGRES;
    let d = loss().net(|n| n.lossy = vec![lossy(local, remote, 40), clients.clone()]);
    let d = d.is(&["network-loss@db1"], &[]);
    assert!(evidence(&d).contains("clients of codebase-mcp"), "{}", evidence(&d));
    assert!(
        d.findings[0].summary.contains("and postgres packets get lost: 30 were"),
        "{}",
        d.findings[0].summary
    );
}

#[test]
fn somebody_elses_session_with_the_database_is_no_connection_of_the_service() {
    loss().net(|n| n.lossy = vec![lossy("10.0.0.1:5432", "10.8.0.3:50123", 40)]).is(OWN, &[]);
}

#[test]
fn what_is_needed_by_a_name_is_told_by_its_address() {
    let named = |resolved: Option<&str>, remotes: &[&str]| {
        let lost = remotes.iter().map(|r| lossy("10.0.0.1:41000", r, 40)).collect::<Vec<_>>();
        let mut two = loss().net(|n| n.lossy = lost.clone());
        for look in [&mut two.before, &mut two.now] {
            let url = "postgresql://mcp_ir@db.internal:5432/codebase_mcp";
            *look = look.clone().postgres(|p| (p.url, p.unit) = (url.parse().unwrap(), None));
            if let Some(ip) = resolved {
                let host = Host { addresses: vec![ip.parse().unwrap()], here: false };
                look.now.network.hosts.insert("db.internal".into(), Reading::Seen { value: host });
            }
        }
        two
    };
    named(Some("10.0.0.9"), &["10.0.0.9:5432"]).is(&["network-loss@db1"], &[]);
    named(Some("10.0.0.9"), &["10.9.9.9:5432"]).is(OWN, &[]);
    // Not known: by the port alone, where it leads to one place.
    named(None, &["10.0.0.9:5432"]).is(&["network-loss@db1"], &[]);
    named(None, &["10.0.0.9:5432", "10.9.9.9:5432"]).is(OWN, &[]);
}

#[test]
fn what_a_full_list_left_out_is_not_all_new() {
    let full = || {
        let other = |i| lossy("10.0.0.1:443", &format!("10.1.{}.{}:40000", i / 200, i % 200), 900);
        (0..OwnNetwork::LOSSY).map(other).collect::<Vec<_>>()
    };
    loss().net_before(|n| n.lossy = full()).is(OWN, &[]);
    // Never more than the kernel sent again at all.
    let (local, remote) = TO_POSTGRES;
    let d = loss().net(|n| n.lossy = vec![lossy(local, remote, 900)]).is(&["network-loss@db1"], &[]);
    assert!(d.findings[0].summary.contains("lost: 40 were sent again"), "{}", d.findings[0].summary);
}

#[test]
fn each_network_is_judged_by_itself() {
    // The first slow one has a network of its own that can't be looked into.
    let mut two = loss();
    for look in [&mut two.before, &mut two.now] {
        let health = look.now.services.get(A).unwrap().clone();
        *look = look.clone().service(C, |s| s.metrics = Some("/metrics".into()));
        look.now.services.insert(C.into(), health);
        let Reading::Seen { value } = &mut look.now.host.own.get_mut(A).unwrap().network else { panic!() };
        (value.id, value.here) = ("net:[9]".into(), false);
    }
    let d = two.told();
    let f = d.findings.iter().find(|f| f.cause == "latency/network-loss").expect("it is told");
    assert!(f.summary.contains("between workflow-mcp and postgres"), "{}", f.summary);
}

#[test]
fn few_losses_and_those_of_others_are_no_reason() {
    // Under one in a hundred.
    loss().net(|n| n.sent = 19_000).is(OWN, &[]);
    loss().net(|n| n.retransmitted = 6).net(|n| n.sent = 10_050).is(OWN, &[]);
    // Of somebody else's connections.
    loss().net(|n| n.lossy = vec![lossy("10.0.0.1:41000", "10.9.9.9:443", 40)]).is(OWN, &[]);
    // Another database of the same port, elsewhere.
    loss().net(|n| n.lossy = vec![lossy("10.0.0.1:41000", "10.9.9.9:5432", 40)]).is(OWN, &[]);
    // Three of its own cost 0.6 s of 8 s that the requests took.
    let (local, remote) = TO_POSTGRES;
    loss().net(|n| n.lossy = vec![lossy(local, remote, 13)]).is(OWN, &[]);
    // Old ones: none since.
    loss().net(|n| n.lossy = vec![lossy(local, remote, 10)]).is(OWN, &[]);
    // Of a network that can't be looked into, or another one than before.
    loss().net(|n| (n.here, n.lossy) = (false, vec![])).is(OWN, &[]);
    loss().net(|n| n.id = "net:[2]".into()).is(OWN, &[]);
}

/// So many of a thousand places are taken, and so many found none.
fn table(count: u64, dropped: Option<u64>) -> Two {
    let tracked = |dropped| Some(Tracked { count, max: 1000, dropped });
    Two::idle_host()
        .net_before(|n| n.tracked = tracked(dropped.map(|_| 7)))
        .net(|n| n.tracked = tracked(dropped.map(|d| d + 7)))
}

#[test]
fn a_table_of_connections_without_a_place_left() {
    let d = table(1000, Some(12)).is(&["conntrack-full@db1"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Proven);
    assert!(evidence(&d).contains("found no place: 12 in 1 s"), "{}", evidence(&d));
    let d = table(960, None).is(&["conntrack-full@db1"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Likely);
}

#[test]
fn a_table_that_is_filled_well_and_one_of_another_network_are_no_reason() {
    table(940, Some(12)).is(OWN, &[]);
    table(990, Some(0)).is(OWN, &[]);
    table(1000, Some(12)).net_before(|n| n.tracked.as_mut().unwrap().count = 500).is(OWN, &[]);
    table(1000, Some(12)).net(|n| n.here = false).is(OWN, &[]);
    Two::idle_host().net_both(|n| n.tracked = None).is(OWN, &[]);
}

fn towards(remote: &str, taken: u32) -> Vec<Towards> {
    vec![Towards { remote: remote.into(), taken }]
}

/// Of a range of a hundred ports so many are taken.
fn taken(remote: &str, taken: u32) -> Two {
    Two::idle_host().net_both(|n| {
        n.range = Some((40_000, 40_099));
        n.towards = towards(remote, taken);
    })
}

#[test]
fn no_port_to_connect_from() {
    let d = taken("127.0.0.1:5432", 100).is(&["ephemeral-ports@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, Certainty::Proven);
    assert!(
        d.findings[0].summary.contains("0 ports left to connect to postgres"),
        "{}",
        d.findings[0].summary
    );
    assert!(evidence(&d).contains("100 of 100 (40000 to 40099) towards 127.0.0.1:5432"), "{}", evidence(&d));
}

#[test]
fn ports_towards_another_place_and_some_that_are_left_are_no_reason() {
    taken("127.0.0.1:5432", 90).is(OWN, &[]);
    taken("10.9.9.9:443", 100).is(OWN, &[]);
    taken("127.0.0.1:5432", 100).net_before(|n| n.towards = towards("127.0.0.1:5432", 60)).is(OWN, &[]);
    taken("127.0.0.1:5432", 100).net(|n| n.range = None).is(OWN, &[]);
}

#[test]
fn a_service_that_gets_no_port_says_so_and_is_not_well_for_it() {
    let says = "error connecting to server: Cannot assign requested address (os error 99)";
    let mut two = taken("127.0.0.1:5432", 100);
    for look in [&mut two.before, &mut two.now] {
        *look = look.clone().health(C, payload::c_down(says));
        look.now.services.get_mut(A).unwrap().metrics =
            Some(crate::two::histogram([500.0, 500.0, 500.0, 500.0], 5.0));
    }
    two.is(&["ephemeral-ports@workflow-mcp"], &["server-crash/unhealthy@workflow-mcp"]);
    // The same words, and the ports are there.
    let two = two.net_both(|n| n.towards = towards("127.0.0.1:5432", 20));
    two.is(&["server-crash/unhealthy@workflow-mcp"], &[]);
}
