//! Each scenario is one pipeline and pure: no async, no clock, no client.
//! `registry` lists them; `facts` and `login` hold what several derive alike.

mod db_down;
mod facts;
mod login;
mod pool_exhausted;
mod registry;
mod server_crash;

pub use registry::{ALL, Scenario, by_name, causes};
