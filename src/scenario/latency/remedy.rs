//! What makes a slow service quick again, as far as that is ours: what it is told to log.

use super::service::DEBUG_LOGGING;
use crate::config::Config;
use crate::diagnosis::Finding;
use crate::plan::{Aim, Ask, Recovered, Remedy};
use crate::scenario::environment::{self, LOG_LEVEL};
use crate::scenario::registry::{advice, by_symptom};
use crate::scenario::server_crash;
use crate::snapshot::Looks;

/// Nothing that people look for in a log is lost by it.
const LEVEL: &str = "INFO";

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(s) = config.service(&f.subject).filter(|_| f.cause == DEBUG_LOGGING.name) else {
        return advice(f);
    };
    match environment::set(s, &[(LOG_LEVEL.into(), LEVEL.into())], ask, &looks.now) {
        Ok(steps) => Remedy::Steps { steps, notes: Vec::new() },
        Err(Remedy::Refused { why, .. }) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
        Err(other) => other,
    }
}

/// It answers, and in time. That its log is quiet its steps have seen; its p95 takes a load, or a while.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let says = match by_symptom(&(server_crash::SCENARIO.symptoms)(looks, config), aim.subject) {
        Recovered::Yes(says) => says,
        not_yet => return not_yet,
    };
    let health = looks.now.services.get(aim.subject).map(|s| s.health.elapsed_ms);
    let limit = config.thresholds.p95.as_secs_f64() * 1000.0;
    match health {
        Some(ms) if ms > limit => Recovered::NotYet(format!("its health answer takes {ms:.0} ms")),
        Some(ms) => {
            Recovered::Yes(format!("{says} in {ms:.0} ms; `mcp-ir verify latency --load 20` measures more"))
        }
        None => Recovered::NotYet("its health answer was not seen".into()),
    }
}
