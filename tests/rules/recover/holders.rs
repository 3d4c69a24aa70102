//! A port that somebody else holds: shown, and freed only by a person's word, and only of whom nothing speaks
//! for.

use std::collections::BTreeMap;

use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Ask, Near, Risk};
use mcp_ir::snapshot::process::{Occupant, Occupied};

use super::{acts, chosen, down, of, planned};
use crate::crash_reason::port_taken;
use crate::stack::{A, A_UNIT, Stack};

const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";

/// Down, since its port was taken.
fn taken() -> Stack {
    port_taken().listener("127.0.0.1:8000", &[(77, "python3", Some(SESSION))])
}

fn occupant(pid: u32, parent: u32, group: &str) -> Occupant {
    Occupant {
        pid,
        parent,
        began: 4711,
        name: "python3".into(),
        program: Some("/usr/bin/python3".into()),
        arguments: "python3 -m http.server 8000".into(),
        user: "alice".into(),
        since: Some("2026-11-27T08:00:00Z".parse().unwrap()),
        control_group: Some(group.into()),
        addresses: vec!["127.0.0.1:8000".into()],
        spared: None,
    }
}

fn free(by: Vec<Occupant>, sees_all: bool) -> Request {
    let occupied = BTreeMap::from([(A.to_owned(), Ok(Occupied { by, sees_all }))]);
    let near = Near { occupied, ..Near::default() };
    Request { ask: Ask { free_port: Some(10), near, ..Ask::default() }, ..of("server-crash") }
}

#[test]
fn errata_41_without_a_persons_word_the_holder_is_shown_and_not_ended() {
    let Choice::Advice { why, command } = chosen(&taken(), &of("server-crash")) else { panic!() };
    assert!(why.contains("--free-port"), "{why}");
    assert!(command.contains("-p 77"), "{command}");
}

#[test]
fn errata_41_the_listener_alone_is_ended_and_then_the_unit_is_started() {
    let plan = planned(&taken(), &free(vec![occupant(77, 1, SESSION)], true));
    let [Act::EndHolder(h), Act::ResetFailed { .. }, Act::StartUnit { unit }] = acts(&plan)[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((unit.as_str(), h.service.as_str(), h.port, h.grace_s), (A_UNIT, A, 8000, 10));
    assert_eq!((h.processes.len(), h.processes[0].pid, h.processes[0].began), (1, 77, 4711));
    let step = &plan.steps[0];
    assert_eq!((plan.risk(), step.risk, &step.undo), (Risk::Destructive, Risk::Destructive, &None));
    assert!(step.undo_reason.as_ref().unwrap().contains("is lost"));
    assert!(step.command.starts_with("kill -TERM 77;") && !step.command.contains("lsof"), "{}", step.command);
    let who = &plan.notes[0];
    for part in
        ["process 77 is /usr/bin/python3", "alice", "2026-11-27T08:00:00Z", SESSION, "http.server 8000"]
    {
        assert!(who.contains(part), "{part}: {who}");
    }
}

#[test]
fn errata_41_workers_go_with_the_one_that_they_came_from() {
    let plan = planned(&taken(), &free(vec![occupant(78, 77, SESSION), occupant(77, 1, SESSION)], true));
    let Act::EndHolder(h) = &plan.steps[0].act else { panic!("{plan:?}") };
    assert_eq!(h.processes.iter().map(|p| p.pid).collect::<Vec<_>>(), [77, 78]);
}

#[test]
fn errata_41_who_is_of_something_else_is_never_ended() {
    let with = |bend: fn(&mut Occupant)| {
        let mut o = occupant(77, 1, SESSION);
        bend(&mut o);
        free(vec![o], true)
    };
    let two = vec![occupant(77, 1, SESSION), occupant(90, 1, SESSION)];
    let docker =
        "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";
    let mut boxed = occupant(77, 1, docker);
    boxed.name = "node".into();
    for (case, request, word) in [
        (
            "a unit's",
            with(|o| o.control_group = Some("/system.slice/other.service".into())),
            "systemctl stop other.service",
        ),
        (
            "a user's unit's",
            with(|o| {
                o.control_group =
                    Some("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service".into());
            }),
            "systemctl --user stop web.service",
        ),
        ("its own", with(|o| o.control_group = Some(format!("/system.slice/{A_UNIT}"))), "under care"),
        ("nobody knows whose", with(|o| o.control_group = None), "can't be seen"),
        ("docker-proxy", with(|o| o.name = "docker-proxy".into()), "docker ps"),
        ("podman's", with(|o| o.name = "rootlessport".into()), "podman ps"),
        ("podman's network", with(|o| o.name = "pasta.avx2".into()), "podman ps"),
        ("a forwarding", with(|o| o.name = "ssh".into()), "another machine"),
        ("a forwarding to a pod", with(|o| o.name = "kubectl".into()), "another machine"),
        ("a container's", free(vec![boxed], true), "docker stop"),
        ("systemd's socket", with(|o| (o.pid, o.parent, o.name) = (1, 0, "systemd".into())), "list-sockets"),
        ("ssh", with(|o| o.name = "sshd-session".into()), "a session"),
        ("ourselves", with(|o| o.spared = Some("it is this program".into())), "this program"),
        ("not all were seen", free(vec![occupant(77, 1, SESSION)], false), "as root"),
        ("two strangers", free(two, true), "do not come from one another"),
        ("nobody", free(Vec::new(), true), "any more"),
    ] {
        let Choice::Advice { why, .. } = chosen(&taken(), &request) else {
            panic!("{case}: {:?}", chosen(&taken(), &request))
        };
        assert!(why.contains(word), "{case}: {why}");
    }
}

#[test]
fn errata_41_a_word_for_a_port_is_no_word_for_anything_else() {
    let s = down("failed", "failed").detail(A_UNIT, "exit-code", 1, 1, 90.0);
    let plan = planned(&s, &free(vec![occupant(77, 1, SESSION)], true));
    assert_eq!(acts(&plan), [&Act::StartUnit { unit: A_UNIT.into() }]);
}
