//! Buses that are not there, and sockets that are none: a fact in few words, by the deadline.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::probe::testbed::{on_time, soon};

/// Why there is no connection; the folder as DIR.
async fn unmade(address: &str, dir: &Path) -> (FailKind, String) {
    let f =
        on_time(2000, async |deadline| Bus::connect(address, deadline).await.map(|_| ())).await.unwrap_err();
    assert_eq!(f.stage, Some(Stage::Connect));
    (f.kind, f.detail.replace(dir.to_str().unwrap(), "DIR"))
}

/// A socket, and what is done with each who comes.
async fn bus<F, Fut>(serve: F) -> (tempfile::TempDir, String)
where
    F: Fn(UnixStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let address = format!("unix:path={}", path.display());
    (dir, address)
}

#[tokio::test]
async fn an_address_that_is_none_is_said_to_be_none() {
    for address in ["", "nonsense", "unix:", "unix:path", "gopher:host=x", "http://127.0.0.1"] {
        let (kind, text) = unmade(address, Path::new("-")).await;
        assert_eq!((kind, text), (FailKind::Malformed, format!("`{address}` is no address of a bus")));
    }
}

#[tokio::test]
async fn a_bus_that_is_not_there_is_missing_and_said_in_a_few_words() {
    let none = unmade("unix:path=/nonexistent/system_bus_socket", Path::new("-")).await;
    assert_eq!(none, (FailKind::Missing, "no system bus at /nonexistent/system_bus_socket".into()));
    let guided = "unix:path=/nonexistent/system_bus_socket,guid=0123456789abcdef0123456789abcdef";
    assert_eq!(unmade(guided, Path::new("-")).await.1, "no system bus at /nonexistent/system_bus_socket");
}

#[tokio::test]
async fn a_socket_that_nobody_holds_any_more_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let seen = unmade(&format!("unix:path={}", path.display()), dir.path()).await;
    assert_eq!(seen, (FailKind::Refused, "the system bus at DIR/bus: connection refused".into()));
}

#[tokio::test]
async fn a_bus_that_never_speaks_is_cut_at_the_deadline() {
    let (_dir, address) = bus(|mut s| async move { while s.read_u8().await.is_ok() {} }).await;
    let f =
        on_time(300, async |deadline| Bus::connect(&address, deadline).await.map(|_| ())).await.unwrap_err();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Connect)));
    assert!(f.detail.starts_with("no answer from the system bus within "), "{}", f.detail);
}

#[tokio::test]
async fn what_speaks_something_else_or_nothing_is_no_bus() {
    for (answer, kinds) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[FailKind::Malformed][..]),
        (b"\xff\xfe\x00\x01\r\n", &[FailKind::Malformed]),
        (b"REJECTED\r\n", &[FailKind::Malformed, FailKind::Denied]),
        (b"", &[FailKind::Closed, FailKind::Malformed]),
    ] {
        let (dir, address) = bus(move |mut s| async move {
            let _ = s.read(&mut [0; 256]).await;
            let _ = s.write_all(answer).await;
        })
        .await;
        let (kind, text) = unmade(&address, dir.path()).await;
        assert!(kinds.contains(&kind), "{}: {kind:?} {text}", answer.escape_ascii());
        assert!(text.contains("DIR/bus") && !text.contains("os error"), "{text}");
    }
}

#[tokio::test]
async fn a_bus_that_never_stops_is_cut_at_the_deadline() {
    for part in ["x", "DATA\r\n", "OK 0123456789abcdef0123456789abcdef\r\n"] {
        let (_dir, address) = bus(move |mut s| async move {
            let _ = s.read(&mut [0; 256]).await;
            let part = part.repeat(1000);
            while s.write_all(part.as_bytes()).await.is_ok() {}
        })
        .await;
        let end = soon(1500);
        let seen = on_time(500, async |deadline| Bus::connect(&address, deadline).await.map(|_| ())).await;
        assert!(seen.is_err(), "{part}");
        assert!(std::time::Instant::now() < end + Duration::from_secs(5));
    }
}

#[test]
fn an_error_of_the_bus_is_told_by_its_name() {
    use zbus::fdo::Error as E;
    for (e, kind) in [
        (E::AccessDenied("no".into()), FailKind::Denied),
        (E::ServiceUnknown("no".into()), FailKind::Missing),
        (E::NoReply("no".into()), FailKind::TimedOut),
        (E::Disconnected("no".into()), FailKind::Closed),
        (E::UnknownMethod("no".into()), FailKind::Unsupported),
        (E::LimitsExceeded("no".into()), FailKind::Unsupported),
    ] {
        let f = failure(&zbus::Error::FDO(Box::new(e)));
        assert_eq!((f.kind, f.detail.as_str()), (kind, "systemd: no"));
    }
    let nameless = failure(&zbus::Error::FDO(Box::new(E::AccessDenied(String::new()))));
    assert_eq!(nameless.detail, "systemd: org.freedesktop.DBus.Error.AccessDenied");
}

#[test]
fn a_property_that_is_missing_or_of_another_type_is_what_systemd_says_for_none() {
    let value = |v: zbus::Variant<'_>| OwnedVariant::try_from(v).unwrap();
    let all = HashMap::from([
        ("MainPID".to_owned(), value(42u32.into())),
        ("ExecMainStatus".to_owned(), value((-9i32).into())),
        ("Result".to_owned(), value("success".into())),
        ("NRestarts".to_owned(), value("two".into())),
        ("StateChangeTimestamp".to_owned(), value(1_795_540_590_000_000u64.into())),
        ("Never".to_owned(), value(0u64.into())),
        ("Absurd".to_owned(), value(u64::MAX.into())),
    ]);
    assert_eq!(number::<u32>(&all, "MainPID"), 42);
    assert_eq!(number::<i32>(&all, "ExecMainStatus"), -9);
    assert_eq!((number::<u32>(&all, "NRestarts"), number::<u32>(&all, "None")), (0, 0));
    assert_eq!((text(&all, "Result"), text(&all, "MainPID")), ("success".into(), String::new()));
    assert_eq!(time(&all, "StateChangeTimestamp").unwrap().as_second(), 1_795_540_590);
    assert_eq!((time(&all, "Never"), time(&all, "Absurd"), time(&all, "None")), (None, None, None));
}

#[test]
fn similar_names_are_near_and_few_and_never_the_name_itself() {
    let all = ["codebase-mcpd.service", "codebase-mcp.service", "cron.service", "codebase_mcp.service"];
    assert_eq!(
        crate::probe::similar::near("codebase-mcp.service", all.into_iter()),
        ["codebase-mcpd.service", "codebase_mcp.service"]
    );
    assert!(
        crate::probe::similar::near("workflow.service", ["dbus.service", "ssh.service"].into_iter())
            .is_empty()
    );
}
