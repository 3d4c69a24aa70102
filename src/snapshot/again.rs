//! What is read a second time, where one reading can't tell: a rate needs two, a known time apart.

/// Each by the configured name of its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// The health answer of a service.
    Health(String),
    /// The metrics page of a service.
    Metrics(String),
}
