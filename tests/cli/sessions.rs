//! `who` and `config check` where there is no server to ask: what they say then, and how they end.

use std::net::TcpListener;

use serde_json::Value;

use crate::desk::Desk;

fn nobody_there() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "service = []\nredis = []\nollama = []\n[[postgres]]\nurl = 'postgresql://m@127.0.0.1:{port}/app'\n"
    )
}

#[test]
fn a_server_that_cannot_be_asked_is_not_an_empty_list() {
    let desk = Desk::new();
    desk.file("c.toml", &nobody_there());
    let ran = desk.run(&["--config", "c.toml", "who"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""));
    assert!(ran.stdout.contains("could not be asked: connection refused"), "{}", ran.stdout);
    let ran = desk.run(&["--config", "c.toml", "who", "-o", "json"]);
    let doc: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &doc["schema"]), (Some(3), &Value::from("mcp-ir/who/1")));
    assert_eq!(doc["servers"][0]["outcome"], "refused");
    assert!(doc["servers"][0]["count"].is_null(), "not counted is not zero: {doc}");
}

#[test]
fn what_could_not_be_tried_is_not_permitted_yet() {
    let desk = Desk::new();
    desk.file("c.toml", &nobody_there());
    let ran = desk.run(&["--config", "c.toml", "config", "check"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("could not be tried"), "{}", ran.stdout);
    assert!(ran.stdout.contains("? log in"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|l| l.chars().count() <= 80), "{}", ran.stdout);
}

#[test]
fn a_wrong_name_is_told_before_anything_is_asked() {
    let ran = Desk::new().run(&["who", "--service", "postgers"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("did you mean `postgres`?"), "{}", ran.stderr);
}
