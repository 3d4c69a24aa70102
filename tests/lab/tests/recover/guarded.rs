//! What holds a recovery back: its cooldown, a hold, a veto, what is left to people.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;

use crate::bench::{A, A_UNIT, Bench, C_UNIT, until};

const ASK: [&str; 3] = ["recover", "server", "--yes"];

#[test]
fn rule_4_and_12_what_holds_a_recovery_back_is_respected() {
    let Some(mut b) = Bench::start() else { return };
    the_same_again_waits_for_its_cooldown_unless_forced(&mut b);
    rule_12_a_hold_stops_recover_and_undo(&mut b);
    a_veto_stops_it_before_anything_is_begun(&mut b);
    what_is_left_to_people_is_advice(&mut b);
    half_a_recovery_is_not_called_one(&mut b);
    who_healed_meanwhile_does_not_fail_the_others(&mut b);
    rule_12_a_hold_of_the_meantime_stops_it_before_the_next_service(&mut b);
    rule_12_a_hold_counts_also_while_what_a_service_needs_is_waited_for(&mut b);
}

fn the_same_again_waits_for_its_cooldown_unless_forced(b: &mut Bench) {
    b.inject("stopped/exit-0");
    assert_eq!(b.json(&ASK, 0)["outcome"], "recovered");
    b.stack.systemd().unwrap().systemctl(&["stop", A_UNIT]).unwrap();
    let refused = b.json(&ASK, 4);
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("start codebase-mcp.service") && reason.contains("nothing was changed"),
        "{reason}"
    );
    assert!(refused["hints"][0].as_str().unwrap().contains("--force-cooldown"), "{refused}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    assert_eq!(b.json(&[&ASK[..], &["--force-cooldown"]].concat(), 0)["outcome"], "recovered");
    b.heal();
}

fn rule_12_a_hold_stops_recover_and_undo(b: &mut Bench) {
    b.inject("stopped/exit-0");
    let done = b.json(&ASK, 0);
    let held = b.json(&["hold", "--reason", "an index is built", "--until", "2h"], 0);
    assert_eq!(held["hold"]["reason"], "an index is built");
    let id = done["incident"].as_str().unwrap();
    let undo = b.json(&["undo", id, "--yes"], 4);
    assert!(undo["reason"].as_str().unwrap().contains("an index is built"), "{undo}");
    assert!(b.is_healthy(A), "nothing was taken back");
    b.stack.systemd().unwrap().systemctl(&["stop", A_UNIT]).unwrap();
    let refused = b.json(&[&ASK[..], &["--force-cooldown"]].concat(), 4);
    assert!(refused["reason"].as_str().unwrap().contains("held by"), "{refused}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    b.run(&["hold", "--off"], 0);
    assert_eq!(b.json(&[&ASK[..], &["--force-cooldown"]].concat(), 0)["outcome"], "recovered");
    b.heal();
}

/// With these lines at the end of the configuration.
fn with(b: &mut Bench, lines: &str, test: impl FnOnce(&mut Bench)) {
    let path = b.stack.config().to_owned();
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n{lines}\n")).unwrap();
    test(b);
    fs::write(&path, config).unwrap();
    b.heal();
}

fn a_veto_stops_it_before_anything_is_begun(b: &mut Bench) {
    let program = b.stack.dir().join("may-recover");
    let heard = b.stack.dir().join("heard.json");
    let text = format!("#!/bin/sh\ncat > {}\necho 'not before noon'\nexit 1\n", heard.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!("[guard]\nveto = {{ argv = [\"{}\"] }}", program.display());
    b.inject("stopped/exit-0");
    with(b, &lines, |b| {
        let refused = b.json(&ASK, 4);
        assert!(refused["reason"].as_str().unwrap().contains("not before noon"), "{refused}");
        assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
        assert!(b.journal().is_empty());
        let heard: serde_json::Value = serde_json::from_str(&fs::read_to_string(&heard).unwrap()).unwrap();
        assert_eq!(heard["steps"][0]["act"]["unit"], A_UNIT, "{heard}");
    });
}

/// Errata 54: `recover all` that mended one of two says so by its exit code, and names the other.
fn half_a_recovery_is_not_called_one(b: &mut Bench) {
    b.inject("stopped/exit-0");
    b.stack.systemd().unwrap().systemctl(&["stop", C_UNIT]).unwrap();
    with(b, "[guard]\nnever = [\"workflow-mcp\"]", |b| {
        let half = b.json(&["recover", "all", "--yes"], 5);
        let reason = half["reason"].as_str().unwrap();
        assert!(reason.contains("left as it is") && reason.contains("@workflow-mcp"), "{reason}");
        assert!(b.is_healthy(A), "what could be mended is, and is not taken back");
        assert_eq!(b.property(C_UNIT, "ActiveState"), "inactive");
    });
}

fn what_is_left_to_people_is_advice(b: &mut Bench) {
    b.inject("stopped/exit-0");
    with(b, &format!("[guard]\nnever = [\"{A}\"]"), |b| {
        let advice = b.json(&ASK, 1);
        assert!(advice["reason"].as_str().unwrap().contains("left to people"), "{advice}");
        assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    });
}

/// Both are down, and one of them is just being started; gives that run, and the other unit.
fn one_of_two_is_being_started(b: &Bench) -> (Child, &'static str) {
    let booted = b.stack.systemd().unwrap();
    for unit in [A_UNIT, C_UNIT] {
        booted.drop_in(unit, "[Service]\nExecStartPre=/bin/sleep 2\n").unwrap();
        booted.systemctl(&["stop", unit]).unwrap();
    }
    b.forget_incidents();
    let child = b.spawn(&["recover", "all", "--yes"]);
    until("the first one is being started", || b.events().last().is_some_and(|e| e == "intent"));
    let first = b.journal().last().unwrap()["act"]["unit"].as_str().unwrap().to_owned();
    (child, if first == A_UNIT { C_UNIT } else { A_UNIT })
}

/// The service is not begun with before its database is well: the hold comes while that is waited for.
fn rule_12_a_hold_counts_also_while_what_a_service_needs_is_waited_for(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    let unit = b.stack.postgres_unit();
    // Its start succeeds at once, and it lets nobody in for a while.
    booted.systemctl(&["stop", A_UNIT]).unwrap();
    booted.systemctl(&["stop", &unit]).unwrap();
    let late = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 3; exec \"$$0\" -D \"$$1\"' ";
    let (bin, data) = (b.stack.cluster().postgres.bin.join("postgres"), b.stack.cluster().data.clone());
    booted.drop_in(&unit, &format!("{late}{} {}\nType=exec\n", bin.display(), data.display())).unwrap();
    b.forget_incidents();
    let mut child = b.spawn(&["recover", "all", "--yes", "--wait", "30s"]);
    until("the database is started", || b.events().last().is_some_and(|e| e == "done"));
    b.run(&["hold", "--reason", "a disk is swapped"], 0);
    assert_eq!(child.wait().unwrap().code(), Some(5), "{:?}", b.journal());
    let ended = b.journal().last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(ended.contains("a disk is swapped") && ended.contains("was not begun"), "{ended}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    assert!(b.stack.cluster().accepts());
    b.run(&["hold", "--off"], 0);
    b.heal();
}

fn rule_12_a_hold_of_the_meantime_stops_it_before_the_next_service(b: &mut Bench) {
    let (mut child, other) = one_of_two_is_being_started(b);
    b.run(&["hold", "--reason", "a disk is swapped"], 0);
    assert_eq!(child.wait().unwrap().code(), Some(5), "{:?}", b.journal());
    let ended = b.journal().last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(ended.contains("a disk is swapped") && ended.contains("was not begun"), "{ended}");
    assert_eq!(b.property(other, "ActiveState"), "inactive");
    let first = if other == A_UNIT { C_UNIT } else { A_UNIT };
    assert_eq!(b.property(first, "ActiveState"), "active", "who was begun with is up");
    b.run(&["hold", "--off"], 0);
    b.heal();
}

/// While one is started, somebody starts the other: nothing is done to that one, and all is well.
fn who_healed_meanwhile_does_not_fail_the_others(b: &mut Bench) {
    let (mut child, other) = one_of_two_is_being_started(b);
    b.stack.systemd().unwrap().systemctl(&["start", other]).unwrap();
    let pid = b.property(other, "MainPID");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{:?}", b.journal());
    assert_eq!(b.property(other, "MainPID"), pid);
    assert!(b.is_healthy(A));
    b.heal();
}
