//! The steps of a plan, one after another: intent, act, end; then it is verified. Each intent is on disk
//! before its step begins. A setting that was ignored, or that its service died of, is not left behind.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::back::{GLANCE, Hands, LEFT, ROLLED_BACK, Taken, limit, started_since, take_back};
use super::blame::{arms, left_down, refuted, started_again, to_roll_back, unwell};
use super::carry::Order;
use super::near::runs;
use super::report::{Recovery, StepStatus, Told};
use super::sight::Sight;
use super::stop::Stop;
use super::verify::{held, recovered, symptoms, unproven, verify};
use super::world::{holds_at_once, lives};
use crate::action::{Failed, Sessions, World, apply};
use crate::engine::Awaited;
use crate::error::Result;
use crate::incident::{Event, Journal, Open, Outcome};
use crate::plan::{Act, Recovered, Step};
use crate::probe::millis;

pub(super) struct Work<'a, 'b> {
    pub order: &'a Order<'b>,
    pub sight: &'a Sight,
    /// Ours, held while something is done.
    pub sessions: Sessions,
    pub journal: &'a mut Journal,
    pub run: u32,
    pub stop: &'a Stop,
    pub awaited: &'a Awaited,
    pub tell: &'a mut (dyn FnMut(Told<'_>) + Send),
    pub report: &'a mut Recovery,
}

/// What a step came to, where it stops nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    Done,
    Already,
    /// What it was about went by itself.
    Gone,
}

type Ending = (Outcome, String);

fn of(step: &Step) -> String {
    format!("step {} ({})", step.n, step.describe)
}

impl Work<'_, '_> {
    pub async fn all(&mut self) -> Result<Ending> {
        // For whom something was done; and who was found to be another than was seen.
        let (mut touched, mut other) = (Vec::new(), Vec::new());
        let mut why = None;
        for (at, step) in self.order.plan.steps.iter().enumerate() {
            if self.stop.asked() {
                return Ok(self.interrupted(!touched.is_empty(), Some(step)));
            }
            let subject = step.subject.as_str();
            if other.contains(&subject) {
                continue;
            }
            if let Some(why) = self.too_early(step).await {
                if self.stop.asked() {
                    return Ok(self.interrupted(!touched.is_empty(), Some(step)));
                }
                let why = format!("{why}; {} was not begun", of(step));
                return Ok(match touched.is_empty() {
                    true => (Outcome::Refused, format!("{why}; nothing was changed")),
                    false => (Outcome::NotRecovered, why),
                });
            }
            if let Some(is) = self.healed(step).await {
                other.push(subject);
                why = Some(format!("{}: {is}", of(step)));
                continue;
            }
            // Behind all that was waited for.
            if let Some(why) = self.held(step).await {
                let why = format!("{why}; {} was not begun", of(step));
                if touched.is_empty() {
                    return Ok((Outcome::Refused, format!("{why}; nothing was changed")));
                }
                let touched: Vec<String> = touched.into_iter().map(str::to_owned).collect();
                let back = self.roll_back_refuted(&touched).await?;
                return Ok((Outcome::NotRecovered, format!("{why}{back}")));
            }
            // While others were waited for.
            if self.stop.asked() {
                return Ok(self.interrupted(!touched.is_empty(), Some(step)));
            }
            match self.one(at, step).await? {
                Ok(Went::Gone) => why = Some(format!("{}: it is gone", of(step))),
                Ok(Went::Done) if step.act.changes() => touched.push(subject),
                Ok(Went::Done | Went::Already) => {}
                // It may have healed by itself, or by somebody's hand: nothing more is done for it, and the
                // look afterwards says how it is.
                Err(Failed::Changed(is)) if !touched.contains(&subject) => {
                    other.push(subject);
                    why = Some(format!("{}: {is}", of(step)));
                }
                Err(failed) => {
                    let touched = !touched.is_empty() || failed.touched();
                    return self.failed(step, &failed, touched).await;
                }
            }
        }
        match why {
            Some(why) if touched.is_empty() => Ok(self.unchanged(&why).await),
            _ => self.judged(!touched.is_empty()).await,
        }
    }

    /// Whether it worked, by the symptom that was there.
    async fn judged(&mut self, touched: bool) -> Result<Ending> {
        (self.tell)(Told::Verifying);
        // They take slots that others may miss.
        self.sessions.clear();
        let (o, run) = (self.order, self.run);
        let held = held(&self.sight.looks, o.plan);
        let v = verify(o.loaded, o.plan, held, o.wait, self.stop, self.awaited).await;
        let (verified, says) = (v.verified, v.says.clone());
        let event = match verified {
            true => Event::Verified { run, looks: v.looks, says: says.clone() },
            false => Event::Unverified { run, why: says.clone() },
        };
        self.report.verification = Some(v);
        self.journal.write(event).await?;
        let unseen = self.report.steps.iter().filter(|r| r.status == StepStatus::Unseen).map(|r| r.n);
        if let Some(step) =
            unproven(o.plan, &unseen.collect::<Vec<_>>(), &o.loaded.config).filter(|_| verified)
        {
            return Ok((Outcome::NotRecovered, format!("{says}; but {} could not be seen", of(step))));
        }
        let left = &o.plan.left;
        if verified && left.is_empty() {
            return Ok((Outcome::Recovered, says));
        }
        if verified {
            // Half of what was asked for is not the whole.
            let outcome = if touched { Outcome::NotRecovered } else { Outcome::Advice };
            return Ok((outcome, format!("{says}; left as it is: {}", left.join(", "))));
        }
        if self.stop.asked() {
            return Ok(if touched { (Outcome::NotRecovered, says) } else { self.interrupted(false, None) });
        }
        if !touched {
            return Ok((Outcome::NotRecovered, says));
        }
        let back = self.roll_back_refuted(&o.plan.subjects).await?;
        Ok((Outcome::NotRecovered, format!("{says}{back}")))
    }

    /// The settings of those of these subjects against which something was seen. Of whom nothing is seen they
    /// stay, and `undo` takes them back.
    async fn roll_back_refuted(&mut self, subjects: &[String]) -> Result<String> {
        let plan = self.order.plan;
        let seen = symptoms(self.order.loaded, plan, subjects, self.awaited).await;
        let anew = self.died_since().await?;
        let mut ill = unwell(&seen, plan);
        ill.retain(|subject| subjects.contains(subject) && refuted(&seen, plan, subject, &anew));
        self.roll_back(&ill).await
    }

    /// Units of ours whose run is not the one that this run began.
    async fn died_since(&self) -> Result<Vec<String>> {
        let standing = self.journal.so_far()?.standing();
        let made = standing.iter().filter(|o| o.run == self.run);
        let made = made.filter_map(|o| Some((o.act.starts()?, o.made.as_ref()?)));
        let made: Vec<(&str, &String)> = made.collect();
        let units: Vec<&str> = made.iter().map(|(unit, _)| *unit).collect();
        let now = runs(&units, &self.order.loaded.config, Instant::now() + GLANCE).await;
        let other = |(unit, made): &&(&str, &String)| now.get(*unit).is_some_and(|n| n != *made);
        Ok(made.iter().filter(other).map(|(unit, _)| (*unit).to_owned()).collect())
    }

    fn interrupted(&mut self, touched: bool, before: Option<&Step>) -> Ending {
        self.report.interrupted = !touched;
        if touched {
            let down = before.map(|step| left_down(self.order.plan, step)).unwrap_or_default();
            (Outcome::Failed, format!("interrupted: the steps before this one were done{down}"))
        } else {
            (Outcome::Refused, "interrupted: nothing was changed".into())
        }
    }

    async fn one(&mut self, at: usize, step: &Step) -> Result<std::result::Result<Went, Failed>> {
        let (run, n) = (self.run, step.n);
        (self.tell)(Told::Begin(step));
        let begun = Instant::now();
        let intent = Event::Intent {
            run,
            n,
            describe: step.describe.clone(),
            act: step.act.clone(),
            undo: step.undo.clone(),
            undo_reason: step.undo_reason.clone(),
        };
        self.journal.write(intent).await?;
        let said = Mutex::new(Some(self.awaited.begin(step.describe.clone())));
        let say = |text: &str| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            // The former one first: the next may say the same.
            *said = None;
            *said = Some(self.awaited.begin(text));
        };
        let world = World(self.order.loaded, Some(&self.sessions), Some(&say));
        let limit = limit(&step.act, self.order.wait);
        let done = tokio::select! {
            done = apply(&step.act, &step.needs, self.order.consent, world, begun + limit) => Some(done),
            () = self.stop.times(2) => None,
        };
        drop(said);
        let row = &mut self.report.steps[at];
        row.elapsed_ms = Some(millis(begun));
        let (went, event) = match done {
            Some(Ok(done)) => {
                let (went, status) = match done.already {
                    true => (Went::Already, StepStatus::Already),
                    false => (Went::Done, StepStatus::Done),
                };
                (row.status, row.detail) = (status, Some(done.detail.clone()));
                let (detail, elapsed_ms, made) = (done.detail, millis(begun), done.made);
                (Ok(went), Event::Done { run, n, detail, elapsed_ms, made, already: done.already })
            }
            // Its end is what the look afterwards says; whether it is ours then, nobody knows.
            Some(Err(Failed::GoesOn(why))) => {
                (row.status, row.detail) = (StepStatus::Done, Some(why.clone()));
                (Ok(Went::Done), Event::StepFailed { run, n, why, touched: true })
            }
            Some(Err(Failed::Unseen(why))) => {
                (row.status, row.detail) = (StepStatus::Unseen, Some(why.clone()));
                (Ok(Went::Already), Event::StepFailed { run, n, why, touched: false })
            }
            Some(Err(failed)) => {
                let changed = matches!(failed, Failed::Changed(_));
                row.status = if changed { StepStatus::Changed } else { StepStatus::Failed };
                row.detail = Some(failed.words());
                let (why, touched) = (failed.words(), failed.touched());
                let event = Event::StepFailed { run, n, why, touched };
                // A session or an index that is gone is what was wanted; what is left of it the look afterwards says.
                let goes_on = changed && step.act.server().is_some();
                (if goes_on { Ok(Went::Gone) } else { Err(failed) }, event)
            }
            // What is not known to have ended stays begun.
            None => {
                (row.status, row.detail) = (StepStatus::Failed, Some(LEFT.into()));
                (Err(Failed::Broken(LEFT.into())), Event::Left { run, n: Some(n) })
            }
        };
        let left = matches!(event, Event::Left { .. });
        let written = self.journal.write(event).await;
        (self.tell)(Told::End(&self.report.steps[at]));
        if !left {
            written?;
        }
        Ok(went)
    }

    async fn failed(&mut self, step: &Step, failed: &Failed, touched: bool) -> Result<Ending> {
        let why = format!("{}: {}", of(step), failed.words());
        if touched {
            let back = match self.stop.asked() {
                true => left_down(self.order.plan, step),
                // Nothing stays written for whoever restarts it next.
                false if arms(self.order.plan, step) => {
                    self.roll_back(std::slice::from_ref(&step.subject)).await?
                }
                // Its process has another value than it was given: that was seen.
                false if step.act.proves() => self.roll_back(std::slice::from_ref(&step.subject)).await?,
                // What was stopped for it is not left down: it was not begun.
                false if !failed.touched() && matches!(step.act, Act::SetAside { .. }) => {
                    self.start_again(step).await?
                }
                // Where it stands then nobody knows: it is not started at once on what may be half of it.
                false if matches!(step.act, Act::SetAside { .. }) => left_down(self.order.plan, step),
                false => self.roll_back_refuted(std::slice::from_ref(&step.subject)).await?,
            };
            return Ok((Outcome::Failed, format!("{why}{back}")));
        }
        Ok((Outcome::Refused, format!("{why}; nothing was changed")))
    }

    async fn start_again(&mut self, step: &Step) -> Result<String> {
        let mut words = String::new();
        for (at, again) in started_again(self.order.plan, step) {
            match self.one(at, again).await? {
                Ok(_) => words = format!("; step {} was done all the same: it was stopped for it", again.n),
                Err(failed) => {
                    return Ok(format!("; {} is down, and: {}", again.subject, failed.words()));
                }
            }
        }
        Ok(words)
    }

    /// Nothing was done, since it is not what it was.
    async fn unchanged(&mut self, why: &str) -> Ending {
        let o = self.order;
        if !o.plan.findings.is_empty() {
            let seen = symptoms(o.loaded, o.plan, &o.plan.subjects, self.awaited).await;
            if let Recovered::Yes(says) = recovered(&seen, o.plan, &self.sight.request.ask) {
                let says = format!("it is well meanwhile: {says}; nothing was changed");
                return (Outcome::NothingToDo, says);
            }
        }
        (Outcome::Refused, format!("{why}; nothing was changed"))
    }

    /// A smaller limit holds at once: it would kill the process that has just come up under the larger one.
    async fn must_stay(&self, open: &Open) -> Option<String> {
        let Act::DropIn { unit, from, to } = &open.act else { return None };
        let limit = holds_at_once(to.as_deref(), from.as_deref());
        if !limit || !lives(unit, &self.order.loaded.config, Instant::now() + GLANCE).await {
            return None;
        }
        let n = open.n;
        Some(format!(
            "; step {n} stays: the process of {unit} lives under it (mcp-ir undo {})",
            self.journal.id
        ))
    }

    /// The settings of these subjects alone: what was done for others, and worked, stays.
    async fn roll_back(&mut self, subjects: &[String]) -> Result<String> {
        let incident = self.journal.so_far()?;
        let mut words = String::new();
        for open in to_roll_back(incident.standing(), self.order.plan, self.run, subjects) {
            if let Some(stays) = self.must_stay(&open).await {
                words.push_str(&stays);
                continue;
            }
            (self.tell)(Told::Back(&open.describe));
            let mut hands = Hands {
                journal: self.journal,
                consent: self.order.consent,
                loaded: self.order.loaded,
                stop: self.stop,
                by: ROLLED_BACK,
            };
            match take_back(&open, started_since(&open, &incident), &mut hands).await? {
                Taken::Back { n, .. } => {
                    if let Some(row) = self.report.steps.iter_mut().find(|r| r.n == n && open.run == self.run)
                    {
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
