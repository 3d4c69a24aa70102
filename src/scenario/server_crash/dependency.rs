//! What services need beside a database does no work: Redis and Ollama, each in its own file.
//! What is optional and not there is no fault; what is optional and broken wakes nobody.

use super::{cause, ollama, redis, runbook};
use crate::config::Config;
use crate::diagnosis::Relation::NeededBy;
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk, Severity, Stand, Symptom, SymptomState};
use crate::scenario::against::{ruled_out, unseen};
use crate::scenario::contained::{self, Why};
use crate::scenario::ends;
use crate::scenario::facts;
use crate::scenario::place::{Place, container};
use crate::scenario::witness::{self, Witness};
use crate::snapshot::service::Status;
use crate::snapshot::{FailKind, Failure, Looks, Reading, Snapshot};

const DIES_OF_IT: &[(&str, Relation)] = &[
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/crash-loop", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
];

pub static DEPENDENCY_DOWN: Cause = Cause {
    explains: DIES_OF_IT,
    ..cause("server-crash/dependency-down", Severity::P1, "what a service needs does not do its work")
};

/// One of them, whatever its kind.
pub struct Dependency<'a> {
    pub name: &'a str,
    /// `Redis`, `Ollama`: as people say it, and as services' messages name it.
    pub kind: &'static str,
    pub endpoint: &'a str,
    pub unit: Option<&'a str>,
    pub container: Option<&'a str>,
    pub optional: bool,
    /// An earlier look saw it.
    pub seen_before: bool,
}

/// What is wrong with it.
pub struct Trouble {
    pub certainty: Certainty,
    /// The end of a sentence that begins with its kind and endpoint.
    pub what: String,
    /// Nothing answers there.
    pub gone: bool,
    pub evidence: Vec<(&'static str, String, String)>,
    pub command: Option<String>,
    pub advice: &'static str,
    pub risk: Risk,
    /// It comes by itself.
    pub waits: bool,
}

impl Trouble {
    pub fn new(certainty: Certainty, what: impl Into<String>, advice: &'static str) -> Self {
        let (what, evidence) = (what.into(), Vec::new());
        Self { certainty, what, gone: false, evidence, command: None, advice, risk: Risk::Safe, waits: false }
    }

    pub fn saw(mut self, probe: &'static str, fact: &str, value: impl Into<String>) -> Self {
        self.evidence.push((probe, fact.into(), value.into()));
        self
    }

    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// Each with its trouble, and with what its first look came to.
type Each<'a> = (Dependency<'a>, Option<Trouble>, Option<Reading<()>>);

fn each<'a>(looks: &'a Looks, config: &'a Config) -> Vec<Each<'a>> {
    let redis = redis::all(looks, config).into_iter().map(|(d, trouble)| {
        let reading = looks.now.redis.get(d.name).map(|r| r.ping.reading.clone());
        (d, trouble, reading)
    });
    let ollama = ollama::all(looks, config).into_iter().map(|(d, trouble)| {
        let reading = ollama::answer(&looks.now, d.name);
        (d, trouble, reading)
    });
    redis.chain(ollama).collect()
}

pub fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    each(looks, config).into_iter().filter_map(|(d, t, _)| finding(&d, t?, &looks.now, config)).collect()
}

/// Only what is required holds the verdict back.
pub fn symptoms(looks: &Looks, config: &Config) -> Vec<Symptom> {
    let symptom = |(d, trouble, reading): Each| {
        let (state, says) = symptom(&d, trouble.as_ref(), reading, &looks.now, config);
        let shown = !d.optional || state == SymptomState::Good;
        shown.then(|| Symptom { subject: d.name.to_owned(), state, says })
    };
    each(looks, config).into_iter().filter_map(symptom).collect()
}

/// What speaks against it, for each of them.
pub fn stands(looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    const NEEDS: &str = "one that a service needs and that does no work";
    let stand = |(d, trouble, reading): Each| {
        let found = trouble.and_then(|t| finding(&d, t, &looks.now, config)).is_some();
        let (state, says) = symptom(&d, None, reading.clone(), &looks.now, config);
        let absent =
            d.optional && matches!(&reading, Some(Reading::Failed(f)) if f.kind == FailKind::Refused);
        let stand = match state {
            _ if found => Stand::Holds,
            SymptomState::Good => ruled_out(probe(&d), d.name, says, NEEDS),
            _ if absent => ruled_out(probe(&d), d.name, "optional, and nobody installed it", NEEDS),
            _ => unseen(probe(&d), d.name, says, NEEDS),
        };
        (d.name.to_owned(), stand)
    };
    let all: Vec<_> = each(looks, config).into_iter().map(stand).collect();
    if all.is_empty() {
        let none = ruled_out("configuration", "Redis and Ollama", "none is looked at", NEEDS);
        return vec![("configuration".into(), none)];
    }
    all
}

fn symptom(
    d: &Dependency,
    trouble: Option<&Trouble>,
    reading: Option<Reading<()>>,
    now: &Snapshot,
    config: &Config,
) -> (SymptomState, String) {
    if let Some(trouble) = trouble {
        return (SymptomState::Bad, format!("{} {}", d.endpoint, trouble.what));
    }
    match reading {
        None => (SymptomState::Unseen, "not looked at".into()),
        Some(Reading::Seen { .. }) => (SymptomState::Good, format!("{} answers", d.kind)),
        Some(Reading::NotAsked { why }) => (SymptomState::Unseen, format!("not asked: {why}")),
        Some(Reading::Failed(f)) if matches!(f.kind, FailKind::Denied | FailKind::Tls) => {
            let closed = format!("alive, cannot look inside: {}", f.detail);
            match healthy_client(d.name, now, config) {
                Some(service) => (SymptomState::Good, format!("{closed}; {service} is healthy")),
                None => (SymptomState::Unseen, closed),
            }
        }
        Some(Reading::Failed(f)) if f.kind == FailKind::NotTried => (SymptomState::Unseen, f.detail),
        Some(Reading::Failed(f)) => (SymptomState::Bad, format!("{}: {}", d.endpoint, f.detail)),
    }
}

fn healthy_client<'a>(name: &'a str, now: &Snapshot, config: &'a Config) -> Option<&'a str> {
    let well = |s: &str| {
        facts::health(now, s)
            .is_some_and(|h| !h.is_bad() && matches!(h.status, Some(Status::Healthy | Status::Degraded)))
    };
    facts::clients(name, config).map(|s| s.name.as_str()).find(|s| well(s))
}

/// A look that got no answer to judge: what that says of any of them.
pub fn unanswered(d: &Dependency, f: &Failure, here: Option<bool>, now: &Snapshot) -> Option<Trouble> {
    use crate::snapshot::Stage;
    if let Some(trouble) = contained(d, f, now) {
        return Some(trouble.saw(probe(d), "answer", f.detail.clone()));
    }
    let trouble = match (f.kind, f.stage) {
        (FailKind::Refused, _) | (FailKind::Missing, Some(Stage::Connect)) => {
            let (certainty, what) = match here {
                Some(true) => (Certainty::Proven, "refuses connections: nothing listens there"),
                _ => (Certainty::Likely, "refuses connections from here"),
            };
            let runs = d.container.and_then(|n| container(now, n)).is_some_and(|c| c.state == "running");
            let trouble =
                Trouble { gone: true, ..Trouble::new(certainty, what, "See why it ended, then start it") };
            match d.container.filter(|_| runs) {
                Some(name) => {
                    Trouble { advice: "Its container runs: see in its log where it listens", ..trouble }
                        .command(Place::Container(name).status())
                }
                None => start(d, trouble),
            }
        }
        (FailKind::TimedOut, Some(Stage::Answer | Stage::Tls | Stage::Body)) => match stuck(d, now) {
            Some((pid, how)) => {
                let what = format!("answers nothing: process {pid} is {how}");
                let trouble = Trouble::new(Certainty::Proven, what, "Let the stopped process go on").saw(
                    "/proc",
                    &format!("state of process {pid}"),
                    how,
                );
                if how.starts_with(['T', 't']) {
                    Trouble { risk: Risk::Disruptive, ..trouble.command(format!("kill -CONT {pid}")) }
                } else {
                    let command = format!("cat /proc/{pid}/stack");
                    Trouble { advice: "See which device it waits for", ..trouble.command(command) }
                }
            }
            None => Trouble::new(
                Certainty::Likely,
                "accepts connections and does not answer in time",
                "See what it is busy with before a restart",
            ),
        },
        (FailKind::Closed, Some(Stage::Answer)) => Trouble::new(
            Certainty::Likely,
            format!("closes connections without an answer that {} would give", d.kind),
            "See what listens there, and its log",
        ),
        (FailKind::Malformed, _) => Trouble::new(
            Certainty::Likely,
            format!("does not speak as {} does", d.kind),
            "See what listens there",
        ),
        _ => return None,
    };
    Some(trouble.saw(probe(d), "answer", f.detail.clone()))
}

/// Its main process, where that can't answer by the kernel's word.
fn stuck(d: &Dependency, now: &Snapshot) -> Option<(u32, &'static str)> {
    let of = |name| now.containers.get(name)?.process.seen();
    let inside = || d.container.and_then(of).and_then(|p| Some((p.pid, facts::stuck(&p.state)?)));
    d.unit.and_then(|u| facts::stuck_process(now, u)).or_else(inside)
}

/// By its engine, where it answers nothing and its container does not run, or may not.
fn contained(d: &Dependency, f: &Failure, now: &Snapshot) -> Option<Trouble> {
    use crate::snapshot::Stage;
    let end = contained::end(d.container?, now)?;
    let shut = matches!(f.kind, FailKind::Refused | FailKind::Missing)
        || f.kind == FailKind::TimedOut && f.stage == Some(Stage::Connect);
    let words = end.words();
    let (certainty, what, gone) = match end.why {
        Why::Paused if shut || f.kind == FailKind::TimedOut => {
            (Certainty::Proven, format!("answers nothing: {words}"), false)
        }
        Why::Moving if shut => (Certainty::Likely, format!("does not answer: {words}"), true),
        // Of a running one between its deaths nothing listens; whoever else answers there is another.
        _ if !shut => return None,
        // It may go by another name: what is known is that nothing listens, and that there is none.
        Why::Missing => (Certainty::Likely, format!("refuses connections, and {words}"), true),
        Why::Memory(certainty, _) => (certainty, format!("does not run: {words}"), true),
        _ => (Certainty::Proven, format!("does not run: {words}"), true),
    };
    // Beyond a way that is closed there may be another that runs.
    let certainty = if f.kind == FailKind::TimedOut && gone { Certainty::Likely } else { certainty };
    let (command, advice, risk) = end.next();
    let mut trouble = Trouble { gone, risk, ..Trouble::new(certainty, what, advice).command(command) };
    if let Why::ToldToStop(at) = end.why {
        trouble = trouble.saw("docker events", "told to stop", at.to_string());
    }
    Some(trouble)
}

pub fn probe(d: &Dependency) -> &'static str {
    if d.kind == "Redis" { "redis" } else { "http ollama" }
}

fn start(d: &Dependency, trouble: Trouble) -> Trouble {
    let Some(place) = Place::named(d.unit, d.container) else { return trouble };
    Trouble { risk: Risk::Disruptive, ..trouble.command(place.start()) }
}

fn finding(d: &Dependency, trouble: Trouble, now: &Snapshot, config: &Config) -> Option<Finding> {
    let blamed = blamed(d, now, config);
    let severity = match d.optional {
        false => Severity::P1,
        true if !blamed.is_empty() => Severity::P1,
        true if !trouble.gone => Severity::P3,
        true => optional(d, now)?,
    };
    let summary = format!("{} at {} {}", d.kind, d.endpoint, trouble.what);
    let mut f = Finding::new(&DEPENDENCY_DOWN, d.name, trouble.certainty, summary).severity(severity);
    for (probe, fact, value) in trouble.evidence {
        f = f.saw(probe, &fact, value);
    }
    if let Some(place) = Place::named(d.unit, d.container) {
        f = f.saw_if(place.keeper(), place.name(), place.state(now)).saw_if(
            place.log(),
            "last words",
            place.last_words(now).filter(|_| trouble.gone),
        );
        if trouble.gone {
            f = f.since(match place {
                Place::Unit(unit) => facts::detail(now, unit).and_then(|d| d.state_since),
                Place::Container(name) => container(now, name).and_then(|c| c.finished_at),
            });
        }
    }
    f = witness::heard(f, &blamed);
    if d.optional && blamed.is_empty() {
        // Nobody should die of it, and nobody says so.
        f.spares.extend(DIES_OF_IT.iter().map(|(cause, _)| *cause));
    }
    let command = trouble.command.unwrap_or_else(|| runbook(&DEPENDENCY_DOWN));
    Some(f.remedy(command, trouble.advice, trouble.risk).waits(trouble.waits))
}

/// What an optional one weighs that is not there: nothing where nobody installed it, little where
/// it was stopped, more where it died or its port is closed.
fn optional(d: &Dependency, now: &Snapshot) -> Option<Severity> {
    let place = Place::named(d.unit, d.container);
    let died = || place.and_then(|p| p.journal(now)).is_some_and(ends::badly);
    let weight = |died: bool| Some(if died { Severity::P3 } else { Severity::P4 });
    match place {
        Some(Place::Unit(name)) if now.unit(name).is_some_and(|u| u.active == "inactive") => weight(died()),
        Some(Place::Container(name)) => match container(now, name) {
            // A stop ends in an exit code of its own; where its events are gone, the policy tells.
            Some(c) if c.is_down() => {
                weight(place?.stop_job(now).is_none() && (died() || c.exit_code != 0 && !c.comes_back()))
            }
            Some(_) => Some(Severity::P3),
            None if d.seen_before => Some(Severity::P3),
            None => None,
        },
        Some(Place::Unit(name)) if now.unit(name).is_some() => Some(Severity::P3),
        _ if d.seen_before => Some(Severity::P3),
        _ => None,
    }
}

fn blamed<'a>(d: &Dependency<'a>, now: &'a Snapshot, config: &'a Config) -> Vec<Witness<'a>> {
    blaming(d.name, d.kind, d.endpoint, now, config)
}

/// Services that are not well and name it: a `Redis` or `Ollama`, as `kind` says.
pub fn blaming<'a>(
    name: &'a str,
    kind: &str,
    endpoint: &str,
    now: &'a Snapshot,
    config: &'a Config,
) -> Vec<Witness<'a>> {
    let kind = kind.to_lowercase();
    witness::of(name, now, config, |text| is_blamed(text, &kind, endpoint))
}

/// In a part of the text that speaks of trouble: `redis: ok; database: failed` blames no Redis.
fn is_blamed(text: &str, kind: &str, endpoint: &str) -> bool {
    const WELL: [&str; 6] = ["ok", "healthy", "connected", "pass", "up", "fine"];
    text.split([';', ',', '\n']).map(str::to_lowercase).any(|part| {
        let words = || part.split(|c: char| !c.is_ascii_alphanumeric());
        let names = part.contains(kind) || part.contains(&endpoint.to_lowercase());
        let not = words().any(|w| ["not", "no", "never"].contains(&w)) || part.contains("n't");
        names && (not || !words().any(|w| WELL.contains(&w)))
    })
}
