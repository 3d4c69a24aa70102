//! What a recovery may be asked for by name: values, though nothing is wrong.

use clap::Args;

use crate::diagnosis::shell_word;
use crate::error::{Error, Result};
use crate::plan::Ask;

#[derive(Debug, Clone, Default, Args)]
pub struct Asked {
    /// server, latency: unlink the keys of Redis that begin so, one of its `cache_prefixes`
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["max_size", "flush_db"])]
    pub flush_cache: Option<String>,
    /// server: flush one database of a Redis, whatever is in it; its name is typed
    #[arg(long, value_name = "REDIS/N", value_parser = database, conflicts_with = "max_size")]
    pub flush_db: Option<(String, u32)>,
}

impl Asked {
    pub fn ask(&self, ask: Ask) -> Ask {
        Ask { flush_cache: self.flush_cache.clone(), flush_db: self.flush_db.clone(), ..ask }
    }

    /// The scenario that they are of, where none is named.
    pub fn scenario(&self) -> Option<&'static str> {
        (self.flush_cache.is_some() || self.flush_db.is_some()).then_some("server-crash")
    }

    /// Whether they can be meant of this one. Under `all` they would hide what is down: a request is done
    /// though nothing is wrong, and is well once it is done.
    pub fn fit(&self, scenario: &str) -> Result<()> {
        let of = |flag: &str, known: &[&str]| match known.contains(&scenario) {
            true => Ok(()),
            false => Err(Error::usage(format!("{flag} is of a server"))
                .hint(format!("mcp-ir recover server {}", self.words().join(" ")))),
        };
        match (&self.flush_cache, &self.flush_db) {
            (Some(_), _) => of("--flush-cache", &["server-crash", "latency"]),
            (_, Some(_)) => of("--flush-db", &["server-crash"]),
            _ => Ok(()),
        }
    }

    /// As they are typed.
    pub fn words(&self) -> Vec<String> {
        let cache = self.flush_cache.iter().map(|p| format!("--flush-cache {}", shell_word(p)));
        let whole =
            self.flush_db.iter().map(|(r, n)| format!("--flush-db {}", shell_word(&format!("{r}/{n}"))));
        cache.chain(whole).collect()
    }
}

/// `redis/0`
fn database(text: &str) -> std::result::Result<(String, u32), String> {
    let parts = text.rsplit_once('/').filter(|(name, _)| !name.is_empty());
    let (name, number) = parts.ok_or("it is a name and a number: redis/0")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number of a database"))?;
    Ok((name.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_its_own_scenario_and_never_of_all() {
        let cache = Asked { flush_cache: Some("mcp:cache:".into()), ..Asked::default() };
        let whole = Asked { flush_db: Some(("redis".into(), 3)), ..Asked::default() };
        for (asked, name, is) in [
            (&cache, "server-crash", true),
            (&cache, "latency", true),
            (&cache, "db-down", false),
            (&cache, "all", false),
            (&whole, "server-crash", true),
            (&whole, "latency", false),
            (&whole, "memory", false),
            (&whole, "all", false),
            (&Asked::default(), "all", true),
        ] {
            assert_eq!(asked.fit(name).is_ok(), is, "{asked:?} {name}");
        }
    }

    #[test]
    fn errata_46_a_database_is_named_with_its_number() {
        assert_eq!(database("redis/3"), Ok(("redis".into(), 3)));
        for text in ["redis", "redis/", "redis/x", "/0", "", "redis/-1"] {
            assert!(database(text).is_err(), "{text}");
        }
    }
}
