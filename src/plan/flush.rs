//! What of a Redis is thrown away: the keys of one prefix that the configuration calls a cache, or one
//! database that somebody named. Never all of them (errata 46).

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    pub redis: String,
    /// Where that is: its URL, without a password.
    pub url: String,
    pub database: u32,
    /// `None`: whatever is in that database.
    pub prefix: Option<String>,
}

/// How many keys are looked for at a time.
pub const BATCH: usize = 500;

impl Flush {
    /// What SCAN matches: the prefix letter by letter, whatever it holds.
    pub fn pattern(&self) -> Option<String> {
        let prefix = self.prefix.as_ref()?;
        let letter = |c: char| if "*?[]^-\\".contains(c) { format!("\\{c}") } else { c.to_string() };
        Some(prefix.chars().map(letter).chain(["*".to_owned()]).collect())
    }

    /// `redis/0`
    pub fn name(&self) -> String {
        format!("{}/{}", self.redis, self.database)
    }

    pub fn describe(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("unlink the keys {prefix}… of {}", self.name()),
            None => format!("flush all of {}", self.name()),
        }
    }

    /// redis-cli takes it by an option of its own.
    fn socket(&self) -> Option<&str> {
        let rest = self.url.strip_prefix("redis+").unwrap_or(&self.url).strip_prefix("unix://")?;
        rest.get(rest.find('/')?..)?.split('?').next()
    }

    pub fn command(&self) -> String {
        let place = match self.socket() {
            Some(path) => format!("-s {}", super::risk::shell_word(path)),
            None => format!("-u {}", super::risk::shell_word(&self.url)),
        };
        let cli = format!("redis-cli {place} -n {}", self.database);
        match self.pattern() {
            Some(pattern) => {
                let pattern = super::risk::shell_word(&pattern);
                format!("{cli} --scan --pattern {pattern} | xargs -r -n {BATCH} -d '\\n' {cli} UNLINK")
            }
            None => format!("{cli} FLUSHDB ASYNC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(prefix: Option<&str>) -> Flush {
        let (redis, url) = ("redis".into(), "redis://127.0.0.1:6379/0".into());
        Flush { redis, url, database: 2, prefix: prefix.map(Into::into) }
    }

    #[test]
    fn errata_46_a_prefix_is_no_pattern_and_never_is_everything_flushed() {
        assert_eq!(flush(Some("a*[b]:")).pattern().unwrap(), "a\\*\\[b\\]:*");
        for of in [flush(Some("mcp:cache:")), flush(None)] {
            let command = of.command();
            assert!(!command.contains("FLUSHALL") && command.contains("-n 2"), "{command}");
            assert_eq!(command.contains("FLUSHDB"), of.prefix.is_none());
        }
    }

    #[test]
    fn a_socket_is_named_as_redis_cli_takes_it() {
        for url in ["unix:///run/r.sock", "redis+unix:///run/r.sock?db=2", "redis+unix://u:****@/run/r.sock"]
        {
            let of = Flush { url: url.into(), ..flush(None) };
            assert_eq!(of.command(), "redis-cli -s /run/r.sock -n 2 FLUSHDB ASYNC", "{url}");
        }
    }
}
