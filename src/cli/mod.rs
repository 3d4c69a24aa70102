//! The clap tree and nothing else: one file a verb. Looks nothing up, judges nothing, prints by `render`.

mod config;
mod diagnose;
mod exit;
mod generate;
mod run;
mod runbook;
mod save;
mod schema;
mod tree;

pub use run::run;
pub use tree::Cli;
