//! The tool is killed: at every boundary of its journal, exactly, and at any moment. Undo, or the next run,
//! goes on. More of them: `lab prove`.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use crate::bench::{A, A_UNIT, Bench, until};

const ASK: [&str; 7] = ["recover", "pool", "--service", A, "--max-size", "20", "--yes"];
/// More than a whole run writes: opened, planned, consented, what was looked at, what was captured, three steps,
/// verified, ended.
const LINES: usize = 15;
/// The line that says that its drop-in is written.
const WRITTEN: usize = 7;
const MOMENTS: u64 = 4;

/// The tool, that is killed there.
fn killed_at(b: &Bench, argv: &[&str], line: usize, edge: &str) -> Child {
    let tool = b.tool.command(&b.stack, argv);
    lab::prove::dies_at(&tool, line, edge, 0).unwrap().spawn().unwrap()
}

#[test]
fn rule_2_killed_at_any_line_or_moment_undo_or_the_next_run_goes_on() {
    let Some(mut b) = Bench::start() else { return };
    let former = b.settings();
    let mut killed = 0;
    for line in 1..=LINES {
        for edge in ["before", "after"] {
            let status = killed_at(&b, &ASK, line, edge).wait().unwrap();
            let case = format!("{edge} line {line}");
            let Some(signal) = status.signal() else {
                assert_eq!(status.code(), Some(0), "{case}: it has ended before");
                goes_on(&mut b, &former, false, &case);
                continue;
            };
            assert_eq!(signal, 9, "{case}");
            killed += 1;
            let lines = b.events().len();
            assert_eq!(lines, if edge == "before" { line - 1 } else { line }, "{case}: {:?}", b.events());
            goes_on(&mut b, &former, (line + killed) % 2 == 0, &case);
        }
    }
    assert!(killed >= 20, "a run writes ten lines at least: {killed}");
    for moment in 0..MOMENTS {
        let mut child = b.spawn(&ASK);
        std::thread::sleep(Duration::from_millis(60 + moment * 61 % 400));
        let _ = child.kill();
        child.wait().unwrap();
        goes_on(&mut b, &former, moment % 2 == 0, &format!("moment {moment}"));
    }
}

/// An undo that is killed is gone on with by the next one, and the setting is nobody's afterwards.
#[test]
fn rule_3_an_undo_that_is_killed_is_gone_on_with() {
    let Some(mut b) = Bench::start() else { return };
    let former = b.settings();
    for (line, edge) in [(1, "after"), (2, "before"), (2, "after")] {
        let done = b.json(&ASK, 0);
        let id = done["incident"].as_str().unwrap();
        let status = killed_at(&b, &["undo", id, "--yes"], line, edge).wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{edge} line {line}");
        goes_on(&mut b, &former, false, &format!("undo, {edge} line {line}"));
    }
}

/// Killed when an act is done and its end does not stand there: the next run finds it well and does nothing;
/// undo takes back only what is known to be ours.
#[test]
fn rule_2_what_a_killed_run_has_done_is_not_done_again_nor_guessed_at() {
    let Some(mut b) = Bench::start() else { return };
    a_start(&mut b);
    an_end_of_a_session(&mut b);
}

/// Dies with the last act done, and its intent alone in the journal. Gives the id of its incident.
fn dies_before_it_says_so(b: &Bench, argv: &[&str], line: usize) -> String {
    let status = killed_at(b, argv, line, "before").wait().unwrap();
    assert_eq!((status.signal(), b.events().last().map(String::as_str)), (Some(9), Some("intent")));
    let list = b.json(&["incident", "list"], 0);
    assert_eq!(list["incidents"][0]["status"], "cut off");
    list["incidents"][0]["id"].as_str().unwrap().to_owned()
}

fn a_start(b: &mut Bench) {
    b.inject("stopped/exit-0");
    let id = dies_before_it_says_so(b, &["recover", "server", "--yes"], 5);
    b.stack.wait_until_healthy().unwrap();
    let pid = b.property(A_UNIT, "MainPID");
    assert_eq!(b.json(&["recover", "server", "--yes"], 0)["outcome"], "nothing-to-do");
    let undo = b.json(&["undo", &id, "--yes"], 4);
    assert!(undo["reason"].as_str().unwrap().contains("whether by us is not known"), "{undo}");
    assert_eq!(b.property(A_UNIT, "MainPID"), pid, "it may be somebody else's");
    b.heal();
}

fn an_end_of_a_session(b: &mut Bench) {
    let grant = |b: &Bench, what: &str| {
        b.stack.cluster().sql(&format!("{what} {}", lab::TOOL.role)).unwrap();
    };
    grant(b, "GRANT pg_signal_backend TO");
    b.inject("blocking-chain/migration");
    let id = dies_before_it_says_so(b, &["recover", "pool", "--yes"], 6);
    let left = "SELECT pid FROM pg_stat_activity WHERE application_name = 'migration'";
    until("it is ended", || b.stack.cluster().sql(left).unwrap().is_empty());
    until("who waited goes on", || b.tool.run(&b.stack, &["diagnose", "pool"]).unwrap().code == Some(0));
    assert_eq!(b.json(&["recover", "pool", "--yes"], 0)["outcome"], "nothing-to-do");
    let undo = b.json(&["undo", &id, "--yes"], 0);
    assert_eq!(undo["outcome"], "nothing-to-do", "a session is not brought back: {undo}");
    grant(b, "REVOKE pg_signal_backend FROM");
    b.heal();
}

/// Killed behind its file and before its restart: whoever starts the unit then has the setting in its
/// process, and to take back the file alone would leave it there.
#[test]
fn rule_3_undo_goes_by_the_process_not_by_the_journal() {
    let Some(mut b) = Bench::start() else { return };
    let former = b.settings();
    let cut_off = |b: &Bench| {
        let status = killed_at(b, &ASK, WRITTEN, "after").wait().unwrap();
        assert_eq!((status.signal(), b.events().last().map(String::as_str)), (Some(9), Some("done")));
    };
    // Somebody restarts it by hand.
    cut_off(&b);
    b.stack.systemd().unwrap().systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.max_size(), 20, "it came up with what stood there");
    goes_on(&mut b, &former, false, "restarted by hand");
    // Nobody does: then nobody is restarted by the undo either.
    cut_off(&b);
    let pid = b.property(A_UNIT, "MainPID");
    goes_on(&mut b, &former, false, "not restarted");
    assert_eq!(b.property(A_UNIT, "MainPID"), pid, "no outage for a setting that no process has");
}

/// Killed behind its file; the next run restarts its service with it, which dies of it: to what stood there
/// before the first run it is rolled back, by the consent to the second.
#[test]
fn rule_3_what_a_killed_run_wrote_is_rolled_back_by_the_next_that_finds_it_fatal() {
    let Some(b) = Bench::start() else { return };
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_POOL_LARGEST=15\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let former = b.settings();
    let status = killed_at(&b, &ASK, WRITTEN, "after").wait().unwrap();
    assert_eq!((status.signal(), b.events().last().map(String::as_str)), (Some(9), Some("done")));
    let run = b.tool.run(&b.stack, &ASK).unwrap();
    assert!(matches!(run.code, Some(5 | 6)), "{}{}", run.stdout, run.stderr);
    assert!(!run.stdout.contains("could not be rolled back"), "{}", run.stdout);
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former, "{}", run.stdout);
}

/// Either at once back, or first on and then back; and all of it is as it was.
fn goes_on(b: &mut Bench, former: &[String], next_run: bool, case: &str) {
    if next_run {
        // Of what is starting no size can be seen, and nothing is set then: that is refused, and right.
        b.stack.wait_until_healthy().unwrap();
        let on = b.tool.run(&b.stack, &ASK).unwrap();
        assert_eq!(on.code, Some(0), "{case}: {}{}", on.stdout, on.stderr);
        assert_eq!(b.max_size(), 20, "{case}");
    }
    // Each incident that there is, the last one first.
    let list = b.json(&["incident", "list"], 0);
    for incident in list["incidents"].as_array().unwrap() {
        let id = incident["id"].as_str().unwrap();
        let undo = b.tool.run(&b.stack, &["undo", id, "--yes"]).unwrap();
        assert_eq!(undo.code, Some(0), "{case}: {id}: {}{}", undo.stdout, undo.stderr);
    }
    // A restart that was asked for goes on in systemd.
    until(case, || b.property(A_UNIT, "Job").is_empty() || b.property(A_UNIT, "Job") == "0");
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former, "{case}");
    b.forget_incidents();
}
