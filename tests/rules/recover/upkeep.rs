//! What a table or an index gets, and what is left as it is.

use mcp_ir::engine::recover::{Choice, Request, choose};
use mcp_ir::plan::{Act, Aim, Chore, IndexState, Plan, Recovered, Risk, Upkeep};
use mcp_ir::scenario;
use mcp_ir::snapshot::host::{FileSystem, Place};
use mcp_ir::snapshot::work::Index;
use mcp_ir::snapshot::{Looks, Reading};

use super::{acts, of};
use crate::stack::A;
use crate::two::{SEARCH, Two, table};

fn stale(dead: f64, changed: f64) -> Two {
    Two::slow().ran(10.0, 6000.0, SEARCH).both(|w| (w.tables[0].dead, w.tables[0].changed) = (dead, changed))
}

fn chosen(two: &Two, request: &Request) -> Choice {
    choose(&two.looks(), &two.told(), request)
}

#[track_caller]
fn planned(two: &Two, request: &Request) -> Plan {
    match chosen(two, request) {
        Choice::Plan(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn chores(plan: &Plan) -> Vec<(&str, Chore)> {
    let of = |act: &&'_ Act| match act {
        Act::Upkeep(Upkeep { name, chore, .. }) => (name.clone(), *chore),
        other => panic!("{other:?}"),
    };
    let all: Vec<(String, Chore)> = acts(plan).iter().map(of).collect();
    all.into_iter().map(|(name, chore)| (&*name.leak(), chore)).collect()
}

#[test]
fn errata_24_what_is_dead_is_vacuumed_and_old_statistics_alone_are_only_counted_anew() {
    let plan = planned(&stale(150_000.0, 0.0), &of("latency"));
    assert_eq!(chores(&plan), [("code_chunks", Chore::Vacuum)]);
    let step = &plan.steps[0];
    assert_eq!((step.risk, plan.subjects.as_slice()), (Risk::Safe, &["postgres".to_owned()][..]));
    assert!(step.command.contains("VACUUM (ANALYZE) \"public\".\"code_chunks\""), "{}", step.command);
    assert!(!step.command.contains("FULL") && step.undo.is_none(), "{step:?}");
    assert!(step.undo_reason.as_ref().unwrap().contains("no state to go back to"));
    assert!(step.act.destroys_evidence() && step.act.target() == "server postgres");
    let plan = planned(&stale(0.0, 150_000.0), &of("latency"));
    assert_eq!(chores(&plan), [("code_chunks", Chore::Analyze)]);
    // A table that nobody slow uses is not touched.
    let other = stale(150_000.0, 0.0).both(|w| {
        let mut audit = table("audit");
        audit.dead = 900_000.0;
        w.tables.push(audit);
    });
    assert_eq!(chores(&planned(&other, &of("latency"))), [("code_chunks", Chore::Vacuum)]);
}

#[test]
fn what_a_standby_copies_is_looked_after_elsewhere() {
    let mut two = stale(150_000.0, 0.0);
    two.now =
        two.now.server(|s| s.in_recovery = true).postgres(|p| p.expect = mcp_ir::config::Expect::Standby);
    assert!(!matches!(chosen(&two, &of("latency")), Choice::Plan(_)));
}

fn index(name: &str) -> IndexState {
    IndexState {
        schema: "public".into(),
        name: name.into(),
        table: "code_chunks".into(),
        bytes: 100 << 20,
        definition: format!("CREATE INDEX {name} ON public.code_chunks USING btree (id)"),
        ..IndexState::default()
    }
}

fn invalid(all: &[IndexState]) -> (Two, Request) {
    let two = Two::slow().ran(10.0, 6000.0, SEARCH).both(|w| {
        w.invalid_indexes = all
            .iter()
            .map(|i| Index { schema: i.schema.clone(), name: i.name.clone(), table: i.table.clone() })
            .collect();
    });
    let mut request = of("latency");
    request.ask.near.indexes = [("postgres".to_owned(), all.to_vec())].into();
    (two, request)
}

#[test]
fn errata_23_a_left_over_is_dropped_and_what_somebody_meant_to_have_is_built() {
    let (two, request) = invalid(&[index("chunks_a"), index("chunks_pkey_ccnew")]);
    let plan = planned(&two, &request);
    assert_eq!(chores(&plan), [("chunks_a", Chore::Reindex), ("chunks_pkey_ccnew", Chore::DropIndex)]);
    assert!(plan.steps[0].command.contains("REINDEX INDEX CONCURRENTLY \"public\".\"chunks_a\""));
    assert!(plan.steps[1].command.contains("DROP INDEX CONCURRENTLY"));
    assert_eq!(plan.risk(), Risk::Disruptive);
    // What it was stands in the journal.
    assert!(plan.steps[1].undo_reason.as_ref().unwrap().contains("CREATE INDEX chunks_pkey_ccnew"));
}

#[test]
fn errata_23_what_is_valid_meanwhile_or_built_or_held_is_left_as_it_is() {
    for (state, word) in [
        (IndexState { building: true, ..index("a_ccnew") }, "being built"),
        (IndexState { held_by: Some(77), ..index("a_ccnew") }, "session 77"),
        (IndexState { constraint: Some("a_key".into()), ..index("a_ccnew") }, "the constraint a_key"),
        (IndexState { held_by: Some(77), ..index("a") }, "session 77"),
    ] {
        let (two, request) = invalid(&[state]);
        let Choice::Refused { why, .. } = chosen(&two, &request) else { panic!("{word}") };
        assert!(why.contains(word), "{why}");
    }
    let (two, request) = invalid(&[IndexState { valid: true, ..index("a") }]);
    assert!(matches!(chosen(&two, &request), Choice::NothingToDo(_)));
    // Who could not look does nothing.
    let (two, _) = invalid(&[index("a")]);
    assert!(matches!(chosen(&two, &of("latency")), Choice::Advice { .. }));
}

#[test]
fn errata_23_without_room_for_a_second_one_nothing_is_built_and_the_figures_are_said() {
    let disk = |available: u64| {
        let (mut two, request) = invalid(&[index("a")]);
        let file_system = FileSystem {
            device: "/dev/sda1".into(),
            mounted_at: "/".into(),
            kind: "ext4".into(),
            options: "rw".into(),
            read_only: false,
            total: 900 << 30,
            available,
            inodes: 0,
            inodes_available: 0,
        };
        two.now.now.postgres.get_mut("postgres").unwrap().here = Some(true);
        two.now.now.host.places = vec![Place {
            subject: "postgres".into(),
            what: "data".into(),
            path: "/var/lib/postgresql/15/main".into(),
            file_system: Reading::Seen { value: file_system },
        }];
        let looks = two.looks();
        let f = two.told().findings.into_iter().find(|f| f.cause == "latency/invalid-index").unwrap();
        scenario::plan(scenario::by_name("latency").unwrap(), &looks, &f, &request.ask, &looks.now.config)
    };
    let mcp_ir::plan::Remedy::Refused { why, .. } = disk(119 << 20) else { panic!() };
    assert!(why.contains("120 MiB") && why.contains("119 MiB left"), "{why}");
    assert!(matches!(disk(120 << 20), mcp_ir::plan::Remedy::Steps { .. }));
}

fn judged(looks: &Looks) -> Recovered {
    let aim = Aim { cause: Some("latency/stale-statistics"), subject: "postgres", size: None };
    (scenario::by_name("latency").unwrap().recovered)(looks, &aim, &looks.now.config)
}

#[test]
fn rule_6_new_statistics_are_no_cure_while_a_service_is_slow() {
    let Recovered::NotYet(why) = judged(&stale(150_000.0, 0.0).looks()) else { panic!() };
    assert!(why.contains("code_chunks"), "{why}");
    let Recovered::NotYet(why) = judged(&Two::slow().ran(10.0, 6000.0, SEARCH).looks()) else { panic!() };
    assert!(why.contains(&format!("{A} is slow still: p95 between 0.5 and 1 s")), "{why}");
    let Recovered::Yes(says) = judged(&Two::healthy().looks()) else { panic!() };
    assert!(says.contains(&format!("{A} is quick (p95 under 0.1 s)")), "{says}");
    // One reading tells no pace.
    let once = Looks { before: None, ..Two::healthy().looks() };
    assert!(matches!(judged(&once), Recovered::NotYet(_)));
}
