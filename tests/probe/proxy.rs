//! Looks use no proxy, whatever the surroundings say (design, rules of safety 11).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

#[test]
fn variables_of_a_proxy_change_nothing() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = service.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in service.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"status":"healthy","database_status":"connected"}"#;
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    let text = format!(
        "[[service]]\nname = \"a\"\nurl = \"http://{address}\"\nhealth = \"/h\"\n[systemd]\nbus = \"unix:path=/nonexistent\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ir"));
    command.args(["diagnose", "server-crash", "-o", "json", "--timeout", "3s", "--config"]).arg(&config);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let out = command.output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let health = json["readings"].as_array().unwrap().iter().find(|r| r["probe"] == "http health").unwrap();
    assert_eq!((&health["outcome"], &health["detail"]), (&"seen".into(), &"HTTP 200".into()), "{health}");
}
