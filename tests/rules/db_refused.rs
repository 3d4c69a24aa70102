//! A refused login: nothing listens *there*. Only its own unit, or the process table of the same
//! host, says that nothing runs. Where they leave it open the answer is unknown.

use mcp_ir::diagnosis::{Certainty, Verdict};
use mcp_ir::snapshot::postgres::Postmaster;
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use crate::stack::{FOLDER, PG_UNIT, Stack, UMBRELLA, fail, postmaster, refused};

const STOPPED: &str = "db-down/postgres-stopped@postgres";
const ELSEWHERE: &str = "db-down/refused-remote@postgres";
const STARTING: &str = "db-down/starting-up@postgres";
const STOPPING: &str = "db-down/shutting-down@postgres";

/// What must be said: a cause and how sure, or nothing.
type Want = Option<(&'static str, Certainty)>;
const PROVEN: Want = Some((STOPPED, Certainty::Proven));
const LIKELY: Want = Some((STOPPED, Certainty::Likely));
const OTHER_PLACE: Want = Some((ELSEWHERE, Certainty::Likely));
const WAIT: Want = Some((STARTING, Certainty::Likely));
const LEAVING: Want = Some((STOPPING, Certainty::Likely));
const UNKNOWN: Want = None;

/// What the process table shows.
fn tables() -> [(&'static str, Option<Vec<Postmaster>>); 5] {
    [
        ("the table can't be read", None),
        ("no postmaster", Some(vec![])),
        ("its postmaster", Some(vec![postmaster("S", Some(FOLDER), Some(5432))])),
        ("another cluster's", Some(vec![postmaster("S", Some("/srv/pg"), Some(5433))])),
        ("one of which nothing is known", Some(vec![postmaster("S", None, None)])),
    ]
}

fn table(s: Stack, all: Option<Vec<Postmaster>>) -> Stack {
    match all {
        Some(all) => s.postmasters(all),
        None => s.look(|p| p.postmasters = Reading::Failed(fail(FailKind::Denied, Stage::Answer))),
    }
}

#[track_caller]
fn check(case: String, s: &Stack, want: Want) {
    let told = s.told().case(case);
    match want {
        Some((id, certainty)) => _ = told.expect_root(id, certainty),
        None => _ = told.never("db-down").verdict_of_a_broken_stack(),
    }
}

trait Broken {
    fn verdict_of_a_broken_stack(&self) -> &Self;
}

impl Broken for crate::told::Told {
    /// The services say unhealthy: without a cause beneath they are roots of their own, never health.
    fn verdict_of_a_broken_stack(&self) -> &Self {
        assert_ne!(self.d.verdict, Verdict::Healthy);
        assert!(self.d.unknown.iter().any(|u| u.subject == "postgres"), "{:?}", self.d.unknown);
        self
    }
}

#[test]
fn a_refused_login_is_judged_by_the_configured_unit_and_the_process_table() {
    // Columns as in `tables`.
    let rows: [(&str, &str, &str, [Want; 5]); 9] = [
        ("loaded", "inactive", "dead", [LIKELY, PROVEN, OTHER_PLACE, PROVEN, LIKELY]),
        ("loaded", "failed", "failed", [LIKELY, PROVEN, OTHER_PLACE, PROVEN, LIKELY]),
        ("masked", "inactive", "dead", [LIKELY, PROVEN, OTHER_PLACE, PROVEN, LIKELY]),
        ("loaded", "activating", "auto-restart", [LIKELY, PROVEN, OTHER_PLACE, PROVEN, LIKELY]),
        ("loaded", "activating", "auto-restart-queued", [LIKELY, PROVEN, OTHER_PLACE, PROVEN, LIKELY]),
        ("loaded", "activating", "start", [WAIT; 5]),
        ("loaded", "deactivating", "stop-sigterm", [LEAVING; 5]),
        ("loaded", "active", "running", [OTHER_PLACE; 5]),
        // Not there: the table alone decides, and never proves.
        ("not-found", "inactive", "dead", [UNKNOWN, LIKELY, OTHER_PLACE, LIKELY, UNKNOWN]),
    ];
    for (load, active, sub, wants) in rows {
        for ((seen, all), want) in tables().into_iter().zip(wants) {
            let s = table(Stack::outage().loaded(PG_UNIT, load, active, sub), all);
            check(format!("{load} {active} ({sub}), {seen}"), &s, want);
        }
    }
}

#[test]
fn what_is_left_of_a_killed_server_is_swept_up_and_nobody_stops_it() {
    let swept = || table(Stack::outage().unit(PG_UNIT, "deactivating", "stop-sigkill"), Some(vec![]));
    let mut killed = swept();
    if let Reading::Seen { value } = &mut killed.now.units.listed.reading {
        value.get_mut(PG_UNIT).unwrap().job = None;
    }
    check("killed".into(), &killed, PROVEN);
    check("stopped".into(), &swept(), LEAVING);
}

#[test]
fn without_a_bus_only_the_process_table_speaks() {
    for ((seen, all), want) in tables().into_iter().zip([UNKNOWN, LIKELY, OTHER_PLACE, LIKELY, UNKNOWN]) {
        check(format!("no bus, {seen}"), &table(Stack::outage().no_bus(), all), want);
    }
}

/// Clusters found by pattern: name, active, sub.
type Found = &'static [(&'static str, &'static str, &'static str)];

#[test]
fn clusters_found_by_pattern_are_told_apart_or_left_open() {
    const ONE_ENDED: Found = &[("postgresql@15-main.service", "inactive", "dead")];
    const ONE_RUNS: Found = &[("postgresql@15-main.service", "active", "running")];
    const BOTH_ENDED: Found = &[
        ("postgresql@14-old.service", "inactive", "dead"),
        ("postgresql@15-main.service", "failed", "failed"),
    ];
    const RUNS_AND_ENDED: Found = &[
        ("postgresql@14-old.service", "active", "running"),
        ("postgresql@15-main.service", "inactive", "dead"),
    ];
    const RUNS_AND_STARTS: Found = &[
        ("postgresql@14-old.service", "active", "running"),
        ("postgresql@15-main.service", "activating", "start"),
    ];
    const ENDED_AND_STARTS: Found = &[
        ("postgresql@14-old.service", "activating", "start"),
        ("postgresql@15-main.service", "inactive", "dead"),
    ];
    let rows: [(Found, [Want; 5]); 7] = [
        (&[], [UNKNOWN, LIKELY, OTHER_PLACE, LIKELY, UNKNOWN]),
        // A leftover it may be: what was asked for may be a container or a tunnel.
        (ONE_ENDED, [LIKELY, LIKELY, OTHER_PLACE, LIKELY, LIKELY]),
        (ONE_RUNS, [OTHER_PLACE; 5]),
        (BOTH_ENDED, [LIKELY, LIKELY, OTHER_PLACE, LIKELY, LIKELY]),
        // Which of the two is asked for is known only where the running one is another's.
        (RUNS_AND_ENDED, [UNKNOWN, LIKELY, OTHER_PLACE, LIKELY, UNKNOWN]),
        (RUNS_AND_STARTS, [UNKNOWN, WAIT, WAIT, WAIT, UNKNOWN]),
        // Its own postmaster is there: it is the one that starts.
        (ENDED_AND_STARTS, [UNKNOWN, UNKNOWN, WAIT, UNKNOWN, UNKNOWN]),
    ];
    for umbrella in [false, true] {
        for (found, wants) in rows {
            for ((seen, all), want) in tables().into_iter().zip(wants) {
                let mut s = table(Stack::outage().no_pg_unit(), all);
                for (name, active, sub) in found {
                    s = s.unit(name, active, sub);
                }
                if umbrella {
                    s = s.unit(UMBRELLA, "active", "exited");
                }
                check(format!("{found:?}, umbrella {umbrella}, {seen}"), &s, want);
            }
        }
    }
}

#[test]
fn the_umbrella_unit_says_nothing_even_where_it_is_the_configured_one() {
    for ((seen, all), want) in tables().into_iter().zip([UNKNOWN, LIKELY, OTHER_PLACE, LIKELY, UNKNOWN]) {
        let s = Stack::outage().no_pg_unit().postgres(|p| p.unit = Some(UMBRELLA.into()));
        check(format!("umbrella, {seen}"), &table(s.unit(UMBRELLA, "active", "exited"), all), want);
    }
}

#[test]
fn a_running_second_cluster_does_not_speak_for_the_umbrellas() {
    let s = Stack::outage()
        .no_pg_unit()
        .postgres(|p| p.unit = Some(UMBRELLA.into()))
        .unit(UMBRELLA, "active", "exited")
        .unit("postgresql@14-old.service", "active", "running")
        .unit(PG_UNIT, "inactive", "dead");
    check("the table shows 14-old on its port".into(), &table(s, tables()[3].1.clone()), LIKELY);
}

#[test]
fn a_unit_that_merely_begins_with_postgresql_is_no_cluster() {
    for name in ["postgresql-backup.service", "postgresql-exporter.service", "postgresqlbackup@x.service"] {
        for active in ["inactive", "active", "failed"] {
            let s = table(Stack::outage().no_pg_unit().unit(name, active, "dead"), None);
            check(format!("{name} {active}"), &s, UNKNOWN);
        }
    }
    for load in ["not-found", "masked", "error"] {
        let s = Stack::outage().no_pg_unit().loaded(PG_UNIT, load, "inactive", "dead");
        check(format!("listed as {load}"), &table(s, None), UNKNOWN);
    }
    for name in ["postgresql-15.service", "postgresql@15-main.service", "postgresql-9.6.service"] {
        let s = table(Stack::outage().no_pg_unit().unit(name, "inactive", "dead"), Some(vec![]));
        check(name.into(), &s, LIKELY);
    }
}

#[test]
fn a_server_in_a_container_has_no_unit_of_this_host() {
    let s = Stack::outage().no_pg_unit().postgres(|p| p.container = Some("db".into()));
    check("a leftover unit".into(), &table(s.unit(PG_UNIT, "inactive", "dead"), None), UNKNOWN);
}

#[test]
fn a_local_unit_is_never_looked_at_for_a_remote_address() {
    for active in ["inactive", "failed", "activating", "deactivating", "active"] {
        let s = Stack::outage().here(Some(false)).unit(PG_UNIT, active, "dead");
        check(active.into(), &s, Some((ELSEWHERE, Certainty::Proven)));
    }
}

#[test]
fn an_address_that_may_be_anyones_is_unknown() {
    check("here is not known".into(), &Stack::outage().here(None), UNKNOWN);
}

#[test]
fn a_socket_that_is_not_there_is_how_a_stopped_server_refuses() {
    let s = Stack::outage().login(fail(FailKind::Missing, Stage::Connect));
    check("no socket".into(), &s, PROVEN);
}

#[test]
fn a_folder_is_the_same_with_a_slash_at_its_end() {
    let ours = |folder: &str| {
        let folder = folder.to_owned();
        Stack::outage().postgres(move |p| p.data_directory = Some(folder)).postmasters(vec![postmaster(
            "S",
            Some(FOLDER),
            None,
        )])
    };
    check("as it is".into(), &ours(FOLDER), OTHER_PLACE);
    check("with a slash".into(), &ours("/var/lib/postgresql/15/main/"), OTHER_PLACE);
    check("another folder".into(), &ours("/srv/pg"), PROVEN);
}

#[test]
fn a_folder_by_another_path_is_still_known_by_its_port() {
    let s = Stack::outage()
        .postgres(|p| p.data_directory = Some("/data/pg".into()))
        .postmasters(vec![postmaster("S", Some(FOLDER), Some(5432))]);
    check("a link".into(), &s, OTHER_PLACE);
}

#[test]
fn another_port_is_another_address_even_while_the_server_starts() {
    let on = |port, active: &str, sub: &str| {
        Stack::outage()
            .postgres(|p| p.data_directory = Some(FOLDER.into()))
            .unit(PG_UNIT, active, sub)
            .postmasters(vec![postmaster("S", Some(FOLDER), Some(port))])
    };
    for (active, sub) in [("activating", "start"), ("active", "running"), ("inactive", "dead")] {
        let told = on(5433, active, sub).told().case(active);
        told.expect_root(ELSEWHERE, Certainty::Likely).evidence(ELSEWHERE, "5433");
    }
    check("its own port, and it starts".into(), &on(5432, "activating", "start"), WAIT);
    check("another port, and it stops".into(), &on(5433, "deactivating", "stop-sigterm"), LEAVING);
}

#[test]
fn what_a_connected_service_contradicts_is_not_proven() {
    let told = Stack::healthy().login(refused()).unit(PG_UNIT, "inactive", "dead").postmasters(vec![]).told();
    told.expect_root(STOPPED, Certainty::Likely).evidence(STOPPED, "codebase-mcp");
    let told = Stack::healthy().login(refused()).here(Some(false)).told();
    told.expect_root(ELSEWHERE, Certainty::Likely);
}

#[test]
fn the_evidence_names_unit_and_last_words() {
    let s = Stack::outage().unit(PG_UNIT, "failed", "failed").detail(PG_UNIT, "signal", 2, 9, 60.0).line(
        PG_UNIT,
        60.0,
        3,
        "PANIC: could not write to file",
    );
    let told = s.told();
    told.expect_root(STOPPED, Certainty::Proven)
        .evidence(STOPPED, "failed (failed)")
        .evidence(STOPPED, "PANIC: could not write to file")
        .evidence(STOPPED, "signal");
    assert_eq!(told.find(STOPPED).since, Some(crate::stack::ago(60.0)));
    assert!(told.find(STOPPED).remedy.command.contains(PG_UNIT));
}

/// It failed, and why stands where this user may not look: no start is offered before that is read.
#[test]
fn a_server_whose_log_is_not_ours_to_read_is_not_started_unread() {
    let stopped = |result: &str| {
        let s = Stack::healthy().login(refused()).unit(PG_UNIT, "failed", "failed").postmasters(Vec::new());
        let mut s = s.detail(PG_UNIT, result, 1, 1, 5.0);
        let denied = Failure::new(FailKind::Denied, "/var/log/postgresql/x.log: permission denied");
        s.now.host.logs.insert("postgres".into(), Reading::Failed(denied));
        s.told()
    };
    let told = stopped("exit-code");
    told.evidence(STOPPED, "not read: /var/log/postgresql/x.log");
    assert_eq!(told.find(STOPPED).remedy.command, "sudo mcp-ir diagnose db-down");
    assert!(stopped("success").find(STOPPED).remedy.command.starts_with("systemctl start"));
}
