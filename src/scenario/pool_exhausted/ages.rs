//! Sessions by their age, where a person asks for it: `--kill-idle`, `--terminate-older-than`. Of the configured
//! databases alone, and none that is meant to last; a pool's spares only where slots are short (errata 19, 22).

use std::cmp::Reverse;

use super::super::facts;
use super::remedy::{COST, idle, long_query, step, who};
use super::{holders, useless};
use crate::config::{Config, Postgres};
use crate::diagnosis::Finding;
use crate::plan::{Act, Ages, Ask, Draft, Remedy, Whom};
use crate::snapshot::Looks;
use crate::snapshot::postgres::Session;

/// What is not shown has no age.
const NOT_SHOWN: &str = "not shown";

/// `--kill-idle`, `--terminate-older-than` of this server.
pub fn by_age(p: &Postgres, looks: &Looks, ask: &Ask, config: &Config) -> Remedy {
    let refused = |why: String| Remedy::Refused { why, hints: vec!["mcp-ir who".into()] };
    let Some(all) = ask.near.sessions.get(&p.name) else {
        return refused(format!("the sessions of {} could not be seen", p.name));
    };
    let short = facts::server(&looks.now, &p.name)
        .is_some_and(|server| facts::slots_full(server.used, server, config));
    let (mut steps, mut notes, mut spared) = (Vec::new(), Vec::new(), Spared::default());
    let mut old: Vec<&Session> = all.iter().filter(|s| is_old(s, ask.ages)).collect();
    // In a transaction first: those hold locks as well.
    old.sort_by_key(|s| (!s.idle_in_transaction(), Reverse((s.state_s * 1000.0) as u64), s.pid));
    for s in old {
        if !p.databases.contains(&s.database) {
            spared.elsewhere += 1;
        } else if holders::meant_to_last(&s.application) || useless::listens(s) || holders::copies(s) {
            spared.lasting += 1;
        } else if s.state == "active" && (!s.blocked_by.is_empty() || s.waits_for_standby()) {
            spared.waiting += 1;
        } else if s.state == "idle" && !short && useless::may_be_a_spare(s, config) {
            spared.spares += 1;
        } else {
            match step(whom(s, p)) {
                Some(step) => {
                    steps.push(step);
                    notes.push(who(s));
                }
                None => spared.unnamed += 1,
            }
        }
    }
    // Without the right to see them, how old they are is not known.
    let hidden = all.iter().filter(|s| p.databases.contains(&s.database) && s.state == NOT_SHOWN).count();
    notes.extend(spared.notes());
    if hidden > 0 {
        let grant = format!("GRANT pg_monitor TO {}", p.url.user);
        let why = format!("how old {} are is not shown to {}", facts::count(hidden, "session"), p.url.user);
        if steps.is_empty() {
            return Remedy::Refused { why, hints: vec![grant] };
        }
        notes.push(format!("{why} ({grant})"));
    }
    if steps.iter().any(ends_an_idle_one) {
        notes.push(COST.into());
    }
    if steps.is_empty() {
        let none = format!("no session of {} is {}", p.databases.join(", "), words(ask.ages));
        return Remedy::Nothing(std::iter::once(none).chain(notes).collect::<Vec<_>>().join("; "));
    }
    Remedy::Steps { steps, notes }
}

/// The findings that such sessions are the reason of: they have to be gone by it.
pub fn is_of_age(f: &Finding, ages: Ages) -> bool {
    match f.cause.as_str() {
        "pool-exhausted/idle-in-transaction" => ages.idle.is_some(),
        "pool-exhausted/long-queries" => ages.statement.is_some(),
        "pool-exhausted/server-slots-full" => true,
        _ => false,
    }
}

/// Idle since then, or in one statement since then.
fn is_old(s: &Session, ages: Ages) -> bool {
    let over = |least: Option<f64>| least.is_some_and(|least| s.state_s > least);
    match s.state.as_str() {
        "active" => over(ages.statement),
        _ if s.state == "idle" || s.idle_in_transaction() => over(ages.idle),
        _ => false,
    }
}

fn ends_an_idle_one(step: &Draft) -> bool {
    matches!(step.act(), Act::EndSession(whom) if whom.state == "idle")
}

fn whom(s: &Session, p: &Postgres) -> Whom {
    match s.state.as_str() {
        "active" => long_query(s, p),
        // That may be how somebody leads.
        "idle" => Whom { follows: true, ..idle(s, p) },
        _ => idle(s, p),
    }
}

fn words(ages: Ages) -> String {
    let idle = ages.idle.map(|s| format!("idle for longer than {}", facts::age(s)));
    let statement = ages.statement.map(|s| format!("in one statement for longer than {}", facts::age(s)));
    idle.into_iter().chain(statement).collect::<Vec<_>>().join(", or ")
}

/// Who is as old, and left alone.
#[derive(Default)]
struct Spared {
    elsewhere: usize,
    lasting: usize,
    waiting: usize,
    spares: usize,
    unnamed: usize,
}

impl Spared {
    fn notes(&self) -> Vec<String> {
        [
            (self.elsewhere, "of databases that are not under care: left alone"),
            (self.lasting, "of a backup, a copy or a listener: left alone"),
            (self.waiting, "wait for another, who is the one to be met (`mcp-ir recover pool`): left alone"),
            (self.spares, "may be a pool's spares, and slots are free: left alone"),
            (self.unnamed, "not shown to us as exactly as it takes to end no other: left alone"),
        ]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, why)| format!("{} {why}", facts::count(*n, "session")))
        .collect()
    }
}
