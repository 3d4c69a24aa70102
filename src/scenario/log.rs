//! What PostgreSQL's own log says: its file, the journal of its unit, the log of its container. Pure.
//! Only lines of now count: an old one may be of a trouble long mended.

use jiff::Timestamp;

use super::clusters;
use crate::config::Postgres;
use crate::snapshot::Snapshot;
use crate::snapshot::units::{Journal, LogLine};

/// A line, and the probe that read it.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub probe: &'static str,
    pub at: Timestamp,
    text: &'a str,
}

/// As a server says it in English; in another language nothing is known of it.
const LEVELS: [&str; 7] =
    ["PANIC:  ", "FATAL:  ", "ERROR:  ", "WARNING:  ", "LOG:  ", "DETAIL:  ", "HINT:  "];

impl<'a> Said<'a> {
    /// `FATAL` and what follows, without what stands before it; `None` for a line of another kind.
    pub fn parts(&self) -> Option<(&'a str, &'a str)> {
        let (at, level) = LEVELS.iter().filter_map(|l| Some((self.text.find(l)?, *l))).min()?;
        Some((&self.text[at..at + level.len() - 3], &self.text[at + level.len()..]))
    }

    /// What it says without its prefix.
    pub fn words(&self) -> &'a str {
        let level = self.parts().map_or("", |(level, _)| level);
        self.text.find(level).map_or(self.text, |at| &self.text[at..])
    }

    pub fn has(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    pub fn is(&self, levels: &[&str]) -> bool {
        self.parts().is_some_and(|(level, _)| levels.contains(&level))
    }
}

/// Everything there is, oldest first. Of file and journal the file, where it has lines at all.
pub fn lines<'a>(p: &'a Postgres, now: &'a Snapshot) -> Vec<Said<'a>> {
    let of = |lines: &'a [LogLine], probe| lines.iter().map(move |l| Said { probe, at: l.at, text: &l.text });
    let file = now.host.logs.get(&p.name).and_then(|l| l.seen()).map_or(&[][..], |l| &l.lines);
    let journal = clusters::own_unit(p, now).and_then(|u| super::facts::journal(now, u));
    let mut all: Vec<Said> = of(file, "log").collect();
    all.extend(journal.into_iter().flat_map(|j| of(&j.lines, "journal")));
    all.extend(inside(p, now).flat_map(|j| of(&j.lines, "docker logs")));
    all.sort_by_key(|l| l.at);
    all
}

/// Its container's, where its engine keeps one and let us read it.
fn inside<'a>(p: &Postgres, now: &'a Snapshot) -> impl Iterator<Item = &'a Journal> + use<'a> {
    let look = p.container.as_deref().and_then(|name| now.containers.get(name));
    look.filter(|l| l.log.seen().is_some()).and_then(|l| l.journal.seen()).into_iter()
}

/// Whether there is anything that could have said something.
pub fn is_seen(p: &Postgres, now: &Snapshot) -> bool {
    let journal = || clusters::own_unit(p, now).and_then(|u| super::facts::journal(now, u)).is_some();
    now.host.logs.get(&p.name).is_some_and(|l| l.seen().is_some())
        || journal()
        || inside(p, now).next().is_some()
}

/// A line may be written while the look goes on; one of later than so many seconds is of another clock.
const AHEAD_S: f64 = 60.0;

/// Those within `recent_failure` of the look.
pub fn recent<'a>(p: &'a Postgres, now: &'a Snapshot) -> Vec<Said<'a>> {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    let mut all = lines(p, now);
    all.retain(|l| (-AHEAD_S..=window).contains(&now.taken_at.duration_since(l.at).as_secs_f64()));
    all
}
