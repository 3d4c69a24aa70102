//! Each scenario is one pipeline and pure: no async, no clock, no client.
//! `registry` lists them; `against` says what speaks against a cause; `facts`, `login`, `clusters`, `targets`, `witness`, `way`, `log`, `place` and `ends` hold what they derive from readings.

mod against;
pub mod clusters;
mod db_down;
mod ends;
mod facts;
mod firewall;
mod log;
mod login;
pub mod place;
mod pool_exhausted;
mod registry;
mod server_crash;
mod targets;
mod way;
mod witness;

pub use registry::{ALL, Scenario, by_name, causes, why_not};
