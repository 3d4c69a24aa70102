//! How the container of a server that others need came not to run, by its engine's word of it, its events,
//! and the kernel: who stopped it is asked, what was killed for memory gets more, what dies at its start is
//! mended first. Pure; what it means is said by who asks.

use jiff::{SignedDuration, Timestamp};

use super::ends::{self, Death};
use super::place::{Place, container, under_way};
use crate::diagnosis::{Certainty, Risk, shell_word};
use crate::snapshot::Snapshot;
use crate::snapshot::containers::{Container, ContainerLook, exit};
use crate::snapshot::units::{Event, Kernel, UnitEvent};

/// A run that ended so soon never became ready.
const START_S: f64 = 30.0;
/// So often within the window is a loop.
const LOOP: usize = 3;

pub enum Why {
    /// The engine has no container of the name.
    Missing,
    /// A stop, or a restart, that goes on.
    Moving,
    Paused,
    ToldToStop(Timestamp),
    /// Its events are forgotten, and its policy would have brought it back.
    LeftStopped,
    /// By the engine's events or the kernel's log; else by a mark that may be of a child. At its own limit,
    /// or as the whole machine had none left.
    Memory(Certainty, Of),
    /// The engine could not begin it.
    NotBegun,
    /// It ended badly within the time of a start.
    AtItsStart,
    /// Brought back, and it ended again, and again.
    Again,
    /// Its engine is about to bring it back, once.
    Back,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Limit,
    Host,
}

pub struct End<'a> {
    pub name: &'a str,
    c: Option<&'a Container>,
    /// Of one that runs between two of its deaths: the engine's word of how it ended is over.
    last: Option<Death>,
    pub why: Why,
    pub since: Option<Timestamp>,
}

/// `None` where it runs, or its engine does not say.
pub fn end<'a>(name: &'a str, now: &'a Snapshot) -> Option<End<'a>> {
    let look = now.containers.get(name)?;
    if look.is_missing() {
        return Some(End { name, c: None, last: None, why: Why::Missing, since: None });
    }
    let c = container(now, name)?;
    let last = Place::Container(name).deaths(now).pop().filter(|_| c.state == "running");
    let why = why(name, look, c, now)?;
    let since = match why {
        Why::ToldToStop(at) => Some(at),
        _ => c.finished_at.filter(|_| c.is_down()),
    };
    Some(End { name, c: Some(c), last, why, since })
}

fn why(name: &str, look: &ContainerLook, c: &Container, now: &Snapshot) -> Option<Why> {
    let place = Place::Container(name);
    let often = looped(c, ends::recent(&place.deaths(now), now).len()) >= LOOP;
    match c.state.as_str() {
        "paused" => return Some(Why::Paused),
        _ if under_way(look, c, now) => return Some(Why::Moving),
        // Between two of its deaths; who has run for longer than a start takes is over them.
        "running" => return (often && is_young(c, now)).then_some(Why::Again),
        "exited" | "dead" | "created" | "restarting" => {}
        _ => return None,
    }
    if !c.error.is_empty() {
        return Some(Why::NotBegun);
    }
    if let Some(stop) = place.stop_job(now) {
        return Some(Why::ToldToStop(stop.at));
    }
    let forgotten = place.last_job(now).is_none();
    if forgotten && c.state == "exited" && c.comes_back() && c.started_at.is_some() {
        return Some(Why::LeftStopped);
    }
    Some(match memory(place, c, now) {
        Some((certainty, of)) => Why::Memory(certainty, of),
        None if c.state == "restarting" && often => Why::Again,
        // The engine counts its tries since a person's start, however long ago.
        None if c.gave_up() && c.exit_code != 0 && ended_soon(c) => Why::Again,
        None if ended_at_start(c) => Why::AtItsStart,
        None if c.state == "restarting" => Why::Back,
        None => Why::Ended,
    })
}

fn memory(place: Place, c: &Container, now: &Snapshot) -> Option<(Certainty, Of)> {
    let killed = c.finished_at.filter(|_| c.exit_code == 137);
    match killed.and_then(|at| ends::kernel_act(now, &c.id, at)).map(|act| act.what) {
        Some(Kernel::OomHost) => return Some((Certainty::Proven, Of::Host)),
        Some(Kernel::OomLimit) => return Some((Certainty::Proven, Of::Limit)),
        _ => {}
    }
    // That of a former run is over; an end that is none of a failure is no death, and clears none.
    let of_this_end = |l: &Death| killed.is_some_and(|at| ends::is_one(l.at, at));
    if place.deaths(now).pop().is_some_and(|l| l.oom && of_this_end(&l)) {
        return Some((Certainty::Proven, Of::Limit));
    }
    // The mark stays when a child was killed and the rest went on.
    (c.oom_killed && c.exit_code == 137).then_some((Certainty::Likely, Of::Limit))
}

fn is_young(c: &Container, now: &Snapshot) -> bool {
    c.started_at.is_none_or(|at| now.taken_at.duration_since(at).as_secs_f64() < START_S)
}

fn ended_soon(c: &Container) -> bool {
    c.ran_s().is_some_and(|s| s <= START_S)
}

fn ended_at_start(c: &Container) -> bool {
    ended_soon(c) && c.exit_code != 0 && c.exit_code < 128
}

/// How often it came back of late. The engine counts since a person's start, however long ago: only what
/// ended of late makes a loop. Where its events are forgotten, one that is waiting to come back after a short
/// run does.
pub fn looped(c: &Container, recent: usize) -> usize {
    let count = usize::try_from(c.restarts).unwrap_or(usize::MAX);
    let short = c.state == "restarting" && c.ran_s().is_some_and(|s| s < SHORT_S);
    if recent == 0 && short { count } else { count.min(recent) }
}

/// After a run as long as this the engine itself counts its delay anew.
const SHORT_S: f64 = 10.0;

impl End<'_> {
    /// From when on what it says is of its last run: it speaks a moment before its engine says that it
    /// started, and not before the run before that had ended.
    pub fn speaks_from(&self, now: &Snapshot) -> Option<Timestamp> {
        let began = match &self.last {
            Some(l) => l.began?,
            None => self.c?.started_at?,
        };
        let events = Place::Container(self.name).journal(now).map_or(&[][..], |j| &j.events);
        let is_start = |e: &UnitEvent| e.what == Event::Started && (self.last.is_none() || e.at <= began);
        let start = events.iter().rposition(is_start).unwrap_or(0);
        let began = began.checked_sub(SignedDuration::from_secs(1)).ok()?;
        let ended = |e: &&UnitEvent| matches!(e.what, Event::ProcessExited { .. });
        let former = events[..start].iter().rev().find(ended).map(|e| e.at);
        Some(former.map_or(began, |f| f.max(began)))
    }

    /// How often its engine brought it back, where it does so.
    pub fn again(&self) -> Option<String> {
        let restarts = self.c.filter(|_| matches!(self.why, Why::Again | Why::Back))?.restarts;
        (restarts > 0).then(|| format!("{} since somebody started it", times(restarts)))
    }

    /// It starts again by itself.
    pub fn comes_back(&self) -> bool {
        self.c.is_some_and(|c| matches!(c.state.as_str(), "restarting" | "running"))
    }

    /// A start that failed, and will fail again: not of what ran for longer than a start takes.
    pub fn in_its_start(&self) -> bool {
        let soon = match &self.last {
            Some(l) => l.ran_s().is_some_and(|s| s <= START_S),
            None => self.c.is_some_and(ended_soon),
        };
        match self.why {
            Why::NotBegun | Why::AtItsStart => true,
            Why::Again => soon,
            _ => false,
        }
    }

    fn exit(&self) -> String {
        match (&self.last, self.c) {
            (Some(Death { status: Some(code), .. }), _) => exit(*code),
            (Some(l), _) => l.how.clone(),
            (None, c) => c.map(Container::exit).unwrap_or_default(),
        }
    }

    /// `container redis is exited, exit code 0; the engine was told to stop it`
    pub fn words(&self) -> String {
        let name = self.name;
        let Some(c) = self.c else { return format!("there is no container {name}") };
        match self.why {
            Why::Missing => format!("there is no container {name}"),
            Why::Moving => format!("container {name} is being stopped or restarted"),
            Why::Paused => format!("the engine keeps its container {name} from running"),
            Why::ToldToStop(_) => {
                format!("container {name} is {}; the engine was told to stop it", c.words())
            }
            Why::LeftStopped => format!(
                "container {name} is {}; by its policy ({}) its engine would have brought it back, so it was stopped",
                c.words(),
                c.policy
            ),
            Why::Memory(_, of) => {
                let how = match (of, c.memory_max) {
                    (Of::Host, _) => " as the whole machine had none left".into(),
                    (Of::Limit, Some(b)) => format!(" at its limit of {} MiB", b >> 20),
                    (Of::Limit, None) => String::new(),
                };
                format!("container {name} is {}: killed for memory{how}", c.words())
            }
            Why::NotBegun => {
                format!("container {name} could not be started by the engine: {}", innermost(&c.error))
            }
            Why::AtItsStart => format!("container {name} does not get through its start: {}", self.exit()),
            Why::Again if !self.comes_back() => {
                format!("container {name} ended again and again, until its engine gave up: {}", self.exit())
            }
            Why::Again => {
                format!("container {name} ends again and again, and is brought back: {}", self.exit())
            }
            Why::Back => {
                format!("container {name} has ended, and its engine brings it back: {}", self.exit())
            }
            Why::Ended => format!("container {name} is {}", c.words()),
        }
    }

    /// The command to type next, what to think of first, and the risk of it.
    pub fn next(&self) -> (String, &'static str, Risk) {
        let (place, name) = (Place::Container(self.name), shell_word(self.name));
        match self.why {
            Why::Missing => {
                let words = "See whether it goes by a new name, and who removed it, before one is made anew";
                ("docker ps -a".into(), words, Risk::Safe)
            }
            Why::Moving => (place.status(), "See who stops it, and why", Risk::Safe),
            Why::Paused => (
                format!("docker unpause {name}"),
                "Ask who paused it, and why; then let it go on",
                Risk::Disruptive,
            ),
            Why::ToldToStop(_) | Why::LeftStopped => {
                (place.start(), "Ask who stopped it, and why; then start it", Risk::Disruptive)
            }
            Why::Memory(Certainty::Proven, Of::Limit) if self.c.is_some_and(|c| c.memory_max.is_some()) => {
                let raise = self.c.map(|c| raise(self.name, c)).unwrap_or_default();
                let words = "If the host has the memory: a larger limit, then start it";
                (format!("{raise} && {}", place.start()), words, Risk::Disruptive)
            }
            Why::Memory(..) | Why::Ended => {
                (place.start(), "See why it ended, then start it", Risk::Disruptive)
            }
            Why::NotBegun => (
                place.show(),
                "See the program, mounts and ports it is started with, then start it once",
                Risk::Safe,
            ),
            Why::Back => {
                (place.status(), "See why it ended: its engine starts it again by itself", Risk::Safe)
            }
            Why::AtItsStart | Why::Again => {
                (place.status(), "Mend what its log names, then start it once", Risk::Safe)
            }
        }
    }
}

fn times(n: u32) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
}

/// Twice its limit. Swap is limited together with memory: the one can't be raised without the other.
fn raise(name: &str, c: &Container) -> String {
    let bytes = c.memory_max.unwrap_or(0).saturating_mul(2);
    let swap = match c.memory_swap {
        Some(s) if s < 0 => format!(" --memory-swap {s}"),
        Some(s) => format!(" --memory-swap {}", s.saturating_mul(2)),
        None => String::new(),
    };
    format!("docker update --memory {bytes}{swap} {}", shell_word(name))
}

/// The last of what an engine's layers have wrapped in one another.
pub fn innermost(why: &str) -> &str {
    let why = why.trim().strip_suffix(": unknown").unwrap_or(why.trim());
    why.rsplit_once("unable to start container process: ").map_or(why, |(_, last)| last)
}
