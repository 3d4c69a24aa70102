//! Readings and the looks, as data. Pure: no clock, no client, no file.
//! Every type here is part of the saved snapshot, versioned by `whole::SCHEMA`.

mod again;
pub mod certificate;
pub mod changes;
pub mod containers;
pub mod host;
pub mod load;
pub mod mcp;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod ollama;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod reading;
pub mod redis;
pub mod service;
pub mod slots;
pub mod units;
pub mod who;
mod whole;
pub mod work;

pub use again::Again;
pub use reading::{FailKind, Failure, Look, PgRefusal, Reading, Stage};
pub use whole::{Looks, SCHEMA, Snapshot, Vantage, no_changes, no_listeners};
