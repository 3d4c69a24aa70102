//! What a restart ends is kept before it, and what could not be had is told.

use std::io::{Read, Write};
use std::net::TcpListener;

use mcp_ir::config::{Capture, CaptureUrl, Loaded, Program, defaults};
use mcp_ir::engine::evidence::captured;
use mcp_ir::plan::Act;

use crate::stack::{A, A_UNIT, Stack};

/// Of a stack whose process is this one.
fn stack() -> Stack {
    Stack::healthy().of_process(|p| (p.pid, p.began_s) = (std::process::id(), began()))
}

/// Of this process, as the kernel counts.
fn began() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(19).unwrap().parse::<f64>().unwrap() / 100.0
}

fn loaded(s: &Stack, capture: &[&str]) -> Loaded {
    let argv = |line: &&str| Capture::Program(Program { argv: line.split(' ').map(str::to_owned).collect() });
    let mut loaded = Loaded { config: s.now.config.clone(), ..defaults().unwrap() };
    let own = loaded.config.service.iter_mut().find(|s| s.name == A).unwrap();
    own.capture = capture.iter().map(argv).collect();
    loaded
}

#[tokio::test]
async fn errata_48_what_the_kernel_and_the_configuration_have_is_taken_and_what_fails_is_told() {
    let mut s = stack();
    s.now.config.host.proc = "/proc".into();
    let loaded = loaded(&s, &["/bin/echo heap of {pid}", "/bin/false", "/nonexistent/py-spy dump"]);
    let me = std::process::id();
    let seen = captured(&loaded, &s.now, &[A], &[me]).await;
    for part in [
        format!("heap of {me}"),
        format!("process-{me}/threads.txt"),
        format!("{A}/process.txt"),
        "Max open files".into(),
    ] {
        assert!(seen.text.contains(&part), "{part}: {}", seen.text);
    }
    assert_eq!(seen.missed.len(), 2, "{:?}", seen.missed);
    assert!(seen.missed[0].contains("capture 2 of codebase-mcp (/bin/false)"), "{:?}", seen.missed);
    assert!(seen.missed[1].contains("not installed"), "{:?}", seen.missed);
}

/// As a service's own page of its heap would be; its answer is kept, and a page that is not there is told.
#[tokio::test]
async fn errata_48_a_configured_address_is_asked_before_a_restart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = port.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in port.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            let n = stream.read(&mut asked).unwrap();
            let heap = String::from_utf8_lossy(&asked[..n]).starts_with("GET /debug/heap ");
            let (status, body) = if heap { ("200 OK", "41 objects") } else { ("404 Not Found", "") };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let s = stack();
    let mut loaded = loaded(&s, &[]);
    let own = loaded.config.service.iter_mut().find(|s| s.name == A).unwrap();
    own.capture = ["heap", "threads"]
        .map(|page| Capture::Url(CaptureUrl { url: format!("http://{at}/debug/{page}") }))
        .into();
    let seen = captured(&loaded, &s.now, &[A], &[]).await;
    assert!(seen.text.contains("41 objects"), "{}", seen.text);
    assert!(seen.missed.iter().any(|m| m.contains("it answers 404")), "{:?}", seen.missed);
}

#[test]
fn errata_49_what_ends_a_process_is_known_to_end_what_it_held() {
    let unit = || A_UNIT.to_owned();
    for act in [Act::RestartUnit { unit: unit() }, Act::StopUnit { unit: unit() }] {
        assert!(act.destroys_evidence(), "{act:?}");
    }
    for act in [Act::StartUnit { unit: unit() }, Act::Thaw { unit: unit() }] {
        assert!(!act.destroys_evidence(), "{act:?}");
    }
}
