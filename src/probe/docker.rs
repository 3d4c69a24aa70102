//! A container engine by its own API, over its socket: of one container its state, what happened to it,
//! its last lines. GET only. Read with types of our own: every answer has a limit and each stage a deadline,
//! and a state that a later engine invents is still a state.

pub mod acts;
mod clock;
pub mod read;

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::http::{self, Answer, Ask, excerpt};
use super::similar;
use crate::snapshot::changes::Change;
use crate::snapshot::containers::Container;
use crate::snapshot::units::{LogLine, UnitEvent};
use crate::snapshot::{FailKind, Failure, Stage};
use clock::Clock;

/// How many of its own lines a snapshot keeps.
const LINES: usize = 40;

pub struct Engine {
    at: At,
}

enum At {
    /// The path of a socket of this machine.
    Socket(String),
    /// The base of its URLs.
    Url(String),
}

impl Engine {
    /// As `[docker] host` and `DOCKER_HOST` name it.
    pub fn at(host: &str) -> Result<Self, Failure> {
        let at = match host.split_once("://") {
            Some(("unix", path)) => At::Socket(path.to_owned()),
            Some(("tcp", place)) => At::Url(format!("http://{}", place.trim_end_matches('/'))),
            Some(("http" | "https", _)) => At::Url(host.trim_end_matches('/').to_owned()),
            _ => {
                let text = format!("`{host}`: an engine is asked over unix, tcp, http or https only");
                return Err(Failure::new(FailKind::Unsupported, text).at(Stage::Connect));
            }
        };
        Ok(Self { at })
    }

    /// Whether its processes are this machine's.
    pub fn is_here(&self) -> bool {
        matches!(self.at, At::Socket(_))
    }

    pub async fn inspect(&self, name: &str, deadline: Instant) -> Result<Container, Failure> {
        self.document(name, deadline).await.map(|(container, _)| container)
    }

    /// One variable that a container was made with; nothing else of its environment is kept.
    pub async fn variable(
        &self,
        name: &str,
        variable: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        self.document(name, deadline).await.map(|(_, v)| read::variable(&v, variable))
    }

    async fn document(&self, name: &str, deadline: Instant) -> Result<(Container, Value), Failure> {
        let answer = self.get(&format!("/containers/{name}/json"), deadline).await;
        let (answer, clock) = answer.map_err(|f| match f.stage {
            Some(Stage::Body) if f.kind == FailKind::Missing => {
                Failure { detail: format!("no container {name}"), ..f }
            }
            _ => f,
        })?;
        let value: Value = serde_json::from_slice(&answer.body).map_err(|_| shapeless(&answer))?;
        let found = read::container(&value).ok_or_else(|| shapeless(&answer))?;
        // The engine takes a word for the beginning of an id as well: that is somebody else's container.
        if !read::is_named(&value, &found.id, name) {
            return Err(Failure::new(FailKind::Missing, format!("no container {name}")).at(Stage::Body));
        }
        Ok((by(found, clock), value))
    }

    /// What the engine remembers of a container by its id: a name may have been another's.
    pub async fn events(&self, c: &Container, deadline: Instant) -> Result<Vec<UnitEvent>, Failure> {
        let kinds = ["start", "die", "kill", "stop", "oom"];
        let clock = Clock::ahead_by(c.clock_ahead_s);
        let (text, clock) = self.happened(&kinds, &[&c.id], Timestamp::UNIX_EPOCH, clock, deadline).await?;
        let mut all = read::events(&text, seconds(clock.theirs(clock::now())));
        all.iter_mut().for_each(|e| e.at = clock.ours(e.at));
        Ok(all)
    }

    /// What was done since then to containers by their names, each with what it is configured for. `ahead_s`
    /// is the engine's clock, where a look has shown it.
    pub async fn acts(
        &self,
        names: &[(String, String)],
        since: Timestamp,
        ahead_s: Option<f64>,
        deadline: Instant,
    ) -> Result<Vec<Change>, Failure> {
        let all: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let clock = Clock::ahead_by(ahead_s);
        // What brought it back waited for a while: its end is asked for as well.
        let from = since.checked_sub(SignedDuration::from_secs(acts::DELAY_S)).unwrap_or(since);
        let (text, clock) = self.happened(&acts::KINDS, &all, from, clock, deadline).await?;
        let mut all = acts::acts(&text, names);
        all.iter_mut().for_each(|c| c.at = clock.ours(c.at));
        all.retain(|c| c.at >= since);
        Ok(all)
    }

    /// By how many seconds its clock is ahead of ours, by its shortest answer.
    pub async fn ahead_s(&self, deadline: Instant) -> Result<Option<f64>, Failure> {
        let (_, clock) = self.get("/_ping", deadline).await?;
        clock.map(Clock::ahead_s).ok_or_else(no_time)
    }

    /// Events, one JSON object a line, and the clock that they are dated by.
    async fn happened(
        &self,
        kinds: &[&str],
        of: &[&str],
        since: Timestamp,
        clock: Clock,
        deadline: Instant,
    ) -> Result<(String, Clock), Failure> {
        let filters = json!({ "type": ["container"], "container": of, "event": kinds }).to_string();
        let filters: String = byte_serialize(filters.as_bytes()).collect();
        // Without an end in its past the answer has none.
        let (since, until) = (stamp(clock.theirs(since)), stamp(clock.end(clock::now())));
        let target = format!("/events?since={since}&until={until}&filters={filters}");
        let (answer, clock) = self.get(&target, deadline).await?;
        Ok((String::from_utf8_lossy(&answer.body).into_owned(), clock.ok_or_else(no_time)?))
    }

    /// What it said last; an engine may keep no log, or none that it can read.
    pub async fn lines(&self, id: &str, deadline: Instant) -> Result<Vec<LogLine>, Failure> {
        self.last(id, LINES, deadline).await
    }

    /// So many of them.
    pub async fn last(&self, id: &str, lines: usize, deadline: Instant) -> Result<Vec<LogLine>, Failure> {
        let target = format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&tail={lines}");
        let (answer, clock) = self.get(&target, deadline).await?;
        let clock = clock.ok_or_else(no_time)?;
        let mut all = read::lines(&answer.body);
        all.iter_mut().for_each(|l| l.at = clock.ours(l.at));
        Ok(all)
    }

    /// Names of others, the nearest first.
    pub async fn similar(&self, name: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let (answer, _) = self.get("/containers/json?all=1", deadline).await?;
        let all: Vec<Value> = serde_json::from_slice(&answer.body).map_err(|_| shapeless(&answer))?;
        let names = all.iter().filter_map(|c| c.get("Names")?.as_array()).flatten();
        let names = names.filter_map(Value::as_str).map(|n| n.trim_start_matches('/'));
        Ok(similar::near(name, names))
    }

    /// The answer, and the clock of who gave it; `None` where that is not said.
    async fn get(&self, target: &str, deadline: Instant) -> Result<(Answer, Option<Clock>), Failure> {
        let asked = clock::now();
        let answer = match &self.at {
            At::Socket(path) => http::get_unix(path, target, deadline).await,
            At::Url(base) => {
                let client = http::client_for(base, None, deadline).await?;
                let (url, ask) = (format!("{base}{target}"), Ask::get(&[]));
                http::send(&client, &url, &ask, |_, _| false, deadline).await
            }
        };
        let (answer, headers) = answer.map_err(|f| self.unreached(f))?;
        let kind = match answer.status {
            200 => {
                let date = headers.get("date").and_then(|d| d.to_str().ok());
                let clock = Clock::of(date, asked, clock::now());
                // What runs here has no other clock than we have.
                let same = (date.is_none() && self.is_here()).then(Clock::default);
                return Ok((answer, clock.or(same)));
            }
            401 | 403 => FailKind::Denied,
            404 => FailKind::Missing,
            _ => FailKind::Unsupported,
        };
        let text = format!("the engine answers HTTP {}: {}", answer.status, excerpt(&answer.body));
        Err(Failure::new(kind, text).at(Stage::Body))
    }

    fn unreached(&self, f: Failure) -> Failure {
        match (&self.at, f.kind, f.stage) {
            (At::Socket(path), FailKind::Missing, Some(Stage::Connect)) => {
                Failure { detail: format!("no container engine at {path}"), ..f }
            }
            (_, _, Some(Stage::Connect)) => {
                Failure { detail: format!("the container engine: {}", f.detail), ..f }
            }
            _ => f,
        }
    }
}

/// Its times by our clock; unknown where the engine's is.
fn by(c: Container, clock: Option<Clock>) -> Container {
    let ours = |at: Option<Timestamp>| Some(clock?.ours(at?));
    Container {
        started_at: ours(c.started_at),
        finished_at: ours(c.finished_at),
        clock_ahead_s: clock.and_then(Clock::ahead_s),
        ..c
    }
}

/// Seconds and their parts, as the engine takes them.
fn stamp(at: Timestamp) -> String {
    format!("{}.{:09}", at.as_second().max(0), at.subsec_nanosecond().max(0))
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

fn no_time() -> Failure {
    let text = "the engine does not say what time it is there";
    Failure::new(FailKind::Unsupported, text).at(Stage::Body)
}

fn shapeless(a: &Answer) -> Failure {
    let text = format!("what answers is no container engine: {}", excerpt(&a.body));
    Failure::new(FailKind::Malformed, text).at(Stage::Body)
}

#[cfg(test)]
mod tests;
