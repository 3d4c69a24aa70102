//! The tool is killed: behind every line of its journal, and at any moment. Undo, or the next run, goes on.

use std::time::Duration;

use crate::bench::{A, A_UNIT, Bench, until};

const ASK: [&str; 7] = ["recover", "pool", "--service", A, "--max-size", "20", "--yes"];
/// The lines that a whole run writes, and a little more than its time.
const LINES: usize = 14;
const MOMENTS: u64 = 6;

#[test]
fn rule_2_killed_at_any_line_or_moment_undo_or_the_next_run_goes_on() {
    let Some(mut b) = Bench::start() else { return };
    let former = b.settings();
    for lines in 1..=LINES {
        let mut child = b.spawn(&ASK);
        let before = b.journal().len();
        let mut ended = false;
        until("it writes so far, or ends", || {
            ended = child.try_wait().unwrap().is_some();
            ended || b.events().len() >= lines.max(before)
        });
        let _ = child.kill();
        child.wait().unwrap();
        goes_on(&mut b, &former, lines % 2 == 0, &format!("behind line {lines}"));
    }
    for moment in 0..MOMENTS {
        let mut child = b.spawn(&ASK);
        std::thread::sleep(Duration::from_millis(60 + moment * 61 % 400));
        let _ = child.kill();
        child.wait().unwrap();
        goes_on(&mut b, &former, moment % 2 == 0, &format!("moment {moment}"));
    }
}

/// Either at once back, or first on and then back; and all of it is as it was.
fn goes_on(b: &mut Bench, former: &[String], next_run: bool, case: &str) {
    if next_run {
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
    std::fs::remove_dir_all(b.stack.dir().join("state/incidents")).unwrap();
}
