//! A service does not do its work: told by its health answer, its unit, its unit's journal.
//! The health answer is the symptom; the unit only where the service has no URL.

use super::ends::{self, Death};
use super::facts::{self, state};
use super::registry::Scenario;
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Symptom, SymptomState, shell_word};
use crate::snapshot::service::{Shape, Status};
use crate::snapshot::units::Unit;
use crate::snapshot::{FailKind, Failure, Looks, Reading, Snapshot, Stage};

const fn cause(name: &'static str, severity: Severity, title: &'static str) -> Cause {
    Cause { name, severity, title, explains: &[] }
}

pub static STOPPED: Cause =
    cause("server-crash/stopped", Severity::P1, "the service ended without a failure");
pub static STOPPED_ON_PURPOSE: Cause =
    cause("server-crash/stopped-on-purpose", Severity::P1, "somebody stopped the service");
pub static FAILED: Cause = cause("server-crash/failed", Severity::P1, "the service died");
pub static EXEC_FAILED: Cause =
    cause("server-crash/exec-failed", Severity::P1, "the service can't be executed");
pub static NOT_LISTENING: Cause =
    cause("server-crash/not-listening", Severity::P1, "the process runs, its port is closed");
pub static HUNG: Cause = cause("server-crash/hung", Severity::P1, "the service accepts and does not answer");
pub static UNHEALTHY: Cause =
    cause("server-crash/unhealthy", Severity::P1, "the service says it is unhealthy");
pub static MALFORMED: Cause =
    cause("server-crash/malformed-health", Severity::P2, "the health answer is none");
pub static UNIT_MISSING: Cause = cause("server-crash/unit-missing", Severity::P1, "there is no such unit");

pub static SCENARIO: Scenario = Scenario {
    name: "server-crash",
    alias: "server",
    severity: Severity::P1,
    title: "Server crash",
    first_action: "see how it ended, before starting it",
    causes: &[
        &STOPPED,
        &STOPPED_ON_PURPOSE,
        &FAILED,
        &EXEC_FAILED,
        &NOT_LISTENING,
        &HUNG,
        &UNHEALTHY,
        &MALFORMED,
        &UNIT_MISSING,
    ],
    detect: |looks, config| config.service.iter().filter_map(|s| detect(s, &looks.now)).collect(),
    symptoms: |looks, config| config.service.iter().map(|s| symptom(s, looks)).collect(),
};

/// How long after its start a service may keep its port closed.
const STARTING_S: f64 = 30.0;

fn detect(s: &Service, now: &Snapshot) -> Option<Finding> {
    if s.url.is_none() || s.health.is_none() {
        return by_unit(s, None, now);
    }
    match &now.services.get(&s.name)?.health.reading {
        Reading::Seen { .. } => unhealthy(s, now),
        Reading::Failed(f) => no_answer(s, f, now),
        Reading::NotAsked { .. } => None,
    }
}

fn symptom(s: &Service, looks: &Looks) -> Symptom {
    let now = &looks.now;
    let by_health = s.url.is_some() && s.health.is_some();
    let (state, says) = match now.services.get(&s.name).filter(|_| by_health) {
        Some(look) => match &look.health.reading {
            Reading::Seen { value } if value.is_bad() => {
                (SymptomState::Bad, format!("unhealthy (HTTP {})", value.http_status))
            }
            Reading::Seen { value } => match &value.status {
                Some(Status::Healthy) => (SymptomState::Good, "healthy".into()),
                Some(Status::Degraded) => (SymptomState::Good, "healthy, with a warning of its own".into()),
                Some(Status::Other(word)) => (SymptomState::Unseen, format!("says `{word}`")),
                Some(Status::Unhealthy) | None => (SymptomState::Unseen, "does not say how it is".into()),
            },
            Reading::Failed(f) => match f.kind {
                FailKind::NotTried => (SymptomState::Unseen, f.detail.clone()),
                FailKind::Denied => {
                    (SymptomState::Unseen, format!("alive, does not let us look: {}", f.detail))
                }
                _ => (SymptomState::Bad, f.detail.clone()),
            },
            Reading::NotAsked { why } => (SymptomState::Unseen, format!("not asked: {why}")),
        },
        None if by_health => (SymptomState::Unseen, "not looked at".into()),
        None => by_unit_alone(s, now),
    };
    Symptom { subject: s.name.clone(), state, says }
}

fn by_unit_alone(s: &Service, now: &Snapshot) -> (SymptomState, String) {
    let Some(name) = s.unit.as_deref() else {
        return (SymptomState::Unseen, "neither a URL nor a unit is configured".into());
    };
    match &now.units.listed.reading {
        Reading::Seen { value } => match value.get(name) {
            Some(u) if u.active == "active" || u.active == "reloading" => {
                (SymptomState::Good, format!("{name} is {}", state(u)))
            }
            Some(u) => (SymptomState::Bad, format!("{name} is {}", state(u))),
            None => (SymptomState::Unseen, format!("{name} was not listed")),
        },
        Reading::Failed(f) => (SymptomState::Unseen, f.detail.clone()),
        Reading::NotAsked { why } => (SymptomState::Unseen, format!("not asked: {why}")),
    }
}

/// It answers, and says that it is not well.
fn unhealthy(s: &Service, now: &Snapshot) -> Option<Finding> {
    let health = facts::health(now, &s.name).filter(|h| h.is_bad())?;
    if health.shape == Shape::Error && health.http_status < 500 {
        return Some(malformed(
            s,
            &format!("HTTP {}, an error: {}", health.http_status, health.messages.join(", ")),
        ));
    }
    let says = match &health.status {
        Some(_) => "answers that it is unhealthy".to_owned(),
        None => format!("answers HTTP {}", health.http_status),
    };
    // With its pool used up "connected" is no contradiction; else the database is not its reason.
    let own = health.says_connected() && !facts::saturated(now, &s.name, &now.config);
    let mut f = Finding::new(&UNHEALTHY, &s.name, Certainty::Proven, format!("{} {says}", s.name))
        .own(own)
        .saw("http health", "HTTP status", health.http_status.to_string())
        .saw_if("http health", "database", health.database.clone());
    for m in health.messages.iter().take(3) {
        f = f.saw("http health", "says", m);
    }
    f = match s.unit.as_deref() {
        Some(unit) => {
            f.saw_if("journal", "last words", facts::journal(now, unit).and_then(facts::last_words)).remedy(
                format!("systemctl restart {}", shell_word(unit)),
                "Take its logs as evidence first, then restart that one service",
                Risk::Disruptive,
            )
        }
        None => f.remedy(runbook(&UNHEALTHY), "Take its logs as evidence, then restart it", Risk::Disruptive),
    };
    Some(f)
}

fn no_answer(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    match (f.kind, f.stage) {
        // Closed in the middle is how a dying or half-dead server answers: the unit decides.
        (FailKind::Refused | FailKind::Closed, _) => by_unit(s, Some(f), now),
        (FailKind::TimedOut, Some(Stage::Tls | Stage::Answer | Stage::Body)) => Some(hung(s, f, now)),
        // A stopped process does not empty its queue: then connections are no longer made.
        (FailKind::TimedOut, Some(Stage::Connect)) if stuck(s, now).is_some() => Some(hung(s, f, now)),
        // What answers there is not this service: no database is the reason.
        (FailKind::Malformed, _) => Some(malformed(s, &f.detail).own(true)),
        _ => None,
    }
}

fn malformed(s: &Service, what: &str) -> Finding {
    let summary = format!("the health answer of {} can't be read: {what}", s.name);
    Finding::new(&MALFORMED, &s.name, Certainty::Proven, summary).saw("http health", "answer", what).remedy(
        format!("curl -i --max-time 5 {}", shell_word(&health_url(s))),
        "See what answers there: the wrong server, a proxy's page, a new shape",
        Risk::Safe,
    )
}

fn stuck(s: &Service, now: &Snapshot) -> Option<(u32, &'static str)> {
    s.unit.as_deref().and_then(|u| facts::stuck_process(now, u))
}

fn hung(s: &Service, f: &Failure, now: &Snapshot) -> Finding {
    let base = |certainty, text: String| {
        Finding::new(&HUNG, &s.name, certainty, text).saw("http health", "answer", &f.detail)
    };
    match stuck(s, now) {
        Some((pid, what)) => {
            let found =
                base(Certainty::Proven, format!("{} answers nothing: process {pid} is {what}", s.name))
                    // No database on the other side of a socket does this to a process.
                    .own(true)
                    .saw("/proc", &format!("state of process {pid}"), what);
            if what.starts_with(['T', 't']) {
                found.remedy(format!("kill -CONT {pid}"), "Let the stopped process go on", Risk::Disruptive)
            } else {
                found.remedy(format!("cat /proc/{pid}/stack"), "See which device it waits for", Risk::Safe)
            }
        }
        None => {
            let found = base(
                Certainty::Likely,
                format!("{} accepts connections and does not answer in time", s.name),
            );
            found.remedy(runbook(&HUNG), "Take its stacks as evidence before a restart", Risk::Disruptive)
        }
    }
}

/// Nothing answers at its port, or it has none: systemd and the journal say how it ended.
fn by_unit(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let name = s.unit.as_deref()?;
    // A unit that was not listed is not known to be missing.
    let u = now.units.listed.seen()?.get(name)?;
    let runs = u.active == "active" || u.active == "reloading";
    // Masking a unit does not stop it.
    if u.load == "not-found" || (u.load == "masked" && !runs) {
        // Something listens, by whatever it was started.
        if refused.is_some_and(|f| f.kind != FailKind::Refused) {
            return None;
        }
        let (how, word) =
            if u.load == "masked" { ("is masked", "masked") } else { ("does not exist", "not found") };
        let summary = format!("{}: its unit {name} {how}", s.name);
        return Some(
            with_refusal(Finding::new(&UNIT_MISSING, &s.name, Certainty::Proven, summary), refused)
                .saw("systemd", name, word)
                .remedy("systemctl list-unit-files '*mcp*'", "See which units there are", Risk::Safe),
        );
    }
    let base = |cause, certainty, text: String| {
        with_refusal(Finding::new(cause, &s.name, certainty, text), refused).saw("systemd", name, state(u))
    };
    match u.active.as_str() {
        // A service that ends badly when it is told to stop is `failed` too: the stop job came first.
        "failed" | "inactive" if ends::stop_job(now, name).is_some() => Some(ended(s, name, u, refused, now)),
        "failed" => Some(died(s, name, u, refused, now)),
        "activating" if u.sub.starts_with("auto-restart") => Some(died(s, name, u, refused, now)),
        "inactive" if failed_once(now, name) => Some(died(s, name, u, refused, now)),
        "inactive" => Some(ended(s, name, u, refused, now)),
        "active" | "reloading" => {
            let failure = refused?;
            if !ends::recent(&deaths(now, name), now).is_empty() {
                return Some(died(s, name, u, refused, now));
            }
            let up = facts::detail(now, name).and_then(|d| d.state_since);
            let age = up.map(|t| now.taken_at.duration_since(t).as_secs_f64());
            // Not known how long it runs, or still within its start: nothing to say.
            if age.is_none_or(|a| a < STARTING_S) || failure.kind != FailKind::Refused {
                return None;
            }
            Some(
                base(&NOT_LISTENING, Certainty::Likely, format!("{name} runs, and its port is closed"))
                    .since(up)
                    .saw_if("journal", "last words", last_words(now, name))
                    .remedy(
                        format!("systemctl restart {}", shell_word(name)),
                        "Take its logs as evidence first, then restart that one service",
                        Risk::Disruptive,
                    ),
            )
        }
        // Starting or stopping under a job of systemd's: wait for its end, say nothing.
        _ => None,
    }
}

/// Inactive, and still it failed: `systemctl reset-failed` took only the word away.
fn failed_once(now: &Snapshot, name: &str) -> bool {
    facts::detail(now, name).is_some_and(|d| d.result != "success")
        || facts::journal(now, name).is_some_and(ends::badly)
}

fn deaths(now: &Snapshot, name: &str) -> Vec<Death> {
    facts::journal(now, name).map(ends::deaths).unwrap_or_default()
}

/// Died by exit code or signal; also where `Restart=` has already hidden it from D-Bus (errata 67).
fn died(s: &Service, name: &str, u: &Unit, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let d = facts::detail(now, name);
    let bus = d.filter(|d| d.result != "success");
    let by_bus = bus.map(|d| match d.exit_code {
        1 => format!("exit status {}", d.exit_status),
        2 | 3 => format!("signal {}", d.exit_status),
        _ => format!("result {}", d.result),
    });
    let all = deaths(now, name);
    let recent = ends::recent(&all, now);
    // A unit that stays down was ended by its last death, however long ago.
    let stays = u.active == "failed" || u.active == "inactive";
    let last = if stays { all.last() } else { recent.last() };
    let how = by_bus.clone().or_else(|| last.map(|l| l.how.clone()));
    let status = match bus {
        Some(d) => (d.exit_code == 1).then_some(d.exit_status),
        None => last.and_then(|l| l.status),
    };
    let exec = status.is_some_and(|c| (200..=243).contains(&c));
    let window = facts::age(now.config.thresholds.recent_failure.as_secs_f64());
    let again = match recent.len() {
        0 | 1 => String::new(),
        n => format!(", {n} times within {window}"),
    };
    let summary = match &how {
        Some(how) => format!("{} died: {how}{again}", s.name),
        None => format!("{} is in state failed", s.name),
    };
    let first = if stays { all.first() } else { recent.first() };
    let since = match (u.active.as_str(), d) {
        ("failed", Some(d)) => d.state_since,
        _ => first.map(|f| f.at).or_else(|| d.and_then(|d| d.exited_at)),
    };
    let certainty = if how.is_some() { Certainty::Proven } else { Certainty::Likely };
    let f = with_refusal(
        Finding::new(if exec { &EXEC_FAILED } else { &FAILED }, &s.name, certainty, summary),
        refused,
    )
    .since(since)
    .saw("systemd", name, state(u))
    .saw_if("systemd", "result", by_bus.zip(d).map(|(how, d)| format!("{}, {how}", d.result)))
    .saw_if("journal", "main process", last.map(|l| l.how.clone()))
    .saw_if("journal", "last words", last_words(now, name));
    if exec {
        let words = "See the program, user and folders it is started with";
        f.remedy(format!("systemctl cat {}", shell_word(name)), words, Risk::Safe)
    } else {
        let words = "Read its last words first, then restart that one service";
        f.remedy(format!("systemctl restart {}", shell_word(name)), words, Risk::Disruptive)
    }
}

/// Inactive without a failure: somebody's stop job, or it ended by itself, or it never ran.
fn ended(s: &Service, name: &str, u: &Unit, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let d = facts::detail(now, name);
    let journal = facts::journal(now, name);
    let start = |f: Finding, words: &str| {
        f.remedy(format!("systemctl start {}", shell_word(name)), words, Risk::Disruptive)
    };
    let since = d.and_then(|d| d.state_since);
    if let Some(stop) = ends::stop_job(now, name) {
        let f = with_refusal(
            Finding::new(
                &STOPPED_ON_PURPOSE,
                &s.name,
                Certainty::Proven,
                format!("{} was stopped on purpose: a stop job of systemd ended it", s.name),
            ),
            refused,
        );
        return start(
            f.since(Some(stop.at)).saw("systemd", name, state(u)).saw(
                "journal",
                "stop job",
                stop.at.to_string(),
            ),
            "Ask who stopped it, and why; then start it",
        );
    }
    let (certainty, how) = match (journal, d.and_then(|d| d.exited_at)) {
        _ if ends::last_job(now, name).is_some() => (Certainty::Proven, "ended by itself, without a failure"),
        (Some(j), None) if j.events.is_empty() => {
            (Certainty::Proven, "has not been started since this machine came up")
        }
        // The journal could not be read, or does not reach back: a person's stop is not ruled out.
        _ => (Certainty::Likely, "is not running, and did not fail"),
    };
    let f = Finding::new(&STOPPED, &s.name, certainty, format!("{} {how}", s.name));
    start(
        with_refusal(f, refused)
            .since(since)
            .saw("systemd", name, state(u))
            .saw_if("systemd", "result", d.map(|d| format!("{}, exit status {}", d.result, d.exit_status)))
            .saw_if("journal", "last words", last_words(now, name)),
        "Start it, and see why it ended",
    )
}

fn with_refusal(f: Finding, refused: Option<&Failure>) -> Finding {
    f.saw_if("http health", "answer", refused.map(|r| r.detail.clone()))
}

fn last_words(now: &Snapshot, unit: &str) -> Option<String> {
    facts::journal(now, unit).and_then(facts::last_words).map(ToOwned::to_owned)
}

fn health_url(s: &Service) -> String {
    let path = s.health.as_ref().map_or("", |h| h.path());
    format!("{}{path}", s.url.as_deref().unwrap_or_default().trim_end_matches('/'))
}

fn runbook(c: &Cause) -> String {
    format!("mcp-ir runbook {}", c.name.replace('/', "#"))
}
