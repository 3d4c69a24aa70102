//! Faults of a service whose place is a container, under a real engine: the same causes as of a unit.

use std::time::Duration;

use anyhow::Result;

use crate::docker::Docker;
use crate::settings::Settings;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::died::{end_intruder, intrude};
use super::silent::falls_silent;

const A: &str = "codebase-mcp";
const WORKER: &str = "worker";

/// The service's place is a container of its own name.
const fn contained(fault: Fault) -> Fault {
    fault.with(|settings| settings.contained = vec![A]).under_systemd()
}

pub const FAULTS: &[Fault] = &[
    contained(Fault::new("stopped/container", "server-crash/stopped", A, "its process exits 0", |stack| {
        lives(stack, &[])?;
        stack.service(A)?.tell("exit?code=0")?;
        Docker::of(stack)?.reaches(A, "exited")
    })),
    contained(Fault::new(
        "stopped-on-purpose/container",
        "server-crash/stopped-on-purpose",
        A,
        "docker stop; its exit code is 0",
        |stack| {
            lives(stack, &[])?;
            told(stack, &["stop", A])
        },
    )),
    contained(Fault::new(
        "stopped-on-purpose/docker-kill",
        "server-crash/stopped-on-purpose",
        A,
        "docker kill; its exit code is 137",
        |stack| {
            lives(stack, &["--memory", "256m"])?;
            told(stack, &["kill", A])
        },
    )),
    contained(Fault::new(
        "stopped-on-purpose/forgotten",
        "server-crash/stopped-on-purpose",
        A,
        "docker stop of one that always restarts; then the engine was restarted and has forgotten",
        |stack| {
            lives(stack, &["--restart", "unless-stopped"])?;
            told(stack, &["stop", A])?;
            stack.systemd()?.systemctl(&["restart", "docker.service"]).map(drop)
        },
    )),
    contained(Fault::new("failed/container", "server-crash/failed", A, "its process exits 1", |stack| {
        lives(stack, &[])?;
        stack.service(A)?.tell("exit?code=1")?;
        Docker::of(stack)?.reaches(A, "exited")
    })),
    contained(Fault::new(
        "failed/container-sigkill",
        "server-crash/failed",
        A,
        "somebody's SIGKILL to its process, past the engine; it has a memory limit",
        |stack| {
            lives(stack, &["--memory", "256m"])?;
            let docker = Docker::of(stack)?;
            docker.kill_from_outside(A, "KILL")?;
            docker.reaches(A, "exited")
        },
    )),
    contained(Fault::new(
        "oom-killed/container",
        "server-crash/oom-killed",
        A,
        "it takes more than its --memory",
        |stack| {
            lives(stack, &["--memory", "64m", "--memory-swap", "64m"])?;
            stack.service(A)?.tell("allocate?mib=200")?;
            Docker::of(stack)?.reaches(A, "exited")
        },
    )),
    contained(Fault::new(
        "tasks-limit/container",
        "server-crash/tasks-limit",
        A,
        "it starts a thread for every job, until its --pids-limit",
        |stack| {
            lives(stack, &["--pids-limit", "24"])?;
            stack.service(A)?.tell("threads?n=100")?;
            stack.service(A).and_then(|a| until("it says so", Duration::from_secs(5), || a.says("unhealthy")))
        },
    ))
    .or_at_least("server-crash/unhealthy@codebase-mcp"),
    contained(Fault::new(
        "crash-loop/container",
        "server-crash/crash-loop",
        A,
        "it dies at every start; --restart always",
        |stack| {
            let docker = Docker::of(stack)?;
            docker.move_in(A, &["--restart", "always", "-e", "LAB_START=exit:3:0"])?;
            until("it was restarted three times", Duration::from_secs(20), || {
                let count = docker.inspect(A, ".RestartCount");
                count.is_ok_and(|n| n.parse().is_ok_and(|n: u32| n >= 3))
            })
        },
    )),
    contained(Fault::new(
        "exec-failed/container",
        "server-crash/exec-failed",
        A,
        "its program is not in the image",
        |stack| {
            stack.systemd()?.systemctl(&["stop", &stack.service(A)?.unit()])?;
            // The client's error is what is wanted.
            let docker = Docker::of(stack)?;
            docker.start_container(A, &[], &["/opt/none"]).err();
            docker.reaches(A, "created")
        },
    )),
    contained(Fault::new(
        "bad-configuration/container",
        "server-crash/bad-configuration",
        A,
        "a pool larger than the server allows",
        |stack| {
            let docker = Docker::of(stack)?;
            docker.move_in(A, &["-e", "POOL_MAX_SIZE=200"])?;
            docker.reaches(A, "exited")
        },
    )),
    contained(Fault::new(
        "port-conflict/container",
        "server-crash/port-conflict",
        A,
        "another program has its port; its start fails",
        |stack| {
            let docker = Docker::of(stack)?;
            intrude(stack)?;
            docker.move_in(A, &[])?;
            docker.reaches(A, "exited")
        },
    ))
    .healed_by(end_intruder),
    contained(Fault::new("hung/container", "server-crash/hung", A, "SIGSTOP by docker kill", |stack| {
        lives(stack, &[])?;
        told(stack, &["kill", "-s", "STOP", A])?;
        falls_silent(stack)
    })),
    contained(Fault::new("paused/container", "server-crash/paused", A, "docker pause", |stack| {
        lives(stack, &[])?;
        told(stack, &["pause", A])?;
        falls_silent(stack)
    })),
    contained(Fault::new(
        "unit-missing/container",
        "server-crash/unit-missing",
        A,
        "its container was removed",
        |stack| {
            lives(stack, &[])?;
            told(stack, &["rm", "-f", A])
        },
    )),
    Fault::new(
        "unhealthy/container-check",
        "server-crash/unhealthy",
        WORKER,
        "a worker without a URL fails the health check of its container",
        |stack| {
            works(stack, "false")?;
            check_says(stack, WORKER, "unhealthy")
        },
    )
    .with(with_worker)
    .under_systemd(),
    contained(Fault::control("healthy/container", "the service lives in a container", |stack| {
        lives(stack, &[])
    }))
    .like("server-crash"),
    contained(Fault::control(
        "healthy/container-restarted",
        "its container was restarted by its administrator",
        |stack| {
            lives(stack, &[])?;
            told(stack, &["restart", A])?;
            stack.wait_until_healthy()
        },
    ))
    .like("server-crash"),
    contained(Fault::control(
        "healthy/container-came-back",
        "it died by SIGKILL; its policy brought it back",
        |stack| {
            lives(stack, &["--restart", "always"])?;
            let docker = Docker::of(stack)?;
            docker.kill_from_outside(A, "KILL")?;
            until("it was restarted", Duration::from_secs(10), || {
                docker.inspect(A, ".RestartCount").is_ok_and(|n| n == "1")
            })?;
            stack.wait_until_healthy()
        },
    ))
    .like("server-crash"),
    contained(Fault::control(
        "healthy/check-wrong",
        "its container's health check fails, and it answers that it is healthy",
        |stack| {
            lives(stack, &["--health-cmd", "false", "--health-interval", "200ms", "--health-retries", "1"])?;
            check_says(stack, A, "unhealthy")
        },
    ))
    .like("server-crash"),
    Fault::control("healthy/worker", "a worker without a URL, its container healthy", |stack| {
        works(stack, "true")?;
        check_says(stack, WORKER, "healthy")
    })
    .with(with_worker)
    .like("server-crash")
    .under_systemd(),
];

/// In a container from now on, and healthy there.
pub(super) fn lives(stack: &Stack, options: &[&str]) -> Result<()> {
    Docker::of(stack)?.move_in(A, options)?;
    stack.wait_until_healthy()
}

/// The client does not return before it is done.
fn told(stack: &Stack, argv: &[&str]) -> Result<()> {
    Docker::of(stack)?.run(argv)?;
    if argv[0] == "stop" || (argv[0] == "kill" && argv.len() == 2) {
        Docker::of(stack)?.reaches(A, "exited")?;
        // So long it may be the first half of a restart.
        std::thread::sleep(Duration::from_millis(1100));
    }
    Ok(())
}

fn works(stack: &Stack, check: &str) -> Result<()> {
    let check = format!("{check} || exit 1");
    let options = ["--health-cmd", &check, "--health-interval", "200ms", "--health-retries", "1"];
    let program = ["/bin/busybox", "sleep", "600"];
    Docker::of(stack)?.start_container(WORKER, &options, &program)
}

fn check_says(stack: &Stack, name: &str, status: &str) -> Result<()> {
    let docker = Docker::of(stack)?;
    until(&format!("the check says {status}"), Duration::from_secs(10), || {
        docker.inspect(name, ".State.Health.Status").is_ok_and(|now| now == status)
    })
}

fn with_worker(settings: &mut Settings) {
    settings.engine = true;
    settings.extra = format!("\n[[service]]\nname = \"{WORKER}\"\ncontainer = \"{WORKER}\"\n");
}
