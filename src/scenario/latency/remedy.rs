//! What makes a slow service quick again, as far as that is ours: what it is told to log.

use super::service::DEBUG_LOGGING;
use super::slow::{FEW, Pace, Slow, ended, pace};
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

/// It does its work, and who was slow is quick, by his own answers. Where no request was timed, or next to none,
/// nobody knows how long one takes: that is no cure. That its log is quiet its steps have seen.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let says = match by_symptom(&(server_crash::SCENARIO.symptoms)(looks, config), aim.subject) {
        Recovered::Yes(says) => says,
        not_yet => return not_yet,
    };
    let Some(s) = config.service(aim.subject) else {
        return Recovered::NotYet("it is no service: how fast it answers is not known".into());
    };
    let few = ended(s, looks).is_none_or(|between| between.count < FEW);
    match pace(s, looks, config) {
        Pace::Slow(slow) => Recovered::NotYet(format!("it is slow still: {}", words(&slow))),
        Pace::Unseen(_, why) => Recovered::NotYet(format!("how fast it answers is not known: {why}")),
        Pace::Quick(_, why) if s.metrics.is_some() && few => {
            Recovered::NotYet(format!("too few requests were timed to tell how fast it answers ({why})"))
        }
        Pace::Quick(_, words) => Recovered::Yes(format!("{says}; {words}")),
    }
}

fn words(slow: &Slow) -> String {
    match (&slow.p95, slow.health) {
        (Some(p), _) => format!("p95 {}", p.words()),
        (None, Some((a, b))) => format!("its health answer took {a:.0} ms, and {b:.0} ms"),
        (None, None) => "its answers take long".into(),
    }
}
