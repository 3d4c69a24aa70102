//! What the world says of a drop-in and of a way back: whether a process was started with what stands
//! there, and whether all is as it was. The journal only says what was meant.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::action::drop_in;
use crate::config::{Config, Loaded};
use crate::plan::{Act, Connections};
use crate::probe::{blocking, host, postgres, systemd};
use crate::snapshot::units::{Unit, UnitDetail};
use crate::snapshot::{FailKind, Failure, Stage};

/// Whether the process of a unit has what a drop-in sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    Yes,
    No,
    /// It failed: by itself, or when somebody stopped it.
    Failed,
    /// It is about to be started: what it would come up with is what stands there.
    Starting,
    /// It could not be seen.
    Unknown,
}

/// The variables that one text of a drop-in sets and the other does not set so.
pub fn own(text: Option<&str>, other: Option<&str>) -> Vec<(String, String)> {
    let other: Vec<&str> = other.unwrap_or_default().lines().collect();
    let line = |l: &str| {
        let (name, value) = l.strip_prefix("Environment=")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.unwrap_or_default().lines().filter(|l| !other.contains(l)).filter_map(line).collect()
}

/// How many descriptors it gives: `LimitNOFILE=512:524288`.
fn descriptors(text: Option<&str>) -> Option<u64> {
    let value = text?.lines().find_map(|l| l.strip_prefix("LimitNOFILE="))?;
    value.split(':').next()?.parse().ok()
}

/// They differ in limits of its control group alone: those are its process's from the reload on.
pub fn holds_at_once(text: Option<&str>, other: Option<&str>) -> bool {
    const LIMITS: [&str; 3] = ["MemoryMax=", "MemoryHigh=", "TasksMax="];
    let settings = |text: Option<&str>| -> Vec<String> {
        let all = text.unwrap_or_default().lines().filter(|l| l.contains('=') && !l.starts_with('#'));
        all.map(ToOwned::to_owned).collect()
    };
    let (text, other) = (settings(text), settings(other));
    let mut changed =
        text.iter().filter(|l| !other.contains(l)).chain(other.iter().filter(|l| !text.contains(l)));
    let mut any = false;
    changed.all(|l| {
        any = true;
        LIMITS.iter().any(|k| l.starts_with(k))
    }) && any
}

/// `text` is what the drop-in held, `back` what it is to hold; written at `since`.
pub async fn carried(
    unit: &str,
    text: Option<&str>,
    back: Option<&str>,
    since: Timestamp,
    config: &Config,
    deadline: Instant,
) -> Carried {
    let Ok((listed, detail)) = stand(unit, config, deadline).await else { return Carried::Unknown };
    match listed.active.as_str() {
        "inactive" => return Carried::No,
        "failed" => return Carried::Failed,
        _ if detail.main_pid == 0 => return Carried::Starting,
        _ => {}
    }
    if holds_at_once(text, back) {
        return Carried::No;
    }
    let own = own(text, back);
    let limit = descriptors(text);
    if own.is_empty()
        && let Some(limit) = limit.filter(|_| limit != descriptors(back))
    {
        let folder = std::path::Path::new(&config.host.proc).join(detail.main_pid.to_string());
        return match blocking(deadline, "/proc", move || host::memory::descriptors(&folder)).await {
            Ok((soft, _)) if soft == Some(limit) => Carried::Yes,
            Ok(_) => Carried::No,
            Err(_) => Carried::Unknown,
        };
    }
    if own.is_empty() {
        // No variable tells: whoever was started since then was started with it.
        return match detail.state_since {
            Some(at) if at < since => Carried::No,
            Some(_) => Carried::Yes,
            None => Carried::Unknown,
        };
    }
    let (proc, pid, group) = (config.host.proc.clone(), detail.main_pid, detail.control_group);
    let names: Vec<String> = own.iter().map(|(name, _)| name.clone()).collect();
    let found = blocking(deadline, "/proc", move || {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        host::variables(&proc, pid, &group, &names)
    });
    match found.await {
        Ok(found) if own.iter().any(|(name, value)| found.get(name) == Some(value)) => Carried::Yes,
        Ok(_) => Carried::No,
        Err(_) => Carried::Unknown,
    }
}

/// Whether a unit has a main process, or that could not be seen.
pub async fn lives(unit: &str, config: &Config, deadline: Instant) -> bool {
    stand(unit, config, deadline).await.map_or(true, |(_, detail)| detail.main_pid != 0)
}

/// What of these acts did not last, or could not be seen; nothing where all is as they left it.
pub async fn settled(acts: &[(Act, Timestamp)], loaded: &Loaded, deadline: Instant) -> Vec<String> {
    let mut all = Vec::new();
    for (n, (act, since)) in acts.iter().enumerate() {
        if !acts[n + 1..].iter().any(|(later, _)| starts_again(act, later)) {
            all.extend(one(act, *since, loaded, deadline).await);
        }
    }
    all
}

/// Who was stopped only to be started again by a later one is to run.
fn starts_again(act: &Act, later: &Act) -> bool {
    let Act::StopUnit { unit } = act else { return false };
    later.starts() == Some(unit)
}

async fn one(act: &Act, since: Timestamp, loaded: &Loaded, deadline: Instant) -> Option<String> {
    let config = &loaded.config;
    let unseen = |unit: &str, f: Failure| Some(format!("{unit} could not be seen afterwards: {}", f.detail));
    match act {
        Act::DropIn { unit, from, to } => {
            match drop_in(unit, config, deadline).await {
                Ok(found) if found == *to => {}
                Ok(_) => return Some(format!("the drop-in of {unit} is another already")),
                Err(why) => {
                    return Some(format!("the drop-in of {unit} could not be read afterwards: {why}"));
                }
            }
            match carried(unit, from.as_deref(), to.as_deref(), since, config, deadline).await {
                Carried::Yes => Some(format!("the process of {unit} still has what is taken back")),
                Carried::Unknown => Some(format!("whether the process of {unit} has it could not be seen")),
                Carried::No | Carried::Failed | Carried::Starting => None,
            }
        }
        Act::StopUnit { unit } => match stand(unit, config, deadline).await {
            Ok((u, _)) if matches!(u.active.as_str(), "inactive" | "failed") => None,
            Ok((u, _)) => Some(format!("{unit} is {} again", u.active)),
            Err(f) => unseen(unit, f),
        },
        Act::RestartUnit { unit }
        | Act::RestartByForce { unit, .. }
        | Act::RestartFast { unit, .. }
        | Act::StartUnit { unit } => match stand(unit, config, deadline).await {
            Ok((u, _)) if matches!(u.active.as_str(), "inactive" | "failed") => {
                Some(format!("{unit} is {}", u.active))
            }
            Ok(_) => None,
            Err(f) => unseen(unit, f),
        },
        Act::Freeze { unit } => match stand(unit, config, deadline).await {
            Ok((_, d)) if d.frozen => None,
            Ok(_) => Some(format!("{unit} is not frozen")),
            Err(f) => unseen(unit, f),
        },
        Act::Connections(c) => connections(c, loaded, deadline).await,
        // The act itself read back what came of it, or there is nothing to see.
        _ => None,
    }
}

const AGAIN: Duration = Duration::from_millis(50);

/// It may be down by a restart of ours, or run with what was taken back.
async fn connections(c: &Connections, loaded: &Loaded, deadline: Instant) -> Option<String> {
    match stand(&c.unit, &loaded.config, deadline).await {
        Ok((u, _))
            if matches!(u.active.as_str(), "inactive" | "failed") || u.sub.starts_with("auto-restart") =>
        {
            return Some(format!("{0} is {1}: `systemctl start {0}`", c.unit, u.active));
        }
        Ok(_) => {}
        Err(f) => return Some(format!("{} could not be seen afterwards: {}", c.unit, f.detail)),
    }
    // It starts: that nobody listens yet is no answer.
    match running(&c.server, loaded, |_| false, deadline).await? {
        Ok(now) if Some(now) == c.from => Some(format!("{} still runs with {now}", c.server)),
        Ok(_) => None,
        Err(f) => Some(format!("what {} runs with could not be seen: {}", c.server, f.detail)),
    }
}

/// How many connections it runs with, asked again until that is seen, or a failure is an answer. `None` is no
/// server of this configuration.
pub async fn running(
    server: &str,
    loaded: &Loaded,
    is_answer: impl Fn(&Failure) -> bool,
    deadline: Instant,
) -> Option<Result<u64, Failure>> {
    let p = loaded.config.postgres(server)?;
    loop {
        match postgres::connections(p, loaded.secrets.postgres(server), deadline).await {
            Ok(now) => return Some(Ok(now.running)),
            Err(f) if is_answer(&f) || Instant::now() + AGAIN >= deadline => return Some(Err(f)),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Nobody listens there: who is only starting, full, or slow to accept, is somebody.
pub fn is_nobody(f: &Failure) -> bool {
    let said_nothing = f.postgres.is_none() && f.stage == Some(Stage::Connect);
    said_nothing && !matches!(f.kind, FailKind::TimedOut | FailKind::NotTried | FailKind::Denied)
}

async fn stand(unit: &str, config: &Config, deadline: Instant) -> Result<(Unit, UnitDetail), Failure> {
    let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await?;
    let mut listed = bus.list(&[unit], &[], deadline).await?;
    let listed = listed
        .remove(unit)
        .ok_or_else(|| Failure::new(FailKind::Missing, format!("{unit} is not known to systemd")))?;
    let detail = bus.detail(unit, deadline).await?;
    Ok((listed, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_its_group_needs_no_restart_and_a_variable_does() {
        let limits = Some("# ours\n[Service]\nMemoryMax=1\nMemoryHigh=1\n");
        assert!(holds_at_once(limits, None));
        assert!(holds_at_once(None, Some("[Service]\nTasksMax=40\n")));
        let both = Some("[Service]\nEnvironment=POOL_MAX_SIZE=20\nMemoryMax=1\n");
        assert!(!holds_at_once(both, None));
        assert!(holds_at_once(both, Some("[Service]\nEnvironment=POOL_MAX_SIZE=20\n")));
        assert!(
            !holds_at_once(Some("[Service]\nLimitNOFILE=9\n"), None),
            "a process keeps what it was given"
        );
        assert!(!holds_at_once(limits, limits), "nothing differs");
    }
}
