//! Waiting for a state by looking for it, with a deadline.
//! Nothing in the lab sleeps for a time and hopes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks until `look` says yes; after `limit` an error names what was awaited.
pub fn until(what: &str, limit: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    while !look() {
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}
