//! Recoveries against the real thing: inject, recover, verify by other means than the tool's, undo, and
//! compare with the state of before. Innocents are counted before and after.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ages;
mod asides;
mod bench;
mod connections;
mod environment;
mod flush;
mod guarded;
mod harm;
mod hung;
mod killed;
mod limits;
mod pool;
mod ports;
mod prompt;
mod remedies;
mod removal;
mod sessions;
mod signals;
mod upkeep;
mod verify;
mod words;
