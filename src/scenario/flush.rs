//! A cache that is thrown away because somebody asks for it, by a prefix that is configured or a database that
//! is named. Where it can't be meant, nothing is (errata 46).

use crate::config::{Config, Redis};
use crate::diagnosis::{needs, shell_word};
use crate::plan::{Act, Ask, Flush, Remedy, Risk, draft};
use crate::snapshot::Snapshot;

/// `None`: nothing of the kind is asked for. `services`: only what these are or need, where some are named.
pub fn flush(now: &Snapshot, ask: &Ask, services: &[String], config: &Config) -> Option<(String, Remedy)> {
    let refused = |why: String, hints: Vec<String>| Some((String::new(), Remedy::Refused { why, hints }));
    let is_meant = |r: &Redis| {
        let of = |s: &String| *s == r.name || needs(s, config).contains(r.name.as_str());
        services.is_empty() || services.iter().any(of)
    };
    let named = |all: &[&Redis]| all.iter().map(|r| format!("--service {}", shell_word(&r.name))).collect();
    if let Some((name, database)) = &ask.flush_db {
        let Some(r) = config.redis(name) else {
            let known = config.redis.iter().map(|r| format!("--flush-db {}/{}", r.name, r.database()));
            return refused(format!("no Redis under care is called {name}"), known.collect());
        };
        if !is_meant(r) {
            let why = format!("{name} is none of {}, nor does one of them need it", services.join(", "));
            return refused(why, named(&[r]));
        }
        return Some((name.clone(), one(r, now, *database, None)));
    }
    let prefix = ask.flush_cache.as_ref()?;
    let all: Vec<&Redis> = config.redis.iter().filter(|r| r.is_cache(prefix)).collect();
    let meant: Vec<&Redis> = all.iter().copied().filter(|r| is_meant(r)).collect();
    match (&meant[..], &all[..]) {
        ([r], _) => Some((r.name.clone(), one(r, now, r.database(), Some(prefix.clone())))),
        ([], []) => {
            let known = config.redis.iter().flat_map(|r| &r.cache_prefixes).filter(|p| !p.is_empty());
            let hints: Vec<String> = known.map(|p| format!("--flush-cache {}", shell_word(p))).collect();
            let why = format!(
                "no Redis has `{prefix}` among its `cache_prefixes`: what else begins so is not known"
            );
            refused(why, hints)
        }
        ([], others) => {
            let names = services.join(", ");
            let why = format!("none that is or is needed by {names} calls `{prefix}` a cache");
            refused(why, named(others))
        }
        (several, _) => refused(format!("more than one Redis calls `{prefix}` a cache"), named(several)),
    }
}

fn one(r: &Redis, now: &Snapshot, database: u32, prefix: Option<String>) -> Remedy {
    let seen = now.redis.get(&r.name).and_then(|l| l.server.seen());
    // A replica is told by its master.
    if let Some(s) = seen.filter(|s| !s.role.is_empty() && s.role != "master") {
        let of = s.master.as_ref().map(|m| format!(" of {m}")).unwrap_or_default();
        return Remedy::Refused {
            why: format!("{} is a replica{of}: that is where to flush", r.name),
            hints: Vec::new(),
        };
    }
    let whole = prefix.is_none();
    let act = Flush { redis: r.name.clone(), url: r.url.clone(), database, prefix };
    let note = if whole {
        "whatever is in it is gone, a cache or not, and with it what its replicas hold; other databases stay"
    } else {
        "its replicas lose them too; who uses that cache is slow until it has filled again"
    };
    let risk = if whole { Risk::Destructive } else { Risk::Disruptive };
    let step = draft(Act::Flush(act), risk)
        .because("what was in it is kept nowhere: a cache fills again by its use");
    Remedy::Steps { steps: vec![step], notes: vec![note.into()] }
}
