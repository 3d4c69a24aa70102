//! Which option of `recover` is of which scenario.

use super::asks::Asks;
use super::recover::RecoverArgs;
use crate::error::{Error, Result, nearest};
use crate::scenario;

/// An option that asks for something by itself, and the scenarios that it can be meant of.
pub struct Value {
    pub given: bool,
    pub says: &'static str,
    pub of: &'static [&'static str],
    /// Beside every root as well.
    pub all: bool,
    pub hint: &'static str,
}

/// `None` is every root: a value that is set for one service would hide what else is down.
fn fit(values: impl IntoIterator<Item = Value>, scenario: Option<&str>) -> Result<()> {
    let fits = |v: &Value| scenario.map_or(v.all, |name| v.of.contains(&name));
    match values.into_iter().find(|v| v.given && !fits(v)) {
        Some(v) => Err(Error::usage(v.says).hint(v.hint)),
        None => Ok(()),
    }
}

/// The scenario that is meant, where it is one; and whether all are.
pub fn which(args: &RecoverArgs) -> Result<(Option<String>, bool)> {
    let name = match args.scenario.as_deref() {
        // Of what, is not to be guessed.
        None if args.asks.restart => {
            let e = Error::usage("--restart is of a database or of a slow service");
            return Err(e.hint("mcp-ir recover db --restart").hint("mcp-ir recover latency --restart"));
        }
        None => {
            let of = args.max_size.map(|_| "pool-exhausted").or_else(|| args.asks.scenario());
            // Beside another one a word would be lost.
            if of.is_some() {
                fit(args.asks.with_size(args.max_size), of)?;
            }
            return Ok((of.map(str::to_owned), false));
        }
        Some("all") => {
            fit(args.asks.with_size(args.max_size), None)?;
            return Ok((None, true));
        }
        Some(name) => name,
    };
    let Some(scenario) = scenario::by_name(name) else {
        let names = scenario::ALL.iter().flat_map(|s| [s.name, s.alias]).chain(["all"]);
        let e = Error::usage(format!("no scenario is called `{name}`"));
        return Err(match nearest(name, names) {
            Some(near) => e.hint(format!("did you mean `{near}`?")),
            None => e.hint("`mcp-ir runbook` lists the scenarios"),
        });
    };
    fit(args.asks.with_size(args.max_size), Some(scenario.name))?;
    Ok((Some(scenario.name.to_owned()), false))
}

impl Asks {
    /// As they are asked for, each with what it is of.
    pub fn values(&self) -> [Value; 13] {
        let variables = !self.env.is_empty() || self.log_level.is_some();
        [
            // A word for what is found, whatever else is: it names no value.
            Value {
                given: self.free_port,
                says: "--free-port is of a server",
                of: &["server-crash"],
                all: true,
                hint: "mcp-ir recover server --free-port",
            },
            Value {
                given: variables,
                says: "--env and --log-level are of a service",
                of: &["server-crash", "latency", "memory"],
                all: false,
                hint: "mcp-ir recover memory --env KEY=VALUE",
            },
            Value {
                given: self.memory_max.is_some(),
                says: "--memory-max is of a service",
                of: &["server-crash", "memory"],
                all: false,
                hint: "mcp-ir recover memory --memory-max SIZE",
            },
            Value {
                given: self.max_connections.is_some(),
                says: "--max-connections is of a PostgreSQL, for its pools",
                of: &["pool-exhausted"],
                all: false,
                hint: "mcp-ir recover pool --max-connections N",
            },
            Value {
                given: self.ages().any(),
                says: "--kill-idle and --terminate-older-than are of a PostgreSQL's sessions",
                of: &["pool-exhausted"],
                all: false,
                hint: "mcp-ir recover pool --kill-idle TIME",
            },
            // Words for what is found, as well.
            Value {
                given: self.start,
                says: "--start is of a database",
                of: &["db-down"],
                all: true,
                hint: "mcp-ir recover db --start",
            },
            Value {
                given: self.restart,
                says: "--restart is of a database that does not answer, or of a service that is slow",
                of: &["db-down", "latency"],
                all: false,
                hint: "mcp-ir recover db --restart",
            },
            Value {
                given: self.restart_dependencies,
                says: "--restart-dependencies is of what a server needs",
                of: &["server-crash"],
                all: true,
                hint: "mcp-ir recover server --restart-dependencies",
            },
            Value {
                given: self.reset_state,
                says: "--reset-state is of a server",
                of: &["server-crash"],
                all: false,
                hint: "mcp-ir recover server --reset-state",
            },
            Value {
                given: self.flush_cache.is_some(),
                says: "--flush-cache is of a server",
                of: &["server-crash", "latency"],
                all: false,
                hint: "mcp-ir recover server --flush-cache PREFIX",
            },
            Value {
                given: self.flush_db.is_some(),
                says: "--flush-db is of a server",
                of: &["server-crash"],
                all: false,
                hint: "mcp-ir recover server --flush-db REDIS/N",
            },
            Value {
                given: self.drop_slot.is_some(),
                says: "--drop-slot is of a PostgreSQL, for its WAL",
                of: &["db-down"],
                all: false,
                hint: "mcp-ir recover db --drop-slot NAME",
            },
            Value {
                given: self.rollback_prepared.is_some(),
                says: "--rollback-prepared is of a PostgreSQL, for its locks",
                of: &["pool-exhausted"],
                all: false,
                hint: "mcp-ir recover pool --rollback-prepared GID",
            },
        ]
    }

    /// And a pool's size beside them.
    pub fn with_size(&self, max_size: Option<u64>) -> impl Iterator<Item = Value> {
        let size = Value {
            given: max_size.is_some(),
            says: "--max-size is of a pool",
            of: &["pool-exhausted"],
            all: false,
            hint: "mcp-ir recover pool --max-size N",
        };
        std::iter::once(size).chain(self.values())
    }
}

#[cfg(test)]
mod tests {
    use super::super::asks::Size;
    use super::*;

    #[test]
    fn a_value_hides_nothing_else_that_is_down() {
        let fits = |asks: Asks, scenario| fit(asks.values(), scenario).is_ok();
        let size = || Asks { memory_max: Some(Size(1 << 30)), ..Asks::default() };
        let env = || Asks { env: vec!["A=1".into()], ..Asks::default() };
        let level = || Asks { log_level: Some("INFO".into()), ..Asks::default() };
        for asks in [size, env, level] {
            assert!(!fits(asks(), None), "of all of them");
            assert!(!fits(asks(), Some("db-down")));
            assert!(fits(asks(), Some("memory")));
        }
        assert!(!fits(size(), Some("latency")));
        let port = || Asks { free_port: true, ..Asks::default() };
        assert!(fits(port(), None) && fits(port(), Some("server-crash")) && !fits(port(), Some("memory")));
        assert!(fits(Asks::default(), None));
        let cache = || Asks { flush_cache: Some("mcp:cache:".into()), ..Asks::default() };
        let whole = || Asks { flush_db: Some(("redis".into(), 3)), ..Asks::default() };
        let more = || Asks { max_connections: Some(300), ..Asks::default() };
        assert!(
            fits(more(), Some("pool-exhausted")) && !fits(more(), None) && !fits(more(), Some("db-down"))
        );
        assert!(!fits(cache(), None) && !fits(whole(), None));
        assert!(fits(cache(), Some("server-crash")) && fits(whole(), Some("server-crash")));
        assert!(fits(cache(), Some("latency")) && !fits(whole(), Some("latency")));
        assert!(!fits(cache(), Some("db-down")) && !fits(whole(), Some("memory")));
        let slot = || Asks { drop_slot: Some("old_standby".into()), ..Asks::default() };
        let gid = || Asks { rollback_prepared: Some("transfer-4711".into()), ..Asks::default() };
        assert!(
            fits(slot(), Some("db-down")) && !fits(slot(), Some("pool-exhausted")) && !fits(slot(), None)
        );
        assert!(fits(gid(), Some("pool-exhausted")) && !fits(gid(), Some("db-down")) && !fits(gid(), None));
        assert_eq!((slot().scenario(), gid().scenario()), (Some("db-down"), Some("pool-exhausted")));
    }
}
