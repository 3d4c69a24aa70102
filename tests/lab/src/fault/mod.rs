//! The faults: one entry each, real, healed afterwards.
//! An entry says what was done and what the tool must make of it; it judges nothing.

mod control;
mod crash;
mod database;
mod entry;
mod pool;

pub use entry::{Fault, all, find};
