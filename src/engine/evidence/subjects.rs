//! Whom evidence is gathered of: what is wrong, what that needs, then the rest; and where each is found.

use std::collections::BTreeSet;

use crate::config::{Config, PgHost};
use crate::diagnosis::{Diagnosis, Severity, needs};
use crate::probe::evidence::process::Known;
use crate::scenario::bare_process;
use crate::snapshot::Snapshot;

/// Of more than these the first stand for all.
pub const MOST: usize = 32;

#[derive(Debug, Clone, Default)]
pub struct Subject {
    pub name: String,
    /// The name of its folder.
    pub folder: String,
    pub unit: Option<String>,
    pub container: Option<String>,
    pub process: Option<Known>,
    /// Served on this host by whoever listens there.
    pub port: Option<u16>,
}

/// The first of them, and the names of those that are left out.
pub fn all(d: &Diagnosis, now: &Snapshot) -> (Vec<Subject>, Vec<String>) {
    let names = order(d, &now.config);
    let mut taken = BTreeSet::new();
    let mut subject = |(kind, name): &(&str, &str)| {
        let kind = if *kind == "service" { "services" } else { "servers" };
        let mut folder = format!("{kind}/{}", plain(name));
        while !taken.insert(folder.clone()) {
            folder.push('_');
        }
        of(name, folder, now)
    };
    let first = names.iter().take(MOST).map(&mut subject).collect();
    (first, names.iter().skip(MOST).map(|(_, name)| (*name).to_owned()).collect())
}

fn order<'a>(d: &'a Diagnosis, config: &'a Config) -> Vec<(&'static str, &'a str)> {
    let wrong: Vec<&str> =
        d.findings.iter().filter(|f| f.severity < Severity::P4).map(|f| f.subject.as_str()).collect();
    let unknown = d.unknown.iter().map(|u| u.subject.as_str());
    let needed = wrong.iter().flat_map(|name| needs(name, config));
    let rest = config.names().into_iter().map(|(_, name)| name);
    let mut seen = BTreeSet::new();
    let kinds = config.names();
    wrong
        .iter()
        .copied()
        .chain(unknown)
        .chain(needed)
        .chain(rest)
        .filter(|name| seen.insert(name.to_string()))
        .filter_map(|name| kinds.iter().find(|(_, n)| *n == name).map(|(kind, n)| (*kind, *n)))
        .collect()
}

/// A name may hold anything; a path shall not.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let text: String = name.chars().take(100).map(|c| if fits(c) { c } else { '_' }).collect();
    if text.is_empty() || text.starts_with('.') { format!("_{text}") } else { text }
}

pub fn of(name: &str, folder: String, now: &Snapshot) -> Subject {
    let config = &now.config;
    let (unit, container, address) = place(name, config);
    let seen = now.host.taken.get(name).and_then(|t| t.process.seen());
    let by_look = seen.map(|p| Known { pid: p.pid, began_s: Some(p.began_s) });
    let by_unit = || unit.as_ref().and_then(|u| now.units.details.get(u)?.seen()).map(|d| d.main_pid);
    let here = config.docker.host.starts_with("unix:");
    let by_engine = || {
        let known = container.as_ref().and_then(|c| now.containers.get(c)?.inspected.seen());
        known.map(|c| c.pid).filter(|_| here)
    };
    let by_port = || config.service(name).and_then(|s| bare_process(s, now));
    let number = by_unit().filter(|p| *p > 0).or_else(|| by_engine().filter(|p| *p > 0)).or_else(by_port);
    let process = by_look.or(number.map(|pid| Known { pid, began_s: None }));
    // What has a unit or a container and no process has ended: who listens there now is another.
    let bare = unit.is_none() && container.is_none();
    let port = address.filter(|(host, _)| bare && is_here(host)).map(|(_, port)| port);
    Subject { name: name.to_owned(), folder, unit, container, process, port }
}

type Place = (Option<String>, Option<String>, Option<(String, u16)>);

fn place(name: &str, config: &Config) -> Place {
    let tcp = |host: &PgHost, port: u16| match host {
        PgHost::Tcp(host) => Some((host.clone(), port)),
        // Most listen at the same port of this host, too.
        PgHost::Unix(_) => Some(("localhost".to_owned(), port)),
    };
    if let Some(s) = config.service(name) {
        let address = s.address().map(|(host, port)| (host.to_owned(), port));
        return (s.unit.clone(), s.container.clone(), address);
    }
    if let Some(p) = config.postgres(name) {
        return (p.unit.clone(), p.container.clone(), tcp(&p.url.host, p.url.port));
    }
    if let Some(p) = config.pooler(name) {
        return (p.unit.clone(), p.container.clone(), tcp(&p.url.host, p.url.port));
    }
    if let Some(r) = config.redis.iter().find(|r| r.name == name) {
        let address = match r.place() {
            Some(crate::config::RedisPlace::Tcp { host, port, .. }) => Some((host, port)),
            _ => None,
        };
        return (r.unit.clone(), r.container.clone(), address);
    }
    let ollama = config.ollama.iter().find(|o| o.name == name);
    ollama.map_or((None, None, None), |o| (o.unit.clone(), o.container.clone(), None))
}

fn is_here(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_no_path() {
        for (name, folder) in [
            ("api", "api"),
            ("postgresql@15-main.service", "postgresql@15-main.service"),
            ("../../etc", "_.._.._etc"),
            ("a/b c\n", "a_b_c_"),
            ("", "_"),
            ("..", "_.."),
        ] {
            assert_eq!(plain(name), folder);
        }
        assert!(plain(&"ä".repeat(5000)).len() <= 100);
    }

    #[test]
    fn only_this_hosts_addresses_are_looked_at_here() {
        for (host, here) in [("127.0.0.1", true), ("[::1]", true), ("localhost", true), ("10.0.0.1", false)] {
            assert_eq!(is_here(host), here, "{host}");
        }
    }
}
