//! systemd over D-Bus, and its journal. Many units in one call; details only where asked for.
//! Reads only: no method here changes a unit.

mod bus;
mod journal;

pub use bus::Bus;
pub use journal::read as journal;
