//! Where a service or server runs: a unit of systemd's or a container. What is known of it there, and
//! what an engineer types, are said by the same words of both. Pure.

use jiff::Timestamp;

use super::ends::{self, Death};
use super::facts;
use crate::config::Service;
use crate::diagnosis::shell_word;
use crate::snapshot::Snapshot;
use crate::snapshot::containers::{Container, ContainerLook, is_group_of};
use crate::snapshot::units::{Journal, UnitEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    Unit(&'a str),
    Container(&'a str),
}

impl<'a> Place<'a> {
    pub fn of(s: &'a Service) -> Option<Self> {
        Self::named(s.unit.as_deref(), s.container.as_deref())
    }

    /// A configuration has one of them at most.
    pub fn named(unit: Option<&'a str>, container: Option<&'a str>) -> Option<Self> {
        unit.map(Place::Unit).or_else(|| container.map(Place::Container))
    }

    pub fn name(self) -> &'a str {
        match self {
            Place::Unit(name) | Place::Container(name) => name,
        }
    }

    /// Who keeps it, as evidence names it.
    pub fn keeper(self) -> &'static str {
        match self {
            Place::Unit(_) => "systemd",
            Place::Container(_) => "docker",
        }
    }

    /// Whether a control group is the unit's or the container's, or one below it.
    pub fn owns(self, group: &str, now: &Snapshot) -> bool {
        match self {
            Place::Unit(unit) => group.split('/').any(|g| g == unit),
            Place::Container(name) => container(now, name).is_some_and(|c| is_group_of(group, &c.id)),
        }
    }

    /// Where its own lines stand.
    pub fn log(self) -> &'static str {
        match self {
            Place::Unit(_) => "journal",
            Place::Container(_) => "docker logs",
        }
    }

    /// Where what happened to it stands.
    pub fn events(self) -> &'static str {
        match self {
            Place::Unit(_) => "journal",
            Place::Container(_) => "docker events",
        }
    }

    /// `inactive (dead)`, `exited, exit code 1`; `None` where it is not known, or not there.
    pub fn state(self, now: &Snapshot) -> Option<String> {
        match self {
            Place::Unit(name) => now.unit(name).map(facts::state),
            Place::Container(name) => container(now, name).map(Container::words),
        }
    }

    pub fn journal(self, now: &Snapshot) -> Option<&Journal> {
        match self {
            Place::Unit(name) => facts::journal(now, name),
            Place::Container(name) => now.containers.get(name)?.journal.seen(),
        }
    }

    pub fn last_words(self, now: &Snapshot) -> Option<&str> {
        self.journal(now).and_then(facts::last_words)
    }

    pub fn deaths(self, now: &Snapshot) -> Vec<Death> {
        self.journal(now).map(ends::deaths).unwrap_or_default()
    }

    /// Whether a line is of the run that began and ended then: journald notes the last line of a dying process
    /// a moment after its death; a container speaks a moment before its engine says that it started.
    pub fn in_run(self, at: Timestamp, began: Option<Timestamp>, ended: Timestamp) -> bool {
        let early = match self {
            Place::Unit(_) => 0.0,
            Place::Container(_) => 1.0,
        };
        began.is_none_or(|b| at.duration_since(b).as_secs_f64() >= -early)
            && at.duration_since(ended).as_secs_f64() <= 1.0
    }

    pub fn last_job(self, now: &Snapshot) -> Option<&UnitEvent> {
        self.journal(now).and_then(ends::last_job)
    }

    /// Somebody had it stopped, and nobody started it since.
    pub fn stop_job(self, now: &Snapshot) -> Option<&UnitEvent> {
        self.journal(now).and_then(ends::stop_job)
    }

    pub fn stop(self) -> String {
        self.command("stop")
    }

    pub fn start(self) -> String {
        self.command("start")
    }

    pub fn restart(self) -> String {
        self.command("restart")
    }

    /// What shows how it is started.
    pub fn show(self) -> String {
        self.command(match self {
            Place::Unit(_) => "cat",
            Place::Container(_) => "inspect",
        })
    }

    pub fn status(self) -> String {
        match self {
            Place::Unit(_) => self.command("status"),
            Place::Container(_) => self.command("logs --tail 50"),
        }
    }

    fn command(self, verb: &str) -> String {
        let program = match self {
            Place::Unit(_) => "systemctl",
            Place::Container(_) => "docker",
        };
        format!("{program} {verb} {}", shell_word(self.name()))
    }
}

pub fn container<'a>(now: &'a Snapshot, name: &str) -> Option<&'a Container> {
    now.containers.get(name).and_then(|c| c.inspected.seen())
}

/// A stop, or a restart, that the engine is about: it goes on by itself. Between the two halves of a
/// restart a container has exited for a moment.
pub fn under_way(look: &ContainerLook, c: &Container, now: &Snapshot) -> bool {
    let Some(stop) = look.journal.seen().and_then(ends::stop_job) else { return false };
    let age = |at: Timestamp| now.taken_at.duration_since(at).as_secs_f64();
    match c.state.as_str() {
        "running" => true,
        "exited" => age(c.finished_at.unwrap_or(stop.at)) < BETWEEN_S,
        _ => false,
    }
}

const BETWEEN_S: f64 = 1.0;
