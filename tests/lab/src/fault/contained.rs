//! Faults of what services need, in containers of a real engine: PostgreSQL, a Redis, and an Ollama as far as
//! its interface goes. The services themselves are units.

use std::time::Duration;

use anyhow::Result;

use crate::docker::Docker;
use crate::settings::{POSTGRES, Settings};
use crate::stack::Stack;
use crate::stack::contained::{OLLAMA, REDIS};
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};
use super::start::crash_backends_by;

const DOWN: &str = "server-crash/dependency-down";
const A: &str = "codebase-mcp";
const C: &str = "workflow-mcp";

type Inject = fn(&mut Stack) -> Result<()>;

const fn postgres(name: &'static str, cause: &'static str, what: &'static str, inject: Inject) -> Fault {
    Fault::new(name, cause, POSTGRES, what, inject).explains(BOTH).with(with_postgres).under_systemd()
}

const fn redis(name: &'static str, what: &'static str, inject: Inject) -> Fault {
    Fault::new(name, DOWN, REDIS, what, inject).explains(&[A]).with(with_engine).under_systemd()
}

const fn ollama(name: &'static str, what: &'static str, inject: Inject) -> Fault {
    Fault::new(name, DOWN, OLLAMA, what, inject).explains(&[A]).with(with_engine).under_systemd()
}

const fn control(name: &'static str, what: &'static str, inject: Inject) -> Fault {
    Fault::control(name, what, inject).like("server-crash").with(with_engine).under_systemd()
}

/// It says that it is unhealthy, for a reason of its own; what it needs is well.
const fn unwell(name: &'static str, what: &'static str, inject: Inject) -> Fault {
    Fault::new(name, "server-crash/unhealthy", A, what, inject).with(with_engine).under_systemd()
}

/// More than a container may have here.
const FILL: &str = "for i=1,200000 do redis.call('SET', 'k'..i, string.rep('x', 500)) end";

fn with_engine(settings: &mut Settings) {
    settings.engine = true;
}

fn with_postgres(settings: &mut Settings) {
    settings.contained = vec![POSTGRES];
}

pub const FAULTS: &[Fault] = &[
    postgres(
        "postgres-stopped/container",
        "db-down/postgres-stopped",
        "docker stop of PostgreSQL's container",
        |stack| {
            stack.contain_postgres(&[])?;
            told(stack, &["stop", POSTGRES])?;
            all_unhealthy(stack)
        },
    )
    .next("docker start postgres")
    .said("was told to stop it")
    .also_changed("container postgres was stopped"),
    postgres(
        "postgres-stopped/container-killed",
        "db-down/postgres-stopped",
        "SIGKILL to the main process of PostgreSQL's container, past the engine",
        |stack| {
            stack.contain_postgres(&[])?;
            Docker::of(stack)?.kill_from_outside(POSTGRES, "KILL")?;
            Docker::of(stack)?.reaches(POSTGRES, "exited")?;
            all_unhealthy(stack)
        },
    )
    .next("docker start postgres")
    .said("exit code 137"),
    postgres(
        "postgres-stopped/container-removed",
        "db-down/postgres-stopped",
        "PostgreSQL's container was removed",
        |stack| {
            stack.contain_postgres(&[])?;
            told(stack, &["rm", "-f", POSTGRES])?;
            all_unhealthy(stack)
        },
    )
    .next("docker ps -a"),
    postgres(
        "start-failed/container",
        "db-down/start-failed",
        "a setting that PostgreSQL refuses; its container was restarted",
        |stack| {
            stack.contain_postgres(&[])?;
            stack.cluster().write_auto_conf("shared_buffers = 'none'\n")?;
            told(stack, &["restart", POSTGRES])?;
            Docker::of(stack)?.reaches(POSTGRES, "exited")?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|stack| stack.cluster().write_auto_conf(""))
    .next("docker logs --tail 50 postgres")
    .said("shared_buffers"),
    postgres(
        "start-failed/container-loop",
        "db-down/start-failed",
        "the same with --restart always: it dies at every start",
        |stack| {
            stack.contain_postgres(&["--restart", "always"])?;
            stack.cluster().write_auto_conf("shared_buffers = 'none'\n")?;
            told(stack, &["restart", POSTGRES])?;
            restarted(stack, POSTGRES)?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|stack| stack.cluster().write_auto_conf(""))
    .next("docker logs --tail 50 postgres")
    .said("times since somebody started it"),
    Fault::new(
        "backend-crash/container",
        "db-down/backend-crash",
        POSTGRES,
        "a backend in PostgreSQL's container gets SIGKILL, three times",
        |stack| {
            stack.contain_postgres(&[])?;
            crash_backends_by(stack, |stack, pid| {
                Docker::of(stack)?
                    .run(&["exec", POSTGRES, "/bin/busybox", "kill", "-s", "KILL", pid])
                    .map(drop)
            })
        },
    )
    .with(with_postgres)
    .said("terminated by signal 9")
    .under_systemd(),
    postgres("hung/container", "db-down/hung", "docker pause of PostgreSQL's container", |stack| {
        stack.contain_postgres(&[])?;
        told(stack, &["pause", POSTGRES])
    })
    .next("docker unpause postgres")
    .also_changed("container postgres was paused"),
    unwell(
        "unhealthy/redis-container-restarted",
        "the container of the Redis that it needs was restarted a moment before",
        |stack| {
            stack.contain_redis(false, true, &[])?;
            told(stack, &["restart", REDIS])?;
            says_unhealthy(stack)
        },
    )
    .also_changed("container redis was restarted"),
    unwell(
        "unhealthy/redis-container-recreated",
        "the container of the Redis that it needs was removed and made anew",
        |stack| {
            stack.contain_redis(false, true, &[])?;
            told(stack, &["rm", "-f", REDIS])?;
            stack.start_redis_container(&[])?;
            says_unhealthy(stack)
        },
    )
    .also_changed("container redis was created from lab"),
    unwell(
        "unhealthy/redis-container-came-back",
        "the Redis that it needs was killed for memory, and its container brought back",
        |stack| {
            let options = ["--restart", "always", "--memory", "32m", "--memory-swap", "32m"];
            stack.contain_redis(false, true, &options)?;
            stack.redis(&["EVAL", FILL, "0"]).err();
            let docker = Docker::of(stack)?;
            until("it was brought back", Duration::from_secs(10), || {
                docker.inspect(REDIS, ".RestartCount").is_ok_and(|n| n == "1")
            })?;
            says_unhealthy(stack)
        },
    )
    .also_changed("container redis was killed for memory and was brought back"),
    redis("dependency-down/redis-container-stopped", "docker stop of Redis's container", |stack| {
        stack.contain_redis(false, true, &[])?;
        told(stack, &["stop", REDIS])?;
        noticed(stack)
    })
    .next("docker start redis")
    .said("was told to stop it"),
    redis("dependency-down/redis-container-paused", "docker pause of Redis's container", |stack| {
        stack.contain_redis(false, true, &[])?;
        told(stack, &["pause", REDIS])?;
        noticed(stack)
    })
    .next("docker unpause redis"),
    redis("dependency-down/redis-container-oom", "Redis takes more than its container's --memory", |stack| {
        stack.contain_redis(false, true, &["--memory", "32m", "--memory-swap", "32m"])?;
        // Whoever asks it for that loses his connection.
        stack.redis(&["EVAL", FILL, "0"]).err();
        Docker::of(stack)?.reaches(REDIS, "exited")?;
        noticed(stack)
    })
    .next("docker update --memory 67108864 --memory-swap 67108864 redis && docker start redis")
    .said("killed for memory at its limit of 32 MiB"),
    redis(
        "dependency-down/redis-container-loop",
        "Redis refuses its configuration at every start; --restart always",
        |stack| {
            stack.contain_redis(false, true, &["--restart", "always"])?;
            stack.spoil_redis()?;
            told(stack, &["restart", REDIS])?;
            restarted(stack, REDIS)?;
            noticed(stack)
        },
    )
    .next("docker logs --tail 50 redis")
    .said("again and again"),
    redis("dependency-down/redis-container-removed", "Redis's container was removed", |stack| {
        stack.contain_redis(false, true, &[])?;
        told(stack, &["rm", "-f", REDIS])?;
        noticed(stack)
    })
    .next("docker ps -a")
    .said("there is no container redis"),
    redis("dependency-down/redis-container-hung", "SIGSTOP to Redis by docker kill", |stack| {
        stack.contain_redis(false, true, &[])?;
        told(stack, &["kill", "-s", "STOP", REDIS])?;
        noticed(stack)
    })
    .said("T (stopped by a signal)"),
    redis(
        "dependency-down/redis-container-unknown",
        "docker stop of a Redis of which the tool does not know that it is in a container",
        |stack| {
            stack.contain_redis(false, false, &[])?;
            told(stack, &["stop", REDIS])?;
            noticed(stack)
        },
    )
    .said("refuses connections"),
    ollama("dependency-down/ollama-container-stopped", "docker stop of Ollama's container", |stack| {
        stack.contain_ollama(&[])?;
        told(stack, &["stop", "-t", "1", OLLAMA])?;
        noticed(stack)
    })
    .next("docker start ollama"),
    ollama("dependency-down/ollama-container-paused", "docker pause of Ollama's container", |stack| {
        stack.contain_ollama(&[])?;
        told(stack, &["pause", OLLAMA])?;
        noticed(stack)
    })
    .next("docker unpause ollama"),
    ollama(
        "dependency-down/ollama-container-failed",
        "the engine can't start Ollama's container: its program is not in the image",
        |stack| {
            stack.contain_ollama(&[])?;
            told(stack, &["rm", "-f", OLLAMA])?;
            // The client's error is what is wanted.
            Docker::of(stack)?.start_container(OLLAMA, &[], &["/opt/ollama", "serve"]).err();
            noticed(stack)
        },
    )
    .next("docker inspect ollama")
    .said("no such file"),
    Fault::new(
        "client-pool-saturated/container",
        "pool-exhausted/client-pool-saturated",
        C,
        "10 quick requests at once for a pool of 7, whose size only the container's environment says",
        |stack| {
            Docker::of(stack)?.move_in(C, &["-e", "POOL_MAX_SIZE=7"])?;
            stack.wait_until_healthy()?;
            let service = stack.service(C)?;
            service.tell("hold?n=10&secs=600&mode=query")?;
            until("the pool is full", Duration::from_secs(5), || service.says("unhealthy"))
        },
    )
    .with(|settings| settings.contained = vec![C])
    .said("at most 7 (by POOL_MAX_SIZE of container workflow-mcp)")
    .under_systemd(),
    Fault::control(
        "healthy/container-pool",
        "all of 10 connections that are open are in use; its container's environment allows 20",
        |stack| {
            Docker::of(stack)?.move_in(C, &["-e", "POOL_MAX_SIZE=20"])?;
            stack.wait_until_healthy()?;
            stack.service(C)?.tell("hold?n=10&secs=600&mode=query")
        },
    )
    .with(|settings| settings.contained = vec![C])
    .like("pool-exhausted")
    .under_systemd(),
    Fault::control(
        "healthy/containers",
        "PostgreSQL, Redis, Ollama and both services are in containers",
        |stack| {
            stack.contain_redis(false, true, &[])?;
            stack.contain_ollama(&[])?;
            stack.contain_postgres(&[])?;
            let redis = stack.redis_url();
            Docker::of(stack)?.move_in(A, &["-e", &format!("REDIS_URL={redis}")])?;
            Docker::of(stack)?.move_in(C, &[])?;
            stack.wait_until_healthy()
        },
    )
    .with(|settings| settings.contained = vec![POSTGRES, A, C])
    .like("server-crash")
    .under_systemd(),
    Fault::control(
        "healthy/postgres-container-restarted",
        "PostgreSQL's container was restarted by its administrator",
        |stack| {
            stack.contain_postgres(&[])?;
            told(stack, &["restart", POSTGRES])?;
            stack.cluster().wait_until_ready()?;
            stack.wait_until_healthy()
        },
    )
    .with(with_postgres)
    .like("db-down")
    .under_systemd(),
    control(
        "healthy/redis-container-unknown",
        "a Redis is in a container that nobody configured, behind the port that is looked at",
        |stack| stack.contain_redis(false, false, &[]),
    ),
    control(
        "healthy/redis-container-unused",
        "the container of a Redis that nobody needs was stopped",
        |stack| {
            stack.contain_redis(true, true, &[])?;
            told(stack, &["stop", REDIS])
        },
    ),
];

/// The client does not return before it is done; a stop is over when nothing may follow it.
fn told(stack: &Stack, argv: &[&str]) -> Result<()> {
    Docker::of(stack)?.run(argv)?;
    if argv[0] == "stop" {
        std::thread::sleep(Duration::from_millis(1100));
    }
    Ok(())
}

fn says_unhealthy(stack: &Stack) -> Result<()> {
    stack.wait_until_healthy()?;
    let service = stack.service(A)?;
    service.tell("answer?as=unhealthy")?;
    until("it says so", Duration::from_secs(5), || service.says("unhealthy"))
}

fn restarted(stack: &Stack, name: &str) -> Result<()> {
    let docker = Docker::of(stack)?;
    until("it was restarted three times", Duration::from_secs(20), || {
        docker.inspect(name, ".RestartCount").is_ok_and(|n| n.parse().is_ok_and(|n: u32| n >= 3))
    })
}

fn noticed(stack: &Stack) -> Result<()> {
    let service = stack.service(A)?;
    until("the service has noticed", Duration::from_secs(8), || service.says("unhealthy"))
}
