//! A replication slot, a prepared transaction: taken away by its name, and nobody else's.

use mcp_ir::consent::{Policy, ask};
use mcp_ir::engine::recover::{Choice, Request, as_planned, left_down};
use mcp_ir::plan::{
    Act, Ask, Kept, Near, PreparedState, Recovered, Removable, Removal, Risk, SlotState, TakenAway, Wanted,
};
use mcp_ir::snapshot::postgres::{Archiver, Prepared, ReplicationSlot};

use super::{acts, chosen, looks, of, planned};
use crate::payload;
use crate::stack::{A, C, Stack, waits};

const WAL: &str = "db-down/wal-retained@postgres";
const PREPARED: &str = "pool-exhausted/prepared-transaction@postgres";

fn slot(name: &str, database: Option<&str>) -> SlotState {
    SlotState {
        name: name.into(),
        kind: if database.is_some() { "logical" } else { "physical" }.into(),
        database: database.map(Into::into),
        restart_lsn: Some("0/1A2B".into()),
        retained: Some(3 << 30),
        ..SlotState::default()
    }
}

fn prepared(gid: &str, database: &str) -> PreparedState {
    let (owner, prepared) = ("mcp_user".into(), "2026-11-27 07:00:00.1+00".into());
    PreparedState { gid: gid.into(), owner, database: database.into(), prepared, age_s: 10_800.0 }
}

fn state() -> Removable {
    Removable {
        user: "mcp_ir".into(),
        superuser: true,
        replication: false,
        slots: vec![
            slot("old_standby", None),
            SlotState { active: true, pid: Some(77), ..slot("live", None) },
            slot("cdc", Some("codebase_mcp")),
            slot("theirs", Some("reports")),
        ],
        prepared: vec![prepared("transfer-4711", "codebase_mcp"), prepared("innocent", "reports")],
        taken: Vec::new(),
    }
}

fn with(wanted: Wanted, bend: impl FnOnce(&mut Removable)) -> Request {
    let mut seen = state();
    bend(&mut seen);
    let scenario = wanted.cause().split_once('/').unwrap().0;
    let near = Near { removable: [("postgres".to_owned(), Ok(seen))].into(), ..Near::default() };
    Request { ask: Ask { remove: Some(wanted), near, ..Ask::default() }, ..of(scenario) }
}

fn drop_slot(name: &str) -> Request {
    with(Wanted::Slot(name.into()), |_| {})
}

fn roll_back(gid: &str) -> Request {
    with(Wanted::Prepared(gid.into()), |_| {})
}

fn refused(s: &Stack, request: &Request) -> (String, Vec<String>) {
    match chosen(s, request) {
        Choice::Refused { why, hints } => (why, hints),
        other => panic!("{other:?}"),
    }
}

/// As the diagnosis sees them.
fn slots(names: &[&str]) -> Stack {
    let seen = |name: &&str| ReplicationSlot {
        name: (*name).into(),
        active: false,
        wal_status: Some("lost".into()),
        retained: Some(94_152_952),
    };
    Stack::healthy().server(|s| s.replication_slots = names.iter().map(seen).collect())
}

fn blocked(gids: &[&str]) -> Stack {
    let seen = |gid: &&str| Prepared {
        gid: (*gid).into(),
        owner: "mcp_user".into(),
        database: "codebase_mcp".into(),
        age_s: 400.0,
    };
    let all: Vec<_> = (0..10).map(|n| waits(100 + n, A, 30.0, &[0])).collect();
    Stack::healthy().server(|s| s.prepared = gids.iter().map(seen).collect()).sessions(all)
}

#[test]
fn rule_1_a_slot_that_nobody_reads_is_dropped_as_it_was_seen() {
    let plan = planned(&slots(&["old_standby"]), &drop_slot("old_standby"));
    let [Act::Remove(Removal { of: Kept::Slot { name, restart_lsn, database, .. }, server, .. })] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((server.as_str(), name.as_str(), database), ("postgres", "old_standby", &None));
    assert_eq!(restart_lsn.as_deref(), Some("0/1A2B"));
    let step = &plan.steps[0];
    assert_eq!((step.risk, &step.undo), (Risk::Destructive, &None));
    assert!(step.undo_reason.as_ref().unwrap().contains("kept nowhere else"), "{step:?}");
    assert!(step.command.contains("AND NOT s.active"), "{}", step.command);
    assert!(plan.notes.iter().any(|n| n.contains("3.0 GiB of WAL")), "{:?}", plan.notes);
    assert!(plan.notes.iter().any(|n| n.contains("set up anew")), "{:?}", plan.notes);
    assert_eq!(plan.watched, [A, C], "who is well has to be so afterwards");
    assert_eq!((plan.left.len(), left_down(&plan, step)), (0, String::new()));
    // A logical one of a database under care, too; and though nothing is wrong.
    assert_eq!(planned(&Stack::healthy(), &drop_slot("cdc")).steps.len(), 1);
}

#[test]
fn rule_7_a_slot_that_is_read_is_never_dropped() {
    let (why, hints) = refused(&Stack::healthy(), &drop_slot("live"));
    assert!(why.contains("is active") && why.contains("77"), "{why}");
    assert_eq!(hints, [""; 0]);
    let unknown = with(Wanted::Slot("live".into()), |s| s.slots[1].pid = None);
    assert!(refused(&Stack::healthy(), &unknown).0.contains("is active"));
}

#[test]
fn what_a_run_of_ours_has_taken_away_is_gone_and_no_wrong_name() {
    let at: jiff::Timestamp = "2026-11-27T06:00:00Z".parse().unwrap();
    let of = |s: &mut Removable| {
        let slot = |name: &str| Kept::Slot {
            name: name.into(),
            kind: "physical".into(),
            database: None,
            restart_lsn: Some("0/1A2B".into()),
        };
        let (gid, owner) = ("done".to_owned(), "mcp_user".to_owned());
        let prepared =
            Kept::Prepared { gid, owner, database: "codebase_mcp".into(), prepared: "then".into() };
        let taken = |of: Kept, done: bool| TakenAway { of, at, done };
        s.taken = vec![taken(slot("gone"), true), taken(slot("old_standby"), true), taken(prepared, false)];
    };
    let nothing = |wanted: Wanted| match chosen(&Stack::healthy(), &with(wanted, of)) {
        Choice::NothingToDo(why) => why,
        other => panic!("{other:?}"),
    };
    let why = nothing(Wanted::Slot("gone".into()));
    assert!(
        why.contains("the slot gone of postgres is gone") && why.contains("2026-11-27T06:00:00"),
        "{why}"
    );
    // It may have been committed by somebody.
    let why = nothing(Wanted::Prepared("done".into()));
    assert!(why.contains("'done' of postgres is gone") && why.contains("is not known"), "{why}");
    // It is there again: somebody has made it anew.
    assert_eq!(planned(&Stack::healthy(), &with(Wanted::Slot("old_standby".into()), of)).steps.len(), 1);
    // Of another kind that is no word.
    assert!(
        refused(&Stack::healthy(), &with(Wanted::Prepared("gone".into()), of)).0.contains("no transaction")
    );
    assert!(
        refused(&Stack::healthy(), &with(Wanted::Slot("done".into()), of)).0.contains("no replication slot")
    );
}

#[test]
fn rule_7_a_slot_of_another_database_is_left_and_one_that_is_not_there_is_not_guessed() {
    let (why, _) = refused(&Stack::healthy(), &drop_slot("theirs"));
    assert!(why.contains("of the database reports") && why.contains("codebase_mcp"), "{why}");
    let (why, hints) = refused(&Stack::healthy(), &drop_slot("old_stand"));
    assert!(why.contains("live (active)") && why.contains("theirs of reports"), "{why}");
    assert_eq!(hints, ["--drop-slot old_standby", "--drop-slot cdc"], "only what may be");
    let none = with(Wanted::Slot("x".into()), |s| s.slots.clear());
    assert!(refused(&Stack::healthy(), &none).0.contains("there is none"));
    let mut unseen = drop_slot("old_standby");
    unseen.ask.near.removable = [("postgres".to_owned(), Err("no answer".to_owned()))].into();
    assert!(refused(&Stack::healthy(), &unseen).0.contains("could not be seen: no answer"));
    unseen.ask.near.removable.clear();
    assert!(refused(&Stack::healthy(), &unseen).0.contains("could not be seen"));
}

#[test]
fn who_may_not_take_it_away_is_told_before_anything_is_begun() {
    let slot = with(Wanted::Slot("old_standby".into()), |s| s.superuser = false);
    let (why, hints) = refused(&Stack::healthy(), &slot);
    assert!(
        why.contains("mcp_ir may not") && hints[0].contains("ALTER ROLE mcp_ir REPLICATION"),
        "{hints:?}"
    );
    let may = with(Wanted::Slot("old_standby".into()), |s| (s.superuser, s.replication) = (false, true));
    assert_eq!(planned(&Stack::healthy(), &may).steps.len(), 1);
    let gid = || Wanted::Prepared("transfer-4711".into());
    let (why, hints) = refused(&Stack::healthy(), &with(gid(), |s| s.superuser = false));
    assert!(why.contains("is mcp_user's") && hints[0].contains("log in as mcp_user"), "{why} {hints:?}");
    let owner = with(gid(), |s| (s.superuser, s.user) = (false, "mcp_user".into()));
    assert_eq!(planned(&Stack::healthy(), &owner).steps.len(), 1);
}

#[test]
fn a_prepared_transaction_is_rolled_back_by_its_name_and_it_is_said_who_may_think_otherwise() {
    let plan = planned(&blocked(&["transfer-4711"]), &roll_back("transfer-4711"));
    let [Act::Remove(Removal { of: Kept::Prepared { gid, owner, database, prepared }, .. })] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (gid.as_str(), owner.as_str(), database.as_str(), prepared.as_str()),
        ("transfer-4711", "mcp_user", "codebase_mcp", "2026-11-27 07:00:00.1+00")
    );
    let step = &plan.steps[0];
    assert_eq!((step.risk, &step.undo), (Risk::Destructive, &None));
    assert!(step.command.contains("ROLLBACK PREPARED"), "{}", step.command);
    for word in ["mcp_user", "3 h ago", "XA manager", "still be committed"] {
        assert!(plan.notes.iter().any(|n| n.contains(word)), "{word}: {:?}", plan.notes);
    }
    assert_eq!(plan.left, [""; 0]);
}

#[test]
fn rule_7_a_prepared_transaction_of_another_database_is_left_and_no_name_is_guessed() {
    let (why, hints) = refused(&Stack::healthy(), &roll_back("innocent"));
    assert!(why.contains("in the database reports") && why.contains("codebase_mcp"), "{why}");
    assert!(hints[0].contains("reports"), "{hints:?}");
    let (why, hints) = refused(&Stack::healthy(), &roll_back("transfer"));
    assert!(why.contains("'innocent' of the database reports"), "{why}");
    assert_eq!(hints, ["--rollback-prepared transfer-4711"]);
    let odd = "a\u{1b}[2J";
    let request = with(Wanted::Prepared(odd.into()), |s| s.prepared[0].gid = odd.into());
    assert!(refused(&Stack::healthy(), &request).0.contains("left to people"));
}

#[test]
fn its_own_name_is_typed() {
    for (request, name) in
        [(drop_slot("old_standby"), "old_standby"), (roll_back("transfer-4711"), "transfer-4711")]
    {
        let plan = planned(&Stack::healthy(), &request);
        let typed = |text: &'static str| {
            let policy = Policy { terminal: true, yes: true, allow: None };
            ask(&plan, &policy, &mut |_| Some(text.into())).is_ok()
        };
        assert!(!typed("postgres") && !typed("y") && !typed(""));
        assert!(typed(name));
        let scripted = |allow| ask(&plan, &Policy { terminal: false, yes: true, allow }, &mut |_| None);
        assert!(scripted(None).unwrap_err().hint.unwrap().contains("--allow destructive"));
        assert!(scripted(Some(Risk::Destructive)).is_ok());
    }
}

#[test]
fn of_several_servers_it_is_asked_which() {
    let two = Stack::healthy().second_postgres("other");
    for request in [drop_slot("old_standby"), roll_back("transfer-4711")] {
        let Choice::Unclear { hints, .. } = chosen(&two, &request) else { panic!() };
        assert_eq!(hints, ["--service postgres", "--service other"]);
        let named = Request { services: vec!["postgres".into()], ..request.clone() };
        assert_eq!(planned(&two, &named).subjects, ["postgres"]);
        let service = Request { services: vec![A.into()], ..request };
        assert!(matches!(chosen(&two, &service), Choice::Unclear { .. }), "no server");
    }
    // What is typed next names it as well.
    let two = slots(&["old_standby"]).second_postgres("other").told();
    let summary = &two.find(WAL).remedy.summary;
    assert!(summary.contains("--drop-slot old_standby --service postgres"), "{summary}");
}

#[test]
fn rule_6_it_is_verified_by_the_look_that_found_it() {
    let not_yet = |s: &Stack, plan| matches!(as_planned(&looks(s), plan), Recovered::NotYet(_));
    let plan = planned(&slots(&["old_standby"]), &drop_slot("old_standby"));
    assert!(not_yet(&slots(&["old_standby"]), &plan), "it is there");
    assert!(!not_yet(&Stack::healthy(), &plan));
    assert!(not_yet(&slots(&["another"]), &plan), "WAL is kept all the same");
    let mut unseen = Stack::healthy();
    unseen.now.postgres.clear();
    assert!(not_yet(&unseen, &plan), "rule 6: missing data never verifies");
    let plan = planned(&blocked(&["transfer-4711"]), &roll_back("transfer-4711"));
    assert!(not_yet(&blocked(&["transfer-4711"]), &plan));
    assert!(not_yet(&unseen, &plan));
    assert!(!not_yet(&Stack::healthy(), &plan));
    // Who suffered from it has to be well as well.
    let full = blocked(&["transfer-4711"]).health(A, payload::a_full(10));
    let plan = planned(&full, &roll_back("transfer-4711"));
    assert!(plan.watched.contains(&A.to_owned()), "{:?}", plan.watched);
}

#[test]
fn what_stands_without_it_is_left_and_said() {
    let plan = planned(&slots(&["old_standby", "another"]), &drop_slot("old_standby"));
    assert_eq!(plan.left, [WAL]);
    assert!(plan.notes.iter().any(|n| n.contains("stands without it")), "{:?}", plan.notes);
    let verified = as_planned(&looks(&slots(&["another"])), &plan);
    assert!(matches!(verified, Recovered::Yes(_)), "its own work is done: {verified:?}");
    let archiver = slots(&["old_standby"]).server(|s| {
        s.archiver = Some(Archiver {
            failed_count: 4,
            failed_s: Some(0.3),
            archived_s: None,
            failed_wal: Some("00000001000000000000000D".into()),
        });
    });
    assert_eq!(planned(&archiver, &drop_slot("old_standby")).left, [WAL]);
    let two = planned(&blocked(&["transfer-4711", "b"]), &roll_back("transfer-4711"));
    assert_eq!(two.left, [PREPARED]);
    // Of another slot nothing is found: what is found is not this one's.
    assert_eq!(planned(&slots(&["another"]), &drop_slot("old_standby")).left, [WAL]);
}

#[test]
fn the_findings_say_what_to_type_and_who_decides() {
    let told = slots(&["old_standby"]).told();
    let summary = &told.find(WAL).remedy.summary;
    assert!(summary.contains("`mcp-ir recover db --drop-slot old_standby`"), "{summary}");
    let at = |word: &str| summary.find(word).unwrap_or_else(|| panic!("{word}: {summary}"));
    assert!(at("Mend the slot's reader") < at("--drop-slot"), "first the reader");
    let told = blocked(&["it's"]).told();
    let summary = &told.find(PREPARED).remedy.summary;
    assert!(summary.contains(r"`mcp-ir recover pool --rollback-prepared 'it'\''s'`"), "{summary}");
    assert!(summary.contains("nobody else knows"), "{summary}");
    let told = blocked(&["a\u{7}b"]).told();
    assert!(!told.find(PREPARED).remedy.summary.contains("mcp-ir recover"), "it can't be typed");
    // What a finding says is all that is done for it: nothing of it is planned by itself.
    assert!(matches!(chosen(&slots(&["old_standby"]), &of("db-down")), Choice::Advice { .. }));
    assert!(matches!(chosen(&blocked(&["x"]), &of("pool-exhausted")), Choice::Advice { .. }));
}
