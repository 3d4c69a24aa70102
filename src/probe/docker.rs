//! A container engine by its own API, over its socket: of one container its state, what happened to it,
//! its last lines. GET only. Read with types of our own: every answer has a limit and each stage a deadline,
//! and a state that a later engine invents is still a state.

mod read;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::http::{self, Answer, excerpt};
use super::similar;
use crate::snapshot::containers::Container;
use crate::snapshot::units::{LogLine, UnitEvent};
use crate::snapshot::{FailKind, Failure, Stage};

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
        let answer = answer.map_err(|f| match f.stage {
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
        Ok((found, value))
    }

    /// What the engine remembers of a container by its id: a name may have been another's.
    pub async fn events(&self, id: &str, deadline: Instant) -> Result<Vec<UnitEvent>, Failure> {
        #[expect(clippy::disallowed_methods, reason = "without an end in the past the answer has none")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let kinds = ["start", "die", "kill", "stop", "oom"];
        let filters = json!({ "type": ["container"], "container": [id], "event": kinds }).to_string();
        let filters: String = byte_serialize(filters.as_bytes()).collect();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let target = format!("/events?since=0&until={until}&filters={filters}");
        let answer = self.get(&target, deadline).await?;
        Ok(read::events(&String::from_utf8_lossy(&answer.body), now.as_secs_f64()))
    }

    /// What it said last; an engine may keep no log, or none that it can read.
    pub async fn lines(&self, id: &str, deadline: Instant) -> Result<Vec<LogLine>, Failure> {
        let target = format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&tail={LINES}");
        Ok(read::lines(&self.get(&target, deadline).await?.body))
    }

    /// Names of others, the nearest first.
    pub async fn similar(&self, name: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let answer = self.get("/containers/json?all=1", deadline).await?;
        let all: Vec<Value> = serde_json::from_slice(&answer.body).map_err(|_| shapeless(&answer))?;
        let names = all.iter().filter_map(|c| c.get("Names")?.as_array()).flatten();
        let names = names.filter_map(Value::as_str).map(|n| n.trim_start_matches('/'));
        Ok(similar::near(name, names))
    }

    async fn get(&self, target: &str, deadline: Instant) -> Result<Answer, Failure> {
        let answer = match &self.at {
            At::Socket(path) => http::get_unix(path, target, deadline).await,
            At::Url(base) => {
                let client = http::client_for(base, None, deadline).await?;
                http::get(&client, &format!("{base}{target}"), &[], deadline).await
            }
        };
        let answer = answer.map_err(|f| self.unreached(f))?;
        let kind = match answer.status {
            200 => return Ok(answer),
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

fn shapeless(a: &Answer) -> Failure {
    let text = format!("what answers is no container engine: {}", excerpt(&a.body));
    Failure::new(FailKind::Malformed, text).at(Stage::Body)
}

#[cfg(test)]
mod tests;
