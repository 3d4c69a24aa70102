//! https: whose certificate is believed, and how far a connection came that did not become one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/tls").join(name)
}

/// An https server with that certificate, which answers `{}`.
fn secure(certificate: &str) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(pem(certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(OK);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

async fn by_file(url: &str, ca_file: &Path) -> Result<Answer, Failure> {
    let deadline = soon(3000);
    get(&client(true, Some(&ca_file.display().to_string()))?, url, &[], deadline).await
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_believed() {
    let at = secure("server.pem");
    for host in ["127.0.0.1", "localhost"] {
        let a = by_file(&format!("https://{host}:{}/", at.port()), &pem("ca.pem")).await.unwrap();
        assert_eq!((a.status, a.body.as_slice()), (200, &b"{}"[..]));
        let shown = a.certificate.unwrap();
        let dates = (shown.begins.to_string(), shown.ends.to_string());
        assert_eq!(dates, ("2020-01-01T00:00:00Z".into(), "2119-01-01T00:00:00Z".into()));
    }
}

#[tokio::test]
async fn a_certificate_that_is_wrong_is_tls_and_not_refused() {
    for (certificate, authority, why) in [
        ("server.pem", "stranger.pem", "UnknownIssuer"),
        ("expired.pem", "ca.pem", "expired"),
        ("elsewhere.pem", "ca.pem", "not valid for name"),
    ] {
        let at = secure(certificate);
        let (kind, stage, text) = fact(by_file(&format!("https://{at}/"), &pem(authority)).await, at);
        assert_eq!((kind, stage), (FailKind::Tls, Some(Stage::Tls)), "{text}");
        assert!(text.starts_with("ADDR: invalid peer certificate: ") && text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn without_a_configured_authority_the_system_decides() {
    let at = secure("server.pem");
    let (kind, stage, _) = fact(get_by(&format!("https://{at}/"), soon(3000)).await, at);
    assert_eq!((kind, stage), (FailKind::Tls, Some(Stage::Tls)));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_tls() {
    let at = says(*b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let (kind, stage, _) = fact(by_file(&format!("https://{at}/"), &pem("ca.pem")).await, at);
    assert_eq!((kind, stage), (FailKind::Tls, Some(Stage::Tls)));
}

#[tokio::test]
async fn a_tls_that_hangs_is_not_a_connection_that_is_not_made() {
    let at = silent().await;
    let ca = pem("ca.pem").display().to_string();
    let f = on_time(300, async |deadline| {
        get(&client(true, Some(&ca))?, &format!("https://{at}/"), &[], deadline).await
    });
    let want = (FailKind::TimedOut, Some(Stage::Tls), "ADDR: connected, and no TLS in time".to_owned());
    assert_eq!(fact(f.await, at), want);
    let (_listener, _kept, at) = full().await;
    let f = on_time(300, async |deadline| {
        get(&client(true, Some(&ca))?, &format!("https://{at}/"), &[], deadline).await
    });
    assert_eq!(fact(f.await, at).1, Some(Stage::Connect));
}

#[tokio::test]
async fn a_handshake_that_is_closed_is_closed() {
    let at = says(*b"").await;
    let (kind, stage, _) = fact(by_file(&format!("https://{at}/"), &pem("ca.pem")).await, at);
    assert_eq!((kind, stage), (FailKind::Closed, Some(Stage::Tls)));
}

#[tokio::test]
async fn an_authority_file_that_can_not_be_used_is_said_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing in it\n").unwrap();
    for (file, why) in [
        (dir.path().join("none.pem"), "No such file or directory"),
        (empty, "no certificate in it"),
        (pem("server.key"), "no certificate in it"),
    ] {
        let f = by_file("https://127.0.0.1:1/", &file).await.err().unwrap();
        assert_eq!((f.kind, f.stage), (FailKind::Tls, Some(Stage::Tls)));
        let name = file.display().to_string();
        assert!(
            f.detail.contains(&name) && f.detail.contains(why) && !f.detail.contains("os error"),
            "{}",
            f.detail
        );
    }
}

#[tokio::test]
async fn an_authority_file_that_is_never_given_is_cut_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let service = serde_json::json!({
        "name": "a", "url": "https://127.0.0.1:1", "health": "/h", "ca_file": pipe.display().to_string(),
    });
    let service: crate::config::Service = serde_json::from_value(service).unwrap();
    let f = on_time(300, async |deadline| crate::probe::health::look(&service, &[], deadline).await).await;
    let f = f.unwrap_err();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Tls)));
    // Whoever waits for the other end is let go.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe));
}
