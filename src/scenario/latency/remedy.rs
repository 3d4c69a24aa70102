//! What makes a database quick again: statistics that are new, dead rows that are gone, indexes that are
//! valid. Whether it did is told by the answers of who was slow.

use super::service::POOL_WAIT;
use super::slow::{Pace, Slow, pace};
use super::tables::{self, INVALID_INDEX, STALE_STATISTICS};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::Finding;
use crate::plan::{Act, Aim, Ask, Chore, Draft, IndexState, Recovered, Remedy, Risk, Upkeep, draft};
use crate::scenario::registry::advice;
use crate::scenario::{facts, pool_exhausted};
use crate::snapshot::{Looks, Snapshot};

/// How many tables one run looks after.
const TABLES: usize = 5;

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    if f.cause == POOL_WAIT.name {
        return pool_exhausted::widen(&looks.now, f, ask, config);
    }
    let Some(p) = config.postgres(&f.subject) else { return advice(f) };
    // What is copied from elsewhere is looked after there.
    if facts::server(&looks.now, &p.name).is_some_and(|s| s.in_recovery) {
        return advice(f);
    }
    match f.cause.as_str() {
        c if c == STALE_STATISTICS.name => stale(p, looks, f, config),
        c if c == INVALID_INDEX.name => indexes(p, looks, f, ask, config),
        _ => advice(f),
    }
}

fn upkeep(p: &Postgres, schema: &str, name: &str, chore: Chore) -> Act {
    let (server, url) = (p.name.clone(), p.place());
    Act::Upkeep(Upkeep { server, url, schema: schema.into(), name: name.into(), chore })
}

fn stale(p: &Postgres, looks: &Looks, f: &Finding, config: &Config) -> Remedy {
    let mut old = tables::stale_ones(p, looks, config);
    // In an order that does not change with what is written meanwhile.
    old.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    let steps: Vec<Draft> = old
        .iter()
        .take(TABLES)
        .map(|t| {
            let chore = if tables::is_dead(t) { Chore::Vacuum } else { Chore::Analyze };
            let why = "old statistics and dead rows are no state to go back to";
            draft(upkeep(p, &t.schema, &t.name, chore), Risk::Safe).because(why)
        })
        .collect();
    if steps.is_empty() {
        return advice(f);
    }
    let note = "who reads and writes is not held up; see afterwards why autovacuum did not do it";
    Remedy::Steps { steps, notes: vec![note.into()] }
}

fn indexes(p: &Postgres, looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(all) = ask.near.indexes.get(&p.name) else {
        return Remedy::Advice(format!("{}: its indexes could not be seen", f.remedy.summary));
    };
    let found = tables::invalid_ones(p, looks, config);
    let of = |i: &&IndexState| !i.valid && found.iter().any(|w| w.schema == i.schema && w.name == i.name);
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    for i in all.iter().filter(of) {
        match mended(i, p, &looks.now) {
            Ok((step, note)) => {
                steps.push(step);
                notes.extend(note);
            }
            Err(why) => notes.push(format!("{}.{} is left as it is: {why}", i.schema, i.name)),
        }
    }
    match notes.first() {
        Some(why) if steps.is_empty() => {
            Remedy::Refused { why: why.clone(), hints: vec!["mcp-ir who".into()] }
        }
        None if steps.is_empty() => Remedy::Nothing("none of its indexes is invalid any more".into()),
        _ => Remedy::Steps { steps, notes },
    }
}

/// The other half of a rebuild is dropped: what it was built from is there. What somebody meant to have is
/// built.
fn mended(i: &IndexState, p: &Postgres, now: &Snapshot) -> Result<(Draft, Option<String>), String> {
    if !i.is_left_over() {
        return anew(i, p, now);
    }
    if let Some(why) = i.kept() {
        return Err(why);
    }
    let drop = draft(upkeep(p, &i.schema, &i.name, Chore::DropIndex), Risk::Disruptive);
    let why = format!("no statement can use it; as it was meant to be: {}", i.definition);
    Ok((drop.because(why), None))
}

/// Room for a second one is looked for where its files are.
pub fn anew(i: &IndexState, p: &Postgres, now: &Snapshot) -> Result<(Draft, Option<String>), String> {
    if let Some(why) = i.busy() {
        return Err(why);
    }
    let needed = i.bytes / 5 * 6;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let data = now.host.places.iter().filter(|d| d.subject == p.name && d.what == "data");
    let here = now.postgres.get(&p.name).is_some_and(|l| l.here == Some(true));
    let free = data.filter_map(|d| d.file_system.seen()).map(|s| s.available).min().filter(|_| here);
    let note = match free {
        Some(free) if free < needed => {
            return Err(format!(
                "a second one beside it takes about {} MiB, and the disk of its data has {} MiB left",
                mib(needed),
                mib(free)
            ));
        }
        Some(_) => None,
        None => {
            Some(format!("it takes about {} MiB; how much its disk has left could not be seen", mib(needed)))
        }
    };
    let step = draft(upkeep(p, &i.schema, &i.name, Chore::Reindex), Risk::Disruptive);
    Ok((step.because("the former one is gone; the new one holds the same"), note))
}

/// Nobody who was slow is slow any more, by his own answers, and what was found is not so. What takes long for
/// another reason is no cure.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let standing = super::detect(looks, config);
    let same = |f: &&Finding| f.subject == aim.subject && aim.cause.is_none_or(|c| f.cause == c);
    if let Some(f) = standing.iter().find(same) {
        return Recovered::NotYet(f.summary.clone());
    }
    let of: Vec<&Service> = match config.service(aim.subject) {
        Some(s) => vec![s],
        None => facts::dependents(aim.subject, config).collect(),
    };
    let mut says = Vec::new();
    for s in of.iter().filter(|s| s.url.is_some()) {
        match pace(s, looks, config) {
            Pace::Slow(slow) => {
                return Recovered::NotYet(format!("{} is slow still: {}", s.name, words(&slow)));
            }
            Pace::Unseen(_, why) => {
                return Recovered::NotYet(format!("how fast {} answers is not known: {why}", s.name));
            }
            Pace::Quick(_, words) => says.push(format!("{} is quick ({words})", s.name)),
        }
    }
    if says.is_empty() {
        return Recovered::NotYet("nobody's answers tell how fast it is".into());
    }
    Recovered::Yes(says.join(", "))
}

fn words(slow: &Slow) -> String {
    match (&slow.p95, slow.health) {
        (Some(p), _) => format!("p95 {}", p.words()),
        (None, Some((a, b))) => format!("its health answer took {a:.0} ms, and {b:.0} ms"),
        (None, None) => "its answers take long".into(),
    }
}
