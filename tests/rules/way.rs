//! The way to a host: the route that takes it, the rule that shuts it. A service that is not reached is
//! not thereby dead, and neither is a database.

use std::net::IpAddr;

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::network::{FilterRule, Hook, Host, Match, Net, Route, RouteKind, Verdict};
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, C, Stack, fail, refused, seen, silent};

const DB: &str = "db-down/unreachable@postgres";
const SERVICE: &str = "server-crash/unreachable@codebase-mcp";

fn to(text: &str) -> Net {
    let (address, bits) = text.split_once('/').unwrap();
    Net { address: address.parse().unwrap(), bits: bits.parse().unwrap() }
}

fn route(kind: RouteKind, text: &str) -> Route {
    Route { kind, to: to(text), via: None, device: None, down: false }
}

/// A host as this machine's resolver and its routes know it.
fn host(mut s: Stack, name: &str, address: &str, here: bool, routes: Vec<Route>) -> Stack {
    let address: IpAddr = address.parse().unwrap();
    s.now.network.hosts.insert(name.into(), Reading::Seen { value: Host { addresses: vec![address], here } });
    s.now.network.routes.insert(address, Reading::Seen { value: routes });
    s
}

/// Of what follows on a connection that was made.
fn rest() -> Match {
    Match::Unknown(r#"{"ct":{"key":"state"}}"#.into())
}

fn rules(s: Stack, verdict: Verdict, port: u16) -> Stack {
    rules_with(s, verdict, vec![Match::ToPort(vec![(port, port)])])
}

fn rules_with(mut s: Stack, verdict: Verdict, matches: Vec<Match>) -> Stack {
    let rule = FilterRule {
        family: "ip".into(),
        table: "lab".into(),
        chain: "out".into(),
        handle: 7,
        hook: Hook::Output,
        verdict,
        matches,
        packets: Some(12),
    };
    s.now.network.rules = Reading::Seen { value: vec![rule] };
    s
}

/// No connection to the database, whose address is another host's.
fn no_database(f: Failure, routes: Vec<Route>) -> Stack {
    let s = Stack::healthy().look(|l| l.endpoint = "203.0.113.7:5432".into()).here(Some(false)).login(f);
    let s = s.postgres(|p| p.url.host = mcp_ir::config::PgHost::named("203.0.113.7"));
    let late = "no connection from the pool within 1.0 s";
    let s = s.health(A, payload::a_down(late)).health(C, payload::c_down(late));
    host(s, "203.0.113.7", "203.0.113.7", false, routes)
}

/// The first service at another host, or at this one.
fn service(f: Failure, address: &str, here: bool, routes: Vec<Route>) -> Stack {
    let url = format!("http://{address}:8000");
    let s = Stack::healthy().service(A, |s| s.url = Some(url)).no_answer(A, f);
    host(s.unit(A_UNIT, "active", "running"), address, address, here, routes)
}

#[test]
fn the_route_that_takes_it_is_named() {
    for (kind, word) in [
        (RouteKind::Blackhole, "blackhole"),
        (RouteKind::Prohibit, "prohibit"),
        (RouteKind::Unreachable, "unreachable"),
    ] {
        let routes = || vec![route(kind, "203.0.113.0/24"), route(RouteKind::Unicast, "0.0.0.0/0")];
        let told = no_database(fail(FailKind::Unreachable, Stage::Connect), routes()).told().case(word);
        told.expect_root(DB, Certainty::Proven).evidence(DB, &format!("{word} 203.0.113.0/24"));
        assert!(told.find(DB).summary.contains(&format!("a {word} route")), "{}", told.find(DB).summary);
        let s = service(fail(FailKind::Unreachable, Stage::Connect), "203.0.113.7", false, routes());
        s.told().case(word).expect_root(SERVICE, Certainty::Proven).evidence(SERVICE, word);
    }
}

#[test]
fn permission_denied_is_a_way_that_is_shut_only_where_a_route_says_so() {
    let denied = || fail(FailKind::Denied, Stage::Connect);
    let prohibit = || vec![route(RouteKind::Prohibit, "203.0.113.0/24")];
    no_database(denied(), prohibit()).told().expect_root(DB, Certainty::Proven);
    service(denied(), "203.0.113.7", false, prohibit()).told().expect_root(SERVICE, Certainty::Proven);
    // A policy may say it to this program alone.
    let open = || vec![route(RouteKind::Unicast, "0.0.0.0/0")];
    no_database(denied(), open()).told().never("db-down/unreachable");
    service(denied(), "203.0.113.7", false, open()).told().never("server-crash/unreachable");
}

#[test]
fn a_link_that_is_down_and_the_gateway_are_said() {
    let down =
        Route { device: Some("eth0".into()), down: true, ..route(RouteKind::Unicast, "203.0.113.0/24") };
    let told = no_database(fail(FailKind::TimedOut, Stage::Connect), vec![down]).told();
    told.expect_root(DB, Certainty::Proven).evidence(DB, "dev eth0, whose link is down");
    let by = Route { via: "192.0.2.254".parse().ok(), ..route(RouteKind::Unicast, "0.0.0.0/0") };
    let told = no_database(fail(FailKind::TimedOut, Stage::Connect), vec![by]).told();
    told.expect_root(DB, Certainty::Proven).evidence(DB, "default via 192.0.2.254");
}

#[test]
fn a_route_that_takes_it_answers_at_once_and_is_no_reason_for_silence() {
    let routes = vec![route(RouteKind::Blackhole, "203.0.113.0/24")];
    let told = no_database(fail(FailKind::TimedOut, Stage::Connect), routes).told();
    assert!(!told.find(DB).summary.contains("blackhole"), "{}", told.find(DB).summary);
}

#[test]
fn that_no_route_leads_there_is_said() {
    let told = no_database(fail(FailKind::Unreachable, Stage::Connect), Vec::new()).told();
    told.expect_root(DB, Certainty::Proven).evidence(DB, "no route matches");
}

#[test]
fn connected_and_the_rest_dropped_is_no_hung_database() {
    let late = "no connection from the pool within 1.0 s";
    let s =
        Stack::healthy().login(silent()).health(A, payload::a_down(late)).health(C, payload::c_down(late));
    let s = host(s, "127.0.0.1", "127.0.0.1", true, Vec::new());
    let port = || Match::ToPort(vec![(5432, 5432)]);
    let told = rules_with(s.clone(), Verdict::Drop, vec![port(), rest()]).told();
    told.expect_root(DB, Certainty::Likely).never("db-down/hung").evidence(DB, "tcp dport 5432");
    // The first packet has passed what looks at addresses and ports alone: it drops nothing of the rest.
    let stranger = Match::Unknown(r#"{"payload":{"protocol":"ip","field":"saddr"}}"#.into());
    for others in [vec![port()], vec![port(), stranger]] {
        let told = rules_with(s.clone(), Verdict::Drop, others).told();
        told.expect_root("db-down/hung@postgres", Certainty::Likely).never("db-down/unreachable");
    }
}

#[test]
fn a_service_whose_port_is_dropped_here_is_not_hung() {
    let s = |stage| service(fail(FailKind::TimedOut, stage), "127.0.0.1", true, Vec::new());
    let port = || Match::ToPort(vec![(8000, 8000)]);
    let told = rules(s(Stage::Connect), Verdict::Drop, 8000).told();
    told.expect_root(SERVICE, Certainty::Likely).never("server-crash/hung").evidence(SERVICE, "packets 12");
    let told = rules_with(s(Stage::Answer), Verdict::Drop, vec![port(), rest()]).told();
    told.expect_root(SERVICE, Certainty::Likely).never("server-crash/hung");
    // A connection was made: a rule of its port alone has let it through.
    let told = rules(s(Stage::Answer), Verdict::Drop, 8000).told();
    told.expect_root("server-crash/hung@codebase-mcp", Certainty::Likely);
}

#[test]
fn a_service_whose_process_is_stopped_is_hung_whatever_the_rules_are() {
    let s = service(fail(FailKind::TimedOut, Stage::Answer), "127.0.0.1", true, Vec::new());
    let told = rules(s.process(A_UNIT, "T"), Verdict::Drop, 8000).told();
    told.expect_root("server-crash/hung@codebase-mcp", Certainty::Proven);
}

#[test]
fn a_port_that_listens_and_is_rejected_is_not_closed() {
    let open = |s: Stack| s.listener("127.0.0.1:8000", &[(120, "codebase-mcp", Some(A_UNIT))]);
    let s = || {
        let s = service(refused(), "127.0.0.1", true, Vec::new());
        s.detail(A_UNIT, "success", 0, 0, 3600.0)
    };
    let told = rules(open(s()), Verdict::Reject, 8000).told();
    told.expect_root(SERVICE, Certainty::Likely).never("server-crash/not-listening");
    // It listens elsewhere: where it is asked nobody does, and no rule is needed for that.
    let elsewhere = s().listener("10.0.0.5:8000", &[(120, "codebase-mcp", Some(A_UNIT))]);
    rules(elsewhere, Verdict::Reject, 8000).told().never("server-crash/unreachable");
    // Nobody listens: then it is the port that is closed, whatever a rule says.
    let mut shut = rules(s(), Verdict::Reject, 8000);
    shut.now.listeners = seen(Vec::new());
    shut.told().expect_root("server-crash/not-listening@codebase-mcp", Certainty::Likely);
}

#[test]
fn silence_without_a_rule_proves_nothing_of_the_way_on_this_host() {
    let s = service(fail(FailKind::TimedOut, Stage::Connect), "127.0.0.1", true, Vec::new());
    s.told().never("server-crash/unreachable");
    // To another host no connection in time is the fact itself.
    let s = service(fail(FailKind::TimedOut, Stage::Connect), "203.0.113.7", false, Vec::new());
    s.told().expect_root(SERVICE, Certainty::Likely);
}

/// It answers that it wants a login: alive, though the unit that is still configured is stopped.
#[test]
fn who_wants_a_login_is_alive_whatever_its_unit_is() {
    let s = Stack::healthy().no_answer(A, fail(FailKind::Denied, Stage::Body));
    s.unit(A_UNIT, "inactive", "dead").told().never("server-crash/stopped").unknown();
}

#[test]
fn a_dead_unit_comes_before_the_way_to_it() {
    let s = service(fail(FailKind::Unreachable, Stage::Connect), "203.0.113.7", false, Vec::new());
    let s = s.unit(A_UNIT, "failed", "failed").detail(A_UNIT, "exit-code", 1, 1, 60.0);
    s.told()
        .never("server-crash/unreachable")
        .expect_root("server-crash/failed@codebase-mcp", Certainty::Proven);
}

#[test]
fn a_service_whose_name_does_not_resolve_is_said_to_be_so() {
    let s = service(fail(FailKind::Unresolved, Stage::Resolve), "203.0.113.7", false, Vec::new());
    let told = s.told();
    told.expect_root(SERVICE, Certainty::Proven);
    assert!(told.find(SERVICE).summary.contains("does not resolve"), "{}", told.find(SERVICE).summary);
    let s = service(fail(FailKind::TimedOut, Stage::Resolve), "203.0.113.7", false, Vec::new());
    s.told().expect_root(SERVICE, Certainty::Likely);
}

/// This user may not read the rules: silence has more than one reason, and that is said.
#[test]
fn silence_is_only_likely_and_the_rules_that_could_not_be_read_are_named() {
    const HUNG: &str = "db-down/hung@postgres";
    let mut s = Stack::healthy().login(silent());
    s.now.network.rules = Reading::Failed(Failure::new(FailKind::Denied, "nft: Operation not permitted"));
    s.told().expect_root(HUNG, Certainty::Likely).evidence(HUNG, "not read: nft: Operation not permitted");
}
