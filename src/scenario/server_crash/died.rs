//! It died: by exit code or signal; also where `Restart=` has already hidden it from D-Bus (errata 67).
//! The first cause that holds is the one: what is known of the reason comes before how it looks.

use jiff::Timestamp;

use super::{cause, last_words, shortage, state, with_refusal, words};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::contained::innermost;
use crate::scenario::ends::{self, Death};
use crate::scenario::facts;
use crate::scenario::place::Place;
use crate::snapshot::units::{Kernel, LogLine, Unit, UnitDetail};
use crate::snapshot::{Failure, Snapshot};

pub static FAILED: Cause = cause("server-crash/failed", Severity::P1, "the service died");
pub static OOM_KILLED: Cause =
    cause("server-crash/oom-killed", Severity::P1, "the service was killed for memory");
pub static CRASH_LOOP: Cause =
    cause("server-crash/crash-loop", Severity::P1, "the service dies again after every restart");
pub static EXEC_FAILED: Cause =
    cause("server-crash/exec-failed", Severity::P1, "the service can't be executed");
pub static BAD_CONFIGURATION: Cause =
    cause("server-crash/bad-configuration", Severity::P1, "the service refuses a setting of its own");

/// So many restarts within the window are a loop.
const LOOP: usize = 3;
/// A setting is refused at the start, within so many seconds.
pub const START_S: f64 = 30.0;

pub fn detect(s: &Service, name: &str, u: &Unit, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    told(&End::of(s, name, u, refused, now))
}

pub fn told(end: &End) -> Finding {
    oom(end)
        .or_else(|| shortage::ended(end))
        .or_else(|| exec(end))
        .or_else(|| configuration(end))
        .or_else(|| state::detect(end))
        .or_else(|| again_and_again(end))
        .unwrap_or_else(|| failed(end))
}

/// All that is known of how a unit or a container ended.
pub struct End<'a> {
    pub s: &'a Service,
    pub place: Place<'a>,
    pub state: String,
    pub refused: Option<&'a Failure>,
    pub now: &'a Snapshot,
    /// What its keeper still says of the failure.
    pub result: Option<String>,
    /// That nobody stopped it is known.
    pub known: bool,
    /// It could not even be begun.
    pub exec: Option<Certainty>,
    pub how: Option<String>,
    /// Its keeper itself says that it was killed for memory.
    /// Whether it is said that it was killed for memory, and how sure that is of this death.
    pub oom: Option<Certainty>,
    /// What a kernel's line about it names.
    pub kernel_name: &'a str,
    /// When a SIGKILL ended it.
    pub killed_at: Option<Timestamp>,
    pub memory_max: Option<u64>,
    pub memory_swap: Option<i64>,
    pub last: Option<Death>,
    /// When the first of the runs began whose deaths belong together.
    pub first: Option<Timestamp>,
    /// How often it died within the window.
    pub deaths: usize,
    /// How often it was brought back within the window.
    pub restarts: usize,
    /// Its keeper starts it no more.
    pub gave_up: bool,
    pub since: Option<Timestamp>,
}

impl<'a> End<'a> {
    fn of(
        s: &'a Service,
        unit: &'a str,
        u: &'a Unit,
        refused: Option<&'a Failure>,
        now: &'a Snapshot,
    ) -> Self {
        let place = Place::Unit(unit);
        let d = facts::detail(now, unit);
        // Its properties, where D-Bus still says that it failed.
        let bus = d.filter(|d| d.result != "success");
        let by_bus = bus.map(|d| match d.exit_code {
            1 => format!("exit status {}", d.exit_status),
            2 | 3 => format!("signal {}", d.exit_status),
            _ => format!("result {}", d.result),
        });
        let all = place.deaths(now);
        let recent = ends::recent(&all, now);
        // A unit that stays down was ended by its last death, however long ago.
        let stays = u.active == "failed" || u.active == "inactive";
        let (first, last) = if stays { (all.first(), all.last()) } else { (recent.first(), recent.last()) };
        let since = match (u.active.as_str(), d) {
            ("failed", Some(d)) => d.state_since,
            _ => first.map(|f| f.at).or_else(|| d.and_then(|d| d.exited_at)),
        };
        let status = match bus {
            Some(d) => (d.exit_code == 1).then_some(d.exit_status),
            None => last.and_then(|l| l.status),
        };
        let killed = |d: &&UnitDetail| d.exit_code == 2 && d.exit_status == 9;
        let killed_at = last.filter(|l| l.sigkill).map(|l| l.at);
        let how = by_bus.clone().or_else(|| last.map(|l| l.how.clone()));
        Self {
            s,
            place,
            state: facts::state(u),
            refused,
            now,
            result: by_bus.zip(d).map(|(how, d)| format!("{}, {how}", d.result)),
            known: how.is_some(),
            exec: status.filter(|c| (200..=243).contains(c)).map(|_| Certainty::Proven),
            how,
            oom: (bus.is_some_and(|d| d.result == "oom-kill") || last.is_some_and(|l| l.oom))
                .then_some(Certainty::Proven),
            kernel_name: unit,
            killed_at: killed_at.or_else(|| bus.filter(killed).and_then(|d| d.exited_at)),
            memory_max: d.and_then(|d| d.memory_max),
            memory_swap: None,
            last: last.cloned(),
            first: first.and_then(|f| f.began),
            deaths: recent.len(),
            restarts: restarts(unit, now),
            gave_up: bus.is_some_and(|d| d.result == "start-limit-hit"),
            since,
        }
    }

    /// `, 3 times within 10 min`
    pub fn again(&self) -> String {
        match self.deaths {
            0 | 1 => String::new(),
            n => format!(", {n} times within {}", self.window()),
        }
    }

    fn window(&self) -> String {
        facts::age(self.now.config.thresholds.recent_failure.as_secs_f64())
    }

    /// What it said in the run that ended last; nothing where its start is not known.
    pub fn lines(&self) -> Vec<&LogLine> {
        self.lines_since(self.last.as_ref().and_then(|l| l.began))
    }

    /// The same of all the runs that ended one after another.
    pub fn all_lines(&self) -> Vec<&LogLine> {
        self.lines_since(self.first)
    }

    fn lines_since(&self, from: Option<Timestamp>) -> Vec<&LogLine> {
        let Some((from, to)) = from.zip(self.last.as_ref().map(|l| l.at)) else { return Vec::new() };
        let Some(journal) = self.place.journal(self.now) else { return Vec::new() };
        let during = |l: &&LogLine| self.place.in_run(l.at, Some(from), to);
        journal.lines.iter().filter(during).collect()
    }

    pub fn finding(&self, cause: &Cause, certainty: Certainty, summary: String) -> Finding {
        let f = with_refusal(Finding::new(cause, &self.s.name, certainty, summary), self.refused)
            .since(self.since)
            .saw(self.place.keeper(), self.place.name(), &self.state)
            .saw_if(self.place.keeper(), "result", self.result.clone())
            .saw_if(self.place.events(), "main process", self.last.as_ref().map(|l| l.how.clone()));
        last_words(f, self.now, self.place)
    }
}

/// By its keeper's own word, or by the kernel's about it at the time of its SIGKILL: a person's looks
/// the same to systemd on cgroup v1.
fn oom(end: &End) -> Option<Finding> {
    // What was killed in an earlier run of it is another story.
    let began = end.last.as_ref().and_then(|l| l.began);
    let act = end
        .killed_at
        .and_then(|at| ends::kernel_act(end.now, end.kernel_name, at))
        .filter(|a| a.what != Kernel::ForkRefused && began.is_none_or(|b| a.at >= b));
    let certainty = if act.is_some() { Certainty::Proven } else { end.oom? };
    let host = act.is_some_and(|a| a.what == Kernel::OomHost);
    let limit = end.memory_max.filter(|_| !host);
    let why = match limit {
        _ if host => " as the whole machine had none left".into(),
        Some(bytes) => format!(" at its limit of {} MiB", bytes >> 20),
        None => String::new(),
    };
    let summary = format!("{} was killed for memory{why}{}", end.s.name, end.again());
    let f = end.finding(&OOM_KILLED, certainty, summary).saw_if(
        "kernel log",
        "out of memory",
        act.map(|a| format!("{}, at {}", a.control_group, a.at)),
    );
    // With a limit, and no word of the kernel's, it was its own: whatever the host has is another story.
    let of_its_limit = act.map_or(end.memory_max.is_some(), |a| a.what == Kernel::OomLimit);
    let f = Finding { of_its_limit, ..f };
    // No larger limit on a guess.
    Some(match limit.filter(|_| certainty == Certainty::Proven) {
        Some(bytes) => {
            let words =
                "If the host has the memory: a larger limit, then restart it; if it comes again, it leaks";
            let to = bytes.saturating_mul(2);
            f.remedy(raise(end, to), words, Risk::Disruptive).raises("MemoryMax", to)
        }
        None => f.remedy(
            end.place.restart(),
            "See first what uses the memory, then restart that one service",
            Risk::Disruptive,
        ),
    })
}

/// Of a container, swap is limited together with memory: the one can't be raised without the other.
fn raise(end: &End, bytes: u64) -> String {
    match (end.place, end.memory_swap) {
        (Place::Unit(unit), _) => {
            format!("systemctl set-property --runtime {} MemoryMax={bytes}", shell_word(unit))
        }
        (Place::Container(name), Some(swap)) => {
            let swap = if swap < 0 { swap } else { swap.saturating_mul(2) };
            format!("docker update --memory {bytes} --memory-swap {swap} {}", shell_word(name))
        }
        (Place::Container(name), None) => format!("docker update --memory {bytes} {}", shell_word(name)),
    }
}

/// Its keeper could not even begin the program.
fn exec(end: &End) -> Option<Finding> {
    let certainty = end.exec?;
    let how = end.how.clone().unwrap_or_default();
    let summary = match (&end.result, end.place) {
        (Some(why), Place::Container(_)) => {
            format!("{} could not be started by the engine: {}", end.s.name, innermost(why))
        }
        _ => format!("{} died: {how}{}", end.s.name, end.again()),
    };
    let words = "See the program, user and folders it is started with";
    Some(end.finding(&EXEC_FAILED, certainty, summary).remedy(end.place.show(), words, Risk::Safe))
}

/// It died at its start, and its last words refuse a setting by its name.
fn configuration(end: &End) -> Option<Finding> {
    end.last.as_ref()?.ran_s().filter(|ran| *ran <= START_S)?;
    // A signal is no refusal.
    end.last.as_ref()?.status.filter(|code| !(129..=192).contains(code))?;
    let (setting, line) = words::refused_setting(&end.lines())?;
    let summary = format!("{} refuses its setting {setting} and ends{}", end.s.name, end.again());
    let words = "See where that setting comes from, take the last change back, then start it";
    let f = end.finding(&BAD_CONFIGURATION, Certainty::Proven, summary).saw(end.place.log(), "says", line);
    Some(f.remedy(end.place.show(), words, Risk::Safe).refuses(&setting))
}

/// `Restart=` brought it back so often that it is a loop.
pub fn loops(unit: &str, now: &Snapshot) -> bool {
    restarts(unit, now) >= LOOP
}

fn restarts(unit: &str, now: &Snapshot) -> usize {
    facts::journal(now, unit).map_or(0, |j| ends::restarts(j, now))
}

fn again_and_again(end: &End) -> Option<Finding> {
    if end.restarts < LOOP && !end.gave_up {
        return None;
    }
    let how = end.how.as_ref().map_or_else(String::new, |how| format!(": {how}"));
    let times = match end.restarts {
        0 => format!("{} gave up to start it", end.place.keeper()),
        // Of the engine's count alone it is not known how long it took.
        n if end.deaths == 0 && !end.known => format!("restarted {n} times"),
        n => format!("restarted {n} times within {}", end.window()),
    };
    let summary = format!("{} dies again and again, {times}{how}", end.s.name);
    let sure = end.known || matches!(end.place, Place::Unit(_));
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let f = end.finding(&CRASH_LOOP, certainty, summary).saw(
        end.place.events(),
        "restarts",
        end.restarts.to_string(),
    );
    let unit = shell_word(end.place.name());
    Some(match end.place {
        Place::Unit(_) => f.remedy(
            format!("systemctl reset-failed {unit} && systemctl start {unit}"),
            "Mend what its last words name; then clear the start limit and start it once",
            Risk::Disruptive,
        ),
        Place::Container(_) => f.remedy(
            end.place.restart(),
            "Mend what its last words name; then start it once: that counts anew",
            Risk::Disruptive,
        ),
    })
}

fn failed(end: &End) -> Finding {
    let name = &end.s.name;
    let (certainty, summary) = match (&end.how, end.known) {
        (Some(how), true) => (Certainty::Proven, format!("{name} died: {how}{}", end.again())),
        (Some(how), false) => {
            (Certainty::Likely, format!("{name} ended with {how}; whether by itself is not kept"))
        }
        (None, _) => (Certainty::Likely, format!("{name} is in state failed")),
    };
    let words = "Read its last words first, then restart that one service";
    end.finding(&FAILED, certainty, summary).remedy(end.place.restart(), words, Risk::Disruptive)
}
