//! What was changed of late: told where something is wrong, in the order of what to think of first, and
//! never as a cause.

use jiff::Timestamp;
use mcp_ir::diagnosis::{Changed, changed_line};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::snapshot::Looks;
use mcp_ir::snapshot::changes::{Change, ChangeKind, Changes};
use mcp_ir::snapshot::units::{Event, UnitDetail};

use crate::stack::{A, A_UNIT, PG_UNIT, Stack, ago, now, refused, seen};

fn change(seconds: f64, kind: ChangeKind, subject: Option<&str>, what: &str) -> Change {
    Change { at: ago(seconds), kind, subject: subject.map(Into::into), what: what.into(), path: None }
}

fn drop_in(seconds: f64, subject: &str, what: &str) -> Change {
    change(seconds, ChangeKind::DropIn, Some(subject), what)
}

/// The first service died of itself a minute ago; PostgreSQL is up for a day.
fn died() -> Stack {
    let exit = Event::ProcessExited { code: "exited".into(), status: "1".into() };
    let s = Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    s.detail(A_UNIT, "exit-code", 1, 1, 60.0).events(A_UNIT, &[(9000.0, Event::Started), (60.0, exit)])
}

fn changed(mut s: Stack, all: &[Change]) -> Vec<Changed> {
    s.now.changes = seen(Changes { all: all.to_vec(), missed: Vec::new() });
    diagnose(&Looks { now: s.now, before: None }, &Filter::default()).changes
}

fn said(all: &[Changed]) -> Vec<&str> {
    all.iter().map(|c| c.change.what.as_str()).collect()
}

fn line(all: &[Changed], width: usize) -> Option<String> {
    changed_line(all, now(), |t| t.chars().count() <= width)
}

#[test]
fn what_is_about_the_root_comes_before_what_is_newer() {
    let all = changed(
        died(),
        &[
            change(30.0, ChangeKind::Package, None, "package nano removed"),
            drop_in(40.0, "workflow-mcp", "drop-in of the other"),
            drop_in(720.0, A, "drop-in of its own"),
            change(900.0, ChangeKind::Settings, Some("postgres"), "pg_hba.conf of postgres"),
        ],
    );
    let wanted =
        ["drop-in of its own", "pg_hba.conf of postgres", "package nano removed", "drop-in of the other"];
    assert_eq!(said(&all), wanted);
    assert_eq!(all.iter().map(|c| c.related).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(line(&all, 60).unwrap(), "changed 12 min ago: drop-in of its own; 3 more");
    assert!(line(&all, 200).unwrap().ends_with("; 40 s ago: drop-in of the other"));
    // However long: the first is told.
    assert_eq!(line(&all, 10).unwrap(), "changed 12 min ago: drop-in of its own");
    // Names of what it sets only where there is room.
    let all = changed(died(), &[drop_in(720.0, A, "drop-in x of y (POOL_MAX_SIZE, MemoryMax)")]);
    for (width, tail) in
        [(80, "x of y (POOL_MAX_SIZE, MemoryMax)"), (57, "x of y (POOL_MAX_SIZE, …)"), (40, "x of y")]
    {
        let said = line(&all, width).unwrap();
        assert!(said.ends_with(tail), "{width}: {said}");
    }
}

#[test]
fn where_nothing_is_wrong_nothing_is_told() {
    assert_eq!(changed(Stack::healthy(), &[drop_in(40.0, A, "drop-in")]), []);
    assert_eq!(line(&[], 80), None);
}

#[test]
fn only_the_last_hour_counts_or_so_long_as_is_configured() {
    let all = [drop_in(3700.0, A, "an old one"), drop_in(3500.0, A, "a young one")];
    assert_eq!(said(&changed(died(), &all)), ["a young one"]);
    let short = died().config(|c| c.thresholds.recent_change = "10m".parse().unwrap());
    assert_eq!(changed(short, &all), []);
}

#[test]
fn a_change_of_a_clock_that_is_ahead_is_said_to_be_so() {
    let all = changed(died(), &[drop_in(-7200.0, A, "from tomorrow"), drop_in(300.0, A, "of today")]);
    assert_eq!(said(&all), ["of today", "from tomorrow"]);
    assert_eq!(line(&all, 80).unwrap(), "changed 5 min ago: of today; 1 more");
    let all = changed(died(), &[drop_in(-7200.0, A, "from tomorrow")]);
    assert_eq!(line(&all, 80).unwrap(), "changed dated 2 h ahead of this clock: from tomorrow");
    // Written while the look went on: that is now.
    let all = changed(died(), &[drop_in(-2.0, A, "just now")]);
    assert_eq!(line(&all, 80).unwrap(), "changed 0 s ago: just now");
}

#[test]
fn a_start_that_somebody_asked_for_is_a_change_and_one_of_systemds_own_is_none() {
    let exit = |at| (at, Event::ProcessExited { code: "exited".into(), status: "1".into() });
    let restart = |at| (at, Event::RestartScheduled { restarts: 1 });
    let s = Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    let asked = [(900.0, Event::Starting), (900.0, Event::Started), exit(300.0)];
    let own = [restart(299.0), (299.0, Event::Starting), (299.0, Event::Started), exit(60.0)];
    let s = s.detail(A_UNIT, "exit-code", 1, 1, 60.0).events(A_UNIT, &asked).events(A_UNIT, &own);
    let all = changed(s, &[drop_in(1800.0, A, "a drop-in")]);
    // What was set comes before what was merely started.
    assert_eq!(said(&all), ["a drop-in", "codebase-mcp.service was started"]);
    assert_eq!(all[1].change.at, ago(900.0));
}

/// Of a crash loop only the end is kept: its oldest start has lost what came before it, and only systemd's
/// count tells whose it was.
#[test]
fn the_oldest_start_of_a_journal_that_was_cut_is_nobodys() {
    let exit = |at| (at, Event::ProcessExited { code: "exited".into(), status: "1".into() });
    let told = |restarts: Option<u32>, events: &[(f64, Event)]| {
        let s = Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
        let mut s = s.events(A_UNIT, events);
        if let Some(restarts) = restarts {
            s.now.units.details.insert(A_UNIT.into(), seen(UnitDetail { restarts, ..UnitDetail::default() }));
        }
        changed(s, &[]).into_iter().map(|c| c.change.at).collect::<Vec<_>>()
    };
    let again = |n| {
        [(900.0, Event::Started), exit(300.0), (299.0, Event::RestartScheduled { restarts: n }), exit(60.0)]
    };
    assert_eq!(told(Some(41), &again(41)), []);
    assert_eq!(told(Some(1), &again(1)), [ago(900.0)]);
    // Cut between what was scheduled and its start; before the word that it begins.
    let cut = [(900.0, Event::Stopped), (900.0, Event::Starting), (900.0, Event::Started), exit(60.0)];
    assert_eq!(told(Some(41), &cut), []);
    assert_eq!(told(None, &cut), []);
    assert_eq!(told(Some(0), &cut), [ago(900.0)]);
    // What came before it is there: somebody told it to stop, or it was given up.
    for before in [Event::Stopping, Event::Failed { result: "exit-code".into() }] {
        let whole = [(901.0, before), (900.0, Event::Started), exit(60.0)];
        assert_eq!(told(None, &whole), [ago(900.0)]);
    }
}

#[test]
fn postgresql_tells_its_own_start_where_no_journal_does() {
    let s = died().server(|s| s.uptime_s = 240.0);
    let all = changed(s, &[]);
    assert_eq!(said(&all), ["postgres was started"]);
    assert_eq!(all[0].change.at, ago(240.0));
    let s = died()
        .server(|s| s.uptime_s = 240.0)
        .detail(PG_UNIT, "success", 0, 0, 240.0)
        .events(PG_UNIT, &[(250.0, Event::Starting), (240.0, Event::Started)]);
    assert_eq!(said(&changed(s, &[])), ["postgresql@15-main.service was started"]);
    // Settings that were read anew; as it starts it reads them too.
    let s = |settings| died().server(|s| (s.uptime_s, s.settings_s) = (9000.0, Some(settings)));
    assert_eq!(said(&changed(s(120.0), &[])), ["postgres read its settings anew"]);
    assert_eq!(changed(s(8999.0), &[]), []);
    // A number that no server says.
    let s = died().server(|s| s.uptime_s = f64::MAX);
    assert_eq!(changed(s, &[]), []);
}

#[test]
fn nobody_is_told_more_than_can_be_read() {
    let many: Vec<Change> = (0..500).map(|n| drop_in(f64::from(n), A, &format!("drop-in {n}"))).collect();
    let all = changed(died(), &many);
    assert_eq!(all.len(), 50);
    assert_eq!(all[0].change.what, "drop-in 0");
}

#[test]
fn a_look_of_before_reads_as_one_that_asked_for_no_changes() {
    let mut json: serde_json::Value = serde_json::from_str(&died().now.to_json().unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("changes");
    json["config"]["thresholds"].as_object_mut().unwrap().remove("recent_change");
    let former = mcp_ir::snapshot::Snapshot::from_json(&json.to_string()).unwrap();
    assert_eq!(former.config.thresholds.recent_change, "1h".parse().unwrap());
    assert!(former.changes.seen().is_none());
    let mut s = died();
    s.now.changes = seen(Changes { all: vec![drop_in(5.0, A, "x")], missed: vec!["units: late".into()] });
    let again = mcp_ir::snapshot::Snapshot::from_json(&s.now.to_json().unwrap()).unwrap();
    assert_eq!(again.changes, s.now.changes);
    assert!(again.taken_at > Timestamp::UNIX_EPOCH);
}

#[test]
fn what_was_done_to_containers_stands_with_the_rest() {
    let act = |seconds, kind, subject, what: &str| change(seconds, kind, Some(subject), what);
    let created = act(500.0, ChangeKind::Deployment, A, "container codebase-mcp was created from api:2");
    let restarted = act(720.0, ChangeKind::Restart, "postgres", "container postgres was restarted");
    let other = act(60.0, ChangeKind::Restart, "workflow-mcp", "container workflow-mcp was paused");
    let all = changed(died(), &[restarted.clone(), other.clone(), created.clone()]);
    // What was set before what was merely started; what is needed before what is not.
    assert_eq!(said(&all), [&created, &restarted, &other].map(|c| c.what.as_str()));
    assert_eq!(line(&all[1..2], 80).unwrap(), "changed 12 min ago: container postgres was restarted");
    // The server's own word on its start is the same act.
    let up = died().server(|s| s.uptime_s = 719.0);
    assert_eq!(said(&changed(up, &[restarted])), ["container postgres was restarted"]);
}

#[test]
fn what_ended_is_told_of_others_and_not_of_the_root() {
    let ended =
        |subject| change(90.0, ChangeKind::End, Some(subject), "it ended by itself and was brought back");
    assert_eq!(changed(died(), &[ended(A)]), []);
    assert_eq!(changed(died(), &[ended("postgres")]).len(), 1);
}
