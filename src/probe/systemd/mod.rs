//! systemd over D-Bus, and its journal. Many units in one call; details only where asked for.
//! Reads only: no method here changes a unit.

mod bus;
mod canonical;
mod journal;
mod kernel;

pub use bus::Bus;
pub use canonical::canonical;
pub use journal::{lines, parse as journal_entries, read as journal};
pub use kernel::read as kernel;
