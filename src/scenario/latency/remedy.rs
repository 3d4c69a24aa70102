//! What makes a slow service quick again: statistics that are new, dead rows that are gone, indexes that are
//! valid, a log that says less. Whether it did is told by the answers of who was slow.

use super::service::{DEBUG_LOGGING, POOL_WAIT, UNATTRIBUTED};
use super::slow::{self, Pace, Slow, pace};
use super::tables::{self, INVALID_INDEX, STALE_STATISTICS};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Finding, needs};
use crate::plan::{Act, Aim, Ask, Chore, Draft, IndexState, Recovered, Remedy, Risk, Upkeep, draft};
use crate::scenario::environment::{self, LOG_LEVEL};
use crate::scenario::registry::{advice, by_symptom};
use crate::scenario::{facts, pool_exhausted, server_crash, steps};
use crate::snapshot::host::{FileSystem, Place};
use crate::snapshot::{Looks, Snapshot};

/// How many tables one run looks after.
const TABLES: usize = 5;
/// Nothing that people look for in a log is lost by it.
const LEVEL: &str = "INFO";

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    if f.cause == POOL_WAIT.name {
        return pool_exhausted::widen(&looks.now, f, ask, config);
    }
    if f.cause == DEBUG_LOGGING.name {
        return quieter(looks, f, ask, config);
    }
    if f.cause == UNATTRIBUTED.name {
        return restarted(f, ask, &looks.now, config);
    }
    let Some(p) = config.postgres(&f.subject) else { return advice(f) };
    // What is copied from elsewhere is looked after there.
    if facts::server(&looks.now, &p.name).is_some_and(|s| s.in_recovery) {
        return advice(f);
    }
    match f.cause.as_str() {
        c if c == STALE_STATISTICS.name => stale(p, looks, f, config),
        c if c == INVALID_INDEX.name => match too_old(p, &looks.now, Chore::Reindex) {
            Some(why) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
            None => indexes(p, looks, f, ask, config),
        },
        _ => advice(f),
    }
}

/// A service that is slow for no reason that can be seen: told to, and its evidence is kept before.
fn restarted(f: &Finding, ask: &Ask, now: &Snapshot, config: &Config) -> Remedy {
    let Some(unit) = config.service(&f.subject).and_then(|s| s.unit.as_deref()) else { return advice(f) };
    if !ask.told.restart {
        let words = "only who can do without knowing why restarts it (`mcp-ir recover latency --restart`)";
        return Remedy::Advice(format!("{}; {words}", f.remedy.summary));
    }
    match steps::restart(unit, ask, now) {
        Ok(restart) => {
            let again = "why it was slow is not known: it may be so again (`mcp-ir incident show`)";
            Remedy::Steps { steps: vec![restart], notes: vec![again.into()] }
        }
        Err(why) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
    }
}

/// What it is told to log.
fn quieter(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(s) = config.service(&f.subject) else { return advice(f) };
    match environment::set(s, &[(LOG_LEVEL.into(), LEVEL.into())], ask, &looks.now) {
        Ok(steps) => Remedy::Steps { steps, notes: Vec::new() },
        Err(Remedy::Refused { why, .. }) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
        Err(other) => other,
    }
}

/// Disruptive is what takes the disk's time, or a name away; statistics are counted by a sample.
fn upkeep(p: &Postgres, schema: &str, name: &str, chore: Chore) -> Draft {
    let (server, url) = (p.name.clone(), p.place());
    let risk = if chore == Chore::Analyze { Risk::Safe } else { Risk::Disruptive };
    draft(Act::Upkeep(Upkeep { server, url, schema: schema.into(), name: name.into(), chore }), risk)
}

/// Where the server is known to be older than what takes this without locking others out.
fn too_old(p: &Postgres, now: &Snapshot, chore: Chore) -> Option<String> {
    let version = &facts::server(now, &p.name)?.version;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    let major: u32 = digits.parse().ok()?;
    let words = format!("PostgreSQL {major} can't do it without keeping others waiting");
    (major < chore.since()).then_some(words)
}

fn stale(p: &Postgres, looks: &Looks, f: &Finding, config: &Config) -> Remedy {
    let mut old = tables::stale_ones(p, looks, config);
    // In an order that does not change with what is written meanwhile.
    old.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    for t in old.iter().take(TABLES) {
        let chore = if tables::is_dead(t) { Chore::Vacuum } else { Chore::Analyze };
        if let Some(why) = too_old(p, &looks.now, chore) {
            notes.push(format!("{}.{} is left as it is: {why}", t.schema, t.name));
            continue;
        }
        let why = "old statistics and dead rows are no state to go back to";
        steps.push(upkeep(p, &t.schema, &t.name, chore).because(why));
    }
    match notes.first() {
        Some(why) if steps.is_empty() => return Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
        None if steps.is_empty() => return advice(f),
        _ => {}
    }
    let note = "who reads and writes is not held up; see afterwards why autovacuum did not do it";
    notes.push(note.into());
    Remedy::Steps { steps, notes }
}

fn indexes(p: &Postgres, looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(all) = ask.near.indexes.get(&p.name) else {
        return Remedy::Advice(format!("{}: its indexes could not be seen", f.remedy.summary));
    };
    let found = tables::invalid_ones(p, looks, config);
    let of = |i: &&IndexState| !i.valid && found.iter().any(|w| w.schema == i.schema && w.name == i.name);
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    // What is damaged is valid, and is built in the same run.
    let mut taken: u64 = all.iter().filter(|i| i.valid).map(|i| i.bytes).sum();
    let mut not = None;
    let mut leave = |i: &IndexState, why: Not, notes: &mut Vec<String>| {
        notes.push(format!("{}.{} is left as it is: {}", i.schema, i.name, why.words()));
        not.get_or_insert(why);
    };
    for i in all.iter().filter(of).filter(|i| !i.is_left_over()) {
        match anew(i, p, &looks.now, taken) {
            Ok((step, note)) => {
                steps.push(step);
                steps.extend(left_of(i, all, p));
                notes.extend(note);
                taken += i.bytes;
            }
            Err(why) => leave(i, why, &mut notes),
        }
    }
    let built = |i: &IndexState| all.iter().filter(of).any(|b| !b.is_left_over() && b.left_by_rebuild(i));
    // What waits for its own index goes with that.
    for i in all.iter().filter(of).filter(|i| i.is_left_over() && !built(i)) {
        match left(i, p) {
            Ok(step) => steps.push(step),
            Err(why) => leave(i, why, &mut notes),
        }
    }
    match (not, notes.first()) {
        (Some(not), Some(why)) if steps.is_empty() => not.remedy(why, f),
        _ if steps.is_empty() => Remedy::Nothing("none of its indexes is invalid any more".into()),
        _ => Remedy::Steps { steps, notes },
    }
}

/// Why an index is left as it is.
pub enum Not {
    /// Somebody is at it, or it is kept.
    Held(String),
    Narrow(String),
    /// For people: whether it is safe was not seen, or it is not.
    People(String),
}

impl Not {
    pub fn words(&self) -> &str {
        let (Not::Held(why) | Not::Narrow(why) | Not::People(why)) = self;
        why
    }

    pub fn remedy(&self, why: &str, f: &Finding) -> Remedy {
        let refused = |hints| Remedy::Refused { why: why.to_owned(), hints };
        match self {
            Not::Held(_) => refused(vec!["mcp-ir who".into()]),
            Not::Narrow(_) => refused(Vec::new()),
            Not::People(_) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
        }
    }
}

/// The other half of a rebuild is dropped where what it was built from is there. What somebody meant to have is
/// built.
fn left(i: &IndexState, p: &Postgres) -> Result<Draft, Not> {
    match i.kept().or_else(|| i.alone()) {
        Some(why) => Err(Not::Held(why)),
        None => Ok(dropped(i, p)),
    }
}

fn dropped(i: &IndexState, p: &Postgres) -> Draft {
    let why = format!("no statement can use it; as it was meant to be: {}", i.definition);
    upkeep(p, &i.schema, &i.name, Chore::DropIndex).because(why)
}

/// What a build of this one that was cut off has left, perhaps one of ours: dropped once it is built anew, and
/// not before (errata 23).
pub fn left_of(built: &IndexState, all: &[IndexState], p: &Postgres) -> Vec<Draft> {
    let its = |i: &&IndexState| !i.valid && built.left_by_rebuild(i);
    all.iter().filter(its).map(|i| dropped(i, p)).collect()
}

/// Beside it stands the new one, and what is sorted for it; as much again is written ahead, and kept for a
/// standby or an archive that is late.
const TIMES: u64 = 3;
/// More than that is not begun where nobody has seen what the disk has left.
const BLIND: u64 = 1 << 30;

/// Room is looked for wherever its files may be: a server whose WAL finds none is down. `taken` is the size of
/// what the same run builds besides.
pub fn anew(
    i: &IndexState,
    p: &Postgres,
    now: &Snapshot,
    taken: u64,
) -> Result<(Draft, Option<String>), Not> {
    if let Some(why) = i.busy() {
        return Err(Not::Held(why));
    }
    if let Some(why) = too_old(p, now, Chore::Reindex) {
        return Err(Not::People(why));
    }
    let needed = TIMES.saturating_mul(i.bytes.saturating_add(taken));
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let here = now.postgres.get(&p.name).is_some_and(|l| l.here == Some(true));
    let places: Vec<&Place> =
        now.host.places.iter().filter(|d| here && d.subject == p.name && d.what != "cache").collect();
    // What would be told of as low afterwards is too little.
    let narrow = |s: &&FileSystem| {
        let left = FileSystem { available: s.available.saturating_sub(needed), ..(*s).clone() };
        s.available < needed || left.is_low()
    };
    let seen = || places.iter().filter_map(|d| Some((d, d.file_system.seen()?)));
    if let Some((d, s)) = seen().filter(|(_, s)| narrow(s)).min_by_key(|(_, s)| s.available) {
        return Err(Not::Narrow(format!(
            "to build it anew takes up to {} MiB{}, and the disk of its {} has {} MiB left: that is too little",
            mib(needed),
            if taken > 0 { " with what else is built" } else { "" },
            d.what,
            mib(s.available)
        )));
    }
    let all = seen().any(|(d, _)| d.what == "data") && seen().count() == places.len();
    let unseen = "how much its disk has left could not be seen";
    let said = || format!("to build it anew takes up to {} MiB; {unseen}", mib(needed));
    if !all && needed > BLIND {
        return Err(Not::People(said()));
    }
    let note = (!all).then(said);
    let step = upkeep(p, &i.schema, &i.name, Chore::Reindex);
    Ok((step.because("the former one is gone; the new one holds the same"), note))
}

/// Who is slow, of those that need what was found to make them so.
pub fn slowed(f: &Finding, looks: &Looks, config: &Config) -> Vec<String> {
    let all = slow::slow(looks, config).into_iter().map(|s| s.s).filter(|_| f.scenario == "latency");
    all.filter(|s| needs(&s.name, config).contains(f.subject.as_str())).map(|s| s.name.clone()).collect()
}

/// Nobody who was slow is slow any more, by his own answers, and what was found is not so. What takes long for
/// another reason is no cure; and whom nobody asked is not quick by that.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let standing = super::detect(looks, config);
    let same = |f: &&Finding| f.subject == aim.subject && aim.cause.is_none_or(|c| f.cause == c);
    if let Some(f) = standing.iter().find(same) {
        return Recovered::NotYet(f.summary.clone());
    }
    // A size that was asked for and ignored is no cure, however quick it is (errata 33).
    if aim.size.is_some() {
        let pool = pool_exhausted::recovered(looks, &Aim { cause: None, ..*aim }, config);
        if let Recovered::NotYet(_) = pool {
            return pool;
        }
    }
    let of: Vec<&Service> = match config.service(aim.subject) {
        Some(s) => {
            let well = by_symptom(&(server_crash::SCENARIO.symptoms)(looks, config), aim.subject);
            if let Recovered::NotYet(_) = well {
                return well;
            }
            vec![s]
        }
        // Who is down for another reason, or on purpose, is slow for none. Who was slow is asked for himself.
        None => {
            let symptoms = (server_crash::SCENARIO.symptoms)(looks, config);
            let up = |s: &&Service| matches!(by_symptom(&symptoms, &s.name), Recovered::Yes(_));
            facts::dependents(aim.subject, config).filter(up).collect()
        }
    };
    let (mut says, mut idle, mut timed) = (Vec::new(), None, false);
    for s in of.iter().filter(|s| s.url.is_some()) {
        match pace(s, looks, config) {
            Pace::Slow(slow) => {
                return Recovered::NotYet(format!("{} is slow still: {}", s.name, words(&slow)));
            }
            Pace::Unseen(_, why) => {
                return Recovered::NotYet(format!("how fast {} answers is not known: {why}", s.name));
            }
            Pace::Quick(..) if slow::is_timed(s, looks) && !slow::enough(s, looks) => idle = Some(&s.name),
            Pace::Quick(_, words) => {
                timed |= slow::is_timed(s, looks);
                says.push(format!("{} is quick ({words})", s.name));
            }
        }
    }
    // Of several that need it one may be asked by nobody; who was slow is asked for by himself.
    if let Some(name) = idle.filter(|_| !timed) {
        let why = "hardly a request of its was timed in between";
        return Recovered::NotYet(format!("how fast {name} answers is not known: {why}"));
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
