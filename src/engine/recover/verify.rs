//! Verified: the original symptom is gone, by the same probes, three looks in a row. No fixed sleeps: it is
//! polled from 20 ms upward. What was not seen verifies nothing.

use std::time::{Duration, Instant};

use super::near::runs;
use super::report::Verification;
use super::stop::Stop;
use crate::config::{Config, Loaded};
use crate::engine::Awaited;
use crate::engine::look::{Depth, Plan as LookPlan, look};
use crate::plan::{Act, Aim, Ask, Plan, Recovered, Step};
use crate::probe::millis;
use crate::scenario::{Scenario, by_name, gone, longest_run, pool_recovered, service_recovered};
use crate::snapshot::{Looks, Snapshot};

const IN_A_ROW: u32 = 3;
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);
/// What died again and again, or is known by its unit alone, is well for so long before it is believed.
const LOOPED: Duration = Duration::from_secs(3);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LATENCY: &str = "latency";
/// Of one look: what hangs is asked again.
const LOOK: Duration = Duration::from_secs(2);

/// One look at these subjects of a plan, what they need and who needs them. That somebody is slow is only seen by
/// two readings: these are taken where one of them was found to be.
pub async fn symptoms(loaded: &Loaded, plan: &Plan, subjects: &[String], awaited: &Awaited) -> Looks {
    let its = |f: &str| f.rsplit_once('@').is_some_and(|(_, of)| subjects.iter().any(|s| s == of));
    if plan.findings.iter().any(|f| by_rate(f) && its(f)) {
        let asked = vec![LATENCY.to_owned()];
        let only = loaded.only(subjects);
        return look(&only, awaited, Instant::now(), &LookPlan { asked, ..LookPlan::of(Depth::Wrong) })
            .await
            .looks;
    }
    // How a service is, it says itself: what it needs has to be asked only where that is what is mended.
    let mut only = match subjects.iter().all(|s| loaded.config.service(s).is_some()) {
        true => loaded.alone(subjects),
        false => loaded.only(subjects),
    };
    let limit = only.config.timeout.0.min(LOOK);
    only.config.timeout = crate::config::Span(limit);
    look(&only, awaited, Instant::now(), &LookPlan { quick: true, ..LookPlan::of(Depth::Symptoms) })
        .await
        .looks
}

fn by_rate(finding: &str) -> bool {
    finding.strip_prefix(LATENCY).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether it is well without us: the symptoms of the findings are gone, and a size that was asked for is
/// there.
pub fn recovered(looks: &Looks, plan: &Plan, ask: &Ask) -> Recovered {
    judged(looks, plan, |_| ask.max_size)
}

/// Whether it is well as the plan would have it, with the sizes that its own steps give.
pub fn as_planned(looks: &Looks, plan: &Plan) -> Recovered {
    judged(looks, plan, |subject| size_of(subject, plan, &looks.now.config))
}

/// By each finding's own scenario, and of a request by that of what was asked for.
fn judged(looks: &Looks, plan: &Plan, size: impl Fn(&str) -> Option<u64>) -> Recovered {
    let config = &looks.now.config;
    let mut says = Vec::new();
    for subject in plan.subjects.iter().chain(&plan.watched) {
        let of = |id: &'_ String| {
            let (cause, _) = id.rsplit_once('@').filter(|(_, s)| s == subject)?;
            Some((cause.to_owned(), by_name(cause.split_once('/')?.0)?))
        };
        let aim = |cause| Aim { cause, subject, size: size(subject) };
        let found: Vec<(String, &Scenario)> = plan.findings.iter().filter_map(of).collect();
        let mut all: Vec<Recovered> =
            found.iter().map(|(cause, s)| (s.recovered)(looks, &aim(Some(cause)), config)).collect();
        let ended = plan.steps.iter().any(|s| matches!(s.act, Act::EndSession(_)));
        let flushed = plan.steps.iter().any(|s| matches!(&s.act, Act::Flush(f) if f.redis == *subject));
        let raised = plan.steps.iter().any(|s| matches!(&s.act, Act::Connections(c) if c.server == *subject));
        let removed = plan.steps.iter().find_map(|s| match &s.act {
            Act::Remove(r) if r.server == *subject => Some(r),
            _ => None,
        });
        let answers = looks.now.redis.get(subject).map(|r| r.ping.seen().is_some());
        match looks.now.postgres.get(subject).map(|p| p.server.seen()) {
            _ if !found.is_empty() => {}
            // The act has seen it go: here the look that had found it.
            _ if removed.is_some() => all.extend(removed.map(|r| gone(r, looks, &plan.left, config))),
            // The act has counted what is left.
            _ if flushed && answers == Some(true) => all.push(Recovered::Yes("it answers".into())),
            _ if flushed => all.push(Recovered::NotYet("it does not answer".into())),
            // The server itself has said how many it takes.
            Some(Some(_)) if raised => all.push(Recovered::Yes("it accepts logins".into())),
            _ if raised => all.push(Recovered::NotYet("it accepts no login".into())),
            // Each act has seen its session go; nothing else was asked for.
            Some(Some(_)) if ended => all.push(Recovered::Yes("the sessions are gone".into())),
            Some(None) if ended => all.push(Recovered::NotYet("its sessions could not be seen".into())),
            // Asked for, and of another kind than its pool: that it does its work.
            _ if plan.findings.is_empty() && size(subject).is_none() => {
                all.push(service_recovered(looks, &aim(None), config));
            }
            _ => all.push(pool_recovered(looks, &aim(None), config)),
        }
        for one in all {
            match one {
                Recovered::Yes(text) => says.push(format!("{subject}: {text}")),
                Recovered::NotYet(text) => return Recovered::NotYet(format!("{subject}: {text}")),
            }
        }
    }
    for subject in &plan.slowed {
        let Some(latency) = by_name(LATENCY) else { continue };
        match (latency.recovered)(looks, &Aim { cause: None, subject, size: None }, config) {
            Recovered::Yes(text) => says.push(text),
            not_yet => return not_yet,
        }
    }
    if says.is_empty() {
        Recovered::NotYet("nothing says how it is".into())
    } else {
        Recovered::Yes(says.join("; "))
    }
}

/// The size that the plan's own steps give the pool of a service.
pub(super) fn size_of(subject: &str, plan: &Plan, config: &Config) -> Option<u64> {
    let unit = config.service(subject).and_then(|s| s.unit.as_deref());
    plan.steps.iter().rev().find_map(|s| match &s.act {
        Act::ResizePool { service, to, .. } if service == subject => Some(*to),
        Act::Prove { unit: of, value, variable } if Some(of.as_str()) == unit => {
            let pool = config.service(subject)?.pool.as_ref()?;
            (pool.max_env.as_ref() == Some(variable)).then(|| value.parse().ok())?
        }
        _ => None,
    })
}

/// A value that its steps were to prove and did not see, and that no payload says either: whether it is so,
/// nobody knows. That a log is quiet is no value.
pub fn unproven<'a>(plan: &'a Plan, unseen: &[usize], config: &Config) -> Option<&'a Step> {
    plan.steps.iter().filter(|s| unseen.contains(&s.n)).find(|s| match &s.act {
        Act::Prove { value, .. } => size_of(&s.subject, plan, config).is_none_or(|n| n.to_string() != *value),
        Act::ProveLimit { .. } | Act::ProveConnections { .. } => true,
        _ => false,
    })
}

/// A unit that the plan started, and that is down: it does not come by waiting.
fn died(now: &Snapshot, plan: &Plan) -> Option<String> {
    let started = plan.steps.iter().filter_map(|s| s.act.starts());
    let down = |unit: &&str| now.unit(unit).is_some_and(|u| u.active == "failed" || u.active == "inactive");
    started.filter(down).map(|unit| format!("{unit} went down again")).next()
}

/// How long it has to be well before it is believed, by what was seen before anything was done: half as long
/// again as its longest run of those that ended by themselves. An active unit alone says little.
pub fn held(looks: &Looks, plan: &Plan) -> Duration {
    let config = &looks.now.config;
    let of = |subject: &String| {
        let s = config.service(subject)?;
        let unit = s.unit.as_deref()?;
        let looped = plan.findings.iter().any(|f| *f == format!("server-crash/crash-loop@{subject}"));
        let least = if looped || s.url.is_none() { LOOPED } else { Duration::ZERO };
        // A pool that is full has not died: only who did is held to it.
        let died = plan
            .findings
            .iter()
            .any(|f| f.starts_with("server-crash/") && f.ends_with(&format!("@{subject}")));
        let runs = longest_run(&looks.now, unit).filter(|_| died);
        Some(runs.map_or(least, |r| least.max(LOOPED).max(r.mul_f64(1.5))))
    };
    plan.subjects.iter().chain(&plan.watched).filter_map(of).max().unwrap_or_default()
}

/// Units of a plan's services, which are to stay in one run while it is verified.
fn units<'a>(plan: &'a Plan, config: &'a Config) -> Vec<&'a str> {
    let all = plan.subjects.iter().chain(&plan.watched);
    all.filter_map(|s| config.service(s)?.unit.as_deref()).collect()
}

pub async fn verify(
    loaded: &Loaded,
    plan: &Plan,
    held: Duration,
    wait: Duration,
    stop: &Stop,
    awaited: &Awaited,
) -> Verification {
    let start = Instant::now();
    // Who is to be well for longer than one would wait is waited for so long.
    let end = start.checked_add(wait.max(held + LOOK * 2)).unwrap_or(start + DAY);
    let (mut looks, mut pause, mut since) = (0, FIRST, None::<Instant>);
    let all = plan.subjects.iter().chain(&plan.watched).chain(&plan.slowed);
    let subjects: Vec<String> = all.cloned().collect();
    let alive = async || match held.is_zero() {
        true => None,
        false => Some(runs(&units(plan, &loaded.config), &loaded.config, Instant::now() + LOOK).await),
    };
    let mut first = None;
    let answer = |verified, looks, says| Verification { verified, looks, says, elapsed_ms: millis(start) };
    loop {
        let seen = tokio::select! {
            seen = symptoms(loaded, plan, &subjects, awaited) => seen,
            () = stop.times(1) => return answer(false, looks, "interrupted before it was verified".into()),
        };
        let says = match as_planned(&seen, plan) {
            Recovered::Yes(says) => {
                looks += 1;
                if looks == 1 {
                    (since, first) = (Some(Instant::now()), alive().await);
                }
                let well = since.map_or(Duration::ZERO, |s| s.elapsed());
                let done = looks >= IN_A_ROW && well >= held;
                // Between two looks it may have died and come back.
                if done && alive().await == first {
                    return answer(true, looks, says);
                }
                if done {
                    (looks, since) = (0, None);
                }
                pause = if looks > IN_A_ROW { LONGEST } else { FIRST };
                match held.is_zero() {
                    true => says,
                    false => format!(
                        "well for {:.1} s, and {:.1} s are needed to believe it ({says})",
                        well.as_secs_f64(),
                        held.as_secs_f64()
                    ),
                }
            }
            Recovered::NotYet(why) => {
                (looks, since) = (0, None);
                if let Some(died) = died(&seen.now, plan) {
                    return answer(false, 0, format!("{died}; {why}"));
                }
                pause = (pause * 3 / 2).min(LONGEST);
                why
            }
        };
        if Instant::now() + pause >= end {
            let says = format!("not well within {} s: {says}", wait.as_secs_f64());
            return answer(false, looks, says);
        }
        let _guard = awaited.begin(says);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.times(1) => return answer(false, looks, "interrupted before it was verified".into()),
        }
    }
}
