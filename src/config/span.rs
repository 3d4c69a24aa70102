//! A length of time as people write it: `5s`, `500ms`, `1h 30m`.
//! Never negative; read and written by `jiff`'s friendly format.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration that reads and prints as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Seconds, with fractions.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("`{s}` is not a length of time (examples: 500ms, 5s, 10m, 1h30m)");
        let d: jiff::SignedDuration = s.trim().parse().map_err(|_| bad())?;
        Duration::try_from(d).map(Span).map_err(|_| bad())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(d) => write!(f, "{d:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_what_people_write() {
        for (text, ms) in [("5s", 5000), ("500ms", 500), ("10m", 600_000), ("1h30m", 5_400_000)] {
            let s: Span = text.parse().unwrap();
            assert_eq!(s.0.as_millis(), ms, "{text}");
            assert_eq!(s.to_string().parse::<Span>().unwrap(), s, "{text} → {s}");
        }
        for text in ["", "5", "soon", "-5s", "1e99h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
