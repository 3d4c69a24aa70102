//! Whether a service is told of another database than what is looked at for it. Pure.
//! Names may mean one host, a pooler may stand between: what may be the same is not called another.

use crate::config::{Config, Postgres, Service};
use crate::snapshot::network::{Door, Target, endpoint};
use crate::snapshot::{FailKind, Reading, Snapshot};

/// A service's database that is not the one looked at.
pub struct Elsewhere<'a> {
    pub target: &'a Target,
    pub server: &'a Postgres,
    pub how: How,
}

/// How it is known. Only the first two can mean nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The server is the same.
    Database,
    /// Another cluster of this host listens there itself.
    Cluster(u32),
    /// Nothing listens there: another place, or a pooler that is down.
    Closed,
    /// The name means nothing to this machine.
    Unresolved,
    /// Something answers, or it can't be told: it may be a way to the same server.
    Unclear,
}

impl How {
    pub fn sure(self) -> bool {
        matches!(self, How::Database | How::Cluster(_))
    }
}

/// `None` where it names what is looked at, a pooler, or nothing that could be read; and where the
/// service is seen at the server by name.
pub fn elsewhere<'a>(s: &Service, now: &'a Snapshot, config: &'a Config) -> Option<Elsewhere<'a>> {
    let targets = now.services.get(&s.name)?.targets.seen()?;
    let needs = crate::diagnosis::needs(&s.name, config);
    let servers: Vec<&Postgres> =
        config.postgres.iter().filter(|p| needs.contains(p.name.as_str())).collect();
    let own = |t: &Target| {
        servers.iter().any(|p| same_place(t, &p.url, now) != Some(false) && same_database(t, p))
            || config.pooler.iter().any(|p| same_place(t, &p.url, now) != Some(false))
            || door(t, now) == Some(&Door::Pooler)
    };
    let target = targets.first()?;
    if targets.iter().any(own) || seen_at(s, now, config).is_some() {
        return None;
    }
    if let Some(server) = servers.iter().find(|p| same_place(target, &p.url, now) == Some(true)) {
        return Some(Elsewhere { target, server, how: How::Database });
    }
    let failed = |r: Option<&FailKind>, kind| r == Some(&kind);
    let resolved = now.network.hosts.get(&target.host).and_then(Reading::failure).map(|f| &f.kind);
    let opened = now.network.doors.get(&target.endpoint()).and_then(Reading::failure).map(|f| &f.kind);
    let how = match door(target, now) {
        Some(Door::Cluster { pid }) => How::Cluster(*pid),
        _ if failed(resolved, FailKind::Unresolved) => How::Unresolved,
        _ if failed(opened, FailKind::Refused) => How::Closed,
        _ => How::Unclear,
    };
    Some(Elsewhere { target, server: servers.first()?, how })
}

fn door<'a>(t: &Target, now: &'a Snapshot) -> Option<&'a Door> {
    now.network.doors.get(&endpoint(&t.host, t.port)).and_then(Reading::seen)
}

/// `None`: not known.
fn same_place(t: &Target, url: &crate::config::PgUrl, now: &Snapshot) -> Option<bool> {
    let theirs = url.host.text();
    if t.port != url.port {
        return Some(false);
    }
    if t.host == theirs {
        return Some(true);
    }
    let host = |name: &str| now.network.hosts.get(name);
    match (host(&t.host)?, host(&theirs)?) {
        (Reading::Seen { value: a }, Reading::Seen { value: b }) => {
            Some((a.here && b.here) || a.addresses.iter().any(|x| b.addresses.contains(x)))
        }
        (Reading::Failed(f), Reading::Seen { .. }) if f.kind == FailKind::Unresolved => Some(false),
        _ => None,
    }
}

/// Where the tool logs in to the server's own `postgres` nobody said which database is the services'.
fn same_database(t: &Target, p: &Postgres) -> bool {
    let unsaid = p.databases.iter().all(|d| d == "postgres");
    t.database.as_ref().is_none_or(|d| unsaid || *d == p.url.dbname || p.databases.contains(d))
}

/// The server that has a session of its name in a database of the services': it has a way there.
pub fn seen_at<'a>(s: &Service, now: &Snapshot, config: &'a Config) -> Option<&'a Postgres> {
    let needs = crate::diagnosis::needs(&s.name, config);
    let has = |p: &&Postgres| {
        let all = super::facts::server(now, &p.name).map(|v| v.consumers.as_slice()).unwrap_or_default();
        all.iter().any(|c| c.application == s.name && p.databases.contains(&c.database))
    };
    config.postgres.iter().filter(|p| needs.contains(p.name.as_str())).find(has)
}

/// It has sessions of its name in that database of the server that is looked at.
pub fn uses(s: &Service, target: &Target, server: &Postgres, now: &Snapshot) -> bool {
    let all = super::facts::server(now, &server.name).map(|v| v.consumers.as_slice()).unwrap_or_default();
    all.iter().any(|c| c.application == s.name && target.database.as_ref() == Some(&c.database))
}
