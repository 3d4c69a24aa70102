//! PostgreSQL's own refusals, byte by byte as it sends them.

use super::*;

async fn refused(fields: &[(char, &str)]) -> (FailKind, crate::snapshot::PgRefusal) {
    let look = plain(says(error(fields)).await).await;
    let f = look.login.failure().unwrap().clone();
    assert_eq!(f.stage, Some(Stage::Answer));
    assert_eq!(look.server.reading, Reading::not_asked("no login"));
    (f.kind, (*f.postgres.unwrap()).clone())
}

#[tokio::test]
async fn a_refusal_keeps_its_sqlstate_its_routine_and_its_text_in_any_language() {
    let (kind, pg) = refused(&[
        ('S', "FATAL"),
        ('V', "FATAL"),
        ('C', "53300"),
        ('M', "tut mir leid, schon zu viele Verbindungen"),
        ('F', "proc.c"),
        ('L', "354"),
        ('R', "InitProcess"),
    ])
    .await;
    assert_eq!(kind, FailKind::Denied);
    assert_eq!((pg.sqlstate.as_str(), pg.routine.as_deref()), ("53300", Some("InitProcess")));
    assert_eq!((pg.message.as_str(), pg.detail), ("tut mir leid, schon zu viele Verbindungen", None));
}

#[tokio::test]
async fn starting_up_is_refused_and_a_wrong_password_is_denied() {
    let (kind, pg) = refused(&[
        ('S', "FATAL"),
        ('V', "FATAL"),
        ('C', "57P03"),
        ('M', "the database system is not accepting connections"),
        ('D', "Hot standby mode is disabled."),
        ('R', "ProcessStartupPacket"),
    ])
    .await;
    assert_eq!((kind, pg.detail.as_deref()), (FailKind::Refused, Some("Hot standby mode is disabled.")));
    let look = plain(
        says(error(&[
            ('S', "FATAL"),
            ('V', "FATAL"),
            ('C', "28P01"),
            ('M', "password authentication failed for user \"ann\""),
            ('R', "auth_failed"),
        ]))
        .await,
    )
    .await;
    let want = "password authentication failed for user \"ann\" (SQLSTATE 28P01)";
    assert_eq!(why(&look), (FailKind::Denied, Some(Stage::Answer), want.to_owned()));
}

#[tokio::test]
async fn a_text_that_is_no_utf8_is_kept_as_far_as_it_can_be_read() {
    let mut bytes = error(&[('S', "FATAL"), ('C', "57P03"), ('M', "f_hrt hoch"), ('R', "x")]);
    let at = bytes.iter().position(|b| *b == b'_').unwrap();
    bytes[at] = 0xe4;
    let look = plain(says(bytes).await).await;
    assert_eq!(why(&look).2, "f\u{fffd}hrt hoch (SQLSTATE 57P03)");
}

#[tokio::test]
async fn a_refusal_of_several_megabytes_is_cut() {
    let long = "x".repeat(2 << 20);
    let (_, pg) = refused(&[('S', "FATAL"), ('C', "53300"), ('M', &long), ('D', &long)]).await;
    assert!(pg.message.chars().count() <= 301 && pg.detail.unwrap().chars().count() <= 301);
}

#[tokio::test]
async fn secrets_in_a_refusal_are_masked() {
    let url = "no route postgresql://ann:hunter2@db/shop";
    let look =
        plain(says(error(&[('S', "FATAL"), ('C', "08006"), ('M', url), ('D', "password=hunter2")])).await)
            .await;
    let all = format!("{look:?}");
    assert!(!all.contains("hunter2") && all.contains("ann:****@db"), "{all}");
}

#[tokio::test]
async fn our_own_password_is_nowhere_even_if_the_server_gives_it_back() {
    let echo = server(|mut stream: TcpStream| async move {
        heard(&mut stream).await;
        let _ = stream.write_all(&message(b'R', &[0, 0, 0, 3])).await;
        let password = heard(&mut stream).await;
        let text = format!("role \"ann\" with password {:?}", String::from_utf8_lossy(&password[5..]));
        let _ = stream.write_all(&error(&[('S', "FATAL"), ('C', "28P01"), ('M', &text)])).await;
    })
    .await;
    let secret = Secret::new("hunter2");
    let look = look(&at(echo, "sslmode=disable"), Some(&secret), soon(2000)).await;
    assert_eq!(why(&look).0, FailKind::Denied);
    assert!(!format!("{look:?}").contains("hunter2"), "{look:?}");
}

#[tokio::test]
async fn a_password_that_is_asked_for_and_not_configured_is_denied() {
    let sasl = [&[0, 0, 0, 10][..], b"SCRAM-SHA-256\0\0"].concat();
    for ask in [vec![0, 0, 0, 3], vec![0, 0, 0, 5, 1, 2, 3, 4], sasl] {
        let look = plain(says(message(b'R', &ask)).await).await;
        let want = "the server asks for a password, and none is configured";
        assert_eq!(why(&look), (FailKind::Denied, Some(Stage::Answer), want.to_owned()), "{ask:?}");
    }
}

#[tokio::test]
async fn a_kind_of_login_that_is_not_known_is_denied() {
    let strange = [&[0, 0, 0, 10][..], b"OAUTHBEARER\0\0"].concat();
    for ask in [vec![0, 0, 0, 7], strange] {
        let (p, secret) = (at(says(message(b'R', &ask)).await, "sslmode=disable"), Secret::new("hunter2"));
        let (kind, stage, text) = why(&look(&p, Some(&secret), soon(2000)).await);
        assert_eq!((kind, stage), (FailKind::Denied, Some(Stage::Answer)), "{text}");
        assert!(text.starts_with("a login of another kind: "), "{text}");
    }
}
