//! Variables of a service's environment, set by our drop-in and a restart, and proven by the process: never by
//! the manager's own environment (errata 31, 39).

use super::facts;
use super::steps;
use crate::config::{Config, Service};
use crate::plan::{Act, Ask, Draft, Remedy, Risk, draft, settable};
use crate::snapshot::{Looks, Snapshot};

pub const LOG_LEVEL: &str = "LOG_LEVEL";

/// `--env` and `--log-level`, where nothing is wrong.
pub fn request(looks: &Looks, service: &str, ask: &Ask, config: &Config) -> Remedy {
    match config.service(service) {
        Some(s) => match set(s, &ask.env, ask, &looks.now) {
            Ok(steps) => Remedy::Steps { steps, notes: Vec::new() },
            Err(other) => other,
        },
        None => Remedy::Nothing("nothing is asked for".into()),
    }
}

pub fn set(s: &Service, env: &[(String, String)], ask: &Ask, now: &Snapshot) -> Result<Vec<Draft>, Remedy> {
    let refused = |why: String| Remedy::Refused { why, hints: Vec::new() };
    let unit = s.unit.as_deref();
    let unit = unit.ok_or_else(|| refused(format!("{} has no unit to write a drop-in for", s.name)))?;
    env.iter().try_for_each(|(name, value)| settable(name, value)).map_err(refused)?;
    let pool = s.pool.as_ref();
    let sizes = pool.into_iter().flat_map(|p| [&p.max_env, &p.min_env]).flatten();
    if let Some(size) = sizes.into_iter().find(|size| env.iter().any(|(name, _)| name == *size)) {
        let hint = format!("mcp-ir recover pool --service {} --max-size N", s.name);
        let why = format!("{size} is the size of its pool: whether that fits is looked at");
        return Err(Remedy::Refused { why, hints: vec![hint] });
    }
    let has = ask.near.environment.get(unit);
    if has.is_some_and(|has| env.iter().all(|(name, value)| has.get(name) == Some(value))) {
        let all: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        return Err(Remedy::Nothing(format!("the process of {unit} has {} already", all.join(" "))));
    }
    let needs = steps::run(unit, ask, now).map_err(|why| {
        let down = now.unit(unit).is_some_and(|u| u.active != "active");
        let hint = down.then(|| format!("mcp-ir recover server --service {}", s.name));
        let why = format!("{why}: a variable is set where it runs");
        Remedy::Refused { why, hints: hint.into_iter().collect() }
    })?;
    let settings: Vec<(String, String)> =
        env.iter().map(|(name, value)| (format!("Environment={name}="), value.clone())).collect();
    let settings: Vec<(&str, String)> = settings.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let (write, back) = steps::drop_in(unit, ask, &settings).map_err(refused)?;
    let restart = || Act::RestartUnit { unit: unit.into() };
    let mut drafts = vec![
        draft(write, Risk::Safe).undo(vec![back, restart()], Risk::Disruptive),
        draft(restart(), Risk::Disruptive).needs(needs).because("with the drop-in it is taken back"),
    ];
    let nothing = "nothing is changed";
    drafts.extend(env.iter().map(|(name, value)| {
        let proof = Act::Prove { unit: unit.into(), variable: name.clone(), value: value.clone() };
        draft(proof, Risk::Safe).because(nothing)
    }));
    if let Some((_, level)) = env.iter().find(|(name, level)| name == LOG_LEVEL && !facts::is_chatty(level)) {
        let effect = Act::ProveQuiet { unit: unit.into(), level: level.clone() };
        drafts.push(draft(effect, Risk::Safe).because(nothing));
    }
    Ok(drafts)
}
