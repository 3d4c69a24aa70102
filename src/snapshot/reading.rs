//! What came of one probe: seen, failed, or not asked. A failed reading is an observation.
//! Knows nothing of how a look is made.

use serde::{Deserialize, Serialize};

/// The outcome of one bounded look at one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Reading<T> {
    Seen { value: T },
    Failed(Failure),
    NotAsked { why: String },
}

/// A reading and the time it took, in milliseconds by the clock of the vantage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look<T> {
    pub elapsed_ms: f64,
    pub reading: Reading<T>,
}

/// Why a look gave no value. `detail` is others' text: mask it and escape it before it leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailKind,
    pub detail: String,
    /// How far the look came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Redis's own first word, where it was Redis that refused: `NOAUTH`, `LOADING`, …; the status
    /// where Ollama answered with an error; `HTTP 503`, `error -32603` or `session` of an MCP
    /// endpoint; `size` where too much was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// PostgreSQL's own words, where it was PostgreSQL that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Box<PgRefusal>>,
}

/// A closed set: rules match it without a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailKind {
    /// The address answered that nothing listens there.
    Refused,
    /// No answer within the deadline.
    TimedOut,
    /// It answered, and does not let us look.
    Denied,
    /// What was to be looked at does not exist.
    Missing,
    /// It answered what can't be understood.
    Malformed,
    /// It answered that it can't do this.
    Unsupported,
    /// The name does not resolve.
    Unresolved,
    /// No route to the address.
    Unreachable,
    /// The connection was closed or reset in the middle.
    Closed,
    /// The server's certificate or protocol was not accepted, or ours was not.
    Tls,
    /// Our own side could not try: no descriptor, no memory. Says nothing of the other side.
    NotTried,
}

impl FailKind {
    /// As a word for tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            FailKind::Refused => "refused",
            FailKind::TimedOut => "timed-out",
            FailKind::Denied => "denied",
            FailKind::Missing => "missing",
            FailKind::Malformed => "malformed",
            FailKind::Unsupported => "unsupported",
            FailKind::Unresolved => "unresolved",
            FailKind::Unreachable => "unreachable",
            FailKind::Closed => "closed",
            FailKind::Tls => "tls",
            FailKind::NotTried => "not-tried",
        }
    }
}

/// The stages of a look over a connection, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Resolve,
    Connect,
    Tls,
    /// Connected; waiting for the first answer.
    Answer,
    /// The answer began and did not end.
    Body,
    /// Logged in; a query did not end.
    Query,
}

/// PostgreSQL's ErrorResponse: SQLSTATE decides, the routine tells apart what shares one in any
/// language, the text last (wire.md 9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PgRefusal {
    pub sqlstate: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routine: Option<String>,
}

impl Failure {
    pub fn new(kind: FailKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), stage: None, code: None, postgres: None }
    }

    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Reading::not_asked("not asked")
    }
}

impl<T> Reading<T> {
    pub fn not_asked(why: impl Into<String>) -> Self {
        Reading::NotAsked { why: why.into() }
    }

    pub fn seen(&self) -> Option<&T> {
        match self {
            Reading::Seen { value } => Some(value),
            Reading::Failed(_) | Reading::NotAsked { .. } => None,
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Reading::Failed(f) => Some(f),
            Reading::Seen { .. } | Reading::NotAsked { .. } => None,
        }
    }

    /// The outcome as a word for tables and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Reading::Seen { .. } => "seen",
            Reading::Failed(f) => f.kind.word(),
            Reading::NotAsked { .. } => "not-asked",
        }
    }
}

impl<T> From<Result<T, Failure>> for Reading<T> {
    fn from(r: Result<T, Failure>) -> Self {
        match r {
            Ok(value) => Reading::Seen { value },
            Err(f) => Reading::Failed(f),
        }
    }
}

impl<T> Look<T> {
    pub fn not_asked(why: impl Into<String>) -> Self {
        Self { elapsed_ms: 0.0, reading: Reading::not_asked(why) }
    }

    pub fn seen(&self) -> Option<&T> {
        self.reading.seen()
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.reading.failure()
    }
}
