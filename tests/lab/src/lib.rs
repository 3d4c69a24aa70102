//! The lab: real parts to break, for `mcp-ir` to find out what broke.
//! It never uses the tool's own code: what judges must not share a mistake with what is judged.
//!
//! - [`Stack`]: PostgreSQL and two sample servers, under a booted systemd where that can be had
//! - [`fault`]: one entry a fault, with what the tool must say of it
//! - [`matrix`], [`demo`], [`bench`], [`prove`], [`up`], [`picture`]: the commands of the binary `lab`

// The bans are the tool's: its rules know no clock, only its `render` prints. The lab is
// a command of its own, and its servers have to end without ceremony.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods)]

mod apart;
pub mod bench;
mod boot;
mod certificate;
mod cluster;
mod contenders;
pub mod demo;
mod disk;
mod docker;
pub mod fault;
pub mod guard;
mod http;
pub mod matrix;
pub mod measure;
mod names;
mod neighbour;
pub mod picture;
mod plain;
mod program;
pub mod prove;
mod pypi;
mod score;
pub mod serve;
mod service;
mod settings;
mod sql;
mod stack;
mod table;
pub mod tool;
mod units;
pub mod up;
mod wait;

pub use boot::Booted;
pub use cluster::{BATCH, SERVICES, Secret, TOOL};
pub use fault::Fault;
pub use service::Service;
pub use settings::Settings;
pub use sql::Session;
pub use stack::{Mode, Stack};
