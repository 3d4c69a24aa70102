//! What the tool may see and what not, with the one line that would grant it. Pure: from a look at
//! everything. A missing permission is no finding: it makes looks partial, not systems ill.

use serde::Serialize;

use crate::plan::shell_word;
use crate::snapshot::{FailKind, Look, Reading, Snapshot};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Permit {
    Granted,
    Missing,
    /// It could not be tried: what is to be looked at is not there, or does not answer.
    Untried,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// `log in`, `see all sessions`, `read the journal`, …
    pub what: String,
    pub subject: String,
    pub state: Permit,
    pub says: String,
    /// One line to type, or the key to set.
    pub grant: Option<String>,
}

pub fn permissions(now: &Snapshot) -> Vec<Permission> {
    let mut out = Vec::new();
    for p in &now.config.postgres {
        let Some(look) = now.postgres.get(&p.name) else { continue };
        let role = quoted(&p.url.user);
        let not_connect =
            look.login.failure().and_then(|f| f.postgres.as_ref()).is_some_and(|e| e.sqlstate == "42501");
        let grant = if not_connect {
            format!("GRANT CONNECT ON DATABASE {} TO {role};", quoted(&p.url.dbname))
        } else {
            format!("password_file of `{}` (readable by you), PGPASSWORD, or ~/.pgpass", p.name)
        };
        out.push(by_look("log in", &p.name, &look.login, |_| format!("as {}", p.url.user), grant));
        if let Some(server) = look.server.seen() {
            out.push(Permission {
                what: "see all sessions".into(),
                subject: p.name.clone(),
                state: if server.sees_all { Permit::Granted } else { Permit::Missing },
                says: if server.sees_all {
                    "all shown"
                } else {
                    "other roles' states are hidden: counts only"
                }
                .into(),
                grant: (!server.sees_all).then(|| format!("GRANT pg_monitor TO {role};")),
            });
        }
    }
    for p in &now.config.pooler {
        let Some(look) = now.poolers.get(&p.name) else { continue };
        let grant =
            format!("stats_users = {} in pgbouncer.ini, and password_file of `{}`", p.url.user, p.name);
        let says = |_: &crate::snapshot::pooler::Pools| format!("as {}", p.url.user);
        out.push(by_look("ask its console", &p.name, &look.pools, says, grant));
    }
    for r in &now.config.redis {
        let Some(look) = now.redis.get(&r.name) else { continue };
        let grant = format!("password_file of `{}`, and the user in its url", r.name);
        out.push(by_look("ask Redis", &r.name, &look.ping, |()| "PONG".into(), grant));
        if let Reading::Failed(f) = &look.settings
            && look.ping.seen().is_some()
        {
            let user = r.user().unwrap_or_else(|| "default".into());
            let denied = f.kind == FailKind::Denied;
            out.push(Permission {
                what: "read its settings".into(),
                subject: r.name.clone(),
                state: if denied { Permit::Missing } else { Permit::Untried },
                says: f.detail.clone(),
                grant: denied.then(|| format!("ACL SETUSER {} +config|get", shell_word(&user))),
            });
        }
    }
    for o in &now.config.ollama {
        let Some(look) = now.ollama.get(&o.name) else { continue };
        let grant = format!("url of `{}`: an address that asks for no login", o.name);
        out.push(by_look("ask Ollama", &o.name, &look.models, |m| format!("{} models", m.len()), grant));
    }
    for s in &now.config.service {
        let Some(look) = now.services.get(&s.name).filter(|_| s.url.is_some()) else { continue };
        let grant = format!("headers_file of `{}` in the configuration", s.name);
        out.push(by_look(
            "ask its health",
            &s.name,
            &look.health,
            |h| format!("HTTP {}", h.http_status),
            grant,
        ));
        if let Some(m) = &look.mcp {
            let says = |h: &crate::snapshot::mcp::Hello| format!("protocol {}", h.protocol);
            let grant = format!("headers_file of `{}` in the configuration", s.name);
            out.push(by_look("ask its MCP endpoint", &s.name, &m.initialize, says, grant));
        }
        match &look.pool_max {
            Reading::NotAsked { .. } => {}
            reading => {
                let look = Look { elapsed_ms: 0.0, reading: reading.clone() };
                let grant = "run as root, or as the service's own user".to_owned();
                out.push(by_look(
                    "read its environment",
                    &s.name,
                    &look,
                    |m| format!("{} by {}", m.value, m.source),
                    grant,
                ));
            }
        }
    }
    if !matches!(now.units.listed.reading, Reading::NotAsked { .. }) {
        let grant = format!("systemd.bus in the configuration (now {})", now.config.systemd.bus);
        let says = |l: &std::collections::BTreeMap<_, _>| format!("{} units asked for", l.len());
        out.push(by_look("ask systemd", "system bus", &now.units.listed, says, grant));
    }
    for (unit, look) in &now.units.journal {
        let grant = match &now.config.systemd.journal {
            Some(folder) => format!(
                "setfacl -R -m {} {}",
                shell_word(&format!("u:{}:rX", now.vantage.user)),
                shell_word(folder)
            ),
            None => {
                format!("usermod -aG systemd-journal {}   # then log in anew", shell_word(&now.vantage.user))
            }
        };
        let says = |j: &crate::snapshot::units::Journal| format!("{} lines", j.lines.len() + j.events.len());
        out.push(by_look("read the journal", unit, look, says, grant));
    }
    for (server, log) in &now.host.logs {
        let who = shell_word(&now.vantage.user);
        let grant = format!("usermod -aG adm {who}   # Debian's logs are that group's; then log in anew");
        let look = Look { elapsed_ms: 0.0, reading: log.clone() };
        let says = |l: &crate::snapshot::host::Log| format!("{} lines of {}", l.lines.len(), l.path);
        out.push(by_look("read its log", server, &look, says, grant));
    }
    if !matches!(now.network.rules, Reading::NotAsked { .. }) {
        let look = Look { elapsed_ms: 0.0, reading: now.network.rules.clone() };
        let says = |all: &Vec<_>| format!("{} rules that drop or reject", all.len());
        let grant = "run as root, or with the capability CAP_NET_ADMIN".to_owned();
        out.push(by_look("read the packet filter", "nft", &look, says, grant));
    }
    for (unit, look) in &now.units.process {
        let grant = "run as root: this /proc is not shown to you".to_owned();
        out.push(by_look("see its process", unit, look, |p| format!("process {}", p.pid), grant));
    }
    out.extend(engine(now));
    out.sort_by_key(|p| (p.state != Permit::Missing, p.state == Permit::Granted));
    out
}

/// One engine for all of them: that it has no such container, it has said itself.
fn engine(now: &Snapshot) -> Option<Permission> {
    let all: Vec<_> = now.containers.values().collect();
    let denied = all.iter().find(|c| c.inspected.failure().is_some_and(|f| f.kind == FailKind::Denied));
    let look = denied.or_else(|| all.first())?;
    let group =
        format!("usermod -aG docker {}   # as good as root; then log in anew", shell_word(&now.vantage.user));
    let says = format!("{} containers asked for", all.len());
    Some(if look.is_missing() {
        let (what, subject) = ("ask the container engine".into(), now.config.docker.host.clone());
        Permission { what, subject, state: Permit::Granted, says, grant: None }
    } else {
        let subject = &now.config.docker.host;
        by_look("ask the container engine", subject, &look.inspected, |_| says.clone(), group)
    })
}

fn by_look<T>(
    what: &str,
    subject: &str,
    look: &Look<T>,
    says: impl Fn(&T) -> String,
    grant: String,
) -> Permission {
    let (state, says) = match &look.reading {
        Reading::Seen { value } => (Permit::Granted, says(value)),
        Reading::Failed(f) if f.kind == FailKind::Denied => (Permit::Missing, f.detail.clone()),
        Reading::Failed(f) => (Permit::Untried, f.detail.clone()),
        Reading::NotAsked { why } => (Permit::Untried, why.clone()),
    };
    let grant = (state == Permit::Missing).then_some(grant);
    Permission { what: what.into(), subject: subject.into(), state, says, grant }
}

/// An SQL identifier, quoted where it has to be.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
