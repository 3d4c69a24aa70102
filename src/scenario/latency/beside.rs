//! What slow services need beside a database: a Redis that is busy with one command, an Ollama that
//! answers late.

use super::super::rate::{Total, rate};
use super::super::server_crash::blaming;
use super::super::witness::{self, Witness};
use super::slow::Slow;
use crate::config::{Config, Redis};
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk, Severity, needs};
use crate::snapshot::redis::RedisServer;
use crate::snapshot::{Looks, Snapshot};

pub static REDIS_SLOW: Cause = Cause {
    name: "latency/redis-slow",
    severity: Severity::P2,
    title: "Redis is busy with one kind of command",
    explains: DIES_OF_IT,
};
pub static OLLAMA_SLOW: Cause = Cause {
    name: "latency/ollama-slow",
    severity: Severity::P3,
    title: "Ollama answers late",
    explains: DIES_OF_IT,
};

/// Who waits for it with a limit of its own gives up, and calls itself unhealthy.
const DIES_OF_IT: &[(&str, Relation)] = &[(UNHEALTHY, Relation::NeededBy)];
const UNHEALTHY: &str = "server-crash/unhealthy";

/// An answer to PING that takes longer waited for another command.
pub const REDIS_MS: f64 = 100.0;
/// One command at a time: who takes so long keeps all others waiting, and so much of the time is all of it.
const COMMAND_MS: f64 = 10.0;
const BUSY: f64 = 0.3;

pub fn detect(slow: &[Slow], looks: &Looks, config: &Config) -> Vec<Finding> {
    let told = |name: &str, f: &dyn Fn() -> Option<Finding>| {
        let own: Vec<&Slow> = slow.iter().filter(|s| needs(&s.s.name, config).contains(name)).collect();
        let blamed = blamed_by(name, &looks.now, config);
        if own.is_empty() && blamed.is_empty() {
            return None;
        }
        let f = witness::heard(super::database::shown(f()?, &own), &blamed);
        // Nobody is unhealthy for it who does not say so; and where somebody is, it is as urgent.
        let f = f.explains_only(UNHEALTHY, blamed.iter().map(|w| w.service.to_owned()).collect());
        Some(if blamed.is_empty() { f } else { f.severity(Severity::P1) })
    };
    let redis = config.redis.iter().filter_map(|r| told(&r.name, &|| redis_slow(r, looks)));
    let ollama = config.ollama.iter().filter_map(|o| told(&o.name, &|| ollama_slow(&o.name, looks, config)));
    redis.chain(ollama).collect()
}

/// Unhealthy services that name it as the reason, though it answers.
pub fn blamed_by<'a>(name: &'a str, now: &'a Snapshot, config: &'a Config) -> Vec<Witness<'a>> {
    if let Some(look) = now.redis.get(name).filter(|r| r.ping.seen().is_some()) {
        return blaming(name, "Redis", &look.endpoint, now, config);
    }
    let ollama = now.ollama.get(name).filter(|o| o.models.seen().is_some());
    ollama.map(|look| blaming(name, "Ollama", &look.endpoint, now, config)).unwrap_or_default()
}

fn server<'a>(look: &'a Snapshot, name: &str) -> Option<&'a RedisServer> {
    look.redis.get(name)?.server.seen()
}

/// The command that took the most of the time in between: its name, its share of one processor, and
/// milliseconds each.
pub fn busiest<'a>(name: &str, looks: &'a Looks) -> Option<(&'a str, f64, f64, f64)> {
    let (before, now) = (server(looks.before.as_ref()?, name)?, server(&looks.now, name)?);
    // A plain look has no totals of commands: all of a lifetime would be of this interval.
    if before.commands.is_empty() {
        return None;
    }
    let at = |s: &RedisServer| jiff::Timestamp::from_microsecond((s.time_s? * 1e6) as i64).ok();
    let (then, here) = (at(before)?, at(now)?);
    let grown = |old: u64, new: u64| {
        let total =
            |at, value: u64, s: &'a RedisServer| Total { at, value: value as f64, run: s.run.as_ref() };
        rate(&total(then, old, before), &total(here, new, now))
    };
    now.commands
        .iter()
        .filter_map(|(command, (calls, us))| {
            let (old_calls, old_us) = before.commands.get(command).copied().unwrap_or_default();
            let (calls, us) = (grown(old_calls, *calls)?, grown(old_us, *us)?);
            (calls.by > 0.0)
                .then(|| (command.as_str(), us.per_second() / 1e6, us.by / calls.by / 1000.0, calls.by))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

fn redis_slow(r: &Redis, looks: &Looks) -> Option<Finding> {
    let ping =
        |l: &Snapshot| l.redis.get(&r.name).filter(|x| x.ping.seen().is_some()).map(|x| x.ping.elapsed_ms);
    let late =
        ping(looks.before.as_ref()?).zip(ping(&looks.now)).filter(|(a, b)| *a > REDIS_MS && *b > REDIS_MS);
    let busy = busiest(&r.name, looks).filter(|(_, share, ms, _)| *share > BUSY && *ms > COMMAND_MS);
    let words = match (&busy, &late) {
        (Some((command, share, ms, _)), _) => {
            format!(
                "{} takes {:.0} % of its time, {ms:.0} ms each; all others wait",
                command.to_uppercase(),
                share * 100.0
            )
        }
        (None, Some((a, b))) => format!("PING is answered in {a:.0} ms, and in {b:.0} ms"),
        (None, None) => return None,
    };
    let sure = if busy.is_some() { Certainty::Proven } else { Certainty::Likely };
    let mut f = Finding::new(&REDIS_SLOW, &r.name, sure, words).share(busy.map_or(0.0, |b| b.1.min(1.0)));
    if let Some((command, share, ms, calls)) = busy {
        let took = format!("{calls:.0} times, {ms:.1} ms each, {:.0} % of the time", share * 100.0);
        f = f.saw("redis info", &command.to_uppercase(), took);
    }
    f = f.saw_if("redis", "PING", ping(&looks.now).map(|ms| format!("answered in {ms:.0} ms")));
    let server = server(&looks.now, &r.name);
    f = f.saw_if(
        "redis info",
        "blocked clients",
        server.and_then(|s| s.blocked).filter(|n| *n > 0).map(|n| n.to_string()),
    );
    Some(f.remedy(
        format!("mcp-ir runbook {}", REDIS_SLOW.name.replace('/', "#")),
        "Find who sends it: KEYS, SORT and large ranges have a form in small steps",
        Risk::Safe,
    ))
}

/// `/api/tags` is late both times. A model that has to be loaded first does not make it so.
fn ollama_slow(name: &str, looks: &Looks, config: &Config) -> Option<Finding> {
    let limit = config.thresholds.p95.as_secs_f64() * 1000.0;
    let ms =
        |l: &Snapshot| l.ollama.get(name).filter(|o| o.models.seen().is_some()).map(|o| o.models.elapsed_ms);
    let (a, b) = ms(looks.before.as_ref()?).zip(ms(&looks.now)).filter(|(a, b)| *a > limit && *b > limit)?;
    Some(
        Finding::new(
            &OLLAMA_SLOW,
            name,
            Certainty::Likely,
            format!("a list of its models takes {a:.0} ms, and {b:.0} ms"),
        )
        .saw("http ollama", "/api/tags", format!("answered in {a:.0} ms, and in {b:.0} ms"))
        .remedy(
            format!("mcp-ir runbook {}", OLLAMA_SLOW.name.replace('/', "#")),
            "See what it computes, and whether its machine has a processor left",
            Risk::Safe,
        ),
    )
}
