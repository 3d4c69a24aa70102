//! A port that somebody else holds: its listener is ended, and nobody who is only connected to it.

use crate::bench::{A, Bench, C_UNIT, until};

const C: &str = "workflow-mcp";
const FREE: [&str; 4] = ["recover", "server", "--free-port", "--yes"];

/// Connections of the other service to that port.
fn clients(b: &Bench) -> usize {
    let booted = b.stack.systemd().unwrap();
    let port = b.stack.service(A).unwrap().port;
    let pid = b.property(C_UNIT, "MainPID");
    let net = std::fs::read_to_string(booted.proc().join(pid).join("net/tcp")).unwrap();
    let to = format!("0100007F:{port:04X}");
    net.lines().filter(|l| l.split_whitespace().nth(2) == Some(to.as_str())).count()
}

#[test]
fn errata_41_a_port_is_freed_of_its_listener_and_its_clients_live() {
    let Some(mut b) = Bench::start() else { return };
    b.inject("port-conflict/another-program");
    let theirs = b.property("intruder.service", "MainPID");
    let advice = b.json(&[&FREE[..], &["--allow", "destructive"]].concat(), 1);
    assert!(advice["reason"].as_str().unwrap().contains("systemctl stop intruder.service"), "{advice}");
    assert_eq!(b.property("intruder.service", "MainPID"), theirs, "a unit's own process is left alone");
    b.stack.systemd().unwrap().systemctl(&["stop", "intruder.service"]).unwrap();
    b.heal();

    b.stack.serve_by_hand(A).unwrap();
    let to = format!("127.0.0.1:{}", b.stack.service(A).unwrap().port);
    b.stack.service(C).unwrap().tell(&format!("open?to={to}&n=3")).unwrap();
    until("it has clients", || clients(&b) >= 3);
    let innocent = b.property(C_UNIT, "MainPID");
    let advice = b.json(&["recover", "server", "--yes"], 1);
    assert!(advice["reason"].as_str().unwrap().contains("--free-port"), "{advice}");
    let refused = b.json(&FREE, 4);
    assert!(refused["hints"].to_string().contains("--allow destructive"), "{refused}");
    assert_eq!(b.property("by-hand.scope", "ActiveState"), "active", "shown, and not ended");
    let done = b.json(&[&FREE[..], &["--allow", "destructive"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let ended = done["steps"][0]["detail"].as_str().unwrap();
    assert!(ended.contains("after SIGTERM") && ended.contains("is free"), "{ended}");
    assert!(done["notes"].to_string().contains("by-hand.scope"), "who it was: {done}");
    assert!(b.is_healthy(A) && b.property("by-hand.scope", "ActiveState") != "active");
    assert_eq!(b.property(C_UNIT, "MainPID"), innocent, "a client of the port is no holder of it");
    assert!(b.is_healthy(C));
    b.heal();
}
