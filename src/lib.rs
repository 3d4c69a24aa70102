//! `mcp-ir`: incident response for services on PostgreSQL, Redis and Ollama.
//!
//! The map of the house. Imports point down this list only; `tests/house.rs` reads them and fails
//! on one that points up.
//!
//! - `cli`        the clap tree and nothing else: one file a verb
//! - `render`     human, json, progress: the only code that prints
//! - `engine`     look → diagnose: everything at once, by one deadline; → plan → consent → act → verify
//! - `incident`   the journal of what was done, and how it is taken back
//! - `action`     the only code that changes the world: systemd, files, http, postgres
//! - `consent`    the one way to it, bound to a plan
//! - `probe`      postgres http systemd host: looks, never writes
//! - `scenario`   db_down pool_exhausted server_crash memory: pure rules, one pipeline each
//! - `diagnosis`  findings → roots, what explains what, the verdict (pure)
//! - `plan`       steps as data: risk, precondition, undo (pure)
//! - `snapshot`   readings and the looks (pure)
//! - `config`     what is under care, thresholds, where each value came from
//! - `error`      the program's own errors, with hints

pub mod action;
pub mod cli;
pub mod config;
pub mod consent;
pub mod diagnosis;
pub mod engine;
pub mod error;
pub mod incident;
pub mod plan;
pub mod probe;
pub mod render;
pub mod scenario;
pub mod snapshot;
