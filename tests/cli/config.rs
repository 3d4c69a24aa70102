//! `mcp-ir config show|init` as its user meets them: what is printed, where, and the exit code.
//! Nothing of the caller's surroundings reaches the program.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::desk::Desk;

#[track_caller]
fn refused(text: &str, message: &str, hint: &str) {
    let ran = Desk::new().show(text);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert!(ran.stderr.contains(message), "`{message}` is not in: {}", ran.stderr);
    assert!(ran.stderr.contains(hint), "`{hint}` is not in: {}", ran.stderr);
}

#[test]
fn without_a_file_the_defaults_are_shown() {
    let ran = Desk::new().run(&["config", "show"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with("# file: none\n"), "{}", ran.stdout);
    for line in [
        "name = \"codebase-mcp\" ",
        "name = \"workflow-mcp\" ",
        "url = \"http://127.0.0.1:8001\" ",
        "pool = 0.95 ",
    ] {
        assert!(
            ran.stdout.lines().any(|l| l.starts_with(line) && l.ends_with("# default")),
            "{line}\n{}",
            ran.stdout
        );
    }
    assert!(ran.stdout.lines().all(|l| l.chars().count() <= 80), "{}", ran.stdout);
}

#[test]
fn every_layer_shows_which_value_is_its() {
    let desk = Desk::new();
    desk.file("c.toml", "[thresholds]\np95 = '1s'\nlong_query = '1m'\n");
    let vars = [("MCP_IR_THRESHOLDS_LONG_QUERY", "2m")];
    let ran = desk.with(&["--config", "c.toml", "--timeout", "3s", "config", "show"], &vars);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = |start: &str| ran.stdout.lines().find(|l| l.starts_with(start)).unwrap_or_default().to_owned();
    assert!(ran.stdout.starts_with("# file: DIR/c.toml\n"), "{}", ran.stdout);
    assert!(line("timeout = \"3s\"").ends_with("# --timeout"), "{}", ran.stdout);
    assert!(line("p95 = \"1s\"").ends_with("# line 2"), "{}", ran.stdout);
    assert!(line("long_query = \"2m\"").ends_with("# $MCP_IR_THRESHOLDS_LONG_QUERY"), "{}", ran.stdout);
}

#[test]
fn what_is_shown_is_a_configuration_again() {
    let desk = Desk::new();
    let text =
        "[[service]]\nname='api'\nurl='http://127.0.0.1:9000'\nneeds=['postgres']\npool={max_env='MAX'}\n";
    let first = desk.show(text);
    let again = desk.show(&first.stdout);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let values = |s: &str| -> Vec<String> {
        s.lines()
            .filter_map(|l| Some(l.split("  #").next()?.trim_end().to_owned()))
            .filter(|l| !l.starts_with('#'))
            .collect()
    };
    assert_eq!(values(&again.stdout), values(&first.stdout));
}

#[test]
fn json_is_one_document_with_the_same_values() {
    let desk = Desk::new();
    desk.file("c.toml", "timeout = '3s'\n");
    let ran = desk.run(&["--config", "c.toml", "config", "show", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], "mcp-ir/config/1");
    assert_eq!(document["config"]["timeout"], "3s");
    assert_eq!(
        document["origins"]["timeout"],
        serde_json::json!({ "from": "file", "file": "DIR/c.toml", "line": 1 })
    );
    assert_eq!(document["file"], "DIR/c.toml");
}

#[test]
fn no_secret_is_printed_by_any_way() {
    let desk = Desk::new();
    desk.file("pw", "hunter2");
    desk.file("h", "Authorization: Bearer hunter2");
    desk.file(
        "c.toml",
        "[[service]]\nname='api'\nurl='http://127.0.0.1:9000'\nneeds=['one','two','three','redis']\nheaders_file='DIR/h'\n\
         [[postgres]]\nname='one'\nurl='postgresql+asyncpg://ann:hunter2@h/x'\n\
         [[postgres]]\nname='two'\nurl='postgresql://ann@h/x'\npassword_file='DIR/pw'\n\
         [[postgres]]\nname='three'\nurl='postgresql://ann@h/x'\npassword_env='PW'\n\
         [[redis]]\nurl='redis://:hunter2@h'\n",
    );
    for format in ["human", "json"] {
        let ran =
            desk.with(&["--config", "c.toml", "-vvv", "-o", format, "config", "show"], &[("PW", "hunter2")]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(
            !ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        for source in ["url", "password_file DIR/pw", "password_env $PW", "****"] {
            assert!(ran.stdout.contains(source), "{source}: {}", ran.stdout);
        }
    }
}

#[test]
fn an_error_goes_to_stderr_with_its_line_and_a_next_step() {
    refused("\n[[servcie]]", "unknown key `servcie` in DIR/c.toml:2", "did you mean `service`?");
    refused("[thresholds]\npool = 95", "`thresholds.pool` in DIR/c.toml:2", "config init -");
    refused("timeout = 5", "`timeout` in DIR/c.toml:1 must be a length of time", "timeout = \"5s\"");
    refused("timeout = 5s", "invalid TOML in DIR/c.toml:1", "");
    refused("[[service]]\nname='x'\nurl='x'", "`service[0].url` in DIR/c.toml:3", "http://HOST:PORT");
    refused(
        "[[service]]\nname='x'\nunit='x'\nneeds=['postgre']\n[[postgres]]\nurl='postgresql://a@b'",
        "not configured",
        "`postgres`",
    );
    refused(
        "[[postgres]]\nurl='postgresql://a@b?sslmod=x'",
        "unknown parameter `sslmod` (did you mean `sslmode`?)",
        "",
    );
}

#[test]
fn an_error_is_json_where_json_was_asked_for() {
    let desk = Desk::new();
    desk.file("c.toml", "pol = 1");
    let ran = desk.run(&["--config", "c.toml", "-o", "json", "config", "show"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], "mcp-ir/error/1");
    assert_eq!(document["error"]["kind"], "config");
    assert_eq!(document["error"]["message"], "unknown key `pol` in DIR/c.toml:1");
    assert!(document["error"]["hints"].as_array().is_some_and(|h| !h.is_empty()));
}

#[test]
fn a_broken_configuration_ends_a_look_before_it_begins() {
    let desk = Desk::new();
    desk.file("c.toml", "pol = 1");
    let ran = desk.run(&["--config", "c.toml", "diagnose"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("unknown key `pol`"), "{}", ran.stderr);
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let desk = Desk::new();
    let ran = desk.run(&["--config", "gone.toml", "config", "show"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("configuration file DIR/gone.toml does not exist"), "{}", ran.stderr);
    assert!(ran.stderr.contains("mcp-ir config init DIR/gone.toml"), "{}", ran.stderr);
    let ran = desk.with(&["config", "show"], &[("MCP_IR_CONFIG", "gone.toml")]);
    assert!(ran.stderr.contains("$MCP_IR_CONFIG"), "{}", ran.stderr);
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_hang() {
    let desk = Desk::new();
    let pipe = desk.dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let start = Instant::now();
    let mut child =
        desk.command().args(["--config", "pipe", "config", "show"]).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("it waits for somebody to write");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = desk.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("is not a plain file"), "{}", ran.stderr);
}

#[test]
fn a_file_in_the_current_folder_is_never_read() {
    let desk = Desk::new();
    for name in ["config.toml", "mcp-ir.toml", ".mcp-ir.toml", "mcp-ir/config.toml", ".config/config.toml"] {
        desk.file(name, "pol = 1");
    }
    let ran = desk.run(&["config", "show"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut command = desk.command();
    command.env_remove("HOME").args(["config", "show"]);
    let ran = desk.ran(command.output().unwrap());
    assert!(!ran.stderr.contains("pol"), "{}", ran.stderr);
}

#[test]
fn a_variable_with_a_typing_mistake_is_pointed_out() {
    let ran = Desk::new().with(&["config", "show"], &[("MCP_IR_TIMEOT", "1s")]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("unknown variable $MCP_IR_TIMEOT is ignored (did you mean $MCP_IR_TIMEOUT?)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn init_writes_a_file_that_changes_nothing_and_is_its_owners_alone() {
    let desk = Desk::new();
    let ran = desk.run(&["config", "init", "new/c.toml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("DIR/new/c.toml is written"), "{}", ran.stdout);
    let path = desk.dir.path().join("new/c.toml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let shown = desk.run(&["--config", "new/c.toml", "config", "show"]);
    let defaults = desk.run(&["config", "show"]);
    assert_eq!(shown.stdout.split_once('\n').unwrap().1, defaults.stdout.split_once('\n').unwrap().1);
    let left: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["c.toml"]);
}

#[test]
fn init_keeps_what_is_there_unless_forced() {
    let desk = Desk::new();
    let path = desk.file("c.toml", "timeout = '3s'\n");
    let ran = desk.run(&["config", "init", "c.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(
        ran.stderr.contains("DIR/c.toml exists already") && ran.stderr.contains("--force"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "timeout = '3s'\n");
    assert_eq!(desk.run(&["config", "init", "c.toml", "--force"]).code, Some(0));
    assert!(fs::read_to_string(&path).unwrap().starts_with("# Configuration of mcp-ir"));
}

#[test]
fn init_prints_with_a_dash_and_the_print_is_a_file() {
    let desk = Desk::new();
    let ran = desk.run(&["config", "init", "-"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.lines().all(|l| l.is_empty() || l.starts_with('#')), "{}", ran.stdout);
    assert_eq!(desk.show(&ran.stdout).code, Some(0));
}

#[test]
fn init_works_where_the_configuration_is_broken() {
    let desk = Desk::new();
    desk.file("c.toml", "pol = 1");
    assert_eq!(desk.run(&["--config", "c.toml", "config", "init", "-"]).code, Some(0));
}

#[test]
fn a_plain_users_file_goes_home_and_is_found_there() {
    if rustix::process::geteuid().is_root() {
        return; // root's is the machine's own, which a test does not touch
    }
    let desk = Desk::new();
    let run = |args: &[&str]| desk.ran(desk.command().args(args).output().unwrap());
    assert_eq!(run(&["config", "init"]).code, Some(0));
    assert!(run(&["config", "show"]).stdout.starts_with("# file: DIR/.config/mcp-ir/config.toml"));
}

#[test]
fn as_root_a_file_that_others_can_write_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let desk = Desk::new();
    let path = desk.file("c.toml", "");
    let show = || desk.run(&["--config", "c.toml", "config", "show"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = show();
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("others than its owner can write it (mode 0666)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("chmod go-w DIR/c.toml"), "{}", ran.stderr);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(4242), Some(4242)).unwrap();
    let ran = show();
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("it belongs to uid 4242"), "{}", ran.stderr);
}

#[test]
fn text_of_a_file_reaches_the_terminal_harmless() {
    let ran = Desk::new().show("\"\\u001b]0;owned\\u0007\" = 1");
    assert_eq!(ran.code, Some(2));
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\u{7}'), "{:?}", ran.stderr);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let desk = Desk::new();
    let mut command = desk.command();
    command.env("MCP_IR_CONFIG", "/dev/null").args(["config", "show"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = desk.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.stderr, "");
}

#[test]
fn help_has_examples_that_work() {
    let desk = Desk::new();
    for verb in ["show", "init"] {
        let help = desk.run(&["config", verb, "--help"]);
        assert_eq!(help.code, Some(0));
        let examples = help.stdout.split("Examples:").nth(1).unwrap_or_default();
        assert!(examples.contains("mcp-ir config"), "{}", help.stdout);
    }
}

/// A large file as a script would make it: read whole, refused over the limit.
#[test]
fn a_file_over_the_limit_is_refused() {
    let desk = Desk::new();
    let path = desk.file("c.toml", "");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&vec![b'\n'; (1 << 20) + 1]).unwrap();
    let ran = desk.run(&["--config", "c.toml", "config", "show"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("is larger than 1024 KiB"), "{}", ran.stderr);
}
