//! Where each value of the effective configuration came from.
//! Paths only (`service[0].url`), never values: an origin can be shown to anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The layer that had the last word on a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Built in, or derived from a value beside it.
    #[default]
    Default,
    File {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "${name}"),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

impl Origin {
    /// As the end of a sentence: `in /etc/mcp-ir/config.toml:3`.
    pub fn place(&self) -> String {
        match self {
            Origin::Default => "in the built-in defaults".into(),
            Origin::File { .. } => format!("in {self}"),
            Origin::Variable(_) => format!("from {self}"),
            Origin::Flag(_) => format!("of {self}"),
        }
    }
}

/// The origin of every value, by its path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn set(&mut self, path: impl Into<String>, origin: Origin) {
        self.0.insert(path.into(), origin);
    }

    /// Forgets a value and all that is under it.
    pub(super) fn remove(&mut self, path: &str) {
        self.0.retain(|p, _| !under(p, path));
    }

    /// The values of a later layer win.
    pub(super) fn extend(&mut self, later: Origins) {
        self.0.extend(later.0);
    }

    /// The origin of a value; of what it stands in, where it has none of its own.
    pub fn of(&self, path: &str) -> &Origin {
        let mut path = path;
        loop {
            if let Some(origin) = self.0.get(path) {
                return origin;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return &Origin::Default,
            }
        }
    }

    /// The origin of a value itself, not of what it stands in.
    pub fn exact(&self, path: &str) -> &Origin {
        self.0.get(path).unwrap_or(&Origin::Default)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(p, o)| (p.as_str(), o))
    }
}

fn under(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_an_origin_has_that_of_its_table() {
        let mut o = Origins::default();
        o.set("service[0]", Origin::Variable("A".into()));
        o.set("service[0].url", Origin::Flag("--x"));
        assert_eq!(o.of("service[0].url"), &Origin::Flag("--x"));
        assert_eq!(o.of("service[0].health.path"), &Origin::Variable("A".into()));
        assert_eq!(o.exact("service[0].health"), &Origin::Default);
        assert_eq!(o.of("service[1].url"), &Origin::Default);
    }

    #[test]
    fn removing_a_kind_leaves_its_namesakes() {
        let mut o = Origins::default();
        for p in ["redis[0]", "redis[0].url", "redis[1].url", "rediska"] {
            o.set(p, Origin::Flag("--x"));
        }
        o.remove("redis[0]");
        assert_eq!(o.iter().map(|(p, _)| p).collect::<Vec<_>>(), ["redis[1].url", "rediska"]);
    }
}
