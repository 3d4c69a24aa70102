//! What is done only where a person says so: `--start`, `--restart`, `--restart-dependencies`.

use mcp_ir::engine::recover::{Choice, Request, choose};
use mcp_ir::plan::{Act, Ask, Needs, Plan, Risk, Told};
use mcp_ir::snapshot::postgres::Postmaster;
use mcp_ir::snapshot::slots::{Owner, SlotHolder, Slots};
use mcp_ir::snapshot::units::Event;
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use super::{acts, chosen, of, planned};
use crate::redis;
use crate::stack::{A_UNIT, FOLDER, PG_UNIT, Stack, fail, failed, postmaster, silent};
use crate::two::Two;

const START: Told = Told { start: true, restart: false, dependencies: false, grace_s: None };
const RESTART: Told = Told { start: false, restart: true, dependencies: false, grace_s: None };
const DEPENDENCIES: Told = Told { start: false, restart: false, dependencies: true, grace_s: None };

/// Its postmaster is the main process of its unit, and says nothing; nobody says that it is connected.
fn hung() -> Stack {
    let main = Stack::outage().login(silent()).unit(PG_UNIT, "active", "running").process(PG_UNIT, "S");
    let pid = main.now.units.process[PG_UNIT].seen().unwrap().pid;
    main.postmasters(vec![Postmaster { pid, ..postmaster("S", Some(FOLDER), Some(5432)) }])
}

/// By a word, and with the runs of all units seen.
fn told(scenario: &str, told: Told) -> Request {
    let mut ask = Ask { told, ..Ask::default() };
    let run = |unit: &str| (unit.to_owned(), "abc".to_owned());
    ask.near.holds = ["redis", "postgres"].map(str::to_owned).into();
    ask.near.runs = [PG_UNIT, A_UNIT, "redis-server.service", "ollama.service"].map(run).into();
    Request { ask, ..of(scenario) }
}

fn only(plan: &Plan) -> &Act {
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    &step.act
}

fn advice(choice: Choice) -> String {
    let Choice::Advice { why, .. } = choice else { panic!("{choice:?}") };
    why
}

fn in_vain() -> Stack {
    let result = || "exit-code".to_owned();
    let events = [
        (30.0, Event::Starting),
        (29.0, Event::Failed { result: result() }),
        (29.0, Event::StartFailed { result: result() }),
    ];
    let line = "FATAL:  configuration file \"/etc/postgresql/15/main/postgresql.conf\" contains errors";
    Stack::outage().unit(PG_UNIT, "failed", "failed").events(PG_UNIT, &events).line(PG_UNIT, 29.5, 6, line)
}

#[test]
fn a_database_that_failed_to_start_is_started_once_where_its_reason_is_said_to_be_gone() {
    let why = advice(chosen(&in_vain(), &of("db-down")));
    assert!(why.contains("`mcp-ir recover db --start`"), "the word for it is said: {why}");
    let plan = planned(&in_vain(), &told("db-down", START));
    let unit = || PG_UNIT.to_owned();
    assert_eq!(acts(&plan), [&Act::ResetFailed { unit: unit() }, &Act::StartUnit { unit: unit() }]);
    assert!(plan.notes.iter().any(|n| n.contains("contains errors")), "what it failed of: {:?}", plan.notes);
    // Another word starts nothing.
    advice(chosen(&in_vain(), &told("db-down", RESTART)));
    let starts = in_vain().unit(PG_UNIT, "activating", "start");
    assert!(!matches!(chosen(&starts, &told("db-down", START)), Choice::Plan(p) if p.changes()));
}

#[test]
fn a_database_that_does_not_answer_is_restarted_only_where_it_is_told() {
    let why = advice(chosen(&hung(), &of("db-down")));
    assert!(why.contains("`mcp-ir recover db --restart`"), "{why}");
    let plan = planned(&hung(), &told("db-down", RESTART));
    assert_eq!(only(&plan), &Act::RestartByForce { unit: PG_UNIT.into(), grace_s: 30 });
    let step = &plan.steps[0];
    let Needs::Unit { invocation, .. } = &step.needs else { panic!() };
    assert_eq!(invocation.as_deref(), Some("abc"), "the run that was seen");
    assert!(step.undo.is_none() && step.undo_reason.is_some());
    assert_eq!(plan.risk(), Risk::Destructive, "its name is typed");
    assert!(step.act.destroys_evidence() && step.act.ends_its_unit());
    let command = "timeout 30 systemctl restart postgresql@15-main.service; [ $? -ne 124 ] || \
                   systemctl kill -s KILL postgresql@15-main.service";
    assert_eq!(step.command, command, "where the stop was refused nobody is killed");
    assert!(plan.notes.iter().any(|n| n.contains("all sessions of postgres end")), "{:?}", plan.notes);
    let slower = Request {
        ask: Ask { told: Told { grace_s: Some(60), ..RESTART }, ..told("db-down", RESTART).ask },
        ..of("db-down")
    };
    assert_eq!(only(&planned(&hung(), &slower)), &Act::RestartByForce { unit: PG_UNIT.into(), grace_s: 60 });
    // Another run than the one that was seen is not restarted.
    let mut unseen = told("db-down", RESTART);
    unseen.ask.near.runs.clear();
    assert!(advice(chosen(&hung(), &unseen)).contains("could not be seen"));
}

#[test]
fn a_database_that_is_well_or_starts_or_waits_for_a_device_is_never_restarted() {
    let request = || told("db-down", RESTART);
    assert!(matches!(chosen(&Stack::healthy(), &request()), Choice::NothingToDo(_)));
    let starts = Stack::outage().login(crate::stack::says("57P03", "the database system is starting up"));
    assert_eq!(acts(&planned(&starts, &request())), [&Act::Wait { subject: "postgres".into() }]);
    let full = Stack::healthy().login(crate::stack::slots_gone());
    assert!(!matches!(chosen(&full, &request()), Choice::Plan(_)));
    // At its end it would wait for that as well; of a debugger's, somebody is at it.
    for state in ["D", "t"] {
        advice(chosen(&hung().process(PG_UNIT, state), &request()));
    }
    advice(chosen(&hung().here(Some(false)), &request()));
    // A pooler or a tunnel listens at its port: the cluster has another one, and is well; or it can't be told.
    for port in [Some(5433), None] {
        let why = advice(chosen(&hung().postmasters(vec![postmaster("S", None, port)]), &request()));
        assert!(why.contains("could not be seen"), "{why}");
    }
    let why =
        advice(chosen(&hung().postmasters(vec![postmaster("S", Some(FOLDER), Some(5432))]), &request()));
    assert!(why.contains("could not be seen"), "another process than the unit's: {why}");
    let mut another = request();
    another.ask.near.holds.clear();
    assert!(advice(chosen(&hung(), &another)).contains("who listens there"), "a tunnel at its port");
    // Only our login is slow.
    let served = Stack::healthy()
        .login(silent())
        .process(PG_UNIT, "S")
        .postmasters(hung().now.postgres["postgres"].postmasters.seen().unwrap().clone());
    let why = advice(chosen(&served, &request()));
    assert!(why.contains("says that its database is connected"), "{why}");
    // Who was only stopped goes on: that ends nobody's session.
    let stopped = Stack::healthy().login(silent()).process(PG_UNIT, "T");
    assert_eq!(acts(&planned(&stopped, &request())), [&Act::Continue { unit: PG_UNIT.into() }]);
}

fn that_run(state: &str) -> Needs {
    Needs::Unit { active: vec![state.into()], invocation: Some("abc".into()) }
}

fn ours(mut request: Request, unit: &str) -> Request {
    request.ask.near.forced.insert(unit.into());
    request
}

#[test]
fn a_restart_by_force_that_was_cut_off_is_gone_on_with() {
    let stopping = hung().unit(PG_UNIT, "deactivating", "stop-sigterm");
    let plan = planned(&stopping, &ours(told("db-down", RESTART), PG_UNIT));
    assert_eq!(only(&plan), &Act::RestartByForce { unit: PG_UNIT.into(), grace_s: 30 });
    assert_eq!(plan.steps[0].needs, that_run("deactivating"), "the stop of that very run");
    assert_eq!(plan.risk(), Risk::Destructive);
    assert!(plan.notes.iter().any(|n| n.contains("systemd's job stop")), "{:?}", plan.notes);
    let mut unseen = ours(told("db-down", RESTART), PG_UNIT);
    unseen.ask.near.runs.clear();
    assert!(advice(chosen(&stopping, &unseen)).contains("could not be seen"), "on no guess");
    let plan = planned(&lost_and_stopped(), &ours(told("server-crash", DEPENDENCIES), REDIS));
    assert_eq!(only(&plan), &Act::RestartByForce { unit: REDIS.into(), grace_s: 30 });
    assert_eq!(plan.steps[0].needs, that_run("deactivating"));
}

const REDIS: &str = "redis-server.service";

fn lost_and_stopped() -> Stack {
    let silent = redis::stack(|r| {
        r.ping = failed(fail(FailKind::TimedOut, Stage::Answer));
        r.server = Reading::not_asked("no answer to PING");
    });
    silent.unit(REDIS, "deactivating", "stop-sigterm")
}

/// A Redis saves in its stop, a PostgreSQL writes its checkpoint: nobody is answered by then either.
#[test]
fn somebodys_stop_that_may_be_saving_is_waited_for_and_ended_only_after_a_time_that_is_named() {
    let hangs = hung().unit(PG_UNIT, "deactivating", "stop-sigterm");
    let of_both = [
        (&hangs, "db-down", RESTART, "postgres", PG_UNIT, "mcp-ir recover db --restart"),
        (
            &lost_and_stopped(),
            "server-crash",
            DEPENDENCIES,
            "redis",
            REDIS,
            "mcp-ir recover server --restart-dependencies --service redis",
        ),
    ];
    for (stack, scenario, word, subject, unit, command) in of_both {
        for request in [of(scenario), told(scenario, word), ours(told(scenario, word), "another.service")] {
            let plan = planned(stack, &request);
            assert_eq!(only(&plan), &Act::Wait { subject: subject.into() }, "{request:?}");
            let said = format!("`{command} --grace 60s`");
            assert!(plan.notes.iter().any(|n| n.contains(&said)), "{:?}", plan.notes);
        }
        let named = told(scenario, Told { grace_s: Some(60), ..word });
        let plan = planned(stack, &named);
        assert_eq!(only(&plan), &Act::RestartByForce { unit: unit.into(), grace_s: 60 });
        assert_eq!(plan.steps[0].needs, that_run("deactivating"));
    }
    // Its port is closed: it is on its way, and comes by itself.
    let closed = redis::stack(|r| r.ping = failed(fail(FailKind::Refused, Stage::Connect)));
    let closed = closed.unit(REDIS, "deactivating", "stop-sigterm");
    let plan = planned(&closed, &told("server-crash", Told { grace_s: Some(60), ..DEPENDENCIES }));
    assert_eq!(only(&plan), &Act::Wait { subject: "redis".into() });
}

/// Somebody stops it, and a client holds that open; who it is, its host says.
fn held_open() -> Stack {
    let main = Stack::outage().login(crate::stack::says("57P03", "the database system is shutting down"));
    let main = main.unit(PG_UNIT, "active", "running").process(PG_UNIT, "S");
    let pid = main.now.units.process[PG_UNIT].seen().unwrap().pid;
    let main = main.postmasters(vec![Postmaster { pid, ..postmaster("S", Some(FOLDER), Some(5432)) }]);
    main.look(|p| {
        let holder = SlotHolder {
            user: "batch".into(),
            database: "codebase_mcp".into(),
            client: "[local]".into(),
            state: "idle".into(),
            count: 1,
            owner: Some(Owner { pid: 4711, name: "psql".into(), control_group: None }),
            newest_s: Some(90.0),
            oldest_s: Some(90.0),
        };
        let slots = Slots { backends: 1, untitled: 0, holders: vec![holder] };
        p.slots = Reading::Seen { value: slots };
    })
}

#[test]
fn a_shutdown_that_a_client_holds_open_is_finished_only_where_it_is_told() {
    let told_of = held_open().told();
    let f = told_of.d.findings.iter().find(|f| f.cause == "db-down/shutting-down").unwrap();
    assert!(f.summary.contains("waits for 1 client to leave"), "{}", f.summary);
    assert!(f.evidence.iter().any(|e| e.fact.contains("process 4711 (psql)")), "who: {:?}", f.evidence);
    let why = advice(chosen(&held_open(), &of("db-down")));
    assert!(why.contains("`mcp-ir recover db --restart` ends who is still there"), "{why}");
    let plan = planned(&held_open(), &told("db-down", RESTART));
    assert_eq!(only(&plan), &fast(None), "nobody is killed: it answers");
    let command = &plan.steps[0].command;
    let want = "systemctl kill -s INT --kill-who=main postgresql@15-main.service; \
                systemctl restart postgresql@15-main.service";
    assert_eq!(command, want);
    assert_eq!(plan.risk(), Risk::Destructive, "its name is typed");
    let Needs::Unit { active, invocation } = &plan.steps[0].needs else { panic!() };
    assert_eq!((active.as_slice(), invocation.as_deref()), (&["active".to_owned()][..], Some("abc")));
    assert!(
        plan.notes.iter().any(|n| n.contains("1 client") && n.contains("Ask who stops it")),
        "{:?}",
        plan.notes
    );
    // Another cluster's unit, or a tunnel, is not restarted for it.
    let another = held_open().postmasters(vec![postmaster("S", Some(FOLDER), Some(5432))]);
    assert!(advice(chosen(&another, &told("db-down", RESTART))).contains("could not be seen"));
    let mut elsewhere = told("db-down", RESTART);
    elsewhere.ask.near.holds.clear();
    assert!(advice(chosen(&held_open(), &elsewhere)).contains("who listens there"));
}

fn fast(grace_s: Option<u64>) -> Act {
    Act::RestartFast { unit: PG_UNIT.into(), grace_s }
}

/// Its own, which its unit is told of, or systemd's.
#[test]
fn a_stop_that_writes_its_checkpoint_is_killed_only_after_a_time_that_is_named() {
    let stopping = || held_open().unit(PG_UNIT, "deactivating", "stop-sigterm");
    advice(chosen(&stopping(), &of("db-down")));
    let plan = planned(&stopping(), &told("db-down", RESTART));
    assert_eq!(only(&plan), &fast(None));
    assert_eq!(plan.steps[0].needs, that_run("deactivating"));
    assert!(plan.notes.iter().any(|n| n.contains("systemd's job stop")), "{:?}", plan.notes);
    let grace = Told { grace_s: Some(60), ..RESTART };
    let plan = planned(&stopping(), &told("db-down", grace));
    assert_eq!((only(&plan), plan.risk()), (&fast(Some(60)), Risk::Destructive));
    assert!(plan.steps[0].describe.contains("not ended after 60 s is killed"), "{}", plan.steps[0].describe);
    assert!(plan.notes.iter().any(|n| n.contains("unlogged tables are empty")), "{:?}", plan.notes);
    // Who waits for a device would wait at his end as well.
    advice(chosen(&stopping().process(PG_UNIT, "D"), &told("db-down", grace)));
    // By now it listens nowhere: its own pid file says which one it is.
    let deaf = stopping().login(crate::stack::refused());
    let mut nobody = told("db-down", grace);
    nobody.ask.near.holds.clear();
    assert_eq!(only(&planned(&deaf, &nobody)), &fast(Some(60)));
}

#[test]
fn a_redis_that_gives_no_answer_is_restarted_where_it_is_told_and_its_name_is_typed() {
    let mute = || {
        redis::stack(|r| {
            r.ping = failed(fail(FailKind::TimedOut, Stage::Answer));
            r.server = Reading::not_asked("no answer to PING");
        })
    };
    let why = advice(chosen(&mute(), &of("server-crash")));
    assert!(why.contains("`mcp-ir recover server --restart-dependencies --service redis`"), "{why}");
    let plan = planned(&mute(), &told("server-crash", DEPENDENCIES));
    assert_eq!(only(&plan), &Act::RestartByForce { unit: "redis-server.service".into(), grace_s: 30 });
    // That its unit is who keeps silent there was not seen.
    let mut another = told("server-crash", DEPENDENCIES);
    another.ask.near.holds.clear();
    assert!(advice(chosen(&mute(), &another)).contains("could not be seen"));
    // Where nothing listens, or it speaks another way, it may well serve elsewhere.
    for (kind, stage) in [
        (FailKind::Refused, Stage::Connect),
        (FailKind::Closed, Stage::Answer),
        (FailKind::TimedOut, Stage::Connect),
    ] {
        let s = redis::stack(|r| r.ping = failed(fail(kind, stage)));
        assert!(!matches!(chosen(&s, &told("server-crash", DEPENDENCIES)), Choice::Plan(_)), "{kind:?}");
    }
    assert_eq!(plan.risk(), Risk::Destructive, "what it has not saved is lost");
    assert!(plan.steps[0].undo_reason.as_ref().unwrap().contains("not saved"));
    // Who answers with a word would say it again.
    let says = redis::stack(|r| {
        let refuses = Failure { code: Some("NOAUTH".into()), ..fail(FailKind::Refused, Stage::Answer) };
        r.ping = failed(refuses);
    });
    assert!(!matches!(chosen(&says, &told("server-crash", DEPENDENCIES)), Choice::Plan(_)));
    let full = redis::stack(|r| {
        if let Reading::Seen { value } = &mut r.server {
            (value.used_memory, value.maxmemory) = (Some(1 << 30), Some(1 << 30));
        }
    });
    assert!(!matches!(chosen(&full, &told("server-crash", DEPENDENCIES)), Choice::Plan(_)));
}

#[test]
fn a_service_that_is_slow_for_no_reason_is_restarted_only_where_it_is_told() {
    let two = Two::slow();
    let choose = |request: &Request| choose(&two.looks(), &two.told(), request);
    assert!(advice(choose(&of("latency"))).contains("`mcp-ir recover latency --restart`"));
    let Choice::Plan(plan) = choose(&told("latency", RESTART)) else { panic!() };
    assert_eq!(only(&plan), &Act::RestartUnit { unit: A_UNIT.into() });
    assert!(plan.steps[0].act.destroys_evidence(), "it is kept before");
    assert!(plan.notes.iter().any(|n| n.contains("may be so again")), "{:?}", plan.notes);
}
