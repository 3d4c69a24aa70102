//! A Redis that takes no work, by what it answers: a look never writes, so what a write would meet
//! is inferred from INFO and CONFIG.

use super::dependency::{Dependency, Trouble, unanswered};
use crate::config::{Config, Expect, Redis, RedisPlace};
use crate::diagnosis::{Certainty, shell_word};
use crate::scenario::facts;
use crate::scenario::witness;
use crate::snapshot::redis::{RedisLook, RedisServer};
use crate::snapshot::{FailKind, Looks, Snapshot};

pub fn all<'a>(looks: &'a Looks, config: &'a Config) -> Vec<(Dependency<'a>, Option<Trouble>)> {
    let look = |r: &'a Redis| Some((r, looks.now.redis.get(&r.name)?));
    config.redis.iter().filter_map(look).map(|(r, look)| one(r, look, looks, config)).collect()
}

fn one<'a>(
    r: &'a Redis,
    look: &'a RedisLook,
    looks: &'a Looks,
    config: &'a Config,
) -> (Dependency<'a>, Option<Trouble>) {
    let before = looks.before.as_ref().and_then(|b| b.redis.get(&r.name));
    let d = Dependency {
        name: &r.name,
        kind: "Redis",
        endpoint: &look.endpoint,
        unit: r.unit.as_deref(),
        container: r.container.as_deref(),
        optional: r.optional,
        seen_before: before.is_some_and(|b| b.ping.seen().is_some()),
    };
    let trouble = by_answer(&d, r, look, &looks.now)
        .or_else(|| login(&d, r, look, &looks.now, config))
        .or_else(|| write(&d, r, &looks.now, config));
    (d, trouble)
}

fn by_answer(d: &Dependency, r: &Redis, look: &RedisLook, now: &Snapshot) -> Option<Trouble> {
    if let Some(f) = look.ping.failure() {
        let text = f.detail.as_str();
        return match f.code.as_deref() {
            Some("LOADING") => Some(loading(r, look.server.seen())),
            Some("MASTERDOWN") => Some(
                Trouble::new(
                    Certainty::Proven,
                    "is a replica without its master and serves nothing",
                    "See what became of its master",
                )
                .command(cli(r, "INFO replication"))
                .saw("redis", "PING", text),
            ),
            Some("ERR") if text.contains("max number of clients") => Some(
                Trouble::new(
                    Certainty::Proven,
                    "takes no more clients",
                    "See who holds the connections before raising `maxclients`",
                )
                .command(cli(r, "CLIENT LIST"))
                .saw("redis", "answer", text),
            ),
            Some(_) => None,
            None => unanswered(d, f, look.here, now),
        };
    }
    let server = look.server.seen()?;
    if server.loading {
        return Some(loading(r, Some(server)));
    }
    full(r, server).or_else(|| save_failed(r, look, server)).or_else(|| replica(r, server))
}

fn loading(r: &Redis, server: Option<&RedisServer>) -> Trouble {
    let progress = server.and_then(|s| s.loaded_percent).map(|p| format!(", {p:.0} % done"));
    let what = format!("loads its data into memory{}", progress.unwrap_or_default());
    let mut trouble = Trouble::new(Certainty::Proven, what, "Wait: a restart would begin anew")
        .command(cli(r, "INFO persistence"))
        .saw("redis", "PING", "LOADING");
    trouble.waits = true;
    if let Some(eta) = server.and_then(|s| s.loading_eta_s) {
        trouble = trouble.saw("redis info", "done in", facts::age(eta));
    }
    trouble
}

/// Over its limit, and it may evict nothing: every write is refused with OOM.
fn full(r: &Redis, s: &RedisServer) -> Option<Trouble> {
    let (used, max) = (s.used_memory?, s.maxmemory.filter(|m| *m > 0)?);
    if s.policy.as_deref() != Some("noeviction") || used < max {
        return None;
    }
    let what = "is full and may evict nothing: it refuses writes";
    let advice = "Raise maxmemory within the host's means, choose a policy that evicts, or drop cache keys";
    let trouble = Trouble::new(refused(s, "OOM"), what, advice)
        .command(cli(r, "INFO memory"))
        .saw("redis info", "used_memory", format!("{used} of maxmemory {max}"))
        .saw("redis info", "maxmemory_policy", "noeviction");
    Some(counted(trouble, s, "OOM"))
}

/// A failed save stops all writes, unless it was told not to, or saves nothing by itself.
fn save_failed(r: &Redis, look: &RedisLook, s: &RedisServer) -> Option<Trouble> {
    let settings = look.settings.seen();
    let stops = settings.and_then(|s| s.stop_writes).unwrap_or(true);
    let saves = settings.and_then(|s| s.saves).unwrap_or(true);
    let snapshot = s.save_ok == Some(false) && stops && saves && s.role != "slave";
    if !snapshot && s.append_ok != Some(false) {
        return None;
    }
    let (what, fact) = if snapshot {
        ("could not save its data and refuses writes", "rdb_last_bgsave_status")
    } else {
        ("can't write its append-only file and refuses writes", "aof_last_write_status")
    };
    let known = settings.is_some_and(|s| s.stop_writes.is_some() && s.saves.is_some()) || !snapshot;
    let certainty = if known { Certainty::Proven } else { refused(s, "MISCONF") };
    let trouble =
        Trouble::new(certainty, what, "See its log and its disk: space, permissions, memory for a fork")
            .command(cli(r, "INFO persistence"))
            .saw("redis info", fact, "err");
    Some(counted(trouble, s, "MISCONF"))
}

/// A replica where a primary is expected.
fn replica(r: &Redis, s: &RedisServer) -> Option<Trouble> {
    if s.role != "slave" || s.read_only == Some(false) || r.expect == Expect::Standby {
        return None;
    }
    let master = s.master.as_deref().unwrap_or("another server");
    let what = format!("is a read-only replica of {master}");
    let trouble = Trouble::new(
        refused(s, "READONLY"),
        what,
        "Send writers to the primary, or say expect = \"standby\"",
    )
    .command(cli(r, "INFO replication"))
    .saw("redis info", "role", "slave");
    let trouble = match &s.master_link {
        Some(link) => trouble.saw("redis info", "master_link_status", link.clone()),
        None => trouble,
    };
    Some(counted(trouble, s, "READONLY"))
}

/// What it has refused before leaves no doubt; else our own connection may have tipped it, or
/// nobody may want to write.
fn refused(s: &RedisServer, code: &str) -> Certainty {
    if s.errors.contains_key(code) { Certainty::Proven } else { Certainty::Likely }
}

fn counted(trouble: Trouble, s: &RedisServer, code: &str) -> Trouble {
    match s.errors.get(code) {
        Some(n) => trouble.saw("redis info", &format!("refused with {code}"), format!("{n} times")),
        None => trouble,
    }
}

/// Our own refused login is not the services': only their word counts.
fn login(d: &Dependency, r: &Redis, look: &RedisLook, now: &Snapshot, config: &Config) -> Option<Trouble> {
    let heard = witness::of(d.name, now, config, witness::redis_login_refused);
    let first = heard.first()?;
    let ours = look.ping.failure().filter(|f| f.kind == FailKind::Denied);
    let certainty = if first.sure { Certainty::Proven } else { Certainty::Likely };
    let what = match first.text.contains("NOPERM") {
        true => "does not permit what its services do",
        false => "does not let its services in",
    };
    let trouble = Trouble::new(certainty, what, "Compare its users and password with the services' settings")
        .command(cli(r, "ACL LIST"))
        .saw(first.probe, first.service, first.text);
    Some(match ours {
        Some(f) => trouble.saw("redis", "our own login", f.detail.clone()),
        None => trouble,
    })
}

/// Near its limit it has room for a small value and none for a large one: the figures then look
/// well, and only the services know.
fn write(d: &Dependency, r: &Redis, now: &Snapshot, config: &Config) -> Option<Trouble> {
    let heard = witness::of(d.name, now, config, witness::redis_write_refused);
    let first = heard.first()?;
    let certainty = if first.sure { Certainty::Proven } else { Certainty::Likely };
    let trouble = Trouble::new(
        certainty,
        "refuses what its services write",
        "See its memory, its last save and its role",
    )
    .command(cli(r, "INFO"));
    Some(trouble.saw(first.probe, first.service, first.text))
}

/// An engineer's command that only looks.
fn cli(r: &Redis, command: &str) -> String {
    let at = match r.place() {
        Some(RedisPlace::Tcp { host, port, tls }) => {
            format!("-h {} -p {port}{}", shell_word(&host), if tls { " --tls" } else { "" })
        }
        Some(RedisPlace::Unix(path)) => format!("-s {}", shell_word(&path)),
        None => String::new(),
    };
    format!("redis-cli {at} {command}")
}
