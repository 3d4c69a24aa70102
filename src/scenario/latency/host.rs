//! What the causes that lie in the host share: two readings of it, of a slow service, and of what that needs;
//! and who it is that takes what is short.

use std::collections::{BTreeMap, BTreeSet};

use super::slow::Slow;
use crate::config::Config;
use crate::diagnosis::{Finding, Stand, needs};
use crate::scenario::against::unseen;
use crate::scenario::facts::age;
use crate::scenario::place::Place;
use crate::snapshot::load::{HostLoad, OwnLoad, Worker};
use crate::snapshot::{Looks, Reading, Snapshot};

/// A finding, and the services that it makes slow; or what speaks against it: one rule says both.
pub type Judged = Result<(Finding, Vec<String>), Stand>;

/// What is less of the requests' time than this is not what makes them slow.
pub const SHARE: f64 = 0.25;

/// The service and all that it needs.
pub fn involved<'a>(service: &'a str, config: &'a Config) -> BTreeSet<&'a str> {
    let mut all = needs(service, config);
    all.insert(service);
    all
}

/// Both readings of the host, in one run of it.
pub fn pair(looks: &Looks) -> Option<(&HostLoad, &HostLoad)> {
    let both = (looks.before.as_ref()?.host.load.seen()?, looks.now.host.load.seen()?);
    both.1.follows(both.0).then_some(both)
}

/// Both of one of these, in one run of it.
pub fn own<'a>(name: &str, looks: &'a Looks) -> Option<(&'a OwnLoad, &'a OwnLoad)> {
    let both = (looks.before.as_ref()?.host.own.get(name)?, looks.now.host.own.get(name)?);
    both.1.follows(both.0).then_some(both)
}

/// Why there are not two.
pub fn not_two(looks: &Looks, fact: &str, needs: &str) -> Stand {
    let why = match (&looks.now.host.load, &looks.before) {
        (Reading::Failed(f), _) => f.detail.clone(),
        (Reading::NotAsked { .. }, _) => "not looked at".into(),
        (Reading::Seen { .. }, None) => "one reading: a rate needs two".into(),
        (Reading::Seen { .. }, Some(_)) => "no two readings of one run of it".into(),
    };
    unseen("/proc", fact, why, needs)
}

/// The part of the time in which some stood still, by two totals.
pub fn part(before: u64, now: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then_some(now.checked_sub(before)? as f64 / 1e6 / seconds)
}

/// By what a group of processes, or one that is in none of its own, is known.
fn known_as(w: &Worker) -> String {
    match w.group.as_deref().filter(|g| *g != "/") {
        Some(group) => group.rsplit('/').find(|p| !p.is_empty()).unwrap_or(group).to_owned(),
        None => w.name.clone(),
    }
}

/// Who took how much of something in between.
pub struct Taker<'a> {
    pub name: String,
    pub amount: f64,
    /// The process of it that took the most.
    pub most: &'a Worker,
    most_amount: f64,
}

impl Taker<'_> {
    /// `batch.service (python 4711)`, `rustc (4711)`
    pub fn words(&self) -> String {
        if self.name == self.most.name {
            format!("{} ({})", self.name, self.most.pid)
        } else {
            format!("{} ({} {})", self.name, self.most.name, self.most.pid)
        }
    }

    /// The one under care, of these, that it is: by the group that was seen of it, else by its name.
    pub fn is_of<'n>(&self, names: &BTreeSet<&'n str>, now: &Snapshot, config: &Config) -> Option<&'n str> {
        let group = self.most.group.as_deref()?;
        let within = |own: &str| group.strip_prefix(own).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        let seen = |n: &str| now.host.own.get(n)?.group.as_deref().map(within);
        let placed = |n: &str| {
            let (unit, container) = config.placed(n);
            Place::named(unit, container).is_some_and(|p| p.owns(group, now))
        };
        names.iter().copied().find(|n| seen(n) == Some(true) || placed(n))
    }
}

/// The largest first. What had begun before, and was not looked at then, is left out.
pub fn takers<'a>(
    before: &HostLoad,
    now: &'a HostLoad,
    of: impl Fn(&Worker) -> Option<f64>,
) -> Vec<Taker<'a>> {
    let old: BTreeMap<u32, &Worker> = before.workers.iter().map(|w| (w.pid, w)).collect();
    let mut all: BTreeMap<String, Taker> = BTreeMap::new();
    for w in &now.workers {
        let was = old.get(&w.pid).filter(|b| b.same_as(w));
        let amount = match was {
            Some(b) => of(w).zip(of(b)).map(|(now, was)| now - was),
            None => of(w).filter(|_| w.began_s >= before.uptime_s - 0.02),
        };
        let Some(amount) = amount.filter(|a| *a > 0.0) else { continue };
        let name = known_as(w);
        let one = Taker { name: name.clone(), amount: 0.0, most: w, most_amount: 0.0 };
        let taker = all.entry(name).or_insert(one);
        taker.amount += amount;
        if amount > taker.most_amount {
            (taker.most, taker.most_amount) = (w, amount);
        }
    }
    let mut all: Vec<Taker> = all.into_values().collect();
    all.sort_by(|a, b| b.amount.total_cmp(&a.amount));
    all
}

/// What it makes of these.
pub fn about(f: Finding, slow: &[&Slow]) -> Judged {
    let names = slow.iter().map(|s| s.s.name.clone()).collect();
    Ok((super::database::shown(f, slow), names))
}

/// Of these and what they need, and of nobody else on the host: who is not seen to be held up by it is
/// slow for another reason.
pub fn about_them_alone(f: Finding, slow: &[&Slow], config: &Config) -> Judged {
    let all: BTreeSet<&str> = slow.iter().flat_map(|s| involved(&s.s.name, config)).collect();
    about(f.about(all), slow)
}

/// `in 1 s`
pub fn in_time(seconds: f64) -> String {
    format!("in {}", age(seconds.max(1.0)))
}

/// `codebase-mcp and workflow-mcp`
pub fn names(slow: &[&Slow]) -> String {
    let names: Vec<&str> = slow.iter().take(3).map(|s| s.s.name.as_str()).collect();
    let more = slow.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}
