//! What the server says of itself: read-only, its transaction ids, its WAL, its pages.

use mcp_ir::config::Expect;
use mcp_ir::diagnosis::{Certainty, Severity, SymptomState};
use mcp_ir::snapshot::postgres::{Archiver, ChecksumFailure, OldestXid, Prepared, ReplicationSlot};

use crate::payload;
use crate::stack::{A, A_UNIT, C, Stack, refused, says};

const READ_ONLY: &str = "db-down/read-only@postgres";
const XIDS: &str = "db-down/wraparound@postgres";
const WAL: &str = "db-down/wal-retained@postgres";
const CORRUPT: &str = "db-down/data-corruption@postgres";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";
const UNHEALTHY_A: &str = "server-crash/unhealthy@codebase-mcp";
const UNHEALTHY_C: &str = "server-crash/unhealthy@workflow-mcp";

const PAGE: &str = "invalid page in block 0 of relation base/16387/16395";

fn standby() -> Stack {
    Stack::healthy().server(|s| s.in_recovery = true)
}

fn setting() -> Stack {
    Stack::healthy().server(|s| s.read_only = true)
}

#[test]
fn a_standby_where_a_primary_is_expected_is_read_only() {
    let told = standby().told();
    told.expect_root(READ_ONLY, Certainty::Proven).evidence(READ_ONLY, "pg_is_in_recovery");
    told.symptom("postgres", SymptomState::Good);
    assert_eq!(told.find(READ_ONLY).severity, Severity::P1);
}

#[test]
fn a_standby_that_is_expected_is_well() {
    for s in [standby(), setting(), standby().server(|s| s.read_only = true)] {
        s.postgres(|p| p.expect = Expect::Standby).told().healthy();
    }
}

#[test]
fn default_transaction_read_only_is_read_only() {
    let told = setting().told();
    told.expect_root(READ_ONLY, Certainty::Proven).evidence(READ_ONLY, "default_transaction_read_only");
    assert!(told.find(READ_ONLY).remedy.command.contains("default_transaction_read_only"));
}

#[test]
fn a_server_that_takes_no_writes_explains_unhealthy_services_and_no_full_pool() {
    let text = "cannot execute INSERT in a read-only transaction";
    for s in [standby(), setting()] {
        let told = s.health(A, payload::a_down(text)).health(C, payload::c_down(text)).told();
        told.expect_root(READ_ONLY, Certainty::Proven);
        told.explained(UNHEALTHY_A, &[READ_ONLY]).explained(UNHEALTHY_C, &[READ_ONLY]);
    }
    let told = standby().health(A, payload::a_full(10)).told();
    told.expect_roots(&[READ_ONLY, FULL_A]);
    // Its trouble is another one.
    standby().health(A, payload::a_own()).told().expect_roots(&[UNHEALTHY_A, READ_ONLY]);
}

fn xids(age: u64) -> Stack {
    Stack::healthy().server(|s| s.oldest_xid = Some(OldestXid { database: "postgres".into(), age }))
}

#[test]
fn wraparound_begins_over_one_and_a_half_billion() {
    for (age, found) in [
        (0, false),
        (200_000_000, false),
        (1_499_999_999, false),
        (1_500_000_000, false),
        (1_500_000_001, true),
        (2_146_999_284, true),
    ] {
        let told = xids(age).told().case(age.to_string());
        if found {
            told.expect_root(XIDS, Certainty::Proven).evidence(XIDS, "postgres");
            assert_eq!(told.find(XIDS).severity, Severity::P2);
        } else {
            told.healthy();
        }
    }
}

#[test]
fn transaction_ids_that_run_out_explain_nothing_before_they_have() {
    let down = |age| xids(age).health(A, payload::a_down("lost")).told().case(age.to_string());
    for age in [1_600_000_000, 2_143_999_999] {
        down(age).expect_roots(&[UNHEALTHY_A, XIDS]);
    }
    down(2_144_000_000).expect_root(XIDS, Certainty::Proven).explained(UNHEALTHY_A, &[XIDS]);
    xids(2_146_000_000).health(A, payload::a_full(10)).told().expect_roots(&[FULL_A, XIDS]);
}

#[test]
fn a_refused_write_tells_of_wraparound_where_we_cannot_look_inside() {
    let text = "database is not accepting commands to avoid wraparound data loss in database \"postgres\"";
    let down = |s: Stack| s.health(A, payload::a_down(text)).health(C, payload::c_down(text));
    let told = down(Stack::healthy().login(crate::stack::wrong_password())).told();
    told.expect_root(XIDS, Certainty::Proven).explained(UNHEALTHY_A, &[XIDS]);
    down(Stack::healthy().login(refused())).told().never("db-down/wraparound");
    // 54000 is many a limit's number.
    let limit =
        Stack::healthy().health(A, payload::a_down("index row size 2720 exceeds maximum (ERROR 54000)"));
    limit.told().never("db-down");
}

#[test]
fn what_holds_the_oldest_transaction_is_shown() {
    let s = xids(1_600_000_000).server(|s| {
        s.replication_slots =
            vec![slot("old_standby", false, Some("reserved")), slot("live", true, Some("reserved"))];
        let (gid, owner, database) = ("transfer-4711".into(), "mcp_user".into(), "codebase_mcp".into());
        s.prepared = vec![Prepared { gid, owner, database, age_s: 90_000.0 }];
    });
    let told = s.told();
    told.expect_root(XIDS, Certainty::Proven).evidence(XIDS, "old_standby").evidence(XIDS, "transfer-4711");
    assert!(told.find(XIDS).evidence.iter().all(|e| e.value != "live"));
}

fn archiver(failed_s: Option<f64>, archived_s: Option<f64>) -> Stack {
    let failed_wal = failed_s.map(|_| "00000001000000000000000D".into());
    let a = Archiver { failed_count: 4, failed_s, archived_s, failed_wal };
    Stack::healthy().server(|s| s.archiver = Some(a))
}

fn slot(name: &str, active: bool, status: Option<&str>) -> ReplicationSlot {
    ReplicationSlot {
        name: name.into(),
        active,
        wal_status: status.map(Into::into),
        retained: Some(94_152_952),
    }
}

#[test]
fn an_archiver_that_fails_now_keeps_wal() {
    for (failed, archived, found) in [
        (Some(0.3), None, true),
        (Some(0.3), Some(7200.0), true),
        (Some(60.0), Some(61.0), true),
        (Some(119.9), Some(7200.0), true),
        // Long ago: it would have tried again.
        (Some(120.0), Some(7200.0), false),
        (Some(86_400.0), None, false),
        // Recovered.
        (Some(60.0), Some(5.0), false),
        (Some(60.0), Some(60.0), false),
        (None, Some(5.0), false),
        // Never had anything to do.
        (None, None, false),
    ] {
        let told =
            archiver(failed, archived).told().case(format!("failed {failed:?}, archived {archived:?}"));
        if found {
            told.expect_root(WAL, Certainty::Proven).evidence(WAL, "4 failures");
            assert_eq!(told.find(WAL).severity, Severity::P2);
            assert!(told.find(WAL).summary.contains("00000001000000000000000D"));
        } else {
            told.healthy();
        }
    }
}

#[test]
fn a_slot_beyond_what_the_server_may_keep_is_a_finding_and_a_lag_is_none() {
    for active in [true, false] {
        for (status, found) in [
            (None, false),
            (Some("reserved"), false),
            // Read, it catches up; unread, it only grows.
            (Some("extended"), !active),
            (Some("unreserved"), true),
            (Some("lost"), true),
        ] {
            let s =
                Stack::healthy().server(|s| s.replication_slots = vec![slot("old_standby", active, status)]);
            let told = s.told().case(format!("{status:?}, {active}"));
            if found {
                told.expect_root(WAL, Certainty::Proven).evidence(WAL, "old_standby");
            } else {
                told.healthy();
            }
        }
    }
}

#[test]
fn kept_wal_explains_no_unhealthy_service() {
    let told = archiver(Some(1.0), None).health(A, payload::a_down("lost")).told();
    told.expect_roots(&[UNHEALTHY_A, WAL]);
}

fn checksums(last_s: Option<f64>) -> Stack {
    let one = ChecksumFailure { database: "codebase_mcp".into(), count: 1, last_s };
    Stack::healthy().server(|s| s.checksum_failures = vec![one])
}

#[test]
fn a_checksum_failure_within_the_hour_is_corruption_and_an_old_counter_is_none() {
    for (last, found) in [
        (Some(0.0), true),
        (Some(3599.9), true),
        (Some(3600.0), false),
        (Some(10_800.0), false),
        (None, false),
    ] {
        let told = checksums(last).told().case(format!("{last:?}"));
        if found {
            told.expect_root(CORRUPT, Certainty::Proven).evidence(CORRUPT, "codebase_mcp");
            assert_eq!(told.find(CORRUPT).severity, Severity::P1);
        } else {
            told.healthy();
        }
    }
}

#[test]
fn xx001_by_our_own_login_is_corruption() {
    let text = "invalid page in block 0 of relation global/1262";
    let told = Stack::healthy().login(says("XX001", text)).told();
    told.expect_root(CORRUPT, Certainty::Proven)
        .evidence(CORRUPT, text)
        .symptom("postgres", SymptomState::Bad);
    let s = Stack::healthy().login(says("XX001", text));
    let told = s.health(A, payload::a_down(text)).health(C, payload::c_down(text)).told();
    told.expect_root(CORRUPT, Certainty::Proven);
    told.explained(UNHEALTHY_A, &[CORRUPT]).explained(UNHEALTHY_C, &[CORRUPT]);
    // An index is not the data.
    Stack::healthy().login(says("XX002", "index is corrupt")).told().never("db-down/data-corruption");
}

#[test]
fn xx001_in_a_services_words_is_corruption() {
    for text in [PAGE, "… (ERROR XX001)", "asyncpg.exceptions.DataCorruptedError: …"] {
        let told = Stack::healthy().health(A, payload::a_down(text)).told().case(text);
        told.expect_root(CORRUPT, Certainty::Proven).explained(UNHEALTHY_A, &[CORRUPT]);
    }
    for text in [
        "index \"code_chunks_pkey\" contains unexpected zero page at block 1 (ERROR XX002)",
        "XX0011",
        "I/O error",
    ] {
        Stack::healthy().health(A, payload::a_down(text)).told().case(text).never("db-down/data-corruption");
    }
}

#[test]
fn a_service_that_is_well_is_no_witness_of_corruption() {
    // An old line: the counters tell what is of now.
    let line = format!("codebase-mcp: ERROR database: {PAGE} (ERROR XX001)");
    Stack::healthy().line(A_UNIT, 1.0, 3, &line).told().healthy();
}

#[test]
fn a_witness_of_two_servers_does_not_prove_whose_page_it_is() {
    let s = Stack::healthy()
        .second_postgres("reports")
        .service(A, |s| s.needs = vec!["postgres".into(), "reports".into()])
        .health(A, payload::a_down(PAGE));
    let told = s.told();
    assert_eq!(told.find(CORRUPT).certainty, Certainty::Likely);
    assert_eq!(told.find("db-down/data-corruption@reports").certainty, Certainty::Likely);
}

#[test]
fn what_could_not_be_asked_inside_is_nothing() {
    let s = xids(1_600_000_000).login(crate::stack::wrong_password());
    s.told().healthy();
}
