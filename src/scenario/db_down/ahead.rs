//! When a server's disk is full, its slots are taken, its transaction ids used up: by what changed between two
//! looks. Each by one clock, the host's or the server's own, and never over a restart of it. Pure.

use super::disk::{DISK_FULL, DISK_LOW, READ_ONLY_FILESYSTEM, size};
use super::inside::WRAPAROUND;
use crate::config::{Config, Postgres};
use crate::diagnosis::{Certainty, Finding, Risk, shell_word};
use crate::scenario::facts::{self, age};
use crate::snapshot::host::{FileSystem, MIB, Place};
use crate::snapshot::{Looks, Snapshot};

/// Looks nearer than this show a sort, a checkpoint, a wave of logins.
const APART_S: f64 = 60.0;
/// A disk that is full so soon is a finding, however large it is.
const FULL_IN_S: f64 = 4.0 * 3600.0;
/// So much less at least: it is no temporary file.
const SHRANK: u64 = 64 * MIB;
/// What is further ahead than this is nobody's business tonight.
const FAR_S: f64 = 30.0 * 86_400.0;
/// Slots that are all taken so soon are told of, where so many more are taken than before.
const SLOTS_IN_S: f64 = 3600.0;
const SLOTS_MORE: u32 = 3;
/// Below this vacuum has not even begun to be late: the age falls again by itself.
const XIDS_OLD: u64 = 1_000_000_000;
/// There are so many transaction ids in all.
const XIDS: u64 = 2_147_000_000;

/// What goes to its end, and when.
struct Slope {
    /// Since the earlier look.
    seconds: f64,
    per_s: f64,
    until_s: f64,
}

fn slope(grew: f64, seconds: f64, left: f64) -> Option<Slope> {
    let rises = seconds >= APART_S && grew > 0.0 && left >= 0.0;
    let per_s = grew / seconds;
    rises.then(|| Slope { seconds, per_s, until_s: left / per_s })
}

/// By the host's own clock; nothing over its restart.
fn host_seconds(before: &Snapshot, now: &Snapshot) -> Option<f64> {
    let uptime = |s: &Snapshot| Some(s.host.memory.seen()?.uptime_s);
    Some(uptime(now)? - uptime(before)?)
}

/// By the server's own clock; nothing over its restart.
fn server_seconds(p: &Postgres, before: &Snapshot, now: &Snapshot) -> Option<f64> {
    let uptime = |s: &Snapshot| Some(facts::server(s, &p.name)?.uptime_s);
    Some(uptime(now)? - uptime(before)?)
}

/// The same file system, of the same size, by the same path of the same server.
fn earlier<'a>(d: &Place, f: &FileSystem, before: &'a Snapshot) -> Option<&'a FileSystem> {
    let same = |b: &&Place| b.subject == d.subject && b.what == d.what && b.path == d.path;
    let b = before.host.places.iter().find(same)?.file_system.seen()?;
    (b.device == f.device && b.mounted_at == f.mounted_at && b.total == f.total).then_some(b)
}

fn of_disk(d: &Place, f: &FileSystem, before: &Snapshot, now: &Snapshot) -> Option<Slope> {
    let b = earlier(d, f, before)?;
    let shrank = b.available.saturating_sub(f.available);
    let seconds = host_seconds(before, now)?;
    slope(shrank as f64, seconds, f.available as f64).filter(|_| shrank >= SHRANK)
}

/// The one that is full first.
fn first_full<'a>(
    p: &Postgres,
    before: &Snapshot,
    now: &'a Snapshot,
) -> Option<(&'a Place, &'a FileSystem, Slope)> {
    let own = now.host.places.iter().filter(|d| d.subject == p.name);
    let all = own.filter_map(|d| Some((d, d.file_system.seen()?)));
    let sloped = all.filter_map(|(d, f)| Some((d, f, of_disk(d, f, before, now)?)));
    sloped.min_by(|a, b| a.2.until_s.total_cmp(&b.2.until_s))
}

fn at_its_slope(s: &Slope) -> String {
    format!("at {} a minute it is full in {}", size((60.0 * s.per_s) as u64), age(s.until_s))
}

/// Whether it is full within hours at its slope, though there is room enough now.
pub fn fills(p: &Postgres, here: Option<bool>, before: Option<&Snapshot>, now: &Snapshot) -> Option<Finding> {
    let (d, f, s) =
        first_full(p, before?, now).filter(|(.., s)| here == Some(true) && s.until_s < FULL_IN_S)?;
    let summary = format!("the file system of its {} fills: {}", d.what, at_its_slope(&s));
    let left = format!(
        "{} of {} left, {} less than {} before",
        size(f.available),
        size(f.total),
        size((s.per_s * s.seconds) as u64),
        age(s.seconds)
    );
    Some(
        Finding::new(&DISK_LOW, &p.name, Certainty::Likely, summary)
            .saw("file system", &format!("{} at {}", d.what, f.mounted_at), left)
            .remedy(
                format!("du -xh --max-depth=2 {} | sort -h | tail", shell_word(&f.mounted_at)),
                "See what grows so fast, and make room before it is full",
                Risk::Safe,
            ),
    )
}

/// What was found of a server, with the time that is left where two looks tell it.
pub fn told(p: &Postgres, here: Option<bool>, mut found: Vec<Finding>, looks: &Looks) -> Vec<Finding> {
    let Some(before) = &looks.before else { return found };
    let now = &looks.now;
    let has = |cause: &str| found.iter().any(|f| f.cause == cause);
    if ![DISK_FULL.name, DISK_LOW.name, READ_ONLY_FILESYSTEM.name].iter().any(|c| has(c)) {
        found.extend(fills(p, here, Some(before), now));
        return with_xids(p, found, before, now);
    }
    let disk = first_full(p, before, now).filter(|(.., s)| s.until_s < FAR_S);
    if let Some((d, f, s)) = disk {
        for low in found.iter_mut().filter(|f| f.cause == DISK_LOW.name) {
            low.summary = format!("{}; {}", low.summary, at_its_slope(&s));
            let less = format!("{} less than {} before", size((s.per_s * s.seconds) as u64), age(s.seconds));
            *low = low.clone().saw("file system", &format!("slope of {} at {}", d.what, f.mounted_at), less);
        }
    }
    with_xids(p, found, before, now)
}

/// Those of the oldest database, which uses them up as all do.
fn of_xids(p: &Postgres, before: &Snapshot, now: &Snapshot) -> Option<Slope> {
    let oldest = |s: &Snapshot| facts::server(s, &p.name)?.oldest_xid.clone();
    let (b, n) = oldest(before).zip(oldest(now)).filter(|(b, n)| b.database == n.database)?;
    let grew = n.age.checked_sub(b.age)?;
    slope(grew as f64, server_seconds(p, before, now)?, XIDS.saturating_sub(n.age) as f64)
}

fn with_xids(p: &Postgres, mut found: Vec<Finding>, before: &Snapshot, now: &Snapshot) -> Vec<Finding> {
    let Some(s) = of_xids(p, before, now) else { return found };
    for f in found.iter_mut().filter(|f| f.cause == WRAPAROUND.name) {
        f.summary = format!("{}; at {:.0} a second none is left in {}", f.summary, s.per_s, age(s.until_s));
        let more = format!("{:.0} in {}", s.per_s * s.seconds, age(s.seconds));
        *f = f.clone().saw("postgres sessions", "transactions since the earlier look", more);
    }
    found
}

/// What a server that is well does not say: it goes to the end of its slots, or of its transaction ids.
pub fn remark(server: &str, looks: &Looks, config: &Config) -> Option<String> {
    let (p, before, now) = (config.postgres(server)?, looks.before.as_ref()?, &looks.now);
    let slots = || {
        let (b, n) = (facts::server(before, server)?, facts::server(now, server)?);
        let more = n.used.checked_sub(b.used).filter(|more| *more >= SLOTS_MORE)?;
        let left = n.slots().saturating_sub(n.used);
        let s = slope(f64::from(more), server_seconds(p, before, now)?, f64::from(left))?;
        let soon = s.until_s < SLOTS_IN_S && left > 0 && b.slots() == n.slots();
        let said = format!(
            "{more} slots more are taken than {} before: at that none is left in {}",
            age(s.seconds),
            age(s.until_s)
        );
        soon.then_some(said)
    };
    let xids = || {
        let oldest = facts::server(now, server)?.oldest_xid.as_ref().filter(|x| x.age > XIDS_OLD)?;
        let s = of_xids(p, before, now).filter(|s| s.until_s < FAR_S)?;
        Some(format!(
            "{} million transaction ids are used up, and at {:.0} a second none is left in {}",
            oldest.age / 1_000_000,
            s.per_s,
            age(s.until_s)
        ))
    };
    let said: Vec<String> = [slots(), xids()].into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join("; "))
}
