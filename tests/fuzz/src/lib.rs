//! What every reader promises, whatever it is given: no panic, no hang, no raw escape in what is
//! printed, what was read is written and read again as itself, no secret in an error.
//! A promise that is broken is a panic here: libFuzzer keeps the input that did it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod docker;
mod documents;
mod mcp;
mod server;
mod settings;

/// Takes whatever comes, and panics where a promise is broken.
pub type Target = fn(&[u8]);

/// The targets by name: readers of what is recorded, of what people write, of what a server sends.
pub static TARGETS: &[(&str, Target)] = &[
    ("health", documents::health),
    ("snapshot", documents::snapshot),
    ("journal", documents::journal),
    ("metrics", documents::metrics),
    ("events", mcp::events),
    ("docker", docker::docker),
    ("config", settings::config),
    ("url", settings::url),
    ("pgpass", settings::pgpass),
    ("server", server::server),
];

/// What reaches a terminal or a log: no control character but line breaks.
pub fn is_printable(text: &str) {
    let raw = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(raw.is_none(), "a raw {raw:?} in {text:?}");
}

/// Texts in a snapshot are masked and cut; they are escaped where they are printed.
pub fn is_short(text: &str, limit: usize) {
    assert!(text.chars().count() <= limit, "{} characters: {text:?}", text.chars().count());
}
