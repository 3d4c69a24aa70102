//! Our own drop-in, where what it sets keeps the service from starting.

use jiff::{SignedDuration, Timestamp};

use super::died::{BAD_CONFIGURATION, CRASH_LOOP};
use crate::diagnosis::Finding;
use crate::plan::{Act, Ask, DROP_IN, Written};
use crate::scenario::facts;
use crate::snapshot::Snapshot;
use crate::snapshot::units::Event;

/// So soon after we wrote it a loop of deaths began with it.
const SOON: SignedDuration = SignedDuration::from_mins(10);

/// What takes it back, and why. Only what stands there as a run of ours has written it, and where the service
/// names the very setting, or never died before.
pub fn drop_in(f: &Finding, unit: &str, ask: &Ask, now: &Snapshot) -> Option<(Act, String)> {
    if ![BAD_CONFIGURATION.name, CRASH_LOOP.name].contains(&f.cause.as_str()) {
        return None;
    }
    let Written { from, at } = ask.near.written.get(unit)?;
    let stands = ask.near.drop_ins.get(unit)?.as_ref().ok()?.as_ref()?;
    let set = changed(from.as_deref(), stands);
    let why = match &f.remedy.setting {
        Some(setting) => {
            let name = set.iter().find(|name| is_meant(name, setting))?;
            format!("{name} was set by mcp-ir at {at:.0}, in {DROP_IN}, and {setting} is what it refuses")
        }
        None if f.cause == CRASH_LOOP.name && began_with(*at, unit, now) => {
            format!("it never died before mcp-ir set {} at {at:.0}, in {DROP_IN}", set.join(", "))
        }
        None => return None,
    };
    let back = Act::DropIn { unit: unit.into(), from: Some(stands.clone()), to: from.clone() };
    Some((back, why))
}

/// The names of the settings that are others than before: of variables, theirs.
fn changed<'a>(from: Option<&str>, to: &'a str) -> Vec<&'a str> {
    let before: Vec<&str> = from.map(|t| t.lines().collect()).unwrap_or_default();
    let of = |line: &'a str| {
        line.strip_prefix("Environment=").unwrap_or(line).split_once('=').map(|(name, _)| name)
    };
    to.lines().filter(|l| !l.starts_with('#') && !before.contains(l)).filter_map(of).collect()
}

/// A model of settings has them in lower case, and without their prefix.
fn is_meant(variable: &str, setting: &str) -> bool {
    let setting = setting.to_ascii_uppercase();
    let rest = variable.strip_suffix(&setting);
    rest.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'))
}

/// All its deaths that are known came after it, the first one soon.
fn began_with(at: Timestamp, unit: &str, now: &Snapshot) -> bool {
    let Some(journal) = facts::journal(now, unit) else { return false };
    // What came before it is seen: else nobody knows that it never died.
    if journal.events.first().is_none_or(|e| e.at >= at) {
        return false;
    }
    let died = |what: &Event| matches!(what, Event::ProcessExited { .. } | Event::Failed { .. });
    let mut deaths = journal.events.iter().filter(|e| died(&e.what)).map(|e| e.at);
    deaths.next().is_some_and(|first| first >= at && first.duration_since(at) <= SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_meant_by_its_whole_name() {
        for (variable, setting, is) in [
            ("POOL_MAX_SIZE", "POOL_MAX_SIZE", true),
            ("POOL_MAX_SIZE", "pool_max_size", true),
            ("MCP_POOL_MAX_SIZE", "pool_max_size", true),
            ("POOL_MAX_SIZE", "size_of_pool", false),
            ("SPOOL_MAX_SIZE", "pool_max_size", false),
            ("POOL_MAX_SIZE", "DATABASE_URL", false),
        ] {
            assert_eq!(is_meant(variable, setting), is, "{variable} {setting}");
        }
        assert_eq!(
            changed(Some("[Service]\nMemoryMax=1\n"), "[Service]\nMemoryMax=1\nEnvironment=A=2\n"),
            ["A"]
        );
    }
}
