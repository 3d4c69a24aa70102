//! What may be touched at all: what the configuration names, and of it what is ours. An act that stands in
//! a journal is a report of what was done; by that alone it is no order.

use crate::config::{Config, Postgres, Service};
use crate::plan::{Act, Aside, Kept, Removal, Whom, settable};
use crate::scenario::clusters::is_cluster;

/// Limits that a drop-in of ours may set.
const LIMITS: [&str; 4] = ["MemoryMax", "MemoryHigh", "TasksMax", "LimitNOFILE"];

/// `Err` says what is not under care.
pub fn under_care(act: &Act, config: &Config) -> Result<(), String> {
    let not = |what: &str| Err(format!("{what} is not under care by this configuration"));
    match act {
        Act::DropIn { unit, from, to } => {
            let Some(s) = service_of(unit, config) else { return not(&format!("{unit}, as a service,")) };
            [from, to].into_iter().flatten().try_for_each(|text| ours(text, s))
        }
        Act::SetAside { service, aside } | Act::PutBack { service, aside } => match config.service(service) {
            Some(s) if s.caches.contains(&aside.folder) && is_beside(aside) => Ok(()),
            _ => not(&format!("{}, as a cache of {service},", aside.folder)),
        },
        // Of the port that it is asked at, and of no other.
        Act::EndHolder(h) => match config.service(&h.service).and_then(Service::address) {
            Some((_, port)) if port == h.port => Ok(()),
            _ => not(&format!("port {} of {}", h.port, h.service)),
        },
        Act::ResizePool { service, .. } if config.service(service).is_none() => not(service),
        Act::EndSession(Whom { server, databases, .. }) => match config.postgres(server) {
            Some(p) => match databases.iter().find(|d| !p.databases.contains(d)) {
                Some(other) => not(&format!("the database {other} of {server}")),
                None => Ok(()),
            },
            None => not(server),
        },
        Act::Upkeep(u) => match config.postgres(&u.server) {
            Some(p) if p.place() == u.url => Ok(()),
            Some(_) => Err(format!("{} is another server now by the configuration", u.server)),
            None => not(&u.server),
        },
        Act::Remove(r) => match config.postgres(&r.server) {
            Some(p) if p.place() == r.url => kept(r, p),
            Some(_) => Err(format!("{} is another server now by the configuration", r.server)),
            None => not(&r.server),
        },
        Act::Flush(f) => match config.redis(&f.redis) {
            Some(r) if r.url != f.url => Err(format!("{} is another one now by the configuration", f.redis)),
            Some(r) if f.prefix.as_ref().is_none_or(|prefix| r.is_cache(prefix)) => Ok(()),
            Some(_) => Err(format!("{} has no such prefix among its `cache_prefixes`", f.redis)),
            None => not(&f.redis),
        },
        // Its own unit's, and a line that we write.
        Act::Connections(c) if config.postgres(&c.server).is_none() || !is_known(&c.unit, config) => {
            not(&c.server)
        }
        Act::ProveConnections { server, .. } if config.postgres(server).is_none() => not(server),
        Act::Connections(_) | Act::ProveConnections { .. } => Ok(()),
        Act::ResizePool { .. } | Act::Wait { .. } => Ok(()),
        _ => match act.unit() {
            Some(unit) if is_known(unit, config) => Ok(()),
            other => not(other.unwrap_or("what it is done to")),
        },
    }
}

/// Of a database that is under care; a physical slot has none. A transaction is ended in its own database alone.
fn kept(r: &Removal, p: &Postgres) -> Result<(), String> {
    match &r.of {
        Kept::Slot { database: Some(d), .. } if !p.databases.contains(d) => {
            Err(format!("the database {d} of {} is not under care by this configuration", p.name))
        }
        Kept::Prepared { database, .. } if *database != p.url.dbname => {
            Err(format!("{} is of the database {database}, and {} is logged in to", r.what(), p.url.dbname))
        }
        Kept::Slot { .. } | Kept::Prepared { .. } => Ok(()),
    }
}

/// Our own name for it, in the same folder.
fn is_beside(a: &Aside) -> bool {
    let number =
        a.to.strip_prefix(a.folder.trim_end_matches('/')).and_then(|rest| rest.strip_prefix(".aside-"));
    number.is_some_and(|n| n.parse::<u32>().is_ok())
}

fn service_of<'a>(unit: &str, config: &'a Config) -> Option<&'a Service> {
    config.service.iter().find(|s| s.unit.as_deref() == Some(unit))
}

fn is_known(unit: &str, config: &Config) -> bool {
    let units = config
        .service
        .iter()
        .map(|s| &s.unit)
        .chain(config.postgres.iter().map(|p| &p.unit))
        .chain(config.pooler.iter().map(|p| &p.unit))
        .chain(config.redis.iter().map(|r| &r.unit))
        .chain(config.ollama.iter().map(|o| &o.unit));
    // A server that names none, or Debian's umbrella, has the cluster's that systemd lists.
    let unnamed = || config.postgres.iter().any(|p| p.container.is_none() && by_cluster(p.unit.as_deref()));
    units.flatten().any(|u| u == unit) || (is_cluster(unit) && unnamed())
}

fn by_cluster(unit: Option<&str>) -> bool {
    unit.is_none_or(|u| u == "postgresql.service")
}

/// The text of our drop-in of a service: only lines of the kinds that we write. What else stands there may
/// be an order to run something, or a secret: it is neither shown, kept nor written.
pub fn ours(text: &str, s: &Service) -> Result<(), String> {
    let pool = s.pool.as_ref();
    let known =
        |name: &str| pool.is_some_and(|p| [&p.max_env, &p.min_env].into_iter().flatten().any(|v| v == name));
    let plain = |v: &str| v.chars().all(|c| c.is_ascii_alphanumeric() || "._:,/-".contains(c));
    let line = |l: &str| match l.split_once('=') {
        _ if l.trim().is_empty() || l.starts_with('#') || l == "[Service]" => true,
        Some(("Environment", set)) => set
            .split_once('=')
            .is_some_and(|(name, value)| known(name) && plain(value) || settable(name, value).is_ok()),
        Some((key, value)) => LIMITS.contains(&key) && plain(value),
        None => false,
    };
    match text.lines().position(|l| !line(l) || l.ends_with('\\')) {
        Some(at) => Err(format!(
            "line {} of zz-mcp-ir.conf is none that mcp-ir writes: it belongs into a file of its own",
            at + 1
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        crate::config::defaults().unwrap().config
    }

    fn drop_in(unit: &str, to: &str) -> Act {
        Act::DropIn { unit: unit.into(), from: None, to: Some(to.into()) }
    }

    #[test]
    fn rule_7_what_is_not_configured_is_not_touched_whoever_says_so() {
        let config = config();
        let unit = || "ssh.service".to_owned();
        for act in [
            Act::StopUnit { unit: unit() },
            Act::RestartUnit { unit: unit() },
            drop_in("ssh.service", "[Service]\nMemoryMax=1G\n"),
            Act::ResizePool { service: "other".into(), url: String::new(), from: 1, to: 2 },
            Act::StartUnit { unit: "postgresql-backup.service".into() },
        ] {
            assert!(under_care(&act, &config).unwrap_err().contains("not under care"), "{act:?}");
        }
        assert!(under_care(&Act::StopUnit { unit: "codebase-mcp.service".into() }, &config).is_ok());
        assert!(under_care(&Act::StartUnit { unit: "postgresql@15-main.service".into() }, &config).is_ok());
    }

    #[test]
    fn rule_7_what_a_server_keeps_for_others_databases_is_not_taken_away() {
        let config = config();
        let p = &config.postgres[0];
        let of = |url: String, of| Act::Remove(Removal { server: p.name.clone(), url, of });
        let slot = |database: Option<&str>| {
            let (kind, database) = ("logical".into(), database.map(Into::into));
            Kept::Slot { name: "cdc".into(), kind, database, restart_lsn: None }
        };
        let prepared = |database: &str| {
            let (gid, owner, prepared) = ("g".into(), "o".into(), "2026".into());
            Kept::Prepared { gid, owner, database: database.into(), prepared }
        };
        for own in [slot(None), slot(Some("codebase_mcp")), prepared("codebase_mcp")] {
            assert_eq!(under_care(&of(p.place(), own.clone()), &config), Ok(()), "{own:?}");
            let elsewhere = under_care(&of("postgresql://a@other/codebase_mcp".into(), own), &config);
            assert!(elsewhere.unwrap_err().contains("another server"));
        }
        for others in [slot(Some("reports")), prepared("reports")] {
            assert!(under_care(&of(p.place(), others), &config).unwrap_err().contains("reports"));
        }
    }

    #[test]
    fn rule_3_a_journal_can_not_order_what_we_never_write() {
        let config = config();
        for text in [
            "[Service]\nExecStartPre=/bin/sh -c id\n",
            "[Service]\nEnvironment=LD_PRELOAD=/tmp/x.so\n",
            "[Service]\nEnvironment=POOL_MAX_SIZE=20 LD_PRELOAD=/tmp/x.so\n",
            "[Service]\nEnvironment=POOL_MAX_SIZE=20\\\n",
            "# \\\n[Service]\n",
            "[Unit]\nOnFailure=x.service\n",
            "[Service]\nUser=root\n",
        ] {
            assert!(under_care(&drop_in("codebase-mcp.service", text), &config).is_err(), "{text}");
        }
        let secret =
            under_care(&drop_in("codebase-mcp.service", "[Service]\nEnvironment=API_KEY=hunter2\n"), &config);
        assert!(!secret.unwrap_err().contains("hunter2"), "rule 9: it is said which line, not what");
        let text = "# Written by mcp-ir\n[Service]\nEnvironment=POOL_MAX_SIZE=20\nMemoryMax=1.5G\n";
        assert_eq!(under_care(&drop_in("codebase-mcp.service", text), &config), Ok(()));
    }
}
