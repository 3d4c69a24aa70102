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

/// What a person's word passes over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Word {
    /// The cooldown and the budget.
    pub force: bool,
    /// A value that was asked for is its own reason.
    pub by_value: bool,
}

/// What has to be told, where it is allowed all the same.
pub(super) async fn allowed(
    plan: &Plan,
    store: &Store,
    config: &Config,
    word: Word,
) -> Result<Option<String>, Held> {
    let told = by_what_was_done(plan, store, config, word).await?;
    by_program(plan, config).await?;
    Ok(told)
}

/// The site's own program, where it has one.
pub async fn by_program(plan: &Plan, config: &Config) -> Result<(), Held> {
    match &config.guard.veto {
        Some(program) => ask(&program.argv, plan).await,
        None => Ok(()),
    }
}

/// All but the program, which is asked once.
pub async fn by_what_was_done(
    plan: &Plan,
    store: &Store,
    config: &Config,
    word: Word,
) -> Result<Option<String>, Held> {
    // A database stays down for that no longer than for a full disk; but it is said.
    const SILENT: &str =
        "the folder of the incidents does not answer: neither a hold nor a cooldown is known";
    let told = hold(store).await?;
    if word.force || told.is_some() {
        return Ok(told);
    }
    match disk::of_late(store).await {
        Some(before) => may(plan, &attempts(&before), word.by_value, now(), &config.guard).map(|()| None),
        None => Ok(Some(SILENT.into())),
    }
}

/// Whether somebody said that nothing is to be changed now, in this folder or in the machine's.
/// What has to be told, where that is not known.
pub async fn hold(store: &Store) -> Result<Option<String>, Held> {
    match disk::hold(store).await {
        Ok(Some(holds)) => match holds.iter().find_map(|hold| held(hold, now())) {
            Some(held) => Err(held),
            None => Ok(None),
        },
        Ok(None) => Ok(Some(
            "the folder of the incidents does not answer: whether somebody holds is not known".into(),
        )),
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
