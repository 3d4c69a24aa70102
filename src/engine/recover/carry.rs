//! A plan that was consented to, done: lock, look again, intent, act, verify. Each intent is on disk before
//! its step begins; what fails in a drop-in's plan is rolled back.

use std::time::{Duration, Instant};

use super::back::{ACT, Taken, take_back};
use super::lock;
use super::report::{Recovery, StepStatus, Told, Verification};
use super::stop::Stop;
use super::verify::{recovered, symptoms, verify};
use crate::action::{Failed, World, apply};
use crate::config::Loaded;
use crate::consent::Consent;
use crate::diagnosis::Diagnosis;
use crate::engine::Awaited;
use crate::error::Result;
use crate::incident::{Event, Journal, Outcome, Store};
use crate::plan::{Act, Ask, Plan, Recovered, Step};
use crate::probe::millis;

/// All that is to be done, and by whom.
pub struct Order<'a> {
    pub loaded: &'a Loaded,
    pub diagnosis: Diagnosis,
    /// The whole look, to be kept before anything ends what it shows.
    pub evidence: String,
    pub plan: &'a Plan,
    pub ask: &'a Ask,
    pub consent: &'a Consent,
    pub store: &'a Store,
    pub wait: Duration,
    pub reason: Option<String>,
    /// `root@host (pid 7)`
    pub holder: String,
    pub locks: &'a std::path::Path,
}

pub async fn carry_out(
    order: Order<'_>,
    stop: &Stop,
    awaited: &Awaited,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<Recovery> {
    let start = Instant::now();
    let mut report = Recovery::new(Outcome::Refused, "", Some(order.diagnosis.clone())).plan(order.plan);
    let world = order.loaded.config.systemd.bus.clone();
    let locks = match lock::take(order.locks, &world, &order.plan.targets(), &order.holder) {
        Ok(locks) => locks,
        Err(why) => {
            report.reason = format!("{why}: nothing was changed");
            return Ok(report);
        }
    };
    // Between the look and now somebody thought, typed, or mended it himself.
    if !order.plan.findings.is_empty() {
        let seen = symptoms(order.loaded, &order.plan.subjects, awaited).await;
        if let Recovered::Yes(says) = recovered(&seen, order.plan, order.ask) {
            report.outcome = Outcome::NothingToDo;
            report.reason = format!("it is well meanwhile: {says}; nothing was changed");
            return Ok(report);
        }
    }
    if stop.asked() {
        report.interrupted = true;
        report.reason = "interrupted: nothing was changed".into();
        return Ok(report);
    }
    let (mut journal, run) = begin(&order).await?;
    report.incident = Some(journal.id.clone());
    tell(Told::Incident(&journal.id));
    let mut work =
        Work { order: &order, journal: &mut journal, run, stop, awaited, tell, report: &mut report };
    let done = work.all(world_of(order.loaded)).await;
    let begun = report.steps.iter().any(|s| !matches!(s.status, StepStatus::Planned | StepStatus::Changed));
    let broken = done.as_ref().err().map(|e| e.message.clone());
    // Without a journal nothing more is done; what was done is no usage error.
    let (outcome, reason) = done.unwrap_or_else(|e| {
        if begun {
            (Outcome::Failed, e.message)
        } else {
            (Outcome::Refused, format!("{}; nothing was changed", e.message))
        }
    });
    if let Some(warning) = &journal.warning {
        tell(Told::Warning(warning));
        report.notes.push(warning.clone());
    }
    if broken.is_none()
        && let Err(e) = journal.write(Event::Ended { run, outcome, reason: reason.clone() }).await
    {
        report.notes.push(e.message);
    }
    drop(locks);
    (report.outcome, report.reason, report.elapsed_ms) = (outcome, reason, millis(start));
    Ok(report)
}

fn world_of(loaded: &Loaded) -> World<'_> {
    World(loaded)
}

/// The incident of the same finding, where one is open; else a new one.
async fn begin(order: &Order<'_>) -> Result<(Journal, u32)> {
    let plan = order.plan;
    let subject = plan.subjects.first().cloned().unwrap_or_default();
    let id = plan.findings.first().cloned().unwrap_or_else(|| format!("request@{subject}"));
    let open = order.store.all().into_iter().rev().find(|i| i.is_open() && i.about == id);
    let (mut journal, run) = match open {
        Some(incident) => (Journal::go_on(order.store, &incident)?, incident.runs() + 1),
        None => {
            let mut journal = order.store.begin()?;
            let f = order.diagnosis.findings.iter().find(|f| f.id == id);
            let opened = Event::Opened {
                incident: journal.id.clone(),
                id,
                subject,
                severity: f.map(|f| f.severity),
                summary: f.map_or_else(|| "asked for".into(), |f| f.summary.clone()),
                host: order.diagnosis.vantage.host.clone(),
                user: order.diagnosis.vantage.user.clone(),
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
    if plan.steps.iter().any(|s| s.act.destroys_evidence()) {
        journal.capture(run, order.evidence.clone()).await?;
    }
    Ok((journal, run))
}

struct Work<'a, 'b> {
    order: &'a Order<'b>,
    journal: &'a mut Journal,
    run: u32,
    stop: &'a Stop,
    awaited: &'a Awaited,
    tell: &'a mut (dyn FnMut(Told<'_>) + Send),
    report: &'a mut Recovery,
}

impl Work<'_, '_> {
    async fn all(&mut self, world: World<'_>) -> Result<(Outcome, String)> {
        let mut touched = false;
        for (at, step) in self.order.plan.steps.iter().enumerate() {
            if self.stop.asked() {
                let words = if touched {
                    "interrupted: the steps before this one were done"
                } else {
                    "interrupted: nothing was changed"
                };
                self.report.interrupted = !touched;
                return Ok((if touched { Outcome::Failed } else { Outcome::Refused }, words.into()));
            }
            match self.one(at, step, world).await? {
                Ok(already) => touched |= step.act.changes() && !already,
                Err(failed) => return self.failed(step, &failed, touched || failed.touched(), world).await,
            }
        }
        (self.tell)(Told::Verifying);
        let o = self.order;
        let v = verify(o.loaded, o.plan, o.ask, o.wait, self.stop, self.awaited).await;
        let run = self.run;
        self.journal
            .write(match v.verified {
                true => Event::Verified { run, looks: v.looks, says: v.says.clone() },
                false => Event::Unverified { run, why: v.says.clone() },
            })
            .await?;
        let (verified, says) = (v.verified, v.says.clone());
        self.report.verification = Some(Verification { ..v });
        if verified {
            return Ok((Outcome::Recovered, says));
        }
        if self.stop.asked() || !touched {
            return Ok((Outcome::NotRecovered, says));
        }
        let back = self.roll_back(world).await?;
        Ok((Outcome::NotRecovered, format!("{says}{back}")))
    }

    /// `Ok(true)`: it was so already.
    async fn one(
        &mut self,
        at: usize,
        step: &Step,
        world: World<'_>,
    ) -> Result<std::result::Result<bool, Failed>> {
        let (run, n) = (self.run, step.n);
        (self.tell)(Told::Begin(step));
        let begun = Instant::now();
        self.journal
            .write(Event::Intent {
                run,
                n,
                describe: step.describe.clone(),
                act: step.act.clone(),
                undo: step.undo.clone(),
                undo_reason: step.undo_reason.clone(),
            })
            .await?;
        let mut left = false;
        let done = tokio::select! {
            done = apply(&step.act, &step.needs, self.order.consent, world, begun + ACT) => done,
            () = self.stop.times(2) => {
                left = true;
                self.journal.write(Event::Left { run, n: Some(n) }).await?;
                Err(Failed::Broken("left by the second signal: what it came to is not known".into()))
            }
        };
        let row = &mut self.report.steps[at];
        row.elapsed_ms = Some(millis(begun));
        let result = match done {
            Ok(done) => {
                row.status = if done.already { StepStatus::Already } else { StepStatus::Done };
                row.detail = Some(done.detail.clone());
                let (detail, elapsed_ms) = (done.detail, millis(begun));
                let (made, already) = (done.made, done.already);
                self.journal.write(Event::Done { run, n, detail, elapsed_ms, made, already }).await?;
                Ok(already)
            }
            Err(failed) => {
                row.status = if matches!(failed, Failed::Changed(_)) {
                    StepStatus::Changed
                } else {
                    StepStatus::Failed
                };
                row.detail = Some(failed.words());
                let (why, touched) = (failed.words(), failed.touched());
                // What is not known to have ended stays begun.
                if !left {
                    self.journal.write(Event::StepFailed { run, n, why, touched }).await?;
                }
                Err(failed)
            }
        };
        (self.tell)(Told::End(&self.report.steps[at]));
        Ok(result)
    }

    async fn failed(
        &mut self,
        step: &Step,
        failed: &Failed,
        touched: bool,
        world: World<'_>,
    ) -> Result<(Outcome, String)> {
        let why = format!("step {} ({}): {}", step.n, step.describe, failed.words());
        if touched {
            let back = if self.stop.asked() { String::new() } else { self.roll_back(world).await? };
            return Ok((Outcome::Failed, format!("{why}{back}")));
        }
        // It may have healed by itself, or by somebody's hand.
        if matches!(failed, Failed::Changed(_)) && !self.order.plan.findings.is_empty() {
            let seen = symptoms(self.order.loaded, &self.order.plan.subjects, self.awaited).await;
            if let Recovered::Yes(says) = recovered(&seen, self.order.plan, self.order.ask) {
                return Ok((
                    Outcome::NothingToDo,
                    format!("it is well meanwhile: {says}; nothing was changed"),
                ));
            }
        }
        Ok((Outcome::Refused, format!("{why}; nothing was changed")))
    }

    /// A setting that was ignored, or that the service died of, is not left behind.
    async fn roll_back(&mut self, world: World<'_>) -> Result<String> {
        if !self.order.plan.steps.iter().any(|s| matches!(s.act, Act::DropIn { .. })) {
            return Ok(String::new());
        }
        let incident = self.order.store.one(&self.journal.id)?;
        // A run before this one may have written it, and been cut off.
        let same = |o: &crate::incident::Open| match (&o.act, o.run == self.run) {
            (_, true) => true,
            (Act::DropIn { unit, to, .. }, false) => self
                .order
                .plan
                .steps
                .iter()
                .any(|s| matches!(&s.act, Act::DropIn { unit: u, to: t, .. } if u == unit && t == to)),
            _ => false,
        };
        let mine = incident.standing().into_iter().rev().filter(same);
        let standing: Vec<_> = mine.collect();
        let restart = standing.iter().any(|o| matches!(o.act, Act::RestartUnit { .. }));
        let mut words = String::new();
        for open in standing.iter().filter(|o| o.undo.is_some()) {
            (self.tell)(Told::Back(&open.describe));
            let by = "rolled back";
            match take_back(open, restart, self.journal, self.order.consent, world, by).await? {
                Taken::Back { n, .. } => {
                    if let Some(row) = self.report.steps.iter_mut().find(|r| r.n == n) {
                        row.status = StepStatus::Undone;
                    }
                    words.push_str(&format!("; step {n} was rolled back"));
                }
                Taken::Refused { n, why } | Taken::Failed { n, why } => {
                    words.push_str(&format!("; step {n} could not be rolled back: {why}"));
                }
            }
        }
        Ok(words)
    }
}
