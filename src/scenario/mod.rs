//! Each scenario is one pipeline and pure: no async, no clock, no client.
//! `registry` lists them; `flush` and `removal` are what only a person asks for; `against` says what speaks against a cause; `facts`, `login`, `clusters`, `targets`, `witness`, `way`, `log`, `place`, `contained`, `ends`, `certificate` and `rate` hold what they derive from readings.

mod against;
mod certificate;
pub mod clusters;
mod contained;
mod db_down;
mod ends;
mod environment;
mod facts;
mod firewall;
mod flush;
mod latency;
mod log;
mod login;
mod memory;
pub mod place;
mod pool_exhausted;
pub mod rate;
mod registry;
mod removal;
mod server_crash;
mod steps;
mod targets;
mod way;
mod witness;

pub use clusters::own_unit;
pub use db_down::damaged_index;
pub use ends::longest_run;
pub use environment::request as environment_request;
pub use facts::{
    PAYLOAD, fill as pool_fill, is_closed, is_shutting_down, is_unheard, pool as pool_report, pool_max,
};
pub use flush::flush;
pub use latency::slowed;
pub use memory::request as memory_request;
pub use pool_exhausted::{
    by_age, is_of_age, kill, more_connections, recovered as pool_recovered, request as pool_request, served,
};
pub use registry::{ALL, Scenario, again, by_name, causes, plan, remark, undecided, why_not};
pub use removal::{gone, is_of, removal};
pub use server_crash::{
    bare_process, meets, recovered as service_recovered, reset as state_reset, serves_mcp,
};
