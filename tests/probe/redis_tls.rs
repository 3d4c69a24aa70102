//! `rediss://` on a real Redis that speaks nothing but TLS: whom the system trusts is let say how it is.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::pem;

struct Server {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    fn start(certificate: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mcp-ir-rediss-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |file: &Path| file.to_str().unwrap().to_owned();
        // Should this thread die without a farewell, the server goes too.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "redis-server", "--bind", "127.0.0.1", "--save", ""])
            .args(["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .args(["--dir", &path(folder.path()), "--tls-ca-cert-file", &path(&pem("ca.pem"))])
            .args(["--tls-cert-file", &path(&pem(certificate)), "--tls-key-file", &path(&pem("server.key"))])
            .args(["--requirepass", "hunter2"])
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv (package util-linux)");
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "no start: is redis-server installed?");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, port, process }
    }

    /// What the program says of it, where the system trusts the authority of this file.
    fn asked(&self, scheme: &str, trusted: &str) -> Value {
        let file = |name: &str| self.folder.path().join(name);
        std::fs::write(file("password"), "hunter2").unwrap();
        let text = format!(
            "service = []\npostgres = []\nollama = []\n[[redis]]\nurl = \"{scheme}://127.0.0.1:{}/0\"\n\
             password_file = \"{}\"\n",
            self.port,
            file("password").display()
        );
        std::fs::write(file("c.toml"), text).unwrap();
        for name in ["password", "c.toml"] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(file(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ir"));
        command.env_clear().env("SSL_CERT_FILE", pem(trusted)).arg("--config").arg(file("c.toml"));
        let out = command.args(["--timeout", "3s", "-o", "json", "diagnose"]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How its first look came out, and what it says.
fn ping(d: &Value) -> (&str, &str) {
    let row = d["readings"].as_array().unwrap().iter().find(|r| r["probe"] == "redis").unwrap();
    (row["outcome"].as_str().unwrap(), row["detail"].as_str().unwrap())
}

#[test]
fn one_whose_authority_is_trusted_is_looked_into_and_another_is_not() {
    let server = Server::start("server.pem");
    let d = server.asked("rediss", "ca.pem");
    assert_eq!((ping(&d).0, &d["verdict"]), ("seen", &"healthy".into()), "{d:#}");
    let d = server.asked("rediss", "stranger.pem");
    assert_eq!(ping(&d), ("tls", "invalid peer certificate: UnknownIssuer"), "{d:#}");
    // It is there, and who it is can't be said: neither healthy nor down.
    assert_eq!((&d["verdict"], &d["findings"]), (&"unknown".into(), &Value::Array(Vec::new())), "{d:#}");
}

#[test]
fn a_certificate_that_expired_or_is_for_another_name_is_said_to_be_that() {
    for (certificate, words) in [("expired.pem", "expired"), ("elsewhere.pem", "not valid for name")] {
        let d = Server::start(certificate).asked("rediss", "ca.pem");
        let (outcome, detail) = ping(&d);
        assert!(outcome == "tls" && detail.contains(words), "{certificate}: {d:#}");
        assert_eq!(d["verdict"], "unknown", "{d:#}");
    }
}

#[test]
fn one_that_is_asked_without_tls_is_never_called_healthy() {
    let d = Server::start("server.pem").asked("redis", "ca.pem");
    assert!(["closed", "malformed"].contains(&ping(&d).0), "{d:#}");
    assert_ne!(d["verdict"], "healthy", "{d:#}");
}
