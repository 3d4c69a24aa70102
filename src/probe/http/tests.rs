//! One GET against servers of every kind of misbehaviour: the fact, the stage, the deadline.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::config::Secret;
use crate::probe::testbed::{closed, full, heard, on_time, says, server, silent, soon};

mod tls;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

async fn get_by(url: &str, deadline: Instant) -> Result<Answer, Failure> {
    get(&client(url.starts_with("https"), None)?, url, &[], deadline).await
}

async fn ask(address: std::net::SocketAddr) -> Result<Answer, Failure> {
    get_by(&format!("http://{address}/health"), soon(2000)).await
}

/// The kind, the stage, and what it says with the address as ADDR.
fn fact(f: Result<Answer, Failure>, address: std::net::SocketAddr) -> (FailKind, Option<Stage>, String) {
    match f {
        Ok(a) => panic!("HTTP {} of {} bytes", a.status, a.body.len()),
        Err(f) => (f.kind, f.stage, f.detail.replace(&address.to_string(), "ADDR")),
    }
}

/// The same, cut off after 300 ms; the number of milliseconds in the text as N.
async fn cut(address: std::net::SocketAddr) -> (FailKind, Option<Stage>, String) {
    let url = format!("http://{address}/health");
    let f = on_time(300, async |deadline| get_by(&url, deadline).await).await;
    let (kind, stage, text) = fact(f, address);
    (kind, stage, text.replace(|c: char| c.is_ascii_digit(), "").replace("within  ms", "within N ms"))
}

#[tokio::test]
async fn an_answer_is_status_headers_and_body() {
    let at =
        says(*b"HTTP/1.1 503 No\r\nContent-Type: text/x\r\nLocation: /l\r\nContent-Length: 3\r\n\r\nabc")
            .await;
    let a = ask(at).await.unwrap();
    assert_eq!((a.status, a.content_type.as_str(), a.location.as_deref()), (503, "text/x", Some("/l")));
    assert_eq!(a.body, b"abc");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let at = closed().await;
    let (kind, stage, text) = fact(ask(at).await, at);
    assert_eq!((kind, stage), (FailKind::Refused, Some(Stage::Connect)));
    assert_eq!(text, "ADDR: connection refused");
}

#[tokio::test]
async fn a_name_that_means_nothing_is_unresolved() {
    let f = get_by("http://nonexistent.invalid:8000/health", soon(3000)).await.err().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::Unresolved, Some(Stage::Resolve)));
    assert_eq!(f.detail, "nonexistent.invalid:8000: the name does not resolve");
}

#[tokio::test]
async fn a_name_that_means_this_host_is_found() {
    let at = says(OK).await;
    let a = get_by(&format!("http://localhost:{}/", at.port()), soon(2000)).await.unwrap();
    assert_eq!(a.status, 200);
}

#[tokio::test]
async fn a_queue_that_is_full_is_no_connection_in_time() {
    let (_listener, _kept, at) = full().await;
    assert_eq!(
        cut(at).await,
        (FailKind::TimedOut, Some(Stage::Connect), "ADDR: no connection in time".into())
    );
}

#[tokio::test]
async fn one_that_accepts_and_never_answers_is_silent() {
    let at = silent().await;
    let text = "connected to ADDR, and no answer within N ms";
    assert_eq!(cut(at).await, (FailKind::TimedOut, Some(Stage::Answer), text.into()));
}

/// Says `head`, and then a byte of `rest` every 50 ms.
async fn drip(head: &'static [u8], rest: &'static [u8]) -> std::net::SocketAddr {
    server(move |mut stream: TcpStream| async move {
        heard(&mut stream).await;
        let _ = stream.write_all(head).await;
        for byte in rest.iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_no_answer() {
    let at = drip(b"HTTP/1.1 200 OK\r\nX: ", b"x").await;
    let (kind, stage, _) = cut(at).await;
    assert_eq!((kind, stage), (FailKind::TimedOut, Some(Stage::Answer)));
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_an_answer_without_end() {
    let at = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" ").await;
    let (kind, stage, text) = cut(at).await;
    assert_eq!((kind, stage), (FailKind::TimedOut, Some(Stage::Body)));
    assert!(text.starts_with("ADDR began to answer and did not end"), "{text}");
}

/// Says `head`, and then `part` for ever.
async fn flood(head: &'static [u8], part: &'static str) -> std::net::SocketAddr {
    server(move |mut stream: TcpStream| async move {
        heard(&mut stream).await;
        let _ = stream.write_all(head).await;
        let part = part.repeat(16 << 10);
        while stream.write_all(part.as_bytes()).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn a_body_without_end_stops_at_the_limit() {
    for (head, part) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\nxxxxxxxx\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "x"),
    ] {
        let at = flood(head, part).await;
        let (kind, stage, text) = fact(get_by(&format!("http://{at}/"), soon(20_000)).await, at);
        assert_eq!((kind, stage), (FailKind::Malformed, Some(Stage::Body)), "{text}");
        assert_eq!(text, "an answer of more than 1024 KiB");
    }
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_whole() {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY}\r\n\r\n").into_bytes();
    answer.extend(vec![b'x'; MAX_BODY]);
    assert_eq!(ask(says(answer).await).await.unwrap().body.len(), MAX_BODY);
}

#[tokio::test]
async fn a_head_without_end_is_not_kept() {
    for (head, part) in [
        (&b"HTTP/1.1 200 OK\r\nX: "[..], "x"),
        (b"HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        (b"", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let at = flood(head, part).await;
        let f = on_time(1000, async |deadline| get_by(&format!("http://{at}/"), deadline).await).await;
        let (kind, stage, text) = fact(f, at);
        assert_eq!(stage, Some(Stage::Answer), "{text}");
        assert!(matches!(kind, FailKind::Malformed | FailKind::TimedOut), "{kind:?} {text}");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_in_the_middle_is_closed() {
    for (answer, stage) in [
        (&b""[..], Stage::Answer),
        (b"HTT", Stage::Answer),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Stage::Answer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":", Stage::Body),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"sta", Stage::Body),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Stage::Answer),
    ] {
        let at = says(answer).await;
        let want = (FailKind::Closed, Some(stage), "ADDR: connection closed in the middle".to_owned());
        assert_eq!(fact(ask(at).await, at), want, "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_at_once_or_reset_is_closed() {
    let at = server(|stream| async move { drop(stream) }).await;
    assert_eq!(fact(ask(at).await, at).0, FailKind::Closed);
    let at = server(|mut stream: TcpStream| async move {
        heard(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(fact(ask(at).await, at).0, FailKind::Closed);
}

#[tokio::test]
async fn what_is_no_http_is_malformed() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"-ERR wrong number of arguments\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
    ] {
        let at = says(answer).await;
        let (kind, stage, text) = fact(ask(at).await, at);
        assert_eq!(
            (kind, stage),
            (FailKind::Malformed, Some(Stage::Answer)),
            "{}: {text}",
            answer.escape_ascii()
        );
        assert!(text.starts_with("ADDR: no HTTP answer: ") && text.len() < 100, "{text}");
    }
    let at = says(*b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n").await;
    let (kind, stage, text) = fact(ask(at).await, at);
    assert_eq!((kind, stage), (FailKind::Malformed, Some(Stage::Body)), "{text}");
}

#[tokio::test]
async fn what_comes_before_the_answer_is_passed_over() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let at = says([hints.as_bytes(), OK].concat()).await;
    assert_eq!(ask(at).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let at = server(|mut stream: TcpStream| async move {
        let asked = heard(&mut stream).await;
        assert!(asked.starts_with(b"GET /health "), "it was followed");
        let _ = stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
            .await;
    })
    .await;
    let a = ask(at).await.unwrap();
    assert_eq!((a.status, a.location.as_deref()), (302, Some("/elsewhere")));
}

#[tokio::test]
async fn the_configured_headers_are_sent_and_do_not_come_back() {
    let at = server(|mut stream: TcpStream| async move {
        let asked = String::from_utf8(heard(&mut stream).await).unwrap();
        let status = if asked.contains("x-key: hunter2\r\n") { "200 OK" } else { "401 No" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
    })
    .await;
    let deadline = soon(2000);
    let c = client(false, None).unwrap();
    let header = Header { name: "x-key".into(), value: Secret::new("hunter2") };
    assert_eq!(get(&c, &format!("http://{at}/"), &[header], deadline).await.unwrap().status, 200);
    let bad = Header { name: "x-key".into(), value: Secret::new("hunter2\n") };
    let f = get(&c, &format!("http://{at}/"), &[bad], deadline).await.err().unwrap();
    assert!(!f.detail.contains("hunter2"), "{}", f.detail);
}
