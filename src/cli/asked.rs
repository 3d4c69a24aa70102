//! What a recovery may be asked for by name: values, though nothing is wrong.

use clap::Args;

use crate::diagnosis::shell_word;
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

    /// As they are typed.
    pub fn words(&self) -> Vec<String> {
        let cache = self.flush_cache.iter().map(|p| format!("--flush-cache {}", shell_word(p)));
        let whole =
            self.flush_db.iter().map(|(r, n)| format!("--flush-db {}", shell_word(&format!("{r}/{n}"))));
        cache.chain(whole).collect()
    }
}

/// `redis/0`
fn database(text: &str) -> Result<(String, u32), String> {
    let parts = text.rsplit_once('/').filter(|(name, _)| !name.is_empty());
    let (name, number) = parts.ok_or("it is a name and a number: redis/0")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number of a database"))?;
    Ok((name.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errata_46_a_database_is_named_with_its_number() {
        assert_eq!(database("redis/3"), Ok(("redis".into(), 3)));
        for text in ["redis", "redis/", "redis/x", "/0", "", "redis/-1"] {
            assert!(database(text).is_err(), "{text}");
        }
    }
}
