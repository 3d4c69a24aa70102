//! The faults: one entry each, real, healed afterwards.
//! An entry says what was done and what the tool must make of it; it judges nothing.

mod access;
mod contained;
mod container;
mod control;
mod crash;
mod damage;
mod database;
mod dependency;
mod died;
mod disk;
mod entry;
mod holders;
mod host_latency;
mod latency;
mod mcp;
mod memory;
mod network;
mod noise;
mod own;
mod pairs;
mod plain;
mod pool;
mod pooler;
mod queues;
mod silent;
mod start;
mod upkeep;
mod vantage;

pub use entry::{Fault, all, find};
pub use vantage::Vantage;
