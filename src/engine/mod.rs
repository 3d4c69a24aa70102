//! Look → diagnose. Asks everything at once, by one deadline; then asks more of what looked wrong.
//! Judges nothing itself: the scenarios do.

mod admission;
mod again;
mod awaited;
mod changed;
mod closer;
mod containers;
mod diagnose;
pub mod evidence;
mod first;
mod level;
mod load;
mod look;
mod memory;
pub mod recover;
mod rows;
mod runtime;
mod silence;
pub mod verify;
mod who;
mod why_not;

pub use awaited::Awaited;
pub use diagnose::{Filter, detect, diagnose, judge};
pub use look::{Depth, Looked, Plan, look, vantage};
pub use runtime::runtime;
pub use who::{WhoServer, who};
pub use why_not::why_not;
