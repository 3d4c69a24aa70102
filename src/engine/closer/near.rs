//! Which of the wrong units are looked at closely, where there are too many: the cost is bounded, and
//! who is left out is said to be, never guessed at.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::snapshot::{Look, Snapshot};

/// Each takes two journalctl and two calls on the bus: a few hundred would take seconds.
const CLOSELY: usize = 32;

/// The servers' units first, on which others hang; then what does not run; then by name.
pub fn first(units: BTreeSet<String>, now: &Snapshot, config: &Config) -> (Vec<String>, Vec<String>) {
    let services: BTreeSet<&str> = config.service.iter().filter_map(|s| s.unit.as_deref()).collect();
    let mut units: Vec<String> = units.into_iter().collect();
    if units.len() <= CLOSELY {
        return (units, Vec::new());
    }
    let runs = |unit: &String| now.unit(unit).is_some_and(|u| u.active == "active");
    units.sort_by_cached_key(|u| (services.contains(u.as_str()), runs(u)));
    let left_out = units.split_off(CLOSELY);
    (units, left_out)
}

/// Says of each that it was not asked, and why.
pub fn not_asked(units: Vec<String>, snapshot: &mut Snapshot) {
    let why = || format!("of many wrong units {CLOSELY} were looked at closely, and not this one");
    for unit in units {
        snapshot.units.details.insert(unit.clone(), Look::not_asked(why()));
        snapshot.units.journal.insert(unit.clone(), Look::not_asked(why()));
        snapshot.units.process.insert(unit, Look::not_asked(why()));
    }
}
