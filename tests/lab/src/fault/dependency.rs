//! Faults of what a service needs beside its database: a real Redis, and an Ollama as far as its interface
//! goes. Of two services one uses them.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::stack::Stack;
use crate::stack::dependencies::{OLLAMA, REDIS};
use crate::wait::until;

use super::Fault;

const DOWN: &str = "server-crash/dependency-down";
const A: &str = "codebase-mcp";

const fn redis(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::new(name, DOWN, "redis", what, inject).explains(&[A]).under_systemd()
}

const fn ollama(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::new(name, DOWN, "ollama", what, inject).explains(&[A]).under_systemd()
}

const fn control(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::control(name, what, inject).like("server-crash").under_systemd()
}

pub const FAULTS: &[Fault] = &[
    redis("dependency-down/redis-stopped", "Redis is stopped", |stack| {
        stack.add_redis(false)?;
        stack.systemd()?.systemctl(&["stop", REDIS])?;
        noticed(stack)
    }),
    redis("dependency-down/redis-password", "somebody changes Redis's password", |stack| {
        stack.add_redis(false)?;
        stack.redis(&["CONFIG", "SET", "requirepass", "another"])?;
        noticed(stack)
    }),
    redis("dependency-down/redis-rights", "the services' user of Redis may write no more", |stack| {
        stack.add_redis(false)?;
        stack.redis(&["ACL", "SETUSER", "default", "-@write"])?;
        noticed(stack)
    }),
    redis(
        "dependency-down/redis-loading",
        "Redis was restarted, and loads its data for ten seconds",
        |stack| {
            stack.add_redis(false)?;
            stack.restart_redis_slowly()?;
            noticed(stack)
        },
    ),
    redis("dependency-down/redis-full", "Redis is at its maxmemory and may evict nothing", |stack| {
        stack.add_redis(false)?;
        stack.redis(&["CONFIG", "SET", "maxmemory", "1mb"])?;
        let fill =
            "for i=1,9999 do if redis.pcall('SET', 'k'..i, string.rep('x', 500)).err then return i end end";
        stack.redis(&["EVAL", fill, "0"])?;
        noticed(stack)
    }),
    redis("dependency-down/redis-hung", "SIGSTOP to Redis", |stack| {
        stack.add_redis(false)?;
        stack.systemd()?.kill(REDIS, "STOP")?;
        noticed(stack)
    }),
    redis("dependency-down/redis-replica", "Redis is made a replica, and takes no writes", |stack| {
        stack.add_redis(false)?;
        stack.redis(&["REPLICAOF", "127.0.0.1", "1"])?;
        noticed(stack)
    }),
    redis("dependency-down/redis-save", "Redis can't save its data, and so takes no writes", |stack| {
        stack.add_redis(false)?;
        fs::create_dir_all(stack.redis_folder().join("dump.rdb/in-its-way"))?;
        stack.redis(&["CONFIG", "SET", "save", "60 1000"])?;
        stack.redis(&["BGSAVE"])?;
        noticed(stack)
    }),
    Fault::new(
        "unhealthy/redis-fine",
        "server-crash/unhealthy",
        A,
        "it says unhealthy for a reason of its own; the Redis that it needs is well",
        |stack| {
            stack.add_redis(false)?;
            stack.service(A)?.tell("answer?as=unhealthy")
        },
    )
    .under_systemd(),
    control("healthy/redis", "a service needs a Redis, which is well", |stack| stack.add_redis(false)),
    control("healthy/redis-unused", "a Redis that nobody needs was stopped", |stack| {
        stack.add_redis(true)?;
        stack.systemd()?.systemctl(&["stop", REDIS]).map(drop)
    }),
    ollama("dependency-down/ollama-stopped", "Ollama is stopped", |stack| {
        stack.add_ollama("nomic-embed-text:latest")?;
        stack.systemd()?.systemctl(&["stop", OLLAMA])?;
        noticed(stack)
    }),
    ollama("dependency-down/ollama-hung", "SIGSTOP to Ollama", |stack| {
        stack.add_ollama("nomic-embed-text:latest")?;
        stack.systemd()?.kill(OLLAMA, "STOP")?;
        noticed(stack)
    }),
    ollama("dependency-down/ollama-model", "Ollama has another model than is asked of it", |stack| {
        stack.add_ollama("llama3:8b")?;
        noticed(stack)
    }),
    control("healthy/ollama", "a service needs an Ollama, which has its model", |stack| {
        stack.add_ollama("nomic-embed-text:latest")?;
        stack.wait_until_healthy()
    }),
];

fn noticed(stack: &Stack) -> Result<()> {
    let service = stack.service(A)?;
    until("the service has noticed", Duration::from_secs(8), || service.says("unhealthy"))
}
