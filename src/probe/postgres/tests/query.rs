//! Logged in: what a query can come to, and that a cut one is cancelled on the server.

use std::sync::{Arc, Mutex};

use super::*;

/// Lets in, and answers the query with that.
async fn answers(query: Vec<u8>) -> SocketAddr {
    server(move |mut stream: TcpStream| {
        let query = query.clone();
        async move {
            heard(&mut stream).await;
            let _ = stream.write_all(&welcome()).await;
            heard(&mut stream).await;
            let _ = stream.write_all(&query).await;
        }
    })
    .await
}

async fn failed(query: Vec<u8>) -> Failure {
    let look = plain(answers(query).await).await;
    assert_eq!(look.login.seen(), Some(&Login { tls: false }));
    let f = look.server.failure().unwrap().clone();
    assert_eq!(f.stage, Some(Stage::Query));
    f
}

/// One row of one column.
fn row(text: &[u8]) -> Vec<u8> {
    let column = [&[0, 1][..], b"j\0", &[0; 18]].concat();
    let data = [&[0, 1][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
    [message(b'T', &column), message(b'D', &data), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()
}

#[tokio::test]
async fn a_row_that_can_not_be_read_is_malformed_and_no_panic() {
    let no_row = [message(b'C', b"BEGIN\0"), message(b'Z', b"I")].concat();
    let null = [&[0, 1][..], &[0xff; 4]].concat();
    let column = [&[0, 1][..], b"j\0", &[0; 18]].concat();
    let null = [message(b'T', &column), message(b'D', &null), message(b'Z', b"I")].concat();
    for answer in [
        no_row,
        null,
        row(b""),
        row(b"\xff\xfe"),
        row(b"{\"version\":\"15\"}"),
        row(b"[]"),
        message(b'D', &[0, 9, 0, 0]),
    ] {
        let f = failed(answer.clone()).await;
        assert_eq!(f.kind, FailKind::Malformed, "{}: {}", answer.escape_ascii(), f.detail);
    }
}

#[tokio::test]
async fn a_negative_number_of_sessions_is_malformed_not_zero() {
    let text = r#"{"version":"15","in_recovery":false,"uptime_s":1,"max_connections":100,"reserved":3,"sees_all":true,"used":-1,"consumers":[],"sessions":[]}"#;
    assert_eq!(failed(row(text.as_bytes())).await.kind, FailKind::Malformed);
}

#[tokio::test]
async fn an_error_of_a_query_is_told_by_its_sqlstate() {
    for (code, kind) in [
        ("57014", FailKind::TimedOut),
        ("55P03", FailKind::TimedOut),
        ("42501", FailKind::Denied),
        ("42883", FailKind::Unsupported),
        ("57P01", FailKind::Closed),
    ] {
        let f = failed(error(&[('S', "ERROR"), ('C', code), ('M', "why")])).await;
        assert_eq!((f.kind, f.postgres.unwrap().sqlstate.as_str()), (kind, code));
    }
    assert_eq!(failed(vec![]).await.kind, FailKind::Closed);
    assert_eq!(failed(row(b"{}")[..20].to_vec()).await.kind, FailKind::Closed);
}

#[tokio::test]
async fn a_query_that_the_deadline_cuts_is_cancelled_on_the_server() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let address = server(move |mut stream: TcpStream| {
        let seen = seen.clone();
        async move {
            let first = heard(&mut stream).await;
            if first.len() == 16 {
                seen.lock().unwrap().extend(first);
                return;
            }
            let _ = stream.write_all(&welcome()).await;
            while !heard(&mut stream).await.is_empty() {}
        }
    })
    .await;
    let p = at(address, "sslmode=disable");
    let look = on_time(400, async |deadline| look(&p, None, deadline).await).await;
    let f = look.server.failure().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Query)));
    assert!(f.detail.starts_with("no answer to a query within "), "{}", f.detail);
    // CancelRequest: 80877102, then the process and the key of the session.
    let cancel = [16u32, 80_877_102, 7, 9].map(u32::to_be_bytes).concat();
    assert!(asked.lock().unwrap().starts_with(&cancel), "the look ended before its cancel was out");
}

#[tokio::test]
async fn the_deadline_holds_though_the_cancel_finds_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // One after the other: a cancel waits behind the session and is never taken up.
        while let Ok((mut stream, _)) = listener.accept().await {
            heard(&mut stream).await;
            let _ = stream.write_all(&welcome()).await;
            while !heard(&mut stream).await.is_empty() {}
        }
    });
    let p = at(address, "sslmode=disable");
    let look = on_time(400, async |deadline| look(&p, None, deadline).await).await;
    assert_eq!(look.server.failure().unwrap().kind, FailKind::TimedOut);
}
