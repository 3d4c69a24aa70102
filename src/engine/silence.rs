//! Ends the wait for a login that nobody can answer: the server's own postmaster is stopped, or waits
//! for a device, look after look. One that only is slow may use all of its time.

use std::time::{Duration, Instant};

use crate::config::Postgres;
use crate::probe::{blocking, host};
use crate::scenario::clusters;

/// So long a login may be silent before anybody asks why.
const PATIENCE: Duration = Duration::from_millis(600);
const BETWEEN: Duration = Duration::from_millis(100);

/// How many looks in a row must see it. A postmaster under load waits for a device now and then; it
/// is stopped by somebody only.
fn looks(state: &str) -> u32 {
    if state.starts_with('D') { 15 } else { 2 }
}

/// Comes back with what the postmaster is, once it is that for good; else never.
pub async fn hopeless(p: Postgres, proc: String, deadline: Instant) -> String {
    let mut seen: Option<(u32, &'static str)> = None;
    let mut times = 0;
    tokio::time::sleep(PATIENCE).await;
    loop {
        let path = proc.clone();
        let all = blocking(deadline, "/proc", move || host::postmasters(&path)).await.unwrap_or_default();
        let stuck = clusters::stuck_of(&p, &all);
        times = if stuck == seen { times + 1 } else { 1 };
        seen = stuck;
        if let Some((pid, state)) = stuck.filter(|(_, state)| times >= looks(state)) {
            return format!("process {pid} is {state}");
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
