//! The clap tree and nothing else: one file a verb. Looks nothing up, judges nothing, prints by `render`.

mod again;
mod asks;
mod before;
mod check;
mod config;
mod diagnose;
mod evidence;
mod exit;
mod fit;
mod generate;
mod hold;
mod incident;
mod load;
mod look;
mod place;
mod recover;
mod ring;
mod run;
mod runbook;
mod save;
mod schema;
mod tree;
mod undo;
mod verify;
mod who;
mod why_not;

pub use run::run;
pub use tree::Cli;
