//! `mcp-ir hold`: nothing is to be recovered now, says who is at work on it; and its end.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::exit::Exit;
use super::incident::read;
use super::recover::store;
use super::run::say;
use super::tree::Global;
use crate::config::{Env, Span, mask};
use crate::error::{Error, Result};
use crate::incident::{Hold, now};
use crate::render::{self, Out};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir hold --reason 'migration of the index' --until 2h
  mcp-ir hold                              whether there is one
  mcp-ir hold --off

While it holds, `recover` and `undo` begin nothing (exit 4), whatever is forced. A
recovery that has begun finishes who it is at, and begins with nobody else
(exit 5).")]
pub struct HoldArgs {
    /// Its end: a time such as 2026-11-27T18:00:00Z, or how long, such as 2h
    #[arg(long, value_name = "TIME", requires = "reason")]
    pub until: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", conflicts_with = "off")]
    pub reason: Option<String>,
    /// End it
    #[arg(long)]
    pub off: bool,
    /// It is in your own folder
    #[arg(long)]
    pub private_state: bool,
}

pub fn run(args: &HoldArgs, global: &Global, out: &Out) -> Result<Exit> {
    let writes = args.off || args.reason.is_some();
    let store = store(args.private_state, writes)?;
    if args.off {
        let ended = {
            let store = store.clone();
            read(move || store.end_hold())?
        };
        return told(None, if ended { "the hold is ended" } else { "there was no hold" }, global, out);
    }
    let Some(reason) = &args.reason else {
        let hold = read(move || store.hold())?;
        let words = if hold.is_some() { "held" } else { "there is no hold" };
        return told(hold.as_ref(), words, global, out);
    };
    let since = now();
    let until = args.until.as_deref().map(|text| end(text, since)).transpose()?;
    let env = Env::process();
    let by = env.text("SUDO_USER").map(str::to_owned).or(env.user).unwrap_or_else(|| env.euid.to_string());
    let standing = {
        let store = store.clone();
        read(move || store.hold())?
    };
    let hold = Hold { by, since, until, reason: mask::text(reason) };
    if let Some(standing) = standing.filter(|s| !may_replace(s, &hold)) {
        told(
            Some(&standing),
            "a hold stands that is somebody else's: mcp-ir hold --off ends it",
            global,
            out,
        )?;
        return Ok(Exit::Refused);
    }
    let kept = hold.clone();
    read(move || store.set_hold(&kept))?;
    told(Some(&hold), "held", global, out)
}

/// One's own is changed by the next word; another's only where it lasts no longer than the new one.
fn may_replace(standing: &Hold, new: &Hold) -> bool {
    let over = standing.until.is_some_and(|until| until <= new.since);
    let outlasts = match (new.until, standing.until) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(new), Some(standing)) => new >= standing,
    };
    over || standing.by == new.by || outlasts
}

/// A time, or how long from now.
fn end(text: &str, since: Timestamp) -> Result<Timestamp> {
    let bad = || {
        Error::usage(format!("`{text}` is no time"))
            .hint("2026-11-27T18:00:00Z, or how long, such as 30m or 2h")
    };
    let until = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let span: Span = text.parse().map_err(|_| bad())?;
            let span = SignedDuration::try_from(span.0).map_err(|_| bad())?;
            since.checked_add(span).map_err(|_| bad())?
        }
    };
    if until <= since {
        return Err(Error::usage(format!("`{text}` is over already")));
    }
    Ok(until)
}

fn told(hold: Option<&Hold>, words: &str, global: &Global, out: &Out) -> Result<Exit> {
    let text = if global.json() {
        render::document(&json!({ "schema": "mcp-ir/hold/1", "hold": hold }))?
    } else {
        render::hold(hold, words, out)
    };
    say(&text, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_12_another_ones_hold_is_not_ended_by_a_shorter_one() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let hold = |by: &str, until: Option<&str>| Hold {
            by: by.into(),
            since: at("2026-11-27T12:00:00Z"),
            until: until.map(at),
            reason: String::new(),
        };
        let ann = hold("ann", Some("2026-11-27T18:00:00Z"));
        assert!(!may_replace(&ann, &hold("bob", Some("2026-11-27T12:05:00Z"))));
        assert!(!may_replace(&hold("ann", None), &hold("bob", Some("2026-11-27T19:00:00Z"))));
        assert!(may_replace(&ann, &hold("bob", Some("2026-11-27T19:00:00Z"))));
        assert!(may_replace(&ann, &hold("ann", Some("2026-11-27T12:05:00Z"))), "her own");
        assert!(may_replace(
            &hold("ann", Some("2026-11-27T11:00:00Z")),
            &hold("bob", Some("2026-11-27T12:05:00Z"))
        ));
    }

    #[test]
    fn an_end_is_a_time_or_how_long_and_never_over_already() {
        let since: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        assert_eq!(end("2h", since).unwrap().to_string(), "2026-11-27T14:00:00Z");
        assert_eq!(end("2026-11-27T18:00:00Z", since).unwrap().to_string(), "2026-11-27T18:00:00Z");
        for wrong in ["2026-11-27T11:00:00Z", "0s", "tomorrow", ""] {
            assert!(end(wrong, since).is_err(), "{wrong}");
        }
    }
}
