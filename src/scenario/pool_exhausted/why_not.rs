//! What speaks against each cause of connections that are gone. A line a cause.

use super::super::against::{Against, Against::Server, Against::Service, OfServer, OfService, unseen, why};
use super::super::facts;
use super::super::login::Meaning;
use super::{full, holders, leak, locks, pooler, titles};
use crate::diagnosis::{Cause, Fact, Finding, Stand};
use crate::snapshot::postgres::{Server as Sessions, Session};

pub static WHY_NOT: &[(&Cause, Against)] = &[
    (&pooler::POOLER_FULL, Against::Named(pooler::why_not)),
    (
        &full::SERVER_SLOTS_FULL,
        Server(|_, s| {
            let used = s.inside(|x| {
                let needs = format!("{:.0} % of them", s.config.thresholds.pool * 100.0);
                Stand::when(facts::slots_full(x.used, x, s.config), || {
                    Fact::new(
                        "postgres sessions",
                        "slots",
                        format!("{} of {} used", x.used, x.slots()),
                        &needs,
                    )
                })
            });
            Stand::any([s.login_means(Meaning::SlotsFull, "53300 of the server"), used])
        }),
    ),
    (&full::CLIENT_POOL_SATURATED, Service(|_, s| saturated(s))),
    (
        &leak::POOL_LEAK,
        Service(|_, s| {
            let full = leak::full(s.now, s.config);
            Stand::unless(leak::detect(s.s, &full, s.now, s.config).is_some(), || {
                // Where the server is full, a pool with room may leak as well.
                let harms = leak::servers(s.s, s.config).any(|p| full.contains(p.name.as_str()));
                Stand::all([if harms { Stand::Holds } else { saturated(s) }, idle_for_long(s)])
            })
        }),
    ),
    (
        &holders::IDLE_IN_TRANSACTION,
        Server(|c, s| {
            let over = s.config.thresholds.idle_in_transaction.as_secs_f64();
            holds(c, s, holders::is_idle, over)
        }),
    ),
    (
        &holders::LONG_QUERIES,
        Server(|c, s| holds(c, s, holders::is_long_query, s.config.thresholds.long_query.as_secs_f64())),
    ),
    (
        &locks::BLOCKING_CHAIN,
        Server(|_, s| {
            rule(s, "of a session's lock, for over 1 s", |x| locks::chain(s.p, x, s.now, s.config), waits)
        }),
    ),
    (
        &locks::PREPARED_TRANSACTION,
        Server(|_, s| {
            let needs = "one that others in its database wait for, for over 1 s";
            rule(
                s,
                needs,
                |x| locks::prepared(s.p, x, s.now, s.config),
                |x| ("prepared transactions", format!("{}, {}", x.prepared.len(), waits(x).1)),
            )
        }),
    ),
    (
        &full::POOL_OVER_BUDGET,
        Server(|_, s| {
            s.inside(|x| {
                Stand::unless(full::over_budget(s.p, x, s.now, s.config).is_some(), || {
                    let sizes = facts::clients(&s.p.name, s.config)
                        .map(|c| (c.name.as_str(), facts::pool_max(s.now, &c.name).map(|(max, _)| max)));
                    let (terms, unknown): (Vec<_>, Vec<_>) = sizes.partition(|(_, max)| max.is_some());
                    let words: Vec<String> =
                        terms.iter().map(|(name, max)| format!("{name} {}", max.unwrap_or(0))).collect();
                    let words = if words.is_empty() { "none".into() } else { words.join(" + ") };
                    let fact = Fact::new(
                        "http health",
                        "largest sizes",
                        words,
                        &format!("over {} slots", x.slots()),
                    );
                    match unknown.first() {
                        Some((name, _)) => unseen("pool size", name, "not known", &fact.needs),
                        None => Stand::RuledOut(vec![fact]),
                    }
                })
            })
        }),
    ),
];

/// What the rule found among the sessions; else what there is. Sessions that were not shown rule
/// nothing out.
fn rule(
    s: &OfServer,
    needs: &str,
    found: impl FnOnce(&Sessions) -> Option<Finding>,
    seen: impl FnOnce(&Sessions) -> (&'static str, String),
) -> Stand {
    s.inside(|x| {
        Stand::unless(found(x).is_some(), || {
            let (fact, value) = seen(x);
            if x.sees_all {
                Stand::RuledOut(vec![Fact::new("postgres sessions", fact, value, needs)])
            } else {
                unseen(
                    "postgres sessions",
                    fact,
                    format!("{value}; without pg_monitor others' are hidden"),
                    needs,
                )
            }
        })
    })
}

fn waits(x: &Sessions) -> (&'static str, String) {
    let waiting = x.sessions.iter().filter(|v| !v.blocked_by.is_empty());
    let (n, longest) = waiting.fold((0, 0.0_f64), |(n, longest), v| (n + 1, longest.max(v.state_s)));
    (
        "sessions that wait for a lock",
        match n {
            0 => "none".to_owned(),
            n => format!("{n}, for {} at most", facts::age(longest)),
        },
    )
}

fn holds(cause: &Cause, s: &OfServer, kind: fn(&Session) -> bool, over: f64) -> Stand {
    let needs = format!("over {}, and no lock that others wait for", facts::age(over));
    if titles::detect(s.p, s.now, s.config).iter().any(|f| f.cause == cause.name) {
        return Stand::Holds;
    }
    rule(
        s,
        &needs,
        |x| holders::detect(s.p, x, s.now, s.config).into_iter().find(|f| f.cause == cause.name),
        |x| {
            let all = x.sessions.iter().filter(|v| kind(v));
            let (n, oldest) = all.fold((0, 0.0_f64), |(n, oldest), v| (n + 1, oldest.max(v.state_s)));
            (
                "sessions of the kind",
                match n {
                    0 => "none".to_owned(),
                    n => format!("{n}, the oldest for {}", facts::age(oldest)),
                },
            )
        },
    )
}

/// A pool whose size or use is not known is not ruled out.
fn saturated(s: &OfService) -> Stand {
    let needs = format!("over {:.0} %, or callers that wait", s.config.thresholds.pool * 100.0);
    Stand::unless(facts::saturated(s.now, &s.s.name, s.config), || {
        let Some(report) = facts::pool(s.now, &s.s.name) else {
            let look = s.now.services.get(&s.s.name).filter(|l| l.health.seen().is_none());
            let why = look.map_or_else(|| "the answer has none".into(), |l| why(&l.health));
            return unseen("http health", "pool", why, &needs);
        };
        match facts::fill(s.now, &s.s.name) {
            Some(f) => {
                let value = format!("{} of {} (by {})", f.in_use, f.max, f.max_source);
                Stand::RuledOut(vec![Fact::new("http health", "pool", value, &needs)])
            }
            // However large it may be.
            None if report.in_use == Some(0) => {
                Stand::RuledOut(vec![Fact::new("http health", "pool", "none in use", &needs)])
            }
            None => {
                let number = |n: Option<u64>| n.map_or_else(|| "unknown".into(), |n| n.to_string());
                let max = facts::pool_max(s.now, &s.s.name).map(|(max, _)| max);
                let value = format!("{} in use of {}", number(report.in_use), number(max));
                unseen("http health", "pool", value, &needs)
            }
        }
    })
}

/// How PostgreSQL sees the connections that the service calls in use.
fn idle_for_long(s: &OfService) -> Stand {
    let needs =
        format!("nearly all of them, for over {}", facts::age(s.config.thresholds.long_query.as_secs_f64()));
    let mut seen: Vec<Stand> = leak::servers(s.s, s.config)
        .map(|p| match leak::idle(s.s, p, s.now, s.config) {
            None => unseen("postgres sessions", &p.name, "not seen", &needs),
            Some(idle) => {
                let value = format!("{} idle of {}", idle.count, s.s.name);
                match idle.newest_s {
                    Some(_) => Stand::RuledOut(vec![Fact::new(idle.probe, &p.name, value, &needs)]),
                    None => unseen(idle.probe, &p.name, format!("{value}, since when is not known"), &needs),
                }
            }
        })
        .collect();
    if seen.is_empty() {
        seen.push(Stand::RuledOut(vec![Fact::new("configuration", "needs", "no PostgreSQL", &needs)]));
    }
    Stand::any(seen)
}
