//! The one error of the program: what kind, what happened, what to try next.
//! A failed look at the world is not an error but a reading (`snapshot::reading`).

use std::fmt;

/// Why the program itself could not do its work. Decides the exit code (`cli::exit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line asks for what is not there.
    Usage,
    /// The configuration, or a file it names, can't be used.
    Config,
    /// A file of ours could not be read or written.
    File,
    /// A defect of the program.
    Internal,
}

impl Kind {
    /// The word in `-o json` errors.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Config => "config",
            Kind::File => "file",
            Kind::Internal => "internal",
        }
    }
}

/// An error with its next step.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hints: Vec<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Kind::File, message)
    }

    /// Adds a next step; several are printed in the order they were added.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Offers the nearest known word, if one is near enough to be a typing mistake.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
