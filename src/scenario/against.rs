//! What speaks against a cause: the parts that scenarios build it from. Each cause has one line in its
//! scenario's `why_not`, made of what its rule reads; a test holds every line against its rule.

use std::collections::BTreeSet;

use super::db_down;
use super::facts;
use super::login::{Meaning, meaning};
use super::place::Place;
use super::witness;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Cause, Fact, Stand};
use crate::snapshot::postgres::{PostgresLook, Server};
use crate::snapshot::{FailKind, Look, Looks, Reading, Snapshot};

/// A database server as the subject of a cause.
pub struct OfServer<'a> {
    pub p: &'a Postgres,
    pub look: &'a PostgresLook,
    pub now: &'a Snapshot,
    pub before: Option<&'a Snapshot>,
    pub config: &'a Config,
}

/// A service as the subject of a cause.
pub struct OfService<'a> {
    pub s: &'a Service,
    pub now: &'a Snapshot,
    pub config: &'a Config,
    /// The servers that are not well for no reason that is known: the same for all of a thousand.
    pub unclear: &'a BTreeSet<&'a str>,
}

/// Which subjects a cause could concern, and how it stands at one. It holds where its rule finds it,
/// and nowhere else.
pub enum Against {
    Server(fn(&'static Cause, &OfServer) -> Stand),
    Service(fn(&'static Cause, &OfService) -> Stand),
    /// Subjects of several kinds.
    Named(fn(&Looks, &Config) -> Vec<(String, Stand)>),
}

impl Against {
    /// For each subject that was looked at, and those that were not.
    pub fn stands(&self, cause: &'static Cause, looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
        let now = &looks.now;
        match self {
            Against::Server(of) => config
                .postgres
                .iter()
                .map(|p| {
                    let stand = match now.postgres.get(&p.name) {
                        Some(look) => {
                            of(cause, &OfServer { p, look, now, before: looks.before.as_ref(), config })
                        }
                        None => unseen("postgres login", &p.name, "not looked at", "a look at it"),
                    };
                    (p.name.clone(), stand)
                })
                .collect(),
            Against::Named(of) => of(looks, config),
            Against::Service(of) => {
                let unclear = &db_down::unclear(now, config);
                let all = config.service.iter();
                all.map(|s| (s.name.clone(), of(cause, &OfService { s, now, config, unclear }))).collect()
            }
        }
    }
}

pub fn unseen(probe: &str, fact: &str, value: impl Into<String>, needs: &str) -> Stand {
    Stand::Unseen(vec![Fact::new(probe, fact, value, needs)])
}

pub fn ruled_out(probe: &str, fact: &str, value: impl Into<String>, needs: &str) -> Stand {
    Stand::RuledOut(vec![Fact::new(probe, fact, value, needs)])
}

/// Why a look gave no value.
pub fn why<T>(look: &Look<T>) -> String {
    match &look.reading {
        Reading::Seen { .. } => "seen".into(),
        Reading::Failed(f) => f.detail.clone(),
        Reading::NotAsked { why } => format!("not asked: {why}"),
    }
}

impl OfServer<'_> {
    /// What our own login came to.
    pub fn login(&self, needs: &str) -> Fact {
        let value = match &self.look.login.reading {
            Reading::Seen { .. } => "accepted".to_owned(),
            _ => why(&self.look.login),
        };
        Fact::new("postgres login", &self.look.endpoint, value, needs)
    }

    /// A login that was not made, or whose answer nobody can read, rules nothing out.
    pub fn login_means(&self, wanted: Meaning, needs: &str) -> Stand {
        let fact = || vec![self.login(needs)];
        match &self.look.login.reading {
            Reading::Failed(f) if meaning(f) == wanted => Stand::Holds,
            Reading::Failed(f) if f.kind == FailKind::NotTried || meaning(f) == Meaning::Other => {
                Stand::Unseen(fact())
            }
            Reading::NotAsked { .. } => Stand::Unseen(fact()),
            Reading::Seen { .. } | Reading::Failed(_) => Stand::RuledOut(fact()),
        }
    }

    pub fn takes_logins(&self) -> Stand {
        Stand::when(facts::takes_logins(self.look), || self.login("a server that looks at logins"))
    }

    /// What the server says of itself, where it was asked.
    pub fn inside(&self, of: impl FnOnce(&Server) -> Stand) -> Stand {
        match facts::server(self.now, &self.p.name) {
            Some(server) => of(server),
            None => unseen("postgres sessions", &self.p.name, why(&self.look.server), "a login of our own"),
        }
    }

    /// A service that uses it says so: in its health answer, or as its last words.
    pub fn says(&self, what: fn(&str) -> bool, needs: &str) -> Stand {
        if !witness::of(&self.p.name, self.now, self.config, what).is_empty() {
            return Stand::Holds;
        }
        let mut clients = facts::clients(&self.p.name, self.config).peekable();
        if clients.peek().is_none() {
            return ruled_out("configuration", "services that need it", "none", needs);
        }
        Stand::any(clients.map(|s| said(s, self.now, needs)))
    }
}

/// What a service says now: something else, or nothing that could be had.
fn said(s: &Service, now: &Snapshot, needs: &str) -> Stand {
    let health = facts::health(now, &s.name);
    if let Some(h) = health {
        let words = match (h.is_bad(), h.messages.first()) {
            (false, _) => Some(format!("is not unhealthy (HTTP {})", h.http_status)),
            (true, _) if h.says_connected() => Some("says that its database is connected".into()),
            (true, Some(m)) => Some(m.clone()),
            (true, None) => None,
        };
        if let Some(words) = words {
            return ruled_out("http health", &s.name, words, needs);
        }
    }
    let place = Place::of(s);
    let line = place.and_then(|p| Some((p, facts::last_line(p.journal(now)?)?)));
    if let Some((place, line)) = line {
        return ruled_out(place.log(), &s.name, format!("{} ({})", line.text, line.at), needs);
    }
    let health = now.services.get(&s.name).filter(|_| health.is_none());
    let words = health.map_or_else(|| "no words of it were seen".into(), |look| why(&look.health));
    unseen("http health", &s.name, words, needs)
}
