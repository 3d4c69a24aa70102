//! Options of `recover` that ask for something of a service itself, and what they come to.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::config::Span;
use crate::diagnosis::shell_word;
use crate::error::{Error, Result};
use crate::plan::{Ages, Ask, Told, Wanted, settable};

#[derive(Debug, Default, Args)]
pub struct Asks {
    /// memory: the most that it may have (512M, 2G), though nothing is wrong
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["max_size", "free_port"])]
    pub memory_max: Option<Size>,
    /// memory, latency: a variable of its environment, by a drop-in and a restart; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with_all = ["max_size", "free_port", "memory_max"])]
    pub env: Vec<String>,
    /// latency: the same of LOG_LEVEL; what does not heed it is rolled back
    #[arg(long, value_name = "LEVEL", value_parser = level, conflicts_with_all = ["max_size", "free_port", "memory_max"])]
    pub log_level: Option<String>,
    /// server: end whoever listens at its port though it is not of its unit, and start it
    #[arg(long)]
    pub free_port: bool,
    /// with --free-port, --restart, --restart-dependencies: how long who is told to end has, before he is
    /// killed [default: 10s; 30s for what hangs; none for what is being stopped]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<Span>,
    /// pool: how many connections PostgreSQL takes; it is restarted for that, and every session ends
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with_all = OTHERS)]
    pub max_connections: Option<u64>,
    /// pool: end the sessions that have been idle for longer, those in a transaction first; of a pool's spares
    /// only where slots are short
    #[arg(long, value_name = "TIME", conflicts_with_all = OTHERS, conflicts_with = "max_connections")]
    pub kill_idle: Option<Span>,
    /// pool: cancel the statements that have run for longer; what does not heed it is ended
    #[arg(long, value_name = "TIME", conflicts_with_all = OTHERS, conflicts_with = "max_connections")]
    pub terminate_older_than: Option<Span>,
    /// db: start the one that failed to start, once its reason is gone
    #[arg(long, conflicts_with_all = VALUES)]
    pub start: bool,
    /// db, latency: restart the one that accepts and does not answer, or whose shutdown a client holds open; or a
    /// service that is slow for no reason that can be seen
    #[arg(long, conflicts_with_all = VALUES)]
    pub restart: bool,
    /// server: restart a Redis or an Ollama that runs and gives no answer
    #[arg(long, conflicts_with_all = VALUES)]
    pub restart_dependencies: bool,
    /// server: set the configured caches of a service aside, whatever is in them; nothing is deleted
    #[arg(long, conflicts_with_all = OTHERS, conflicts_with_all = BY_NAME, conflicts_with_all = ["flush_cache", "flush_db"])]
    pub reset_state: bool,
    /// server, latency: unlink the keys of Redis that begin so, one of its `cache_prefixes`
    #[arg(long, value_name = "PREFIX", conflicts_with_all = OTHERS, conflicts_with_all = BY_NAME)]
    pub flush_cache: Option<String>,
    /// server: flush one database of a Redis, whatever is in it; its name is typed
    #[arg(long, value_name = "REDIS/N", value_parser = database, conflicts_with_all = OTHERS, conflicts_with_all = BY_NAME, conflicts_with = "flush_cache")]
    pub flush_db: Option<(String, u32)>,
    /// db: drop a replication slot that nobody reads, nor will; its name is typed
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = OTHERS, conflicts_with_all = BY_NAME, conflicts_with_all = ["flush_cache", "flush_db"])]
    pub drop_slot: Option<String>,
    /// pool: roll back a prepared transaction that its coordinator has given up; its name is typed
    #[arg(long, value_name = "GID", allow_hyphen_values = true, conflicts_with_all = OTHERS, conflicts_with_all = BY_NAME, conflicts_with_all = ["flush_cache", "flush_db", "drop_slot"])]
    pub rollback_prepared: Option<String>,
}

/// Each is a run of its own.
const OTHERS: [&str; 5] = ["max_size", "free_port", "memory_max", "env", "log_level"];
/// What a word for what is found would be lost beside.
const VALUES: [&str; 12] = [
    "max_size",
    "memory_max",
    "env",
    "log_level",
    "max_connections",
    "kill_idle",
    "terminate_older_than",
    "reset_state",
    "flush_cache",
    "flush_db",
    "drop_slot",
    "rollback_prepared",
];
const BY_NAME: [&str; 3] = ["max_connections", "kill_idle", "terminate_older_than"];

/// `redis/0`
fn database(text: &str) -> std::result::Result<(String, u32), String> {
    let parts = text.rsplit_once('/').filter(|(name, _)| !name.is_empty());
    let (name, number) = parts.ok_or("it is a name and a number: redis/0")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number of a database"))?;
    Ok((name.to_owned(), number))
}

/// Not by clap, whose errors show the value: it may be a secret.
fn variable(text: &str) -> Result<(String, String)> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(
            Error::usage("--env takes KEY=VALUE").hint("mcp-ir recover memory --env MALLOC_ARENA_MAX=2")
        );
    };
    settable(name, value).map_err(|why| Error::usage(format!("--env: {why}")))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn level(text: &str) -> std::result::Result<String, String> {
    let word = text.to_ascii_uppercase();
    let known = ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"];
    if known.contains(&word.as_str()) { Ok(word) } else { Err(format!("one of {}", known.join(", "))) }
}

/// Bytes, as people and systemd write them: `512M` is 512 × 1024 × 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// With less than this no program starts.
const LEAST: u64 = 1 << 20;

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || format!("`{text}` is no size of memory (examples: 512M, 2G, 1.5G)");
        let plain = text.trim().trim_end_matches("iB").trim_end_matches('B');
        let unit = |c: char| "KMGT".find(c.to_ascii_uppercase());
        let (number, shift) = match plain.chars().last().and_then(unit) {
            Some(at) => (&plain[..plain.len() - 1], 10 * (at as u32 + 1)),
            None => (plain, 0),
        };
        let number: f64 = number.trim().parse().map_err(|_| bad())?;
        let bytes = number * 2_f64.powi(shift.cast_signed());
        if !bytes.is_finite() || bytes < LEAST as f64 || bytes > (1_u64 << 50) as f64 {
            return Err(bad());
        }
        Ok(Self(bytes as u64))
    }
}

/// Of the 90 s that an act has.
const LONGEST_S: u64 = 60;
const GRACE_S: u64 = 10;

impl Asks {
    /// The scenario that they are of, where none is named and one is enough.
    pub fn scenario(&self) -> Option<&'static str> {
        if self.max_connections.is_some() || self.ages().any() || self.rollback_prepared.is_some() {
            return Some("pool-exhausted");
        }
        if self.start || self.drop_slot.is_some() {
            return Some("db-down");
        }
        let of = self.free_port
            || self.restart_dependencies
            || self.reset_state
            || self.flush_cache.is_some()
            || self.flush_db.is_some();
        of.then_some("server-crash")
    }

    pub fn asked(&self, ask: Ask) -> Result<Ask> {
        let grace = self.grace.map_or(GRACE_S, |g| g.0.as_secs());
        let short = |span: &Option<Span>| span.as_ref().is_some_and(|s| s.as_secs_f64() < 1.0);
        if short(&self.kill_idle) || short(&self.terminate_older_than) {
            let e = Error::usage("who is between two statements is not idle: 1s at least");
            return Err(e.hint("mcp-ir recover pool --kill-idle 10m"));
        }
        if self.grace.is_some() && !(self.free_port || self.restart || self.restart_dependencies) {
            let e = Error::usage("--grace is of who is told to end");
            return Err(e.hint("mcp-ir recover server --free-port --grace 30s"));
        }
        // A last checkpoint, or what is saved, takes its time.
        let longest = if self.free_port { LONGEST_S } else { 10 * LONGEST_S };
        if !(1..=longest).contains(&grace) {
            return Err(Error::usage(format!("--grace is 1s at least, and {longest}s at most")));
        }
        Ok(Ask {
            free_port: self.free_port.then_some(grace),
            memory_max: self.memory_max.map(|s| s.0),
            env: self.variables()?,
            max_connections: self.max_connections,
            reset_state: self.reset_state,
            ages: self.ages(),
            told: Told {
                start: self.start,
                restart: self.restart,
                dependencies: self.restart_dependencies,
                grace_s: self.grace.map(|g| g.0.as_secs()),
            },
            flush_cache: self.flush_cache.clone(),
            flush_db: self.flush_db.clone(),
            remove: self.removed(),
            ..ask
        })
    }

    pub fn ages(&self) -> Ages {
        let seconds = |span: &Option<Span>| span.as_ref().map(|s| s.as_secs_f64());
        Ages { idle: seconds(&self.kill_idle), statement: seconds(&self.terminate_older_than) }
    }

    fn removed(&self) -> Option<Wanted> {
        let slot = self.drop_slot.clone().map(Wanted::Slot);
        slot.or_else(|| self.rollback_prepared.clone().map(Wanted::Prepared))
    }

    fn variables(&self) -> Result<Vec<(String, String)>> {
        let level = self.log_level.iter().map(|level| ("LOG_LEVEL".to_owned(), level.clone()));
        let named = self.env.iter().map(|text| variable(text)).collect::<Result<Vec<_>>>()?;
        let all: Vec<(String, String)> = named.into_iter().chain(level).collect();
        // The last one would win, and the others be called ignored.
        let twice = |(at, (name, _)): &(usize, &(String, String))| all[..*at].iter().any(|(n, _)| n == name);
        match all.iter().enumerate().find(twice) {
            Some((_, (name, _))) => Err(Error::usage(format!("{name} is asked for twice"))),
            None => Ok(all),
        }
    }

    /// As they are typed.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.free_port.then(|| "--free-port".to_owned()));
        words.extend(self.memory_max.map(|s| format!("--memory-max {}", s.0)));
        words.extend(self.env.iter().map(|text| format!("--env {}", shell_word(text))));
        words.extend(self.log_level.as_ref().map(|level| format!("--log-level {level}")));
        words.extend(self.max_connections.map(|n| format!("--max-connections {n}")));
        let ages = [("--kill-idle", &self.kill_idle), ("--terminate-older-than", &self.terminate_older_than)];
        let age = |(name, span): (&str, &Option<Span>)| {
            span.as_ref().map(|span| format!("{name} {}", shell_word(&span.to_string())))
        };
        words.extend(ages.into_iter().filter_map(age));
        let told = [
            (self.start, "--start"),
            (self.restart, "--restart"),
            (self.restart_dependencies, "--restart-dependencies"),
            (self.reset_state, "--reset-state"),
        ];
        words.extend(told.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
        words.extend(self.flush_cache.iter().map(|p| format!("--flush-cache {}", shell_word(p))));
        let whole = self.flush_db.iter().map(|(redis, n)| shell_word(&format!("{redis}/{n}")));
        words.extend(whole.map(|name| format!("--flush-db {name}")));
        words.extend(self.removed().iter().map(Wanted::words));
        words.extend(self.grace.map(|g| format!("--grace {}", shell_word(&g.to_string()))));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_systemd_reads_it() {
        let size = |text: &str| text.parse::<Size>().map(|s| s.0);
        for (text, bytes) in [
            ("512M", 512 << 20),
            ("2G", 2 << 30),
            ("1.5g", 3 << 29),
            ("1048576", 1 << 20),
            ("2GiB", 2 << 30),
            (" 4096K ", 4 << 20),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1G", "0", "1k", "nan", "infG", "1e40", "12 parsecs", "9999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errata_46_a_database_is_named_with_its_number() {
        assert_eq!(database("redis/3"), Ok(("redis".into(), 3)));
        for text in ["redis", "redis/", "redis/x", "/0", "", "redis/-1"] {
            assert!(database(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rule_9_a_secret_that_is_typed_as_a_variable_is_refused_and_not_shown() {
        for text in ["DB_PASSWORD=hunter2", "API_KEY=hunter2", "hunter2", "lower=hunter2"] {
            let e = variable(text).unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
        let twice = Asks { env: vec!["A=1".into()], log_level: None, ..Asks::default() };
        assert!(twice.variables().is_ok());
        let twice = Asks { env: vec!["A=1".into(), "A=2".into()], ..twice };
        assert!(twice.variables().is_err(), "the first would be called ignored");
        assert_eq!(variable("MALLOC_ARENA_MAX=2").unwrap().1, "2");
        assert_eq!((level("debug"), level("loud").is_err()), (Ok("DEBUG".into()), true));
    }
}
