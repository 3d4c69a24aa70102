//! It died: by exit code or signal; also where `Restart=` has already hidden it from D-Bus (errata 67).
//! The first cause that holds is the one: what is known of the reason comes before how it looks.

use jiff::Timestamp;

use super::{cause, last_words, shortage, state, with_refusal, words};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::ends::{self, Death};
use crate::scenario::facts;
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
    let end = End::of(s, name, u, refused, now);
    oom(&end)
        .or_else(|| shortage::ended(&end))
        .or_else(|| exec(&end))
        .or_else(|| configuration(&end))
        .or_else(|| state::detect(&end))
        .or_else(|| again_and_again(&end))
        .unwrap_or_else(|| failed(&end))
}

/// All that is known of how a unit ended.
pub struct End<'a> {
    pub s: &'a Service,
    pub unit: &'a str,
    u: &'a Unit,
    refused: Option<&'a Failure>,
    pub now: &'a Snapshot,
    /// Its properties, where D-Bus still says that it failed.
    bus: Option<&'a UnitDetail>,
    by_bus: Option<String>,
    pub last: Option<Death>,
    /// When the first of the runs began whose deaths belong together.
    first: Option<Timestamp>,
    /// How often it died within the window.
    deaths: usize,
    since: Option<Timestamp>,
}

impl<'a> End<'a> {
    fn of(
        s: &'a Service,
        unit: &'a str,
        u: &'a Unit,
        refused: Option<&'a Failure>,
        now: &'a Snapshot,
    ) -> Self {
        let d = facts::detail(now, unit);
        let bus = d.filter(|d| d.result != "success");
        let by_bus = bus.map(|d| match d.exit_code {
            1 => format!("exit status {}", d.exit_status),
            2 | 3 => format!("signal {}", d.exit_status),
            _ => format!("result {}", d.result),
        });
        let all = ends::of(now, unit);
        let recent = ends::recent(&all, now);
        // A unit that stays down was ended by its last death, however long ago.
        let stays = u.active == "failed" || u.active == "inactive";
        let (first, last) = if stays { (all.first(), all.last()) } else { (recent.first(), recent.last()) };
        let since = match (u.active.as_str(), d) {
            ("failed", Some(d)) => d.state_since,
            _ => first.map(|f| f.at).or_else(|| d.and_then(|d| d.exited_at)),
        };
        let began = first.and_then(|f| f.began);
        let (last, deaths) = (last.cloned(), recent.len());
        Self { s, unit, u, refused, now, bus, by_bus, last, first: began, deaths, since }
    }

    fn status(&self) -> Option<i32> {
        match self.bus {
            Some(d) => (d.exit_code == 1).then_some(d.exit_status),
            None => self.last.as_ref().and_then(|l| l.status),
        }
    }

    fn how(&self) -> Option<String> {
        self.by_bus.clone().or_else(|| self.last.as_ref().map(|l| l.how.clone()))
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

    /// What the unit said in the run that ended last; nothing where its start is not known.
    pub fn lines(&self) -> Vec<&LogLine> {
        self.lines_since(self.last.as_ref().and_then(|l| l.began))
    }

    /// The same of all the runs that ended one after another.
    pub fn all_lines(&self) -> Vec<&LogLine> {
        self.lines_since(self.first)
    }

    fn lines_since(&self, from: Option<Timestamp>) -> Vec<&LogLine> {
        let Some((from, to)) = from.zip(self.last.as_ref().map(|l| l.at)) else { return Vec::new() };
        let Some(journal) = facts::journal(self.now, self.unit) else { return Vec::new() };
        // journald notes the last line of a dying process a moment after its death.
        let during = |l: &&LogLine| l.at >= from && l.at.duration_since(to).as_secs_f64() <= 1.0;
        journal.lines.iter().filter(during).collect()
    }

    pub fn finding(&self, cause: &Cause, certainty: Certainty, summary: String) -> Finding {
        let d = facts::detail(self.now, self.unit);
        let f = with_refusal(Finding::new(cause, &self.s.name, certainty, summary), self.refused)
            .since(self.since)
            .saw("systemd", self.unit, facts::state(self.u))
            .saw_if(
                "systemd",
                "result",
                self.by_bus.as_ref().zip(d).map(|(how, d)| format!("{}, {how}", d.result)),
            )
            .saw_if("journal", "main process", self.last.as_ref().map(|l| l.how.clone()));
        last_words(f, self.now, self.unit)
    }

    fn systemctl(&self, verb: &str) -> String {
        format!("systemctl {verb} {}", shell_word(self.unit))
    }
}

/// By systemd's own word, or by the kernel's about this unit at the time of its SIGKILL: a person's
/// looks the same to systemd on cgroup v1.
fn oom(end: &End) -> Option<Finding> {
    let by_systemd =
        end.bus.is_some_and(|d| d.result == "oom-kill") || end.last.as_ref().is_some_and(|l| l.oom);
    let at = end.last.as_ref().filter(|l| l.sigkill).map(|l| l.at);
    let killed = |d: &&UnitDetail| d.exit_code == 2 && d.exit_status == 9;
    let at = at.or_else(|| end.bus.filter(killed).and_then(|d| d.exited_at));
    // What was killed in an earlier run of it is another story.
    let began = end.last.as_ref().and_then(|l| l.began);
    let act = at
        .and_then(|at| ends::kernel_act(end.now, end.unit, at))
        .filter(|a| a.what != Kernel::ForkRefused && began.is_none_or(|b| a.at >= b));
    if !by_systemd && act.is_none() {
        return None;
    }
    let host = act.is_some_and(|a| a.what == Kernel::OomHost);
    let limit = facts::detail(end.now, end.unit).and_then(|d| d.memory_max).filter(|_| !host);
    let why = match limit {
        _ if host => " as the whole machine had none left".into(),
        Some(bytes) => format!(" at its limit of {} MiB", bytes >> 20),
        None => String::new(),
    };
    let summary = format!("{} was killed for memory{why}{}", end.s.name, end.again());
    let f = end.finding(&OOM_KILLED, Certainty::Proven, summary).saw_if(
        "kernel log",
        "out of memory",
        act.map(|a| format!("{}, at {}", a.control_group, a.at)),
    );
    Some(match limit {
        Some(bytes) => f.remedy(
            format!(
                "systemctl set-property --runtime {} MemoryMax={}",
                shell_word(end.unit),
                bytes.saturating_mul(2)
            ),
            "If the host has the memory: a larger limit, then restart it; if it comes again, it leaks",
            Risk::Disruptive,
        ),
        None => f.remedy(
            end.systemctl("restart"),
            "See first what uses the memory, then restart that one service",
            Risk::Disruptive,
        ),
    })
}

/// systemd could not even begin the program.
fn exec(end: &End) -> Option<Finding> {
    end.status().filter(|c| (200..=243).contains(c))?;
    let how = end.how().unwrap_or_default();
    let summary = format!("{} died: {how}{}", end.s.name, end.again());
    let words = "See the program, user and folders it is started with";
    Some(end.finding(&EXEC_FAILED, Certainty::Proven, summary).remedy(
        end.systemctl("cat"),
        words,
        Risk::Safe,
    ))
}

/// It died at its start, and its last words refuse a setting by its name.
fn configuration(end: &End) -> Option<Finding> {
    end.last.as_ref()?.ran_s().filter(|ran| *ran <= START_S)?;
    // A signal is no refusal.
    end.last.as_ref()?.status?;
    let (setting, line) = words::refused_setting(&end.lines())?;
    let summary = format!("{} refuses its setting {setting} and ends{}", end.s.name, end.again());
    let words = "See where that setting comes from, take the last change back, then start it";
    let f = end.finding(&BAD_CONFIGURATION, Certainty::Proven, summary).saw("journal", "says", line);
    Some(f.remedy(end.systemctl("cat"), words, Risk::Safe))
}

/// `Restart=` brought it back so often that it is a loop.
pub fn loops(unit: &str, now: &Snapshot) -> bool {
    restarts(unit, now) >= LOOP
}

fn restarts(unit: &str, now: &Snapshot) -> usize {
    facts::journal(now, unit).map_or(0, |j| ends::restarts(j, now))
}

fn again_and_again(end: &End) -> Option<Finding> {
    let restarts = restarts(end.unit, end.now);
    let limit = end.bus.is_some_and(|d| d.result == "start-limit-hit");
    if restarts < LOOP && !limit {
        return None;
    }
    let how = end.how().map_or_else(String::new, |how| format!(": {how}"));
    let times = match restarts {
        0 => "systemd gave up to start it".to_owned(),
        n => format!("restarted {n} times within {}", end.window()),
    };
    let summary = format!("{} dies again and again, {times}{how}", end.s.name);
    let f =
        end.finding(&CRASH_LOOP, Certainty::Proven, summary).saw("journal", "restarts", restarts.to_string());
    let words = "Mend what its last words name; then clear the start limit and start it once";
    let unit = shell_word(end.unit);
    Some(f.remedy(
        format!("systemctl reset-failed {unit} && systemctl start {unit}"),
        words,
        Risk::Disruptive,
    ))
}

fn failed(end: &End) -> Finding {
    let (certainty, summary) = match end.how() {
        Some(how) => (Certainty::Proven, format!("{} died: {how}{}", end.s.name, end.again())),
        None => (Certainty::Likely, format!("{} is in state failed", end.s.name)),
    };
    let words = "Read its last words first, then restart that one service";
    end.finding(&FAILED, certainty, summary).remedy(end.systemctl("restart"), words, Risk::Disruptive)
}
