//! journalctl's lines: recorded ones, odd ones, broken ones.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::probe::testbed::soon;

/// One restart of a service that was killed, as systemd 252 wrote it in the lab.
const RESTART: &str = r#"
{"INVOCATION_ID":"e50b3677fbc946f39726c11ee167ae85","COMMAND":"ExecStart","EXIT_STATUS":"6","PRIORITY":"4","CODE_LINE":"5671","__REALTIME_TIMESTAMP":"1795540601846690","MESSAGE_ID":"98e322203f7a4ed290d09fe03c09fe15","CODE_FILE":"src/core/unit.c","_TRANSPORT":"journal","EXIT_CODE":"killed","MESSAGE":"codebase-mcp.service: Main process exited, code=killed, status=6/ABRT","_PID":"1","UNIT":"codebase-mcp.service"}
{"CODE_FUNC":"unit_log_failure","PRIORITY":"4","MESSAGE":"codebase-mcp.service: Failed with result 'signal'.","__REALTIME_TIMESTAMP":"1795540601846824","UNIT_RESULT":"signal","_PID":"1","UNIT":"codebase-mcp.service","MESSAGE_ID":"d9b373ed55a64feb8242e02dbe79a49c"}
{"MESSAGE":"codebase-mcp.service: Scheduled restart job, restart counter is at 1.","MESSAGE_ID":"5eb03494b6584870a536b337290809b3","__REALTIME_TIMESTAMP":"1795540606523010","PRIORITY":"6","_PID":"1","UNIT":"codebase-mcp.service","N_RESTARTS":"1"}
{"__REALTIME_TIMESTAMP":"1795540606523137","MESSAGE":"Stopped codebase-mcp.service - codebase-mcp (sample MCP server).","JOB_TYPE":"restart","UNIT":"codebase-mcp.service","PRIORITY":"6","_PID":"1","JOB_RESULT":"done","MESSAGE_ID":"9d1aaa27d60140bd96365438aad20286"}
{"MESSAGE_ID":"7d4958e842da4a758f6c1cdc7b36dcc5","__REALTIME_TIMESTAMP":"1795540606530774","PRIORITY":"6","JOB_TYPE":"start","UNIT":"codebase-mcp.service","MESSAGE":"Starting codebase-mcp.service - codebase-mcp (sample MCP server)...","JOB_ID":"117","_PID":"1"}
{"MESSAGE_ID":"39f53479d3a045ac8e11786248231fbf","MESSAGE":"Started codebase-mcp.service - codebase-mcp (sample MCP server).","_PID":"1","__REALTIME_TIMESTAMP":"1795540606535193","JOB_RESULT":"done","UNIT":"codebase-mcp.service","PRIORITY":"6","JOB_TYPE":"start"}
{"CODE_FUNC":"unit_kill_common","MESSAGE":"codebase-mcp.service: Sent signal SIGKILL to main process 120 (lab) on client request.","UNIT":"codebase-mcp.service","_PID":"1","PRIORITY":"6","__REALTIME_TIMESTAMP":"1795540603283691"}
"#;

/// A line that the unit wrote itself.
fn own(message: impl Into<Value>) -> Value {
    json!({
        "__REALTIME_TIMESTAMP": "1795540601000000", "_PID": "120", "PRIORITY": "3",
        "_SYSTEMD_UNIT": "codebase-mcp.service", "MESSAGE": message.into(),
    })
}

fn lines(all: &[Value]) -> Vec<LogLine> {
    parse(&all.iter().map(|l| format!("{l}\n")).collect::<String>()).lines
}

fn texts(all: &[Value]) -> Vec<String> {
    lines(all).into_iter().map(|l| l.text).collect()
}

#[test]
fn a_restart_is_read_by_its_ids_in_its_order() {
    let journal = parse(RESTART);
    let events: Vec<Event> = journal.events.iter().map(|e| e.what.clone()).collect();
    let want = [
        Event::ProcessExited { code: "killed".into(), status: "6".into() },
        Event::Failed { result: "signal".into() },
        Event::RestartScheduled { restarts: 1 },
        Event::Stopped,
        Event::Starting,
        Event::Started,
    ];
    assert_eq!(events, want);
    assert_eq!(journal.events[0].at.as_microsecond(), 1_795_540_601_846_690);
}

#[test]
fn what_systemd_says_of_a_unit_is_not_what_the_unit_said() {
    assert!(parse(RESTART).lines.is_empty());
}

#[test]
fn the_other_ids_are_read_too() {
    for (id, want) in [
        ("de5b426a63be47a7b6ac3eaac82e2f6f", Event::Stopping),
        ("7ad2d189f7e94e70a38c781354912448", Event::Succeeded),
        ("fe6faa94e7774663a0da52717891d8ef", Event::OomKilled),
        ("be02cf6855d2428ba40df7e9d022f03d", Event::StartFailed { result: "unknown".into() }),
    ] {
        let line = json!({"__REALTIME_TIMESTAMP": "1", "_PID": "1", "MESSAGE_ID": id});
        assert_eq!(parse(&line.to_string()).events[0].what, want);
    }
}

/// As it was seen: the start was noted after the words of the process that it started.
#[test]
fn a_start_is_dated_by_when_it_was_sent_and_not_by_when_it_was_noted() {
    let start = json!({"__REALTIME_TIMESTAMP": "1795540601912689", "_SOURCE_REALTIME_TIMESTAMP":
        "1795540601910001", "_PID": "1", "MESSAGE_ID": "7d4958e842da4a758f6c1cdc7b36dcc5"});
    let words = json!({"__REALTIME_TIMESTAMP": "1795540601912120", "_PID": "120", "MESSAGE": "error: no"});
    let journal = parse(&format!("{words}\n{start}"));
    assert!(journal.events[0].at < journal.lines[0].at, "{journal:?}");
}

#[test]
fn a_field_that_is_missing_is_empty_and_not_made_up() {
    let line = |id: &str| json!({"__REALTIME_TIMESTAMP": "1", "_PID": "1", "MESSAGE_ID": id}).to_string();
    let exited = parse(&line("98e322203f7a4ed290d09fe03c09fe15")).events[0].what.clone();
    assert_eq!(exited, Event::ProcessExited { code: String::new(), status: String::new() });
    let failed = parse(&line("d9b373ed55a64feb8242e02dbe79a49c")).events[0].what.clone();
    assert_eq!(failed, Event::Failed { result: "unknown".into() });
}

#[test]
fn a_line_of_the_unit_keeps_its_time_its_priority_and_its_words() {
    let line = &lines(&[own("codebase-mcp: ERROR database: down")])[0];
    assert_eq!((line.priority, line.text.as_str()), (3, "codebase-mcp: ERROR database: down"));
    assert_eq!(line.at.as_second(), 1_795_540_601);
    let mut odd = own("x");
    for priority in [json!("9"), json!("-1"), json!("high"), json!(null), json!(3)] {
        odd["PRIORITY"] = priority;
        assert_eq!(lines(&[odd.clone()])[0].priority, 6, "an unknown priority is a plain one");
    }
}

#[test]
fn a_statement_over_several_lines_of_postgresqls_is_not_kept() {
    let said = [
        "ERROR:  invalid input syntax for type integer: \"ann",
        "\tbell\"",
        "STATEMENT:  SELECT 'ann",
        "\tbell'::int",
        "a service's own",
        "\tat Main.main",
    ];
    assert_eq!(
        texts(&said.map(own)),
        [
            "ERROR:  invalid input syntax for type integer: \"?",
            "STATEMENT:  SELECT ?",
            "a service's own",
            "\tat Main.main"
        ]
    );
}

#[test]
fn an_id_that_is_not_known_leaves_a_line_a_line() {
    let mut line = own("a message of its own kind");
    line["MESSAGE_ID"] = json!("ffffffffffffffffffffffffffffffff");
    assert_eq!(texts(&[line]), ["a message of its own kind"]);
}

#[test]
fn bytes_that_are_no_text_are_read_as_far_as_they_are() {
    assert_eq!(texts(&[own(json!(b"caf\xe9 \x1b[2J".to_vec()))]), ["caf\u{fffd} \u{1b}[2J"]);
    assert_eq!(texts(&[own(json!(["first", "second"]))]), ["first"]);
    assert_eq!(texts(&[own(json!([[104, 105], "second"]))]), ["hi"]);
    for odd in [json!([1000]), json!([-1]), json!([]), json!({}), json!(1), json!(true), json!([[[]]])] {
        assert!(texts(&[own(odd.clone())]).is_empty(), "{odd}");
    }
}

#[test]
fn a_message_that_journalctl_leaves_out_for_its_length_is_said_to_be_one() {
    assert_eq!(texts(&[own(Value::Null)]), ["(a message of more than 4 KiB)"]);
    let mut none = own("");
    assert!(texts(&[none.clone(), own("  \n")]).is_empty());
    none.as_object_mut().unwrap().remove("MESSAGE");
    assert!(texts(&[none]).is_empty());
}

#[test]
fn a_broken_line_is_left_out_and_the_others_stay() {
    let good = own("good").to_string();
    let half = &good[..good.len() / 2];
    let text = format!("\n{half}\nnull\n[]\n42\n\"x\"\n{{}}\n-- No entries --\n{good}\n{half}");
    assert_eq!(parse(&text).lines.len(), 1);
    for time in [json!(null), json!("now"), json!(""), json!("99999999999999999999")] {
        let mut line = own("x");
        line["__REALTIME_TIMESTAMP"] = time;
        assert!(texts(&[line]).is_empty(), "without its time it is no evidence");
    }
}

#[test]
fn of_many_lines_the_newest_forty_stay() {
    let all: Vec<Value> = (0..1000).map(|n| own(format!("line {n}"))).collect();
    let kept = texts(&all);
    assert_eq!((kept.len(), kept[0].as_str(), kept[39].as_str()), (LINES, "line 960", "line 999"));
}

#[test]
fn a_line_of_a_megabyte_is_cut_and_its_secret_does_not_stay() {
    let kept = texts(&[own("é".repeat(1 << 20))]);
    assert_eq!(kept[0].chars().count(), LINE_CHARS + 1);
    for before in 250..310 {
        let line = format!("{} postgresql://ann:hunter2hunter2@db/x", "x".repeat(before));
        assert!(!texts(&[own(line)])[0].contains("hunt"), "{before}");
    }
}

/// journalctl itself, where it is installed.
async fn by_journalctl(folder: &str) -> Result<Journal, Failure> {
    read("a.service", Some(folder), soon(5000)).await
}

#[tokio::test]
async fn a_journal_that_is_not_there_is_missing_not_silent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let installed = PROGRAMS.iter().any(|p| std::path::Path::new(p).exists());
    for (folder, why) in [
        (path.clone(), format!("no journal in {path}")),
        ("/nonexistent".into(), "journalctl: Failed to open /nonexistent: No such file or directory".into()),
    ] {
        let f = by_journalctl(&folder).await.unwrap_err();
        let why = if installed { why } else { "journalctl is not installed".into() };
        assert_eq!((f.kind, f.detail), (FailKind::Missing, why));
    }
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_no_silence_either() {
    let dir = tempfile::tempdir().unwrap();
    let machine = dir.path().join("0123456789abcdef0123456789abcdef");
    std::fs::create_dir(&machine).unwrap();
    std::fs::write(machine.join("system.journal"), "LPKSHHRH, it is not\n").unwrap();
    let f = by_journalctl(&dir.path().display().to_string()).await.unwrap_err();
    assert!(matches!(f.kind, FailKind::Malformed | FailKind::Missing), "{f:?}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(\\PC|\n){0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_message_is_read_without_a_panic(
        bytes in proptest::collection::vec(any::<i16>(), 0..50),
        words in "\\PC{0,50}",
        time in any::<i64>(),
    ) {
        let mut line = own(json!(bytes));
        line["__REALTIME_TIMESTAMP"] = json!(time.to_string());
        line["MESSAGE_ID"] = json!(words);
        let _ = parse(&line.to_string());
    }
}
