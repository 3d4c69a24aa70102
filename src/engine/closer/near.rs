//! Which of the wrong units are looked at closely, where there are too many: the cost is bounded, and
//! who is left out is said to be, never guessed at.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::snapshot::{Look, Snapshot};

/// Each takes two journalctl and two calls on the bus: a few hundred would take seconds. Of a unit
/// that runs little is to be found there; so few of them stand for the rest.
pub const CLOSELY: usize = 32;
const RUNNING: usize = 3;

/// The servers' units first, on which others hang; then what does not run; then by name.
pub fn first(units: BTreeSet<String>, now: &Snapshot, config: &Config) -> (Vec<String>, Vec<String>) {
    let services: BTreeSet<&str> = config.service.iter().filter_map(|s| s.unit.as_deref()).collect();
    let mut units: Vec<String> = units.into_iter().collect();
    if units.len() <= CLOSELY {
        return (units, Vec::new());
    }
    let runs = |unit: &String| now.unit(unit).is_some_and(|u| u.active == "active");
    units.sort_by_cached_key(|u| (services.contains(u.as_str()), runs(u)));
    let down = units.iter().filter(|u| !(services.contains(u.as_str()) && runs(u))).count();
    let left_out = units.split_off((down + RUNNING).min(CLOSELY));
    (units, left_out)
}

/// Says of each that it was not asked, and why.
pub fn not_asked(units: Vec<String>, snapshot: &mut Snapshot) {
    let why = || "of many wrong units a few were looked at closely, and not this one";
    for unit in units {
        snapshot.units.details.insert(unit.clone(), Look::not_asked(why()));
        snapshot.units.journal.insert(unit.clone(), Look::not_asked(why()));
        snapshot.units.process.insert(unit, Look::not_asked(why()));
    }
}
