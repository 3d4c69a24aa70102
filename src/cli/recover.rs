//! `mcp-ir recover`: detect, plan, consent, act, verify. It asks, and says what came of it; what is done is
//! the engine's.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::again::again;
use super::asks::Asks;
use super::diagnose::known_names;
use super::exit::Exit;
use super::fit::which;
use super::load::{load, within};
use super::run::say;
use super::tree::{Global, Output};
use crate::config::{Env, Loaded, Span};
use crate::consent::{self, Consent, Policy, Question, Refused};
use crate::diagnosis::{Diagnosis, Risk};
use crate::engine::recover::{
    Beforehand, Choice, Order, Recovery, Request, Sight, Stop, Word, against, beforehand, carry_out,
    guard::Held, see,
};
use crate::engine::{self, Awaited, recover};
use crate::error::{Error, Result};
use crate::incident::{self, Outcome};
use crate::plan::{Ask, Plan};
use crate::render::{self, Out, Progress};
use crate::snapshot::{Looks, Vantage};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir recover                           the first root cause
  mcp-ir recover server --plan             what would be done, and its undo
  mcp-ir recover server --service api --yes
  mcp-ir recover pool --max-size 40 --service api
  mcp-ir recover db --wait 5m              start it, or wait until it accepts
  mcp-ir recover server --free-port        end who has its port, and start it
  mcp-ir recover latency --wait 30m        vacuum, analyze, build indexes anew
  mcp-ir recover server --flush-cache mcp:cache:
  mcp-ir recover pool --max-connections 300
  mcp-ir recover pool --kill-idle 10m      end who has been idle for longer

Safe steps are done, disruptive ones asked for, of destructive ones the target's
name is typed; in a script --yes agrees. Whatever is done stands in the journal
of an incident, with its undo: mcp-ir undo INCIDENT.

Exit codes: 0 recovered and verified, or nothing to do, 1 a remedy for people,
2 usage or configuration, 3 a symptom could not be seen, 4 refused and nothing
changed, 5 acted and not verified, 6 a step failed or was cut off.")]
pub struct RecoverArgs {
    /// db, pool, server, latency, memory; all: every root cause
    #[arg(value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// Only this service or server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Agree beforehand to what is not destructive
    #[arg(long, short)]
    pub yes: bool,
    /// The most that may be done
    #[arg(long, value_enum, value_name = "RISK")]
    pub allow: Option<Allow>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long to wait until it is well
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub wait: Span,
    /// pool: the largest size that its pool shall have, though nothing is wrong
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..100_000))]
    pub max_size: Option<u64>,
    /// pool: a size that its own interface sets is written to a drop-in as well
    #[arg(long, requires = "max_size")]
    pub persist: bool,
    #[command(flatten)]
    pub asks: Asks,
    /// Act though another root explains it
    #[arg(long)]
    pub anyway: bool,
    /// Though the same was done of late, or often
    #[arg(long)]
    pub force_cooldown: bool,
    /// Keep the journal in your own folder, where the machine's is closed to you
    #[arg(long)]
    pub private_state: bool,
}

/// How often a plan may turn out to be another one, in a script.
const TRIES: u32 = 3;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Allow {
    Safe,
    Disruptive,
    Destructive,
}

impl From<Allow> for Risk {
    fn from(a: Allow) -> Self {
        match a {
            Allow::Safe => Risk::Safe,
            Allow::Disruptive => Risk::Disruptive,
            Allow::Destructive => Risk::Destructive,
        }
    }
}

pub fn run(args: &RecoverArgs, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let (scenario, all) = which(args)?;
    if args.wait.0 > LONGEST {
        return Err(Error::usage("nobody waits for longer than a day").hint("--wait 24h"));
    }
    let loaded = load(global)?;
    known_names(&args.service, &loaded.config)?;
    let ask = Ask { max_size: args.max_size, persist: args.persist, ..Ask::default() };
    let ask = args.asks.asked(ask)?;
    let (anyway, force) = (args.anyway, args.force_cooldown);
    let request = Request { scenario, all, services: args.service.clone(), ask, anyway, force };
    go(args, &again(args, global), request, loaded, global, out, start)
}

/// What was asked for, planned, agreed to and done. `again` is the command without --plan.
pub fn go(
    args: &RecoverArgs,
    again: &str,
    request: Request,
    loaded: Loaded,
    global: &Global,
    out: &Out,
    start: Instant,
) -> Result<Exit> {
    for warning in loaded.warnings.iter().filter(|_| !global.quiet) {
        out.note(&format!("warning: {}\n", render::text::line(warning)));
    }
    // Before the look: who can't keep a journal shall not wait for it.
    let store = store(args.private_state, !args.plan)?;
    // Nobody read the plan: where it was another by the time of its lock, what was agreed to beforehand is that
    // one as well. A session, or a slot, that somebody named is not followed to what it does next.
    let named = !request.ask.kill.is_empty() || request.ask.remove.is_some();
    let mut tries = if args.yes && !named { TRIES } else { 1 };
    loop {
        tries -= 1;
        let asked =
            Asked { args, again, loaded: &loaded, store: &store, request: &request, last: tries == 0 };
        if let Some(exit) = once(&asked, global, out, start)? {
            return Ok(exit);
        }
    }
}

/// What a recovery is asked for, and with what.
struct Asked<'a> {
    args: &'a RecoverArgs,
    /// The same command without --plan.
    again: &'a str,
    loaded: &'a Loaded,
    store: &'a incident::Store,
    request: &'a Request,
    /// It is not tried again, whatever comes of it.
    last: bool,
}

/// `None`: the plan was another by the time of its lock.
fn once(asked: &Asked<'_>, global: &Global, out: &Out, start: Instant) -> Result<Option<Exit>> {
    let Asked { args, again, loaded, store, request, last } = *asked;
    let word = Word { force: args.force_cooldown, by_value: request.names_a_value() };
    let (sight, against, locked) = look(asked, word, global)?;
    let diagnosis = sight.diagnosis.clone();
    let mut plan = match sight.choice.clone() {
        Choice::Plan(plan) => plan,
        other => return without(other, diagnosis, global, out).map(Some),
    };
    plan.notes.extend(against.iter().map(|held| held.why.clone()));
    if args.plan {
        let reason = format!("nothing was changed: agree with `{again}`");
        let report = Recovery::new(Outcome::Planned, reason, Some(diagnosis)).plan(&plan);
        return finish(report, Some(&plan), global, out).map(Some);
    }
    // What was agreed to beforehand is not kept from being done by a disk that is full of its own output.
    let shown = show(&plan, !args.yes, global, out);
    if !args.yes {
        shown?;
    }
    // Before somebody is asked: what would be refused anyway is no question.
    if let Some(held) = against.into_iter().next() {
        let report = Recovery::new(Outcome::Refused, "", Some(diagnosis)).plan(&plan);
        let report = report.hints(held.hint.into_iter().collect()).refused(held.why);
        return finish(report, None, global, out).map(Some);
    }
    let consent = match agree(&plan, args, global, out) {
        Ok(consent) => consent,
        Err(refused) => {
            let report = Recovery::new(Outcome::Refused, "", Some(diagnosis)).plan(&plan);
            let report = report.hints(refused.hint.into_iter().collect()).refused(refused.why);
            return finish(report, None, global, out).map(Some);
        }
    };
    let order = Order {
        loaded,
        request,
        holder: holder(),
        diagnosis,
        plan: &plan,
        known: sight.known(),
        beforehand: locked.map(|locked| (locked, sight)),
        consent: &consent,
        store,
        wait: args.wait.0,
        force_cooldown: args.force_cooldown,
        reason: args.reason.as_deref().map(crate::config::mask::text),
        locks: Path::new(recover::LOCKS),
        evidence,
        printable: |text| render::text::block(text).into_owned(),
    };
    let (mut report, interrupted) = act(order, global, out)?;
    if report.another && !last {
        return Ok(None);
    }
    report.elapsed_ms = start.elapsed().as_secs_f64() * 1000.0;
    // It is done: what it came to is its code, whether or not anybody can read the rest.
    let outcome = report.outcome;
    let exit = finish(report, None, global, out).unwrap_or_else(|e| {
        out.note(&format!("{}\n", e.message));
        outcome.into()
    });
    Ok(Some(interrupted.unwrap_or(exit)))
}

/// Where incidents are kept. A folder that does not answer holds up no cure: its journal is elsewhere then.
pub fn store(private: bool, write: bool) -> Result<incident::Store> {
    let open = move || incident::open(&Env::process(), private, write);
    match within(Duration::from_secs(2), open) {
        Some(opened) => opened,
        None => incident::unprepared(&Env::process()),
    }
}

fn evidence(looks: &Looks) -> String {
    looks.now.to_compact_json().map(|text| render::text::json(&text)).unwrap_or_default()
}

/// `root@host (pid 7)`
fn holder() -> String {
    let Vantage { user, host } = engine::vantage();
    format!("{user}@{host} (pid {})", std::process::id())
}

/// Who names them, and has agreed to whatever is found of them, has them locked before the look.
fn look(asked: &Asked<'_>, word: Word, global: &Global) -> Result<(Sight, Vec<Held>, Option<Beforehand>)> {
    let Asked { args, loaded, store, request, .. } = *asked;
    let start = Instant::now();
    let runtime = engine::runtime()?;
    let awaited = Awaited::default();
    let progress = Progress::new(global.quiet || global.output != Output::Human);
    let seen = async {
        let agreed = args.yes && !args.plan && !request.services.is_empty() && request.ask.kill.is_empty();
        let locked = match agreed {
            true => beforehand(Path::new(recover::LOCKS), loaded, &request.services, &holder()).await,
            false => None,
        };
        let sight = see(loaded, request, store, false, BTreeMap::new(), &awaited, start).await;
        let against = match &sight.choice {
            Choice::Plan(plan) => against(plan, &sight, loaded, store, word).await,
            _ => Vec::new(),
        };
        (sight, against, locked)
    };
    let seen = runtime.block_on(async {
        tokio::select! {
            seen = seen => seen,
            never = progress.run(start, || awaited.names()) => match never {},
        }
    });
    runtime.shutdown_background();
    Ok(seen)
}

/// Nothing is to be done, or not by us.
fn without(choice: Choice, diagnosis: Diagnosis, global: &Global, out: &Out) -> Result<Exit> {
    let (outcome, reason, hints) = match choice {
        Choice::Unclear { why, hints } => {
            return Err(hints.into_iter().fold(Error::usage(why), Error::hint));
        }
        Choice::Unknown(why) => {
            let report =
                Recovery::new(Outcome::Refused, format!("{why}: nothing was changed"), Some(diagnosis));
            finish(report, None, global, out)?;
            return Ok(Exit::Unknown);
        }
        Choice::NothingToDo(why) => (Outcome::NothingToDo, why, Vec::new()),
        Choice::Advice { why, command } => {
            (Outcome::Advice, why, Some(command).filter(|c| !c.is_empty()).into_iter().collect())
        }
        Choice::Refused { why, hints } => (Outcome::Refused, why, hints),
        Choice::Plan(_) => (Outcome::Planned, String::new(), Vec::new()),
    };
    finish(Recovery::new(outcome, reason, Some(diagnosis)).hints(hints), None, global, out)
}

pub fn terminal(global: &Global) -> bool {
    !global.json() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A plan is shown where it is asked for: on stderr too, where stdout leads elsewhere.
pub fn show(plan: &Plan, asks: bool, global: &Global, out: &Out) -> Result<()> {
    if global.json() {
        return Ok(());
    }
    let text = render::plan(plan, out);
    if asks && terminal(global) && !std::io::stdout().is_terminal() {
        out.note(&text);
    }
    say(&text, out).map(drop)
}

/// Asks on the terminal; what was typed.
pub fn typed(question: &Question, out: &Out) -> Option<String> {
    out.note(&match question {
        Question::Yes => "Do this? [y/N] ".to_owned(),
        Question::Name(name) => format!("Type `{}` to agree: ", render::text::line(name)),
    });
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok().filter(|n| *n > 0).map(|_| line)
}

fn agree(
    plan: &Plan,
    args: &RecoverArgs,
    global: &Global,
    out: &Out,
) -> std::result::Result<Consent, Refused> {
    let policy = Policy { terminal: terminal(global), yes: args.yes, allow: args.allow.map(Risk::from) };
    consent::ask(plan, &policy, &mut |q| typed(q, out))
}

/// What it came to; and by which signal it was left before anything was changed.
fn act(order: Order<'_>, global: &Global, out: &Out) -> Result<(Recovery, Option<Exit>)> {
    let runtime = engine::runtime()?;
    let awaited = Awaited::default();
    let progress = Progress::new(global.quiet || global.output != Output::Human);
    let (done, stop) = runtime.block_on(async {
        let stop = Stop::listen();
        let mut tell = |told: engine::recover::Told<'_>| {
            if !global.json()
                && let Some(text) = render::told(&told, out)
            {
                let _ = out.print(&text);
            }
        };
        let done = tokio::select! {
            done = carry_out(order, &stop, &awaited, &mut tell) => done,
            never = progress.run(Instant::now(), || awaited.names()) => match never {},
        };
        (done, stop)
    });
    runtime.shutdown_background();
    let left = done.interrupted.then(|| Exit::Interrupted(stop.code()));
    Ok((done, left))
}

fn finish(report: Recovery, plan: Option<&Plan>, global: &Global, out: &Out) -> Result<Exit> {
    let text = match (global.json(), plan) {
        (true, _) => render::document(&report)?,
        (false, Some(plan)) => render::plan(plan, out) + &render::ending(&report, out),
        (false, None) => render::ending(&report, out),
    };
    say(&text, out)?;
    Ok(report.outcome.into())
}
