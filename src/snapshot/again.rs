//! What is read a second time, where one reading can't tell: a rate needs two, a known time apart.

/// Each by the configured name of its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// The health answer of a service.
    Health(String),
    /// The metrics page of a service.
    Metrics(String),
    /// What the time of a PostgreSQL goes into.
    Work(String),
    /// A Redis, its totals too.
    Redis(String),
    Ollama(String),
    /// How much a service writes to its log, by its environment; once is enough.
    Level(String),
    /// The memory of the host.
    Memory,
    /// What a service or server takes of it.
    Taken(String),
    /// What this host has to do, and what these wait for.
    Load(Vec<String>),
}
