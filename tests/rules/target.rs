//! A service that is told of another database than what is looked at; and all that is none.

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};
use mcp_ir::snapshot::network::{Door, Host, Target};
use mcp_ir::snapshot::postgres::Consumer;
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use crate::payload;
use crate::pooler::pgbouncer;
use crate::stack::{A, C, Stack, refused, wrong_password};

const WRONG: &str = "db-down/wrong-target@codebase-mcp";
const ILL: &str = "server-crash/unhealthy@codebase-mcp";

fn target(host: &str, port: u16, database: &str) -> Target {
    Target {
        source: "DATABASE_URL of process 120".into(),
        user: Some("mcp_user".into()),
        host: host.into(),
        port,
        database: Some(database.into()),
    }
}

/// What the service is told of; what the hosts mean here.
fn told_of(mut s: Stack, t: Target) -> Stack {
    let here = |h: &str| h == "localhost" || h.starts_with("127.") || h.starts_with('/') || h == "::1";
    for name in [t.host.clone(), "127.0.0.1".into()] {
        let addresses = match name.as_str() {
            "localhost" => vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            n => n.parse().into_iter().collect(),
        };
        let host = Host { addresses, here: here(&name) };
        s.now.network.hosts.insert(name, Reading::Seen { value: host });
    }
    s.now.services.get_mut(A).unwrap().targets = Reading::Seen { value: vec![t] };
    s
}

fn door(mut s: Stack, name: &str, door: Result<Door, Failure>) -> Stack {
    s.now.network.doors.insert(name.into(), door.into());
    s
}

fn unhealthy() -> Stack {
    Stack::healthy().health(A, payload::a_down("error connecting to server: Connection refused"))
}

#[test]
fn another_database_of_the_same_server_is_proven_though_the_service_is_well() {
    let s = told_of(Stack::healthy(), target("localhost", 5432, "staging"));
    let told = s.server(|v| v.consumers.push(consumer("staging"))).told();
    told.expect_root(WRONG, Certainty::Proven);
    told.evidence(WRONG, "staging").evidence(WRONG, "codebase_mcp");
}

#[test]
fn what_a_healthy_service_was_started_with_need_not_be_what_it_uses() {
    let told = told_of(Stack::healthy(), target("localhost", 5432, "staging")).told();
    told.verdict(Verdict::Healthy);
    assert_eq!(told.find(WRONG).severity, Severity::P4);
    let s = told_of(Stack::healthy(), target("127.0.0.1", 5433, "codebase_mcp"));
    let told = door(s, "127.0.0.1:5433", Ok(Door::Cluster { pid: 700 })).told();
    told.verdict(Verdict::Healthy);
    assert_eq!(told.find(WRONG).certainty, Certainty::Likely);
}

fn consumer(database: &str) -> Consumer {
    Consumer {
        application: A.into(),
        user: "mcp_user".into(),
        client: "127.0.0.1".into(),
        database: database.into(),
        state: "idle".into(),
        count: 2,
        oldest_s: 1.0,
        newest_s: Some(1.0),
    }
}

#[test]
fn a_closed_door_elsewhere_explains_the_service_and_is_not_proven() {
    let s = told_of(unhealthy(), target("127.0.0.1", 6000, "codebase_mcp"));
    let told = door(s, "127.0.0.1:6000", Err(refused())).told();
    // A pooler may be meant that is down.
    told.expect_root(WRONG, Certainty::Likely);
    told.explained(ILL, &[WRONG]);
}

#[test]
fn another_cluster_of_this_host_is_proven() {
    let s = told_of(unhealthy(), target("127.0.0.1", 5433, "codebase_mcp"));
    door(s, "127.0.0.1:5433", Ok(Door::Cluster { pid: 700 })).told().expect_root(WRONG, Certainty::Proven);
}

#[test]
fn one_host_has_many_names() {
    for host in ["localhost", "127.0.0.1", "127.0.1.1", "::1", "/run/postgresql"] {
        told_of(Stack::healthy(), target(host, 5432, "codebase_mcp")).told().case(host).healthy();
        told_of(unhealthy(), target(host, 5432, "codebase_mcp")).told().case(host).never("db-down");
    }
}

#[test]
fn a_name_that_resolves_to_the_same_address_is_the_same_place() {
    let mut s = told_of(Stack::healthy(), target("db.example", 5432, "codebase_mcp"));
    s.now.config.postgres[0].url.host = mcp_ir::config::PgHost::named("10.0.0.5");
    let host = Host { addresses: vec!["10.0.0.5".parse().unwrap()], here: false };
    for name in ["db.example", "10.0.0.5"] {
        s.now.network.hosts.insert(name.into(), Reading::Seen { value: host.clone() });
    }
    s.told().healthy();
}

#[test]
fn a_pooler_is_not_another_target() {
    // By what answers there.
    let s = told_of(unhealthy(), target("127.0.0.1", 6432, "codebase_mcp"));
    door(s, "127.0.0.1:6432", Ok(Door::Pooler)).told().never("db-down");
    // By the configuration, even while it refuses.
    let s = told_of(unhealthy(), target("localhost", 6432, "codebase_mcp")).config(|c| {
        c.pooler.push(pgbouncer());
    });
    door(s, "localhost:6432", Err(refused())).told().never("db-down");
}

#[test]
fn what_may_be_a_way_to_the_same_server_is_a_note_where_the_service_is_well() {
    let s = || told_of(Stack::healthy(), target("10.0.0.9", 5000, "codebase_mcp"));
    let told = door(s(), "10.0.0.9:5000", Ok(Door::Other)).told();
    told.verdict(Verdict::Healthy);
    assert_eq!(told.find(WRONG).severity, Severity::P4);
    assert_eq!(told.find(WRONG).certainty, Certainty::Likely);
    let late = Failure::new(FailKind::TimedOut, "no connection").at(Stage::Connect);
    door(s(), "10.0.0.9:5000", Err(late)).told().verdict(Verdict::Healthy);
}

#[test]
fn a_service_that_is_seen_at_the_server_has_a_way_there() {
    let c = consumer("codebase_mcp");
    let s = told_of(Stack::healthy(), target("10.0.0.9", 5000, "codebase_mcp"));
    door(s, "10.0.0.9:5000", Ok(Door::Other)).server(|v| v.consumers.push(c)).told().healthy();
}

#[test]
fn where_nobody_said_which_database_is_the_services_any_is() {
    let s = told_of(Stack::healthy(), target("127.0.0.1", 5432, "shop")).postgres(|p| {
        p.url.dbname = "postgres".into();
        p.databases = vec!["postgres".into()];
    });
    s.told().healthy();
}

#[test]
fn what_could_not_be_read_is_no_wrong_target() {
    let mut s = unhealthy();
    let denied = Failure::new(FailKind::Denied, "environment of process 120: permission denied");
    s.now.services.get_mut(A).unwrap().targets = Reading::Failed(denied);
    s.told().never("db-down");
    // A name that could not be resolved in time may mean the same host.
    let mut s = told_of(unhealthy(), target("db.example", 5432, "codebase_mcp"));
    let late = Failure::new(FailKind::TimedOut, "the resolver").at(Stage::Resolve);
    s.now.network.hosts.insert("db.example".into(), Reading::Failed(late));
    s.told().never("db-down");
}

#[test]
fn what_a_service_says_of_another_database_is_not_said_of_this_one() {
    let refusal = "FATAL: password authentication failed for user \"mcp_user\"";
    let s = || Stack::healthy().health(A, payload::a_down(refusal));
    s().told().expect_root("db-down/auth-failed@postgres", Certainty::Proven);
    let s = told_of(s(), target("127.0.0.1", 5433, "codebase_mcp"));
    let told = door(s, "127.0.0.1:5433", Ok(Door::Cluster { pid: 700 })).told();
    told.expect_root(WRONG, Certainty::Proven).never("db-down/auth-failed");
    // Nor does it vouch for a server that is not its own.
    let closed = |s: Stack| s.login(wrong_password()).health(C, payload::c_down("x")).told();
    closed(Stack::healthy()).symptom("postgres", mcp_ir::diagnosis::SymptomState::Good);
    let s = told_of(Stack::healthy(), target("127.0.0.1", 5433, "codebase_mcp"));
    let s = door(s, "127.0.0.1:5433", Ok(Door::Cluster { pid: 700 }));
    closed(s).symptom("postgres", mcp_ir::diagnosis::SymptomState::Unseen);
}
