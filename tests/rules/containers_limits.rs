//! What a container may have, and which one a process is of.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::containers::{Tasks, id_of};

use crate::payload;
use crate::stack::containers::runs;
use crate::stack::{A, Stack};

const UNHEALTHY: &str = "server-crash/unhealthy@codebase-mcp";

#[test]
fn all_the_tasks_that_a_container_may_have_are_its_limit_and_not_a_sick_service() {
    const TASKS: &str = "server-crash/tasks-limit@codebase-mcp";
    let stack = |current, max| {
        let mut stack = Stack::in_container(runs(90.0)).health(A, payload::a_own());
        stack.now.containers.get_mut(A).unwrap().tasks = Reading::Seen { value: Tasks { current, max } };
        stack.logged(A, 20.0, "RuntimeError: can't start new thread")
    };
    let told = stack(24, Some(24)).told();
    told.expect_root(TASKS, Certainty::Proven).evidence(TASKS, "pids.max=24");
    let command = &told.find(TASKS).remedy.command;
    assert_eq!(command, "docker update --pids-limit 48 codebase-mcp && docker restart codebase-mcp");
    for (current, max) in [(23, Some(24)), (9000, None)] {
        stack(current, max).told().case(format!("{max:?}")).expect_root(UNHEALTHY, Certainty::Proven);
    }
}

#[test]
fn who_serves_a_port_is_named_with_its_container() {
    let id = "3f2a".repeat(16);
    for (group, short) in [
        (format!("/docker/{id}"), Some("3f2a3f2a3f2a")),
        (format!("/system.slice/docker-{id}.scope"), Some("3f2a3f2a3f2a")),
        (format!("/machine.slice/libpod-{id}.scope/container"), Some("3f2a3f2a3f2a")),
        ("/system.slice/codebase-mcp.service".into(), None),
        (format!("/x/{}", &id[1..]), None),
        ("/".into(), None),
        (String::new(), None),
    ] {
        assert_eq!(id_of(&group), short, "{group}");
    }
}
