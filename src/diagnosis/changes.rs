//! What was changed before it went wrong: put in order for who reads. It explains no finding, and is
//! called no cause.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Severity;
use super::finding::Finding;
use super::graph::needs;
use crate::snapshot::Snapshot;
use crate::snapshot::changes::{Change, ChangeKind};
use crate::snapshot::units::{Event, Journal};

/// One change, and how it stands to what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    #[serde(flatten)]
    pub change: Change,
    /// It is about a root's subject, or about what that needs.
    pub related: bool,
    /// Dated later than the look: a clock was set, or the file was given another time.
    pub ahead: bool,
}

/// So many are kept.
const KEPT: usize = 50;
/// A file may be written while the look goes on.
const AHEAD_S: f64 = 60.0;

/// The related ones first; of these what was set before what was merely started, and the newest first.
/// Nothing where nothing is wrong.
pub fn changes(findings: &[Finding], now: &Snapshot) -> Vec<Changed> {
    let roots = || findings.iter().filter(|f| f.is_root() && f.severity < Severity::P4);
    if roots().next().is_none() {
        return Vec::new();
    }
    let config = &now.config;
    let mut about: BTreeSet<&str> = roots().map(|f| f.subject.as_str()).collect();
    about.extend(roots().flat_map(|f| needs(&f.subject, config)));
    let window = config.thresholds.recent_change.as_secs_f64();
    let age = |at: Timestamp| now.taken_at.duration_since(at).as_secs_f64();
    let seen = now.changes.seen().into_iter().flat_map(|c| &c.all).cloned();
    let mut all: Vec<Changed> = seen
        .chain(starts(now))
        .filter(|c| age(c.at) <= window)
        // Of what has ended its own finding tells.
        .filter(|c| c.kind != ChangeKind::End || !roots().any(|f| Some(&f.subject) == c.subject.as_ref()))
        .map(|change| Changed {
            related: change.subject.as_deref().is_some_and(|s| about.contains(s)),
            ahead: age(change.at) < -AHEAD_S,
            change,
        })
        .collect();
    let started = |kind| matches!(kind, ChangeKind::Restart | ChangeKind::End | ChangeKind::Boot);
    all.sort_by(|a, b| {
        let key = |c: &Changed| (c.ahead, !c.related, started(c.change.kind), Reverse(c.change.at));
        key(a).cmp(&key(b)).then_with(|| a.change.what.cmp(&b.change.what))
    });
    all.dedup();
    all.truncate(KEPT);
    all
}

const WITH_ITS_START_S: f64 = 5.0;

/// Starts that somebody asked for, by what was seen anyway: of units by their journal, of PostgreSQL by
/// its own word.
fn starts(now: &Snapshot) -> Vec<Change> {
    let start = |at, subject: &str, what: String| Change {
        at,
        kind: ChangeKind::Restart,
        subject: Some(subject.into()),
        what,
        path: None,
    };
    let config = &now.config;
    let services = config.service.iter().filter_map(|s| Some((s.name.as_str(), s.unit.as_deref()?)));
    let others = config.postgres.iter().filter_map(|p| Some((p.name.as_str(), p.unit.as_deref()?)));
    let redis = config.redis.iter().filter_map(|r| Some((r.name.as_str(), r.unit.as_deref()?)));
    let mut out: Vec<Change> = services
        .chain(others)
        .chain(redis)
        .filter_map(|(name, unit)| {
            let restarts = now.units.details.get(unit).and_then(|d| Some(d.seen()?.restarts));
            let at = asked_for(now.units.journal.get(unit)?.seen()?, restarts)?;
            Some(start(at, name, format!("{unit} was started")))
        })
        .collect();
    for (name, p) in &now.postgres {
        let of_engine =
            |c: &&Change| matches!(c.kind, ChangeKind::Restart | ChangeKind::End | ChangeKind::Deployment);
        let mut known =
            out.iter().chain(now.changes.seen().into_iter().flat_map(|c| &c.all).filter(of_engine));
        let told = known.any(|c| c.subject.as_ref() == Some(name));
        let Some(server) = p.server.seen() else { continue };
        let ago = |s: f64| {
            let s = jiff::SignedDuration::try_from_secs_f64(s).ok()?;
            now.taken_at.checked_sub(s).ok()
        };
        if let Some(at) = ago(server.uptime_s).filter(|_| !told) {
            out.push(start(at, name, format!("{name} was started")));
        }
        // As it starts it reads them too.
        let again = server.settings_s.filter(|s| server.uptime_s - s > WITH_ITS_START_S);
        if let Some(at) = again.and_then(ago) {
            let what = format!("{name} read its settings anew");
            out.push(Change { kind: ChangeKind::Settings, ..start(at, name, what) });
        }
    }
    out
}

/// The newest start that `Restart=` did not make. What came before the oldest one may have been cut off:
/// that one is told only where systemd's count, which begins anew with a start that is asked for, says so.
fn asked_for(journal: &Journal, restarts: Option<u32>) -> Option<Timestamp> {
    let scheduled = journal.events.iter().find_map(|e| match e.what {
        Event::RestartScheduled { restarts } => Some(restarts),
        _ => None,
    });
    let counted_from_here = scheduled.map_or(restarts == Some(0), |n| n == 1);
    let mut by_itself = !counted_from_here;
    let mut at = None;
    for e in &journal.events {
        match e.what {
            Event::RestartScheduled { .. } => by_itself = true,
            Event::Failed { .. } | Event::Stopping => by_itself = false,
            Event::Starting | Event::Started if !by_itself => at = Some(e.at),
            Event::Started => by_itself = false,
            _ => {}
        }
    }
    at
}

/// Line two: as many as it holds, at least one; in whole words.
pub fn line(all: &[Changed], taken_at: Timestamp, fits: impl Fn(&str) -> bool) -> Option<String> {
    let ahead = all.iter().all(|c| c.ahead);
    let shown: Vec<&Changed> = all.iter().filter(|c| ahead || !c.ahead).collect();
    let said = |c: &Changed| {
        let s = taken_at.duration_since(c.change.at).as_secs_f64();
        match ahead {
            true => format!("dated {} ahead of this clock: {}", age(-s), c.change.what),
            false => format!("{} ago: {}", age(s.max(0.0)), c.change.what),
        }
    };
    let first = format!("changed {}", said(shown.first()?));
    // Names of what it sets are left out for the room; JSON has them.
    let mut text =
        [first.clone(), fewer(&first)].into_iter().find(|t| fits(t)).unwrap_or_else(|| plain(&first));
    let mut told = 1;
    for c in &shown[1..] {
        let longer = format!("{text}; {}", said(c));
        if !fits(&format!("{longer}; 99 more")) {
            break;
        }
        (text, told) = (longer, told + 1);
    }
    let more = format!("{text}; {} more", all.len() - told);
    Some(if all.len() > told && fits(&more) { more } else { text })
}

/// `x (A, B, C)` as `x (A, …)`.
fn fewer(text: &str) -> String {
    let Some((before, names)) = text.rsplit_once(" (") else { return text.to_owned() };
    match names.split_once(", ") {
        Some((one, _)) => format!("{before} ({one}, …)"),
        None => text.to_owned(),
    }
}

fn plain(text: &str) -> String {
    text.rsplit_once(" (").filter(|_| text.ends_with(')')).map_or(text, |(before, _)| before).to_owned()
}

fn age(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}
