//! The handshake with endpoints of every kind of behaviour: what is asked, what is told, the deadline.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::probe::testbed::{closed, heard, on_time, server, silent, soon};

/// What each step is answered by; the rest as by a server that is well.
type Script = Vec<(&'static str, String)>;
type Heard = Arc<Mutex<Vec<String>>>;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}"#;
const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"index"}]}}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn http(status: &str, kind: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
}

fn json(body: &str) -> String {
    http("200 OK", "application/json", "", body)
}

/// An event stream that stays open.
fn open(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n{body}")
}

fn well(asked: &str) -> String {
    let has = |method: &str| asked.contains(&format!("\"method\":\"{method}\""));
    if asked.starts_with("DELETE") {
        http("204 No Content", "text/plain", "", "")
    } else if has("initialize") {
        http("200 OK", "application/json", "Mcp-Session-Id: s-7\r\n", HELLO)
    } else if has("tools/list") {
        json(TOOLS)
    } else if has("ping") {
        json(PONG)
    } else {
        http("202 Accepted", "application/json", "", "")
    }
}

/// An endpoint by its script. A connection is kept open until its client leaves.
async fn endpoint(script: Script) -> (std::net::SocketAddr, Heard) {
    let asked_for = Heard::default();
    let kept = Arc::clone(&asked_for);
    let at = server(move |mut stream: TcpStream| {
        let (script, kept) = (script.clone(), Arc::clone(&kept));
        async move {
            let mut asked = String::new();
            while !whole(&asked) {
                let piece = heard(&mut stream).await;
                if piece.is_empty() {
                    return;
                }
                asked += &String::from_utf8_lossy(&piece);
            }
            let own = script.iter().find(|(word, _)| asked.contains(word)).map(|(_, answer)| answer.clone());
            kept.lock().unwrap().push(asked.clone());
            let answer = own.unwrap_or_else(|| well(&asked));
            let _ = stream.write_all(numbered(&answer, &asked).as_bytes()).await;
            while !heard(&mut stream).await.is_empty() {}
        }
    })
    .await;
    (at, asked_for)
}

/// The answer with the number of what was asked; as long as it was.
fn numbered(answer: &str, asked: &str) -> String {
    let number = asked.split("\"id\":").nth(1).and_then(|rest| rest.chars().next()).unwrap_or('1');
    answer
        .replace("\"id\":1", &format!("\"id\":{number}"))
        .replace("\"id\":\"1", &format!("\"id\":\"{number}"))
}

fn whole(asked: &str) -> bool {
    let Some((head, body)) = asked.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

async fn look_at(at: std::net::SocketAddr, deadline: Instant) -> McpLook {
    let s: Service = serde_json::from_value(
        json!({"name": "a", "url": format!("http://{at}"), "health": "/h", "mcp": "/mcp"}),
    )
    .unwrap();
    look(&s, &[], deadline).await
}

async fn told(script: Script) -> McpLook {
    look_at(endpoint(script).await.0, soon(3000)).await
}

/// The kind, the code, and the text of the step that failed.
fn fact(m: &McpLook) -> (FailKind, Option<&str>, &str) {
    let f = m.failure().unwrap_or_else(|| panic!("nothing failed: {m:?}"));
    (f.kind, f.code.as_deref(), f.detail.as_str())
}

#[tokio::test]
async fn a_handshake_is_made_in_order_and_its_session_is_ended() {
    let (at, heard) = endpoint(Vec::new()).await;
    let m = look_at(at, soon(3000)).await;
    let hello = m.initialize.seen().unwrap();
    assert_eq!((hello.protocol.as_str(), hello.server.as_deref()), ("2025-06-18", Some("x 1")));
    assert_eq!((hello.session, hello.events, hello.has_tools), (true, false, true));
    assert_eq!((m.ping.seen(), m.tools.seen(), m.looks_wrong()), (Some(&()), Some(&2), false));
    let all = heard.lock().unwrap().clone();
    assert_eq!(all.len(), 5, "{all:#?}");
    assert!(all[0].contains("\"initialize\"") && !all[0].contains("mcp-session-id"), "{}", all[0]);
    assert!(all[1].contains("notifications/initialized") && !all[1].contains("\"id\""), "{}", all[1]);
    assert!(all[4].starts_with("DELETE /mcp HTTP/1.1\r\n"), "{}", all[4]);
    for later in &all[1..] {
        assert!(later.contains("mcp-session-id: s-7\r\n"), "{later}");
        assert!(later.contains("mcp-protocol-version: 2025-06-18\r\n"), "{later}");
    }
    for post in &all[..4] {
        assert!(post.starts_with("POST /mcp HTTP/1.1\r\n"), "{post}");
        assert!(post.contains("accept: application/json, text/event-stream\r\n"), "{post}");
        assert!(post.contains("content-type: application/json\r\n"), "{post}");
    }
    assert!(!all.iter().any(|a| a.contains("tools/call")), "a tool was called");
    let number = |a: &String| a.split("\"id\":").nth(1).map(|rest| rest.chars().next());
    let numbers: std::collections::BTreeSet<_> = all.iter().filter_map(number).collect();
    assert_eq!(numbers.len(), 3, "two requests share a number: {all:#?}");
}

#[tokio::test]
async fn an_answer_by_events_is_found_among_others_and_not_waited_out() {
    let stream = |answer: &str| {
        let log =
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
        let theirs = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#;
        open(&format!(
            "id: 1\ndata:\n\n: still here\r\ndata: {log}\n\ndata: {theirs}\n\nevent: message\ndata: {answer}\n\n"
        ))
    };
    let script = vec![
        ("\"initialize\"", stream(HELLO)),
        ("notifications/", open("")),
        ("tools/list", stream(TOOLS)),
        ("\"ping\"", stream(PONG)),
    ];
    let (at, heard) = endpoint(script).await;
    let (start, m) = (Instant::now(), look_at(at, soon(5000)).await);
    assert!(start.elapsed() < Duration::from_secs(3), "an open stream was waited for");
    assert!(m.initialize.seen().is_some_and(|h| h.events && !h.session));
    assert_eq!((m.ping.seen(), m.tools.seen()), (Some(&()), Some(&2)));
    assert_eq!(heard.lock().unwrap().len(), 4, "there is no session to end");
}

#[tokio::test]
async fn what_initialize_is_answered_by_is_told_apart() {
    let html = "<!DOCTYPE html><title>502 Bad Gateway</title>";
    let error = |n: i64, text: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{n},"message":"{text}"}}}}"#)
    };
    let hello = |version: &str| HELLO.replace("2025-06-18", version);
    let rpc400 = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request"}}"#;
    use FailKind::{Denied, Malformed, Missing, Unsupported};
    for (answer, kind, code, text) in [
        (http("404 Not Found", "text/plain", "", "nope"), Missing, None, "HTTP 404: no such path"),
        (http("401 No", "text/plain", "", ""), Denied, None, "HTTP 401"),
        (http("403 No", "text/plain", "", ""), Denied, None, "HTTP 403"),
        (http("405 No", "text/plain", "", ""), Unsupported, Some("HTTP 405"), "HTTP 405"),
        (http("503 No", "text/plain", "", "busy"), Unsupported, Some("HTTP 503"), "HTTP 503: busy"),
        (
            http("307 To", "text/plain", "location: /mcp/\r\n", ""),
            Unsupported,
            Some("HTTP 307"),
            "HTTP 307, a redirect to /mcp/",
        ),
        (http("200 OK", "text/html", "", html), Malformed, None, &format!("HTTP 200, HTML: {html}")),
        (json("well, hello"), Malformed, None, "HTTP 200, not JSON: well, hello"),
        (json(""), Malformed, None, "HTTP 200, an empty body"),
        (
            json(r#"{"status":"healthy"}"#),
            Malformed,
            None,
            r#"HTTP 200, JSON that is no answer of JSON-RPC: {"status":"healthy"}"#,
        ),
        (
            json(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#),
            Malformed,
            None,
            r#"HTTP 200, JSON that is no answer of JSON-RPC: {"jsonrpc":"2.0","id":9,"result":{}}"#,
        ),
        (json(&error(-32603, "boom")), Unsupported, Some("error -32603"), "JSON-RPC error -32603: boom"),
        (
            http("400 Bad", "application/json", "", rpc400),
            Unsupported,
            Some("error -32600"),
            "HTTP 400, JSON-RPC error -32600: Bad Request",
        ),
        (json(&hello("1.0")), Malformed, None, "a protocol version that does not exist: `1.0`"),
        (json(&hello("2024-10-07")), Malformed, None, "a protocol version that does not exist: `2024-10-07`"),
        (json(PONG), Malformed, None, "a result without a protocol version: {}"),
        (
            http("200 OK", "text/event-stream", "", ": nothing\n\n"),
            Malformed,
            None,
            "HTTP 200, an event stream that ended, without the answer: : nothing",
        ),
    ] {
        let m = told(vec![("\"initialize\"", answer)]).await;
        assert_eq!(fact(&m), (kind, code, format!("initialize: {text}").as_str()));
        assert!(m.ping.seen().is_none() && m.tools.seen().is_none());
    }
}

#[tokio::test]
async fn a_later_protocol_a_batch_and_an_id_as_text_are_fine() {
    for hello in [
        HELLO.replace("2025-06-18", "2027-01-01"),
        format!("[{HELLO}]"),
        HELLO.replace("\"id\":1", "\"id\":\"1\""),
        format!("\u{feff}{HELLO}"),
    ] {
        let m = told(vec![("\"initialize\"", json(&hello))]).await;
        assert_eq!(m.tools.seen(), Some(&2), "{m:?}");
    }
}

#[tokio::test]
async fn a_list_of_tools_is_read_or_said_to_be_none() {
    let empty = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    let m = told(vec![("tools/list", json(empty))]).await;
    assert_eq!((m.tools.seen(), m.looks_wrong()), (Some(&0), true));
    let first = empty.replace("[]", r#"[],"nextCursor":"p2""#);
    let m = told(vec![("\"cursor\":\"p2\"", json(TOOLS)), ("tools/list", json(&first))]).await;
    assert_eq!(m.tools.seen(), Some(&2));
    let m = told(vec![("tools/list", json(&first))]).await;
    assert_eq!(
        fact(&m),
        (FailKind::Unsupported, None, "tools/list: pages without a tool, and always one more")
    );
    let m = told(vec![("tools/list", json(PONG))]).await;
    assert_eq!(fact(&m), (FailKind::Malformed, None, "tools/list: a result without a list of tools: {}"));
    let without = HELLO.replace(r#""tools":{}"#, r#""prompts":{}"#);
    let m = told(vec![("\"initialize\"", json(&without))]).await;
    assert!(matches!(m.tools.reading, Reading::NotAsked { .. }) && m.failure().is_none(), "{m:?}");
}

#[tokio::test]
async fn a_session_that_is_not_known_is_said_to_be_that() {
    let gone = |text: &str| http("404 Not Found", "text/plain", "", text);
    let m = told(vec![("tools/list", gone(""))]).await;
    let text = "tools/list: HTTP 404: no such path: it does not know the session that it made";
    assert_eq!(fact(&m), (FailKind::Unsupported, Some("session"), text));
    let rpc =
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32600,"message":"No valid session ID provided"}}"#;
    let m = told(vec![("notifications/", http("400 Bad", "application/json", "", rpc))]).await;
    let (kind, code, text) = fact(&m);
    assert_eq!((kind, code), (FailKind::Unsupported, Some("session")), "{text}");
    assert!(
        text.starts_with("notifications/initialized: HTTP 400, JSON-RPC error -32600: No valid"),
        "{text}"
    );
}

#[tokio::test]
async fn who_is_silent_at_any_step_is_cut_off_in_time_and_its_session_is_ended() {
    let at = silent().await;
    let m = on_time(600, |deadline| look_at(at, deadline)).await;
    let f = m.failure().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Answer)), "{}", f.detail);
    let (at, _) = endpoint(vec![("\"initialize\"", open(": still here\n\n"))]).await;
    let m = on_time(600, |deadline| look_at(at, deadline)).await;
    let f = m.failure().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Body)));
    assert!(f.detail.starts_with("initialize: an event stream without the answer: "), "{}", f.detail);
    let (at, heard) = endpoint(vec![("tools/list", open("")), ("\"ping\"", String::new())]).await;
    let m = on_time(600, |deadline| look_at(at, deadline)).await;
    assert!(m.initialize.seen().is_some() && m.ping.failure().is_some());
    assert_eq!(m.failure().map(|f| (f.kind, f.stage)), Some((FailKind::TimedOut, Some(Stage::Body))));
    assert!(
        heard.lock().unwrap().last().is_some_and(|l| l.starts_with("DELETE")),
        "a session was left behind"
    );
}

#[tokio::test]
async fn a_stream_without_end_stops_at_the_limit() {
    let flood = open(&"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".repeat(30_000));
    let (at, _) = endpoint(vec![("\"initialize\"", flood)]).await;
    let m = look_at(at, soon(20_000)).await;
    let text = "initialize: in an event stream: an answer of more than 1024 KiB";
    assert_eq!(fact(&m), (FailKind::Malformed, Some("size"), text));
}

#[tokio::test]
async fn others_text_is_masked_and_cut() {
    let long = format!("password=hunter2 {}", "x".repeat(5000));
    let error = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":-1,"message":"{long}"}}}}"#);
    let named = HELLO.replace("\"x\"", &format!("\"{long}\""));
    for script in [
        vec![("\"initialize\"", json(&error))],
        vec![("\"initialize\"", json(&long))],
        vec![("\"initialize\"", http("500 No", "text/plain", "", &long))],
        vec![(
            "\"initialize\"",
            http("302 To", "text/plain", &format!("location: /{}\r\n", &long[..900]), ""),
        )],
        vec![("\"initialize\"", json(&named))],
        vec![("tools/list", http("500 No", "text/plain", "", &long))],
    ] {
        let said = serde_json::to_string(&told(script).await).unwrap();
        assert!(said.len() < 1200 && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let m = look_at(closed().await, soon(2000)).await;
    assert_eq!(m.failure().map(|f| (f.kind, f.stage)), Some((FailKind::Refused, Some(Stage::Connect))));
    assert_eq!(m.tools.reading, Reading::not_asked("no answer to initialize"));
}
