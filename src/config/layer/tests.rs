//! Promises about the text of a file: what is wrong in it is said with its line.

use crate::config::testbed::Bed;

#[track_caller]
fn refused(text: &str, message: &str, hint: &str) {
    Bed::new().config(text).error().says(message, hint);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    refused(
        "timeout = \"5s\"\n\n[[servcie]]\nname = \"x\"\n",
        "unknown key `servcie` in DIR/c.toml:3",
        "did you mean `service`?",
    );
    refused("timeuot = \"5s\"", "unknown key `timeuot` in DIR/c.toml:1", "did you mean `timeout`?");
    refused("[thresholds]\npol = 0.9", "unknown key `pol` in DIR/c.toml:2", "did you mean `pool`?");
    refused("[thresholds]\nlong-query = \"1m\"", "unknown key `long-query`", "did you mean `long_query`?");
    refused(
        "[[service]]\nname='x'\nNeeds=[]",
        "unknown key `Needs` in DIR/c.toml:3",
        "did you mean `needs`?",
    );
    refused(
        "[[service]]\nname='x'\npool={min='a'}",
        "unknown key `min` in DIR/c.toml:3",
        "did you mean `min_env`?",
    );
    refused("[[service]]\nname='x'\nhealth={pth='/'}", "unknown key `pth`", "did you mean `path`?");
    refused(
        "[[service]]\nname='x'\ncapture=[{urll='http://x'}]",
        "unknown key `urll`",
        "did you mean `url`?",
    );
    refused("[systemd]\nsocket='x'", "unknown key `socket` in DIR/c.toml:2", "known here: `bus`, `journal`");
    refused(
        "[[postgres]]\nurl='postgresql://a@b'\npasswordfile='/x'",
        "unknown key `passwordfile`",
        "did you mean `password_file`?",
    );
}

#[test]
fn a_key_in_the_wrong_table_is_told_its_place() {
    refused("p95 = \"1s\"", "unknown key `p95` in DIR/c.toml:1", "`p95` belongs in [thresholds]");
    refused("[docker]\nbus = \"unix:path=/x\"", "unknown key `bus`", "`bus` belongs in [systemd]");
    refused("needs = []", "unknown key `needs`", "`needs` belongs in [[service]]");
    refused("\"service.name\" = 1", "unknown key `service.name`", "");
}

#[test]
fn an_unknown_key_can_not_reach_the_terminal_raw() {
    let said = Bed::new().config("\"\\u001b[31mred\" = 1").error();
    assert!(!said.message.contains('\u{1b}'), "{said:?}");
    let long = format!("{} = 1", "k".repeat(5000));
    assert!(Bed::new().config(&long).error().message.len() < 200);
}

#[test]
fn a_wrong_type_is_told_what_belongs_there() {
    refused("timeout = 5", "`timeout` in DIR/c.toml:1 must be a length of time", "timeout = \"5s\"");
    refused("\n\ntimeout = true", "`timeout` in DIR/c.toml:3 must be a length of time", "config init -");
    refused("timeout = \"soon\"", "`timeout` in DIR/c.toml:1: must be a length of time", "");
    refused("timeout = \"-5s\"", "must be a length of time", "");
    refused("timeout = \"\"", "is empty", "");
    refused("service = 1", "`service` in DIR/c.toml:1 must be a list of tables, not a whole number", "");
    refused(
        "[service]\nname='x'",
        "`service` in DIR/c.toml:1 must be a list of tables, not a table",
        "[[service]]",
    );
    refused("service = ['x']", "must be a list of tables, not a text", "");
    refused("[[thresholds]]\npool=0.9", "`thresholds` in DIR/c.toml:1 must be a table", "");
    refused(
        "[[service]]\nname = 5",
        "`service[0].name` in DIR/c.toml:2 must be a text in quotes, not a whole number",
        "name = \"5\"",
    );
    refused(
        "[[service]]\nname='x'\nneeds = \"redis\"",
        "`service[0].needs` in DIR/c.toml:3 must be a list",
        "needs = [\"redis\"]",
    );
    refused("[[service]]\nname='x'\nneeds = [\n'redis',\n7]", "in DIR/c.toml:5 must be a list of texts", "");
    refused("[[service]]\nname='x'\nneeds = ['']", "has an entry that is empty", "");
    refused("[[service]]\nname='x'\nhealth = 1", "a text in quotes, or a table", "");
    refused("[[service]]\nname='x'\nsmoke = '/x'", "must be a table", "");
    refused(
        "[[service]]\nname='x'\ncapture = {url='http://x'}",
        "must be a list of tables",
        "capture = [{ … }]",
    );
    refused("[[redis]]\nurl='redis://x'\noptional = 'true'", "must be true or false", "optional = true");
    refused("[[redis]]\nurl='redis://x'\noptional = 1", "must be true or false", "");
    refused(
        "[[postgres]]\nurl='postgresql://a@b'\nexpect='master'",
        "must be \"primary\" or \"standby\"",
        "",
    );
    refused("[[postgres]]\nurl='postgresql://a@b'\nexpect='Primary'", "did you mean \"primary\"?", "");
    refused("[docker]\nhost = 1979-05-27", "not a date", "");
    refused("[docker]\nhost = ['x']", "not a list", "");
}

#[test]
fn a_number_out_of_range_is_refused() {
    refused("[thresholds]\npool = 95", "must be a number from 0 to 1", "");
    refused("[thresholds]\npool = 95", "for 95 percent write 0.95", "");
    refused(
        "[thresholds]\npool = -0.1",
        "`thresholds.pool` in DIR/c.toml:2: must be a number from 0 to 1",
        "",
    );
    refused("[thresholds]\npool = nan", "must be a number from 0 to 1", "");
    refused("[thresholds]\npool = inf", "must be a number from 0 to 1", "");
    refused(
        "[thresholds]\npool = \"0.9\"",
        "must be a number from 0 to 1, such as 0.95, not a text",
        "without quotes",
    );
    refused("[[service]]\nname='x'\nunit='x'\npool={max_allowed=0}", "must be a whole number from 1", "");
    refused("[[service]]\nname='x'\nunit='x'\npool={max_allowed=1.5}", "must be a whole number from 1", "");
    refused(
        "[[service]]\nname='x'\nunit='x'\npool={max_allowed=99999999999}",
        "must be a whole number from 1",
        "",
    );
    refused("[[service]]\nname='x'\nunit='x'\npool={max_allowed=-5}", "must be a whole number from 1", "");
}

#[test]
fn a_control_character_is_refused_wherever_it_stands() {
    refused("[[service]]\nname=\"a\\u001bb\"", "has a control character in it", "");
    refused("[[service]]\nname='x'\nneeds=[\"a\\nb\"]", "has a control character in it", "");
    refused("[host]\nproc=\"/proc\\u0000\"", "has a control character in it", "");
}

#[test]
fn invalid_toml_is_told_with_its_line_and_never_quotes_it() {
    refused("timeout = \"5s\"\nx = \n", "invalid TOML in DIR/c.toml:2", "config init -");
    refused("timeout = 5s", "invalid TOML in DIR/c.toml:1", "\"quotes\"");
    refused("timeout = \"5s\"\ntimeout = \"6s\"", "invalid TOML in DIR/c.toml:2: duplicate key", "once");
    refused("[docker]\n[docker]", "invalid TOML in DIR/c.toml:2: duplicate key", "once");
    refused("[docker\n", "invalid TOML in DIR/c.toml:1", "");
    refused("{\"timeout\": \"5s\"}", "invalid TOML in DIR/c.toml:1", "");
    let said = Bed::new().config("[[postgres]]\nurl = \"postgresql://ann:hunter2@db/x\n").error();
    said.says("invalid TOML in DIR/c.toml:2", "");
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    let said = Bed::new().config("[[postgres]]\nurl = postgresql://ann:hunter2@db/x\n").error();
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
}

#[test]
fn deep_nesting_ends_in_an_error_not_in_a_crash() {
    refused(&format!("a = {}", "[".repeat(100_000)), "invalid TOML in DIR/c.toml:1", "");
    refused(&format!("{}a = 1", "a.".repeat(20_000)), "DIR/c.toml:1", "");
}

#[test]
fn every_way_to_write_the_same_is_the_same() {
    let one = "[[service]]\nname = \"x\"\nurl = \"http://x\"\n[service.pool]\nmax_env = \"M\"\n[[service.capture]]\nurl = \"http://x/heap\"\n";
    let two = "service = [{ name = 'x', url = 'http://x', pool.max_env = 'M', capture = [{ url = 'http://x/heap' }] }]";
    let config = |t| Bed::new().config(t).loaded().config;
    assert_eq!(config(one), config(two));
    let crlf = one.replace('\n', "\r\n");
    assert_eq!(config(one), config(&crlf));
    assert_eq!(config(one), config(&format!("\u{feff}{one}")), "a byte order mark is no fault");
}

#[test]
fn a_smoke_request_may_carry_any_json() {
    let text = "[[service]]\nname='x'\nurl='http://x'\n[service.smoke]\nmethod='POST'\npath='/s'\njson={a=[1,2.5,true,'t'],b={c=1979-05-27},n=0x10}";
    let config = Bed::new().config(text).loaded().config;
    let json = serde_json::to_value(&config.service[0].smoke).unwrap();
    assert_eq!(
        json["json"],
        serde_json::json!({"a": [1, 2.5, true, "t"], "b": {"c": "1979-05-27"}, "n": 16})
    );
    let at = "[[service]]\nname='x'\nurl='http://x'\nsmoke={method='POST',path='/s',json=";
    refused(&format!("{at}nan}}"), "a number that JSON can't say", "");
    refused(&format!("{at}999999999999999999999}}"), "too large", "");
}
