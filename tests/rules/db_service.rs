//! What services say of their own login: a limit, a database that is gone, TLS. Ours alone decides little.

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState};
use mcp_ir::snapshot::postgres::Consumer;
use mcp_ir::snapshot::{FailKind, Failure, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, C, Stack, fail, refused, says, silent, wrong_password};

const LIMIT: &str = "db-down/connection-limit@postgres";
const MISSING: &str = "db-down/database-missing@postgres";
const TLS: &str = "db-down/tls-failed@postgres";
const UNHEALTHY_A: &str = "server-crash/unhealthy@codebase-mcp";
const UNHEALTHY_C: &str = "server-crash/unhealthy@workflow-mcp";

const OF_ROLE: &str = "too many connections for role \"mcp_user\"";
const OF_DATABASE: &str = "too many connections for database \"codebase_mcp\"";
const GONE: &str = "database \"codebase_mcp\" does not exist";
const EXPIRED: &str = "error performing TLS handshake: invalid peer certificate: certificate expired: verification time 1795544312";

fn certificate() -> Failure {
    fail(FailKind::Tls, Stage::Tls)
}

/// Both services say so, and have let go of their connections.
fn both(text: &str) -> Stack {
    Stack::healthy().health(A, payload::a_down(text)).health(C, payload::c_down(text))
}

#[test]
fn a_roles_limit_is_told_by_the_services_words() {
    let told = both(OF_ROLE).told();
    told.never("pool-exhausted").expect_root(LIMIT, Certainty::Proven).evidence(LIMIT, OF_ROLE);
    told.explained(UNHEALTHY_A, &[LIMIT]).explained(UNHEALTHY_C, &[LIMIT]);
    assert_eq!(told.find(LIMIT).severity, Severity::P2);
    // One service is enough; its log where its health gives no reason, too.
    Stack::healthy().health(C, payload::c_down(OF_ROLE)).told().expect_root(LIMIT, Certainty::Proven);
    let mute = r#"{"status":"unhealthy","database_status":"disconnected"}"#;
    let line = format!("codebase-mcp: ERROR database: {OF_ROLE} (FATAL 53300)");
    for (age, found) in [(1.0, true), (60.0, false)] {
        let s = Stack::healthy().health(A, payload::json(200, mute)).line(A_UNIT, age, 3, &line);
        s.told().expect_roots(&[if found { LIMIT } else { UNHEALTHY_A }]);
    }
}

#[test]
fn a_roles_limit_that_only_we_reach_is_ours_alone() {
    let ours = || says("53300", "too many connections for role \"mcp_ir\"");
    Stack::healthy().login(ours()).told().healthy().symptom("postgres", SymptomState::Good);
    let s = Stack::healthy().login(ours()).health(A, payload::a_own());
    s.told().never("db-down").expect_root(UNHEALTHY_A, Certainty::Proven);
    // Theirs is told beside ours.
    both(OF_ROLE).login(ours()).told().expect_root(LIMIT, Certainty::Proven);
}

#[test]
fn the_databases_limit_is_told_by_our_login_too() {
    let ours = || says("53300", OF_DATABASE);
    let told = both(OF_DATABASE).login(ours()).told();
    told.expect_root(LIMIT, Certainty::Proven)
        .explained(UNHEALTHY_A, &[LIMIT])
        .evidence(LIMIT, "our own login");
    // Those who are in stay in.
    Stack::healthy().login(ours()).told().expect_root(LIMIT, Certainty::Proven);
    both(OF_DATABASE).told().expect_root(LIMIT, Certainty::Proven);
}

#[test]
fn the_limit_of_a_database_that_the_services_do_not_use_is_ours_alone() {
    let ours = says("53300", "too many connections for database \"postgres\"");
    let s = Stack::healthy().login(ours).postgres(|p| p.url.dbname = "postgres".into());
    s.told().healthy().symptom("postgres", SymptomState::Good);
}

#[test]
fn who_holds_the_connections_is_shown_beside_a_limit() {
    let report = Consumer {
        application: "report".into(),
        user: "mcp_user".into(),
        client: "127.0.0.1".into(),
        database: "codebase_mcp".into(),
        state: "idle".into(),
        count: 6,
        oldest_s: 30.0,
        newest_s: Some(2.0),
    };
    let told = both(OF_ROLE).server(|s| s.consumers = vec![report]).told();
    told.evidence(LIMIT, "report as mcp_user").evidence(LIMIT, "6 idle").evidence(LIMIT, "4 of 37 used");
}

#[test]
fn a_missing_database_is_told_by_the_services() {
    let told = both(GONE).login(says("3D000", GONE)).told();
    told.expect_root(MISSING, Certainty::Proven).evidence(MISSING, GONE);
    told.explained(UNHEALTHY_A, &[MISSING]).explained(UNHEALTHY_C, &[MISSING]);
    // Ours is another one, and there.
    both(GONE).told().expect_root(MISSING, Certainty::Proven);
    for text in
        ["FATAL 3D000", "asyncpg.exceptions.InvalidCatalogNameError: …", "Datenbank »x« … (FATAL 3D000)"]
    {
        Stack::healthy().health(A, payload::a_down(text)).told().case(text).expect_roots(&[MISSING]);
    }
}

#[test]
fn our_own_missing_database_is_ours_alone() {
    Stack::healthy().login(says("3D000", GONE)).told().healthy().symptom("postgres", SymptomState::Good);
    let told = Stack::healthy().login(says("3D000", GONE)).health(A, payload::a_down("lost")).told();
    told.never("db-down").expect_root(UNHEALTHY_A, Certainty::Proven);
}

#[test]
fn other_things_that_do_not_exist_are_no_missing_database() {
    for text in [
        "relation \"code_chunks\" does not exist",
        "relation \"code_chunks\" does not exist in database \"codebase_mcp\"",
        "schema \"x\" does not exist; connected to database \"codebase_mcp\" on 10.0.0.1",
        "code 3D0001",
        "the database schema is too old",
    ] {
        let told = Stack::healthy().health(A, payload::a_down(text)).told().case(text);
        told.never("db-down").expect_root(UNHEALTHY_A, Certainty::Proven);
    }
    // It is a refused login: 28000.
    let role = "role \"mcp_user\" does not exist (FATAL 28000)";
    Stack::healthy().health(A, payload::a_down(role)).told().never(MISSING.split('@').next().unwrap());
}

#[test]
fn a_server_that_takes_no_logins_has_neither_limit_nor_databases() {
    for text in [OF_ROLE, GONE, EXPIRED] {
        for way in [says("57P03", "the database system is starting up"), refused(), silent()] {
            let told = both(text).login(way).told().case(text);
            told.never("db-down/connection-limit")
                .never("db-down/database-missing")
                .never("db-down/tls-failed");
        }
        both(text).login(wrong_password()).told().case(text).expect_roots(&[match text {
            OF_ROLE => LIMIT,
            GONE => MISSING,
            _ => TLS,
        }]);
    }
}

#[test]
fn a_witness_of_two_servers_proves_nothing_of_one() {
    for (text, cause) in [(OF_ROLE, "connection-limit"), (GONE, "database-missing"), (EXPIRED, "tls-failed")]
    {
        let s = Stack::healthy()
            .second_postgres("reports")
            .service(A, |s| s.needs = vec!["postgres".into(), "reports".into()])
            .health(A, payload::a_down(text));
        let told = s.told().case(text);
        for server in ["postgres", "reports"] {
            assert_eq!(
                told.find(&format!("db-down/{cause}@{server}")).certainty,
                Certainty::Likely,
                "{cause}"
            );
        }
    }
}

#[test]
fn a_connected_service_is_no_witness() {
    for text in [OF_ROLE, GONE, EXPIRED] {
        let own = payload::a("unhealthy", "connected", 3, 3, 10, &format!(r#"{{"error":{text:?}}}"#));
        let told = Stack::healthy().health(A, own).told().case(text);
        told.never("db-down").expect_root(UNHEALTHY_A, Certainty::Proven);
    }
}

#[test]
fn tls_that_nobody_accepts_is_proven() {
    for text in [EXPIRED, "error performing TLS handshake: server does not support TLS"] {
        let told = both(text).login(certificate()).told().case(text);
        told.expect_root(TLS, Certainty::Proven).evidence(TLS, text).evidence(TLS, "our own login");
        told.explained(UNHEALTHY_A, &[TLS]).explained(UNHEALTHY_C, &[TLS]);
    }
}

#[test]
fn tls_that_only_one_side_refuses_may_be_its_own_roots() {
    // The services refuse it, our way asks for none.
    for text in [
        EXPIRED,
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired",
        "connection to server at \"db\", port 5432 failed: SSL error: certificate verify failed",
        "server does not support SSL, but SSL was required",
        "PostgreSQL server at \"db:5432\" rejected SSL upgrade",
    ] {
        both(text).told().case(text).expect_root(TLS, Certainty::Likely).explained(UNHEALTHY_A, &[TLS]);
    }
    // We refuse it, and no service says how its own went.
    let told = both("Database connection lost").login(certificate()).told();
    told.expect_root(TLS, Certainty::Likely);
}

#[test]
fn tls_that_we_refuse_while_a_service_is_connected_is_alive() {
    Stack::healthy().login(certificate()).told().healthy().symptom("postgres", SymptomState::Good);
    let told = Stack::healthy().login(certificate()).health(A, payload::a_down("lost")).told();
    told.never("db-down").expect_root(UNHEALTHY_A, Certainty::Proven);
    // One is connected by another way; the other one meets what we meet.
    let told = Stack::healthy().login(certificate()).health(A, payload::a_down(EXPIRED)).told();
    told.expect_root(TLS, Certainty::Proven);
}
