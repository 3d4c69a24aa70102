//! Somebody reads a plan and thinks; meanwhile the world goes on. What is agreed to is done only where it
//! still is what was shown.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::bench::{A, A_UNIT, Bench, until};

/// A terminal with the tool in it, at its question.
struct Terminal {
    child: Child,
    log: PathBuf,
}

impl Terminal {
    fn at_the_question(b: &Bench, argv: &[&str]) -> Self {
        let tool = b.tool.command(&b.stack, argv);
        let words = std::iter::once(tool.get_program()).chain(tool.get_args());
        let words: Vec<String> = words.map(|w| format!("'{}'", w.to_string_lossy())).collect();
        let log = b.stack.dir().join("terminal.log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new("script");
        command.args(["-qefc", &words.join(" ")]).arg(&log);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        for (name, value) in tool.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let terminal = Self { child: command.spawn().unwrap(), log };
        until("it asks", || terminal.said().contains("[y/N]"));
        terminal
    }

    fn said(&self) -> String {
        fs::read(&self.log).map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default()
    }

    /// What it came to once it was agreed to.
    fn agree(mut self) -> (i32, String) {
        self.child.stdin.as_mut().unwrap().write_all(b"y\n").unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.said())
    }
}

#[test]
fn rule_1_what_was_agreed_to_is_done_only_where_it_still_is_what_was_shown() {
    let Some(mut b) = Bench::start() else { return };
    it_healed_while_somebody_read(&mut b);
    another_root_broke_while_somebody_read(&mut b);
    rule_3_what_was_taken_back_meanwhile_is_not_taken_back_again(&mut b);
    what_takes_longer_than_a_second_is_shown_while_it_goes_on(&mut b);
}

/// On a terminal a line that says what is awaited; on pipes a line a step, and its timeline afterwards.
fn what_takes_longer_than_a_second_is_shown_while_it_goes_on(b: &mut Bench) {
    let slow = |b: &Bench| {
        let booted = b.stack.systemd().unwrap();
        booted.drop_in(A_UNIT, "[Service]\nExecStartPre=/bin/sleep 2\n").unwrap();
        booted.systemctl(&["stop", A_UNIT]).unwrap();
        b.forget_incidents();
    };
    slow(b);
    let (code, said) = Terminal::at_the_question(b, &["recover", "server"]).agree();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("still waiting for start {A_UNIT}")), "{said}");
    slow(b);
    let run = b.run(&["recover", "server", "--yes"], 0);
    assert!(!run.stdout.contains("still waiting") && !run.stderr.contains("still waiting"), "{}", run.stderr);
    let step = |l: &&str| l.contains(&format!("start {A_UNIT}"));
    assert!(run.stdout.lines().chain(run.stderr.lines()).filter(step).count() >= 2, "planned, and done");
    let list = b.json(&["incident", "list"], 0);
    let id = list["incidents"][0]["id"].as_str().unwrap();
    let shown = b.run(&["incident", "show", id], 0).stdout;
    for words in
        ["opened by", "agreed to", "step 1 begins: start", "step 1 is done", "verified by", "mcp-ir undo"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let events = b.json(&["incident", "show", id], 0)["events"].as_array().unwrap().clone();
    let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["opened", "planned", "consented", "intent", "done", "verified", "ended"]);
    assert!(events.is_sorted_by_key(|e| e["at"].as_str().unwrap().to_owned()), "{events:?}");
    b.heal();
}

fn it_healed_while_somebody_read(b: &mut Bench) {
    b.inject("stopped/exit-0");
    let terminal = Terminal::at_the_question(b, &["recover", "server"]);
    b.stack.systemd().unwrap().systemctl(&["start", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let pid = b.property(A_UNIT, "MainPID");
    let (code, said) = terminal.agree();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("well meanwhile"), "{said}");
    assert_eq!(b.property(A_UNIT, "MainPID"), pid);
    assert!(b.journal().is_empty(), "nothing was begun");
    b.heal();
}

fn another_root_broke_while_somebody_read(b: &mut Bench) {
    b.inject("stopped/exit-0");
    let terminal = Terminal::at_the_question(b, &["recover", "server"]);
    let unit = b.stack.postgres_unit();
    b.stack.systemd().unwrap().systemctl(&["stop", &unit]).unwrap();
    let (code, said) = terminal.agree();
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive", "nothing was started into an outage");
    assert!(b.journal().is_empty(), "nothing was begun");
    b.heal();
}

/// Two at the prompt of the same undo: the one who says yes later restarts nobody a second time.
fn rule_3_what_was_taken_back_meanwhile_is_not_taken_back_again(b: &mut Bench) {
    let done = b.json(&["recover", "pool", "--service", A, "--max-size", "20", "--yes"], 0);
    let id = done["incident"].as_str().unwrap().to_owned();
    let terminal = Terminal::at_the_question(b, &["undo", &id]);
    b.undo(&done);
    b.stack.wait_until_healthy().unwrap();
    let pid = b.property(A_UNIT, "MainPID");
    let (code, said) = terminal.agree();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("somebody else took it back"), "{said}");
    assert_eq!(b.property(A_UNIT, "MainPID"), pid, "it was not restarted once more");
    b.heal();
}
