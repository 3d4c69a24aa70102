//! One look at everything under care: a snapshot by the deadline, whatever hangs.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::awaited::Awaited;
use super::{changed, closer, first};
use crate::config::Loaded;
use crate::probe::millis;
use crate::snapshot::{SCHEMA, Snapshot, Vantage};

/// The deadlines of one look.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Of the first questions.
    pub first: Instant,
    /// Of the whole look.
    pub end: Instant,
}

/// How much the second questions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What looked wrong: a diagnosis.
    Wrong,
    /// Everything: the preflight, which tries every permission.
    Everything,
}

impl Deadlines {
    /// A quarter of the time, at most a second, is kept for the second questions.
    pub fn from(start: Instant, timeout: Duration) -> Self {
        let kept = (timeout / 4).min(Duration::from_secs(1));
        Self { first: start + timeout.saturating_sub(kept), end: start + timeout }
    }
}

/// Takes a snapshot. `start` is when the program began: the deadline counts from there.
pub async fn look(loaded: &Loaded, awaited: &Awaited, start: Instant, depth: Depth) -> Snapshot {
    let deadlines = Deadlines::from(start, loaded.config.timeout.0);
    #[expect(clippy::disallowed_methods, reason = "the one place where a snapshot's time is taken")]
    let taken_at = Timestamp::now();
    let (mut snapshot, bus) = first::ask(loaded, awaited, deadlines.first, blank(loaded, taken_at)).await;
    closer::ask(&mut snapshot, bus, awaited, deadlines.end, depth).await;
    if depth == Depth::Wrong {
        snapshot = changed::ask(snapshot, awaited, deadlines.end).await;
    }
    snapshot.elapsed_ms = millis(start);
    snapshot
}

fn blank(loaded: &Loaded, taken_at: Timestamp) -> Snapshot {
    Snapshot {
        schema: SCHEMA.into(),
        taken_at,
        vantage: vantage(),
        elapsed_ms: 0.0,
        config: loaded.config.clone(),
        postgres: std::collections::BTreeMap::new(),
        poolers: std::collections::BTreeMap::new(),
        services: std::collections::BTreeMap::new(),
        units: crate::snapshot::units::Units::unasked(),
        containers: std::collections::BTreeMap::new(),
        network: crate::snapshot::network::Network::default(),
        host: crate::snapshot::host::Host::default(),
        listeners: crate::snapshot::no_listeners(),
        changes: crate::snapshot::no_changes(),
        redis: std::collections::BTreeMap::new(),
        ollama: std::collections::BTreeMap::new(),
    }
}

fn vantage() -> Vantage {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let uid = rustix::process::geteuid().as_raw();
    let user =
        if uid == 0 { "root".into() } else { std::env::var("USER").unwrap_or_else(|_| uid.to_string()) };
    Vantage { host, user }
}
