//! ^C, SIGTERM and the end of a terminal: the first signal finishes the step and begins no other, the second
//! leaves, and the journal says that it is not known.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{A, A_UNIT, Bench, C_UNIT, until};

const ASK: [&str; 3] = ["recover", "server", "--yes"];

#[test]
fn rule_10_a_signal_ends_no_step_in_its_middle() {
    let Some(mut b) = Bench::start() else { return };
    the_first_signal_finishes_the_step_and_begins_no_other(&mut b);
    the_second_signal_leaves_and_the_journal_says_unknown(&mut b);
    a_signal_while_it_only_waits_changed_nothing(&mut b);
    a_signal_between_two_services_begins_with_no_other(&mut b);
    the_first_signal_finishes_a_step_of_undo(&mut b);
    the_second_signal_leaves_an_undo_that_the_next_one_ends(&mut b);
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn twice(child: &Child) {
    signal(child, Signal::INT);
    std::thread::sleep(Duration::from_millis(50));
    signal(child, Signal::INT);
}

fn begun(b: &Bench, event: &str) {
    until("the step has begun", || b.events().last().is_some_and(|e| e == event));
}

/// A start, or a stop, that takes two seconds.
fn slow(b: &Bench, setting: &str) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, &format!("[Service]\n{setting}=/bin/sleep 2\n")).unwrap();
    booted.systemctl(&["stop", A_UNIT]).unwrap();
    b.forget_incidents();
}

fn the_first_signal_finishes_the_step_and_begins_no_other(b: &mut Bench) {
    for kind in [Signal::INT, Signal::TERM, Signal::HUP] {
        slow(b, "ExecStartPre");
        let mut child = b.spawn(&ASK);
        begun(b, "intent");
        signal(&child, kind);
        assert_eq!(child.wait().unwrap().code(), Some(5), "{kind:?}");
        let events = b.events();
        let has = |e: &str| events.iter().any(|x| x == e);
        assert!(has("done") && has("unverified") && has("ended"), "{kind:?}: {events:?}");
        until("what was begun is there", || b.is_healthy(A));
        b.heal();
    }
}

fn the_second_signal_leaves_and_the_journal_says_unknown(b: &mut Bench) {
    slow(b, "ExecStartPre");
    let mut child = b.spawn(&ASK);
    begun(b, "intent");
    twice(&child);
    assert_eq!(child.wait().unwrap().code(), Some(6));
    let events = b.events();
    assert!(events.contains(&"left".to_owned()) && !events.contains(&"done".to_owned()), "{events:?}");
    let shown = b.run(&["incident", "list"], 0);
    assert!(shown.stdout.contains("cut off"), "{}", shown.stdout);
    until("systemd ends what was begun", || b.is_healthy(A));
    b.heal();
}

/// What systemd is about to bring back is waited for: an end of the waiting has changed nothing.
fn a_signal_while_it_only_waits_changed_nothing(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nRestart=always\nRestartSec=15\n").unwrap();
    booted.systemctl(&["kill", "-s", "KILL", A_UNIT]).unwrap();
    until("it waits", || b.property(A_UNIT, "SubState").starts_with("auto-restart"));
    b.forget_incidents();
    let mut child = b.spawn(&ASK);
    until("it waits too", || b.events().last().is_some_and(|e| e == "done"));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(b.property(A_UNIT, "SubState").starts_with("auto-restart"));
    b.heal();
}

/// The second is started apart from the first, which takes its time: the signal comes while that is waited for.
fn a_signal_between_two_services_begins_with_no_other(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    let a = b.stack.service(A).unwrap();
    let run = format!("{} {}", b.stack.binary().display(), a.arguments().join(" "));
    let late = format!("[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 4; exec \"$$0\" \"$$@\"' {run}\n");
    booted.drop_in(A_UNIT, &late).unwrap();
    for unit in [A_UNIT, C_UNIT] {
        booted.systemctl(&["stop", unit]).unwrap();
    }
    b.forget_incidents();
    let mut child = b.spawn(&["recover", "all", "--yes"]);
    until("the first is started", || b.events().last().is_some_and(|e| e == "done"));
    assert_eq!(b.property(A_UNIT, "ActiveState"), "active");
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(6), "{:?}", b.journal());
    assert_eq!(b.property(C_UNIT, "ActiveState"), "inactive", "{:?}", b.journal());
    assert_eq!(b.events().iter().filter(|e| *e == "intent").count(), 1);
    b.heal();
}

fn the_first_signal_finishes_a_step_of_undo(b: &mut Bench) {
    slow(b, "ExecStop");
    let done = b.json(&ASK, 0);
    let mut child = b.spawn(&["undo", done["incident"].as_str().unwrap(), "--yes"]);
    begun(b, "undo-intent");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0), "it was the only step");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    assert_eq!(b.events().last().map(String::as_str), Some("undone"));
    b.heal();
}

fn the_second_signal_leaves_an_undo_that_the_next_one_ends(b: &mut Bench) {
    slow(b, "ExecStop");
    let done = b.json(&ASK, 0);
    let id = done["incident"].as_str().unwrap();
    let mut child = b.spawn(&["undo", id, "--yes"]);
    begun(b, "undo-intent");
    twice(&child);
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert_eq!(b.events().last().map(String::as_str), Some("left"));
    let shown = b.run(&["incident", "list"], 0);
    assert!(shown.stdout.contains("cut off"), "{}", shown.stdout);
    until("systemd ends what was begun", || b.property(A_UNIT, "ActiveState") == "inactive");
    b.run(&["undo", id, "--yes"], 0);
    let shown = b.run(&["incident", "list"], 0);
    assert!(shown.stdout.contains("undone"), "{}", shown.stdout);
    b.heal();
}
