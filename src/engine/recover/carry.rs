//! A plan that was consented to, begun: lock, look again, journal. What is done then stands in `work`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::choose::{Choice, Request};
use super::disk::Beforehand;
use super::report::{Recovery, StepStatus, Told};
use super::sight::{Now, Sight, is_without_rates, see, still};
use super::stop::Stop;
use super::veto::Word;
use super::work::Work;
use super::{advisory, disk, veto};
use crate::config::Loaded;
use crate::consent::Consent;
use crate::diagnosis::Diagnosis;
use crate::engine::Awaited;
use crate::engine::evidence::captured;
use crate::engine::look::Patience;
use crate::error::Result;
use crate::incident::{Event, Journal, Outcome, Store};
use crate::plan::{Act, Plan, Step};
use crate::probe::millis;
use crate::probe::{blocking, host};
use crate::snapshot::Looks;

/// What was seen so long ago is looked at again.
const FRESH: Duration = Duration::from_secs(2);

/// All that is to be done, and by whom.
pub struct Order<'a> {
    pub loaded: &'a Loaded,
    pub request: &'a Request,
    /// By which it was agreed to.
    pub diagnosis: Diagnosis,
    pub plan: &'a Plan,
    /// The look that it was planned by, where that was taken under these locks.
    pub beforehand: Option<(Beforehand, Sight)>,
    /// Health answers of the look that it was planned by, which are not waited for again.
    pub known: BTreeMap<String, Patience>,
    pub consent: &'a Consent,
    pub store: &'a Store,
    pub wait: Duration,
    pub reason: Option<String>,
    /// By a person's word: what was done of late is no reason not to. Never past a lock or a hold.
    pub force_cooldown: bool,
    /// `root@host (pid 7)`
    pub holder: String,
    pub locks: &'a Path,
    /// The whole look as text, to be kept before anything ends what it shows.
    pub evidence: fn(&Looks) -> String,
    /// Others' text as it may be shown on a terminal.
    pub printable: fn(&str) -> String,
}

pub async fn carry_out(
    mut order: Order<'_>,
    stop: &Stop,
    awaited: &Awaited,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Recovery {
    let start = Instant::now();
    let mut report = Recovery::new(Outcome::Refused, "", Some(order.diagnosis.clone())).plan(order.plan);
    let (held, seen) = order.beforehand.take().unzip();
    let held = match held {
        Some(held) => held.covers(order.plan, order.loaded).await,
        None => None,
    };
    // Somebody may have been asked meanwhile, or nobody read what was said.
    let seen = seen.filter(|sight| held.is_some() && sight.at.elapsed() < FRESH);
    let locks = match held {
        Some(locks) => Ok(locks),
        None => disk::locks(order.locks, order.loaded, order.plan, &order.holder).await,
    };
    let locks = match locks {
        Ok(locks) => locks,
        Err(why) => return report.refused(why),
    };
    // Between the look and now somebody thought, typed, or mended it himself; or something else broke.
    let quick = is_without_rates(&order.diagnosis, order.plan);
    let known = order.known.clone();
    let sight = match seen {
        Some(sight) => sight,
        None => tokio::select! {
        sight = see(order.loaded, order.request, order.store, quick, known, awaited, Instant::now()) => sight,
        () = stop.times(1) => return report.interrupted(),
        },
    };
    report.diagnosis = Some(sight.diagnosis.clone());
    match still(&order.plan.digest(), &sight.choice) {
        Now::Same => {}
        Now::Well(why) => {
            report.outcome = Outcome::NothingToDo;
            report.reason = format!("it is well meanwhile: {why}");
            return report;
        }
        Now::Another { why, hints } => {
            report.another = matches!(sight.choice, Choice::Plan(_));
            return report.hints(hints).refused(why);
        }
    }
    // The same steps; who is left, and who has to be well again, by the look that decides.
    let newest = match &sight.choice {
        Choice::Plan(plan) => plan.clone(),
        _ => order.plan.clone(),
    };
    let order = Order { plan: &newest, ..order };
    let word = Word { force: order.force_cooldown, by_value: order.request.names_a_value() };
    let word = tokio::select! {
        word = veto::allowed(order.plan, order.store, &order.loaded.config, word) => word,
        () = stop.times(1) => return report.interrupted(),
    };
    match word {
        Ok(Some(warning)) => {
            tell(Told::Warning(&warning));
            report.notes.push(warning);
        }
        Ok(None) => {}
        Err(held) => return report.hints(held.hint.into_iter().collect()).refused(held.why),
    }
    // Behind the look: where one slot is left, both can't have it. Its sessions are the acts' own.
    let sessions = tokio::select! {
        sessions = advisory::take(order.plan, order.loaded) => sessions,
        () = stop.times(1) => return report.interrupted(),
    };
    let sessions = match sessions {
        Ok(sessions) => sessions,
        Err(why) => return report.refused(why),
    };
    if stop.asked() {
        return report.interrupted();
    }
    let begun = tokio::select! {
        begun = begin(&order, &sight) => begun,
        () = stop.times(2) => return report.interrupted(),
    };
    let (mut journal, run, warnings) = match begun {
        Ok(begun) => begun,
        Err(e) => return report.hints(e.hints).refused(e.message),
    };
    report.incident = Some(journal.id.clone());
    tell(Told::Incident(&journal.id));
    // Before anything ends what could not be kept.
    for warning in warnings {
        tell(Told::Warning(&warning));
        report.notes.push(warning);
    }
    let journal = &mut journal;
    let (order, sight) = (&order, &sight);
    let mut work = Work { order, sight, sessions, journal, run, stop, awaited, tell, report: &mut report };
    let done = work.all().await;
    let broken = done.is_err();
    let begun = report.steps.iter().any(|s| !matches!(s.status, StepStatus::Planned | StepStatus::Changed));
    // Without a journal nothing more is done; what was done is no usage error.
    let (outcome, reason) = done.unwrap_or_else(|e| match begun {
        true => (Outcome::Failed, e.message),
        false => (Outcome::Refused, format!("{}; nothing was changed", e.message)),
    });
    if let Some(warning) = &journal.warning {
        tell(Told::Warning(warning));
        report.notes.push(warning.clone());
    }
    if !broken && let Err(e) = journal.write(Event::Ended { run, outcome, reason: reason.clone() }).await {
        report.notes.push(e.message);
    }
    drop(locks);
    (report.outcome, report.reason, report.elapsed_ms) = (outcome, reason, millis(start));
    report
}

/// The incident of the same finding, where one is open; else a new one.
async fn begin(order: &Order<'_>, sight: &Sight) -> Result<(Journal, u32, Vec<String>)> {
    let plan = order.plan;
    let subject = plan.subjects.first().cloned().unwrap_or_default();
    let id = plan.findings.first().cloned().unwrap_or_else(|| format!("request@{subject}"));
    let (mut journal, run) = match disk::open_about(order.store, &id).await {
        Some(incident) => (disk::go_on(order.store, &incident).await?, incident.runs() + 1),
        None => {
            let mut journal = disk::begin(order.store).await?;
            let f = sight.diagnosis.findings.iter().find(|f| f.id == id);
            let opened = Event::Opened {
                incident: journal.id.clone(),
                id,
                subject,
                severity: f.map(|f| f.severity),
                summary: f.map_or_else(|| "asked for".into(), |f| f.summary.clone()),
                host: sight.diagnosis.vantage.host.clone(),
                user: sight.diagnosis.vantage.user.clone(),
                program: concat!("mcp-ir ", env!("CARGO_PKG_VERSION")).into(),
            };
            journal.write(opened).await?;
            (journal, 1)
        }
    };
    let digest = plan.digest();
    journal.write(Event::Planned { run, digest, plan: plan.clone() }).await?;
    let (how, digest) = (order.consent.how().to_owned(), order.consent.digest().to_owned());
    journal.write(Event::Consented { run, how, digest, reason: order.reason.clone() }).await?;
    let warnings = kept(order, sight, &mut journal, run).await?;
    Ok((journal, run, warnings))
}

/// Of who hangs, or does not come to its end, all processes: it may be for another of them that it waits. A database's
/// unit may stand in no configuration: by its main process it is known.
async fn family(ends: &[&Step], sight: &Sight) -> Vec<u32> {
    let now = &sight.looks.now;
    let main = |s: &&Step| match &s.act {
        Act::RestartByForce { unit, .. } | Act::RestartFast { unit, .. } => {
            Some(now.units.process.get(unit)?.seen()?.pid)
        }
        _ => None,
    };
    let (mains, proc): (Vec<u32>, _) = (ends.iter().filter_map(main).collect(), now.config.host.proc.clone());
    if mains.is_empty() {
        return mains;
    }
    let read = move || Ok(mains.iter().flat_map(|pid| host::family(&proc, *pid)).take(FAMILY).collect());
    blocking(Instant::now() + Duration::from_secs(1), "its processes", read).await.unwrap_or_default()
}

/// Of more than these the first stand for all.
const FAMILY: usize = 40;

/// What the steps end, kept before the first of them; what could not be kept is told at once (errata 49).
async fn kept(order: &Order<'_>, sight: &Sight, journal: &mut Journal, run: u32) -> Result<Vec<String>> {
    let ends: Vec<&Step> = order.plan.steps.iter().filter(|s| s.act.destroys_evidence()).collect();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let mut warnings = Vec::new();
    let lost = |what: &str, why: Option<String>| why.map(|why| format!("{what} is not kept: {why}"));
    let why = journal.capture(run, "look.json", (order.evidence)(&sight.looks)).await?;
    warnings.extend(lost("the look of before", why));
    let named = ends.iter().flat_map(|s| s.act.processes());
    let processes: Vec<u32> = named.chain(family(&ends, sight).await).collect();
    let units = ends.iter().filter(|s| s.act.ends_its_unit());
    let names: BTreeSet<&str> = units.map(|s| s.subject.as_str()).collect();
    if processes.is_empty() && names.is_empty() {
        return Ok(warnings);
    }
    let names: Vec<&str> = names.into_iter().collect();
    let seen = captured(order.loaded, &sight.looks.now, &names, &processes).await;
    warnings.extend(seen.missed.iter().map(|m| format!("evidence that could not be had: {m}")));
    let why = journal.capture(run, "evidence.txt", (order.printable)(&seen.text)).await?;
    warnings.extend(lost("what its processes were doing", why));
    Ok(warnings)
}
