//! One look at everything under care: a snapshot by the deadline, whatever hangs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::awaited::Awaited;
use super::{again, changed, closer, first};
use crate::config::Loaded;
use crate::diagnosis::Finding;
use crate::probe::millis;
use crate::snapshot::service::Health;
use crate::snapshot::{Look, Looks, SCHEMA, Snapshot, Vantage};

/// The deadlines of one look.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Of the first questions.
    pub first: Instant,
    /// Of the last answer that is waited for.
    pub end: Instant,
}

/// How much the second questions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The first questions alone, and the size of a pool that leaves it out: whether a symptom is there.
    Symptoms,
    /// What looked wrong: a diagnosis.
    Wrong,
    /// Everything: the preflight, which tries every permission.
    Everything,
}

/// How a service's health answer is come by.
#[derive(Debug, Clone)]
pub enum Patience {
    /// Waited for so long: what is not there by then is neither an answer nor silence.
    Brief(Duration),
    /// Asked for a moment ago, and not again.
    Known(Box<Look<Health>>),
}

/// What a look is for.
#[derive(Debug, Clone)]
pub struct Plan {
    pub depth: Depth,
    /// No second reading: nothing is waited for.
    pub quick: bool,
    /// The scenarios that were asked for by name: for these a second reading is worth its wait.
    pub asked: Vec<String>,
    /// An earlier look, to compare with.
    pub before: Option<Snapshot>,
    /// By service; who is not named is waited for as long as the look has.
    pub health: BTreeMap<String, Patience>,
}

impl Plan {
    pub fn of(depth: Depth) -> Self {
        Self { depth, quick: false, asked: Vec::new(), before: None, health: BTreeMap::new() }
    }
}

impl Deadlines {
    /// A quarter of the time, at most a second, is kept for the second questions; a fortieth, at most
    /// 50 ms, for what comes after the last answer: the rules and the report keep the deadline too.
    pub fn from(start: Instant, timeout: Duration) -> Self {
        let second = (timeout / 4).min(Duration::from_secs(1));
        let said = (timeout / 40).min(Duration::from_millis(50));
        Self { first: start + timeout.saturating_sub(second), end: start + timeout.saturating_sub(said) }
    }
}

/// The looks, and what the rules found in them where they were run already, to know what to ask:
/// over a thousand services nobody runs them twice.
#[derive(Debug)]
pub struct Looked {
    pub looks: Looks,
    pub found: Option<Vec<Finding>>,
}

/// Takes a snapshot, and a second reading of what needs one. `start` is when the program began: the
/// deadline counts from there.
pub async fn look(loaded: &Loaded, awaited: &Awaited, start: Instant, plan: &Plan) -> Looked {
    let deadlines = Deadlines::from(start, loaded.config.timeout.0);
    #[expect(clippy::disallowed_methods, reason = "the one place where a snapshot's time is taken")]
    let taken_at = Timestamp::now();
    let (mut now, bus) =
        first::ask(loaded, awaited, deadlines.first, &plan.health, blank(loaded, taken_at)).await;
    match plan.depth {
        Depth::Symptoms => closer::sizes(&mut now, bus.as_ref(), deadlines.end).await,
        depth => closer::ask(&mut now, bus, awaited, deadlines.end, depth).await,
    }
    let looks = Looks { now, before: plan.before.clone() };
    let mut looked = match plan.depth {
        Depth::Wrong => {
            let looks = again::ask(looks, loaded, awaited, (start, deadlines.end), plan).await;
            changed::ask(looks, awaited, deadlines.end).await
        }
        Depth::Everything | Depth::Symptoms => Looked { looks, found: None },
    };
    looked.looks.now.elapsed_ms = millis(start);
    looked
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

pub fn vantage() -> Vantage {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let uid = rustix::process::geteuid().as_raw();
    let user =
        if uid == 0 { "root".into() } else { std::env::var("USER").unwrap_or_else(|_| uid.to_string()) };
    Vantage { host, user }
}
