//! The word of others before anything is done: a hold, what was done of late, and a program of the site's
//! own that may forbid it. What can't be asked forbids it too.

use std::time::{Duration, Instant};

use super::disk;
use super::guard::{Held, attempts, held, may};
use crate::config::Config;
use crate::incident::{Store, now};
use crate::plan::Plan;
use crate::probe::{feed, said};

/// Of the program.
const LIMIT: Duration = Duration::from_secs(10);
const LARGEST: u64 = 64 << 10;

/// `force`: the cooldown and the budget are passed over, by a person's word. What has to be told, where it
/// is allowed all the same.
pub(super) async fn allowed(
    plan: &Plan,
    store: &Store,
    config: &Config,
    force: bool,
) -> Result<Option<String>, Held> {
    let told = by_what_was_done(plan, store, config, force).await?;
    if let Some(program) = &config.guard.veto {
        ask(&program.argv, plan).await?;
    }
    Ok(told)
}

/// All but the program, which is asked once.
pub async fn by_what_was_done(
    plan: &Plan,
    store: &Store,
    config: &Config,
    force: bool,
) -> Result<Option<String>, Held> {
    hold(store).await?;
    if force {
        return Ok(None);
    }
    match disk::of_late(store).await {
        Some(before) => may(plan, &attempts(&before), now(), &config.guard).map(|()| None),
        // A database stays down for that no longer than for a full disk.
        None => Ok(Some("the folder of the incidents does not answer: no cooldown is known".into())),
    }
}

/// Whether somebody said that nothing is to be changed now.
pub async fn hold(store: &Store) -> Result<(), Held> {
    match disk::hold(store).await {
        Ok(Some(hold)) => held(&hold, now()).map_or(Ok(()), Err),
        Ok(None) => Ok(()),
        Err(e) => Err(Held { why: e.message, hint: e.hints.first().cloned() }),
    }
}

async fn ask(argv: &[String], plan: &Plan) -> Result<(), Held> {
    let not = |why: String| Err(Held { why, hint: None });
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let input = match serde_json::to_vec(plan) {
        Ok(input) => input,
        Err(e) => return not(format!("the veto program can't be asked: {e}")),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match feed(&[program], &arguments, input, LARGEST, Instant::now() + LIMIT).await {
        Ok(done) if done.ok => Ok(()),
        Ok(done) => {
            let out = String::from_utf8_lossy(&done.out);
            let why = out.lines().find(|l| !l.trim().is_empty()).unwrap_or(&done.why);
            not(format!("vetoed by {program}: {}", said(why.trim(), 200)))
        }
        Err(f) => not(format!("the veto program can't be asked: {}", f.detail)),
    }
}
