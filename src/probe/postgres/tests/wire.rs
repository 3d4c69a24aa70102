//! What stands at the address is no PostgreSQL, or one that misbehaves: each is a fact of its own.

use super::*;

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let address = closed().await;
    let look = plain(address).await;
    let want = (FailKind::Refused, Some(Stage::Connect), "connection refused".to_owned());
    assert_eq!(why(&look), want);
    assert_eq!((look.endpoint, look.here), (address.to_string(), Some(true)));
}

#[tokio::test]
async fn a_name_that_means_nothing_is_unresolved() {
    let look = look(&by_url("postgresql://ann@nonexistent.invalid/shop"), None, soon(3000)).await;
    let want = (FailKind::Unresolved, Some(Stage::Resolve), "the name does not resolve".to_owned());
    assert_eq!((why(&look), look.here), (want, None));
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_missing_and_one_that_nobody_holds_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let p = by_url(&format!("postgresql:///shop?user=ann&host={}", dir.path().display()));
    let missing = look(&p, None, soon(1000)).await;
    assert_eq!(why(&missing), (FailKind::Missing, Some(Stage::Connect), "no such socket".to_owned()));
    assert_eq!(missing.here, Some(true));
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap());
    let left = look(&p, None, soon(1000)).await;
    assert_eq!(why(&left), (FailKind::Refused, Some(Stage::Connect), "connection refused".to_owned()));
}

#[tokio::test]
async fn a_queue_that_is_full_is_no_connection() {
    let (_listener, _kept, address) = full().await;
    let (kind, stage, text) = cut(at(address, "")).await;
    assert_eq!((kind, stage), (FailKind::TimedOut, Some(Stage::Connect)));
    assert!(text.starts_with("no connection "), "{text}");
}

#[tokio::test]
async fn the_second_address_is_tried_though_the_first_one_drops() {
    let (_listener, _kept, drops) = full().await;
    let good = says(welcome()).await;
    let place = Place::Tcp(vec![drops, good]);
    assert!(place::open(&place, soon(600)).await.is_ok());
}

#[tokio::test]
async fn one_that_accepts_and_never_answers_is_silent() {
    let address = silent().await;
    let want = "connected, and no answer to a login within N ms";
    for mode in ["sslmode=disable", "sslmode=prefer", "sslmode=require"] {
        assert_eq!(cut(at(address, mode)).await, (FailKind::TimedOut, Some(Stage::Answer), want.to_owned()));
    }
}

#[tokio::test]
async fn a_connect_timeout_of_the_url_counts_where_it_is_shorter() {
    let p = at(silent().await, "connect_timeout=1");
    let start = Instant::now();
    assert_eq!(why(&look(&p, None, soon(20_000)).await).0, FailKind::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_connection_that_is_closed_in_the_middle_is_closed() {
    let refusal = error(&[('S', "FATAL"), ('C', "53300"), ('M', "x")]);
    for (answer, mode) in [
        (vec![], "disable"),
        (vec![], "prefer"),
        (refusal[..10].to_vec(), "disable"),
        (message(b'R', &[0, 0, 0, 0]), "disable"),
        (vec![b'R', 0, 0], "disable"),
        (vec![b'R', 0x7f, 0xff, 0xff, 0xff], "disable"),
    ] {
        let look = look(&at(says(answer.clone()).await, &format!("sslmode={mode}")), None, soon(2000)).await;
        let want = "connection closed in the middle";
        assert_eq!(why(&look), (FailKind::Closed, Some(Stage::Answer), want.to_owned()), "{answer:?} {mode}");
    }
    let reset = server(|mut stream: TcpStream| async move {
        heard(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(why(&plain(reset).await).0, FailKind::Closed);
}

#[tokio::test]
async fn what_is_no_postgresql_is_malformed() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"-ERR unknown command\r\n",
        b"J\0\0\0\x0a8.0.36\0",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let look = look(&at(says(answer).await, "sslmode=prefer"), None, soon(2000)).await;
        let want = (FailKind::Malformed, Some(Stage::Answer), "what answers is no PostgreSQL".to_owned());
        assert_eq!(why(&look), want, "{}", answer.escape_ascii());
    }
    for answer in [
        message(b'Z', b"I"),
        message(b'?', b"what"),
        message(b'R', b""),
        message(b'R', &[0, 0, 0, 99]),
        message(b'E', b"no end"),
        message(b'E', b"\0"),
        vec![b'R', 0, 0, 0, 0],
        vec![b'R', 0xff, 0xff, 0xff, 0xff],
        [message(b'R', &[0, 0, 0, 0]), message(b'D', &[0xff, 0xff])].concat(),
    ] {
        let (kind, stage, text) = why(&plain(says(answer.clone()).await).await);
        assert_eq!((kind, stage), (FailKind::Malformed, Some(Stage::Answer)), "{answer:?} {text}");
        assert!(text.starts_with("not PostgreSQL's answer: "), "{text}");
    }
}

#[tokio::test]
async fn an_answer_without_end_stops_at_the_limit() {
    for (head, part) in [
        (vec![b'N', 0x7f, 0xff, 0xff, 0xff], vec![b'x'; 64 << 10]),
        (message(b'R', &[0, 0, 0, 0]), message(b'S', b"a\0b\0").repeat(1000)),
    ] {
        let flood = server(move |mut stream: TcpStream| {
            let (head, part) = (head.clone(), part.clone());
            async move {
                heard(&mut stream).await;
                let _ = stream.write_all(&head).await;
                while stream.write_all(&part).await.is_ok() {}
            }
        })
        .await;
        let look = look(&at(flood, "sslmode=disable"), None, soon(20_000)).await;
        let want = "not PostgreSQL's answer: more than 8 MiB";
        assert_eq!(why(&look), (FailKind::Malformed, Some(Stage::Answer), want.to_owned()));
    }
}

/// Answers a request for TLS with `first`, and what comes then with `second`.
async fn after_request(first: &'static [u8], second: Vec<u8>) -> SocketAddr {
    server(move |mut stream: TcpStream| {
        let second = second.clone();
        async move {
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
            let _ = stream.write_all(first).await;
            heard(&mut stream).await;
            let _ = stream.write_all(&second).await;
            while !heard(&mut stream).await.is_empty() {}
        }
    })
    .await
}

#[tokio::test]
async fn without_tls_prefer_goes_on_in_the_clear_and_require_does_not() {
    let address = after_request(b"N", welcome()).await;
    let preferred = look(&at(address, "sslmode=prefer"), None, soon(500)).await;
    assert_eq!(preferred.login.seen(), Some(&Login { tls: false }));
    for mode in ["require", "verify-ca", "verify-full"] {
        let p = at(address, &format!("sslmode={mode}&sslrootcert={}", pem("ca.pem")));
        let want = (FailKind::Tls, Some(Stage::Tls), "the server does not offer TLS".to_owned());
        assert_eq!(why(&look(&p, None, soon(2000)).await), want);
    }
}

fn pem(name: &str) -> String {
    format!("{}/tests/probe/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_is_tls_and_says_how_far_it_came() {
    let garbage = after_request(b"S", b"\x15\x03\x03\x00\x02garbage".to_vec()).await;
    let (kind, stage, text) = why(&look(&at(garbage, "sslmode=require"), None, soon(2000)).await);
    assert_eq!((kind, stage), (FailKind::Tls, Some(Stage::Tls)), "{text}");
    let hangs = after_request(b"S", vec![]).await;
    let want = "connected, and no TLS within N ms";
    assert_eq!(
        cut(at(hangs, "sslmode=require")).await,
        (FailKind::TimedOut, Some(Stage::Tls), want.to_owned())
    );
    // What was sent in the clear before the handshake is not taken for a part of it.
    let early = after_request(b"SR\0\0\0\x08\0\0\0\0", welcome()).await;
    assert_eq!(why(&look(&at(early, "sslmode=require"), None, soon(2000)).await).0, FailKind::Tls);
}

#[tokio::test]
async fn an_error_instead_of_a_word_on_tls_is_read() {
    let slots =
        error(&[('S', "FATAL"), ('V', "FATAL"), ('C', "53300"), ('M', "sorry"), ('R', "ProcessStartup")]);
    let old = b"Ecould not fork new process for connection: Cannot allocate memory\n\0".to_vec();
    for close in [true, false] {
        for (answer, text) in [
            (slots.clone(), "sorry (SQLSTATE 53300)"),
            (
                old.clone(),
                "refused at once: could not fork new process for connection: Cannot allocate memory",
            ),
        ] {
            let address = server(move |mut stream: TcpStream| {
                let answer = answer.clone();
                async move {
                    heard(&mut stream).await;
                    let _ = stream.write_all(&answer).await;
                    while !close && !heard(&mut stream).await.is_empty() {}
                }
            })
            .await;
            assert_eq!(why(&look(&at(address, ""), None, soon(2000)).await).2, text);
        }
    }
}
