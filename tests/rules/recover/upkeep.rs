//! What a table or an index gets, and what is left as it is.

use mcp_ir::engine::recover::{Choice, Request, as_planned, choose};
use mcp_ir::plan::{Act, Aim, Chore, IndexState, Plan, Recovered, Remedy, Risk, Upkeep};
use mcp_ir::scenario;
use mcp_ir::snapshot::host::{FileSystem, Place};
use mcp_ir::snapshot::work::Index;
use mcp_ir::snapshot::{Looks, Reading};

use super::{acts, of};
use crate::stack::{A, C, Stack, refused};
use crate::two::{SEARCH, Two, histogram, table};

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
    assert_eq!(plan.slowed, [A], "whose requests have to be quick afterwards");
    let step = &plan.steps[0];
    assert_eq!((step.risk, plan.subjects.as_slice()), (Risk::Disruptive, &["postgres".to_owned()][..]));
    let sql = "VACUUM (ANALYZE, TRUNCATE false) \"public\".\"code_chunks\"";
    assert!(step.command.contains(sql), "{}", step.command);
    assert!(!step.command.contains("FULL") && step.undo.is_none(), "{step:?}");
    assert!(step.undo_reason.as_ref().unwrap().contains("no state to go back to"));
    assert!(step.act.destroys_evidence() && step.act.target() == "server postgres");
    let plan = planned(&stale(0.0, 150_000.0), &of("latency"));
    assert_eq!(chores(&plan), [("code_chunks", Chore::Analyze)]);
    assert_eq!(plan.risk(), Risk::Safe);
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

/// What an older server can't do without locking others out is left to people; statistics it counts.
#[test]
fn an_older_server_is_not_asked_for_what_it_can_not_do_beside_others() {
    for (version, old) in [("11.22 (Debian 11.22-0+deb10u2)", true), ("9.6.24", true), ("12.0", false)] {
        let of_version = |mut two: Two| {
            two.now = two.now.server(|s| s.version = version.into());
            two
        };
        let two = of_version(stale(150_000.0, 0.0));
        assert_eq!(matches!(chosen(&two, &of("latency")), Choice::Advice { .. }), old, "{version}");
        let two = of_version(stale(0.0, 150_000.0));
        assert_eq!(chores(&planned(&two, &of("latency"))), [("code_chunks", Chore::Analyze)], "{version}");
        let (two, request) = invalid(&[index("chunks_a")]);
        let two = of_version(two);
        assert_eq!(matches!(chosen(&two, &request), Choice::Advice { .. }), old, "{version}");
    }
}

pub fn index(name: &str) -> IndexState {
    IndexState {
        schema: "public".into(),
        name: name.into(),
        table: "code_chunks".into(),
        bytes: 100 << 20,
        definition: format!("CREATE INDEX {name} ON public.code_chunks USING btree (id)"),
        ..IndexState::default()
    }
}

/// The primary key's, which a finding calls damaged.
pub fn damaged() -> IndexState {
    IndexState { valid: true, bytes: 1 << 20, ..index("code_chunks_pkey") }
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
    let left = IndexState { replaced: true, ..index("chunks_pkey_ccnew") };
    let (two, request) = invalid(&[index("chunks_a"), left]);
    let plan = planned(&two, &request);
    assert_eq!(chores(&plan), [("chunks_a", Chore::Reindex), ("chunks_pkey_ccnew", Chore::DropIndex)]);
    assert!(plan.steps[0].command.contains("REINDEX INDEX CONCURRENTLY \"public\".\"chunks_a\""));
    assert!(plan.steps[1].command.contains("DROP INDEX CONCURRENTLY"));
    assert_eq!(plan.risk(), Risk::Disruptive);
    // What it was stands in the journal.
    assert!(plan.steps[1].undo_reason.as_ref().unwrap().contains("CREATE INDEX chunks_pkey_ccnew"));
}

/// A build of ours that was killed leaves its other half: by then the one that it was for is not valid yet.
#[test]
fn errata_23_what_a_build_that_was_cut_off_left_is_dropped_behind_the_next() {
    let (two, request) = invalid(&[index("chunks_a"), index("chunks_a_ccnew"), index("b_ccnew")]);
    let plan = planned(&two, &request);
    assert_eq!(chores(&plan), [("chunks_a", Chore::Reindex), ("chunks_a_ccnew", Chore::DropIndex)]);
    assert!(plan.notes.iter().any(|n| n.contains("b_ccnew is left as it is")), "{:?}", plan.notes);
    let held = IndexState { held_by: Some(77), ..index("chunks_a_ccnew") };
    let (two, request) = invalid(&[index("chunks_a"), held]);
    assert_eq!(chores(&planned(&two, &request)), [("chunks_a", Chore::Reindex)], "somebody is at it");
}

#[test]
fn errata_23_what_is_valid_meanwhile_or_built_or_held_is_left_as_it_is() {
    for (state, word) in [
        (IndexState { building: true, ..index("a_ccnew") }, "being built"),
        (IndexState { held_by: Some(77), ..index("a_ccnew") }, "session 77"),
        (IndexState { constraint: Some("a_key".into()), ..index("a_ccnew") }, "the constraint a_key"),
        (IndexState { held_by: Some(77), ..index("a") }, "session 77"),
        // It may be all that is left of what somebody meant to have.
        (index("a_ccnew"), "no valid index a is on code_chunks"),
    ] {
        let (two, request) = invalid(&[state]);
        let Choice::Refused { why, .. } = chosen(&two, &request) else { panic!("{word}") };
        assert!(why.contains(word), "{why}");
    }
    let (two, request) = invalid(&[IndexState { valid: true, ..index("a") }]);
    // Found a moment ago, and valid since: nothing is done, and it is not called well by that.
    let Choice::Advice { why, .. } = chosen(&two, &request) else { panic!() };
    assert!(why.contains("none of its indexes is invalid any more"), "{why}");
    // Who could not look does nothing.
    let (two, _) = invalid(&[index("a")]);
    assert!(matches!(chosen(&two, &of("latency")), Choice::Advice { .. }));
}

/// What is planned for these where the server's file systems have so much left.
fn on_disks(all: &[IndexState], disks: &[(&str, u64)]) -> Remedy {
    let (mut two, request) = invalid(all);
    let place = |(what, available): &(&str, u64)| Place {
        subject: "postgres".into(),
        what: (*what).into(),
        path: format!("/{what}"),
        file_system: Reading::Seen {
            value: FileSystem {
                device: "/dev/sda1".into(),
                mounted_at: "/".into(),
                kind: "ext4".into(),
                options: "rw".into(),
                read_only: false,
                total: 900 << 30,
                available: *available,
                inodes: 0,
                inodes_available: 0,
            },
        },
    };
    two.now.now.postgres.get_mut("postgres").unwrap().here = Some(true);
    two.now.now.host.places = disks.iter().map(place).collect();
    let looks = two.looks();
    let f = two.told().findings.into_iter().find(|f| f.cause == "latency/invalid-index").unwrap();
    scenario::plan(scenario::by_name("latency").unwrap(), &looks, &f, &request.ask, &looks.now.config)
}

/// The new one, what is sorted for it, and as much WAL; and what is left is not low.
#[test]
fn errata_23_without_room_for_a_second_one_nothing_is_built_and_the_figures_are_said() {
    let fits = (10 << 30) + (300 << 20);
    let why = |disks: &[(&str, u64)]| match on_disks(&[index("a")], disks) {
        Remedy::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let told = why(&[("data", fits - 1)]);
    assert!(told.contains("300 MiB") && told.contains("its data has 10540 MiB left"), "{told}");
    assert!(
        matches!(on_disks(&[index("a")], &[("data", fits)]), Remedy::Steps { notes, .. } if notes.is_empty())
    );
    // Where the WAL finds no room the server is down.
    let told = why(&[("data", 800 << 30), ("WAL", 299 << 20)]);
    assert!(told.contains("its WAL has 299 MiB left"), "{told}");
    assert!(why(&[("data", 800 << 30), ("WAL", fits), ("tablespace", 1)]).contains("its tablespace has"));
}

/// Nobody reads a note under --yes.
#[test]
fn errata_23_where_its_room_can_not_be_seen_nothing_large_is_built() {
    let of = |bytes: u64| on_disks(&[IndexState { bytes, ..index("a") }], &[]);
    let small = of(341 << 20);
    assert!(matches!(&small, Remedy::Steps { notes, .. } if notes[0].contains("1023 MiB")), "{small:?}");
    let Remedy::Advice(why) = of(342 << 20) else { panic!() };
    assert!(why.contains("1026 MiB") && why.contains("could not be seen"), "{why}");
    // It is known of the data, and not of the WAL.
    let (mut two, request) = invalid(&[IndexState { bytes: 1 << 30, ..index("a") }]);
    two.now.now.postgres.get_mut("postgres").unwrap().here = Some(false);
    assert!(matches!(chosen(&two, &request), Choice::Advice { .. }), "elsewhere");
}

#[test]
fn errata_23_what_one_run_builds_has_to_fit_together() {
    let two = [index("a"), index("b")];
    let chores = |available: u64| match on_disks(&two, &[("data", available)]) {
        Remedy::Steps { steps, notes } => (steps.len(), notes.join(" ")),
        other => panic!("{other:?}"),
    };
    let (built, said) = chores((10 << 30) + (300 << 20));
    assert_eq!(built, 1);
    assert!(said.contains("public.b is left as it is") && said.contains("600 MiB with what else"), "{said}");
    assert_eq!(chores((10 << 30) + (600 << 20)), (2, String::new()));
    // A damaged one that is built in the same run is valid.
    let damaged = IndexState { valid: true, ..index("z") };
    let both = on_disks(&[index("a"), damaged], &[("data", (10 << 30) + (300 << 20))]);
    assert!(matches!(both, Remedy::Refused { .. }), "{both:?}");
}

fn judged(looks: &Looks) -> Recovered {
    of_aim(looks, &Aim { cause: Some("latency/stale-statistics"), subject: "postgres", size: None })
}

fn of_aim(looks: &Looks, aim: &Aim) -> Recovered {
    (scenario::by_name("latency").unwrap().recovered)(looks, aim, &looks.now.config)
}

/// So many requests in between, all of them quick.
fn asked(times: f64) -> Looks {
    let mut two = Two::healthy();
    let all = 400.0 + times;
    two.now.now.services.get_mut(A).unwrap().metrics = Some(histogram([all; 4], 4.1));
    two.looks()
}

/// The other service that needs it times its requests too, and they are quick.
fn quick_besides(mut looks: Looks) -> Looks {
    let page = |n: f64| Some(histogram([n; 4], n / 100.0));
    looks.now.config.service.iter_mut().find(|s| s.name == C).unwrap().metrics = Some("/metrics".into());
    looks.now.services.get_mut(C).unwrap().metrics = page(500.0);
    let before = looks.before.as_mut().unwrap();
    let mut first = page(400.0).unwrap();
    let at = before.services[A].metrics.as_ref().unwrap().seen().unwrap().at;
    let Reading::Seen { value } = &mut first.reading else { panic!() };
    value.at = at;
    before.services.get_mut(C).unwrap().metrics = Some(first);
    looks
}

#[test]
fn rule_6_a_service_that_nobody_asked_in_between_is_not_called_quick() {
    for few in [0.0, 3.0] {
        let Recovered::NotYet(why) = judged(&asked(few)) else { panic!("{few}") };
        assert!(why.contains("hardly a request"), "{why}");
    }
    assert!(matches!(judged(&asked(4.0)), Recovered::Yes(_)));
    // Who was slow is asked for by himself, though others are quick.
    let plan = planned(&stale(150_000.0, 0.0), &of("latency"));
    assert!(matches!(as_planned(&asked(4.0), &plan), Recovered::Yes(_)));
    let of_none = Plan { slowed: Vec::new(), ..plan.clone() };
    assert!(
        matches!(as_planned(&quick_besides(asked(0.0)), &of_none), Recovered::Yes(_)),
        "who is only idle"
    );
    assert!(matches!(as_planned(&quick_besides(asked(0.0)), &plan), Recovered::NotYet(_)));
    // A page that could not be read says nothing, and its health answer is no substitute.
    let mut two = Two::healthy();
    two.now.now.services.get_mut(A).unwrap().metrics = None;
    assert!(matches!(judged(&two.looks()), Recovered::NotYet(_)));
    // Who counts no requests at all is known by his health answer, before and afterwards.
    let mut looks = asked(0.0);
    for look in looks.before.iter_mut().chain([&mut looks.now]) {
        let page = look.services.get_mut(A).unwrap().metrics.as_mut().unwrap();
        let Reading::Seen { value } = &mut page.reading else { panic!() };
        value.durations.clear();
    }
    assert!(matches!(judged(&looks), Recovered::Yes(_)));
}

#[test]
fn who_is_down_for_another_reason_is_no_witness_of_a_slow_database() {
    let mut looks = asked(4.0);
    assert!(matches!(judged(&looks), Recovered::Yes(_)));
    let down = Stack::healthy().no_answer(C, refused()).now.services[C].clone();
    for look in looks.before.iter_mut().chain([&mut looks.now]) {
        look.services.insert(C.into(), down.clone());
    }
    let Recovered::Yes(says) = judged(&looks) else { panic!("{:?}", judged(&looks)) };
    assert!(!says.contains(C), "{says}");
    // Who was slow is asked for himself, down or not.
    let plan = Plan { slowed: vec![C.into()], ..planned(&stale(150_000.0, 0.0), &of("latency")) };
    assert!(matches!(as_planned(&looks, &plan), Recovered::NotYet(_)));
}

#[test]
fn errata_33_a_larger_pool_that_was_ignored_is_no_cure_of_who_waits_for_it() {
    let aim = |size| Aim { cause: Some("latency/pool-wait"), subject: A, size };
    let looks = Two::healthy().looks();
    assert!(matches!(of_aim(&looks, &aim(None)), Recovered::Yes(_)));
    assert!(matches!(of_aim(&looks, &aim(Some(10))), Recovered::Yes(_)));
    let Recovered::NotYet(why) = of_aim(&looks, &aim(Some(40))) else { panic!() };
    assert!(why.contains("not of 40"), "{why}");
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
