//! A finding: a cause that holds for a subject, its evidence, and what to type next.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cause::{Cause, Certainty, Severity};
use crate::plan::Risk;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `cause@subject`, unique in a diagnosis.
    pub id: String,
    pub cause: String,
    pub scenario: String,
    /// The configured name of the resource.
    pub subject: String,
    pub severity: Severity,
    pub certainty: Certainty,
    /// When it began, where that is known.
    pub since: Option<Timestamp>,
    pub summary: String,
    pub evidence: Vec<Evidence>,
    /// Ids of the findings that explain this one; empty for a root.
    pub explained_by: Vec<String>,
    pub remedy: Remedy,
    /// Its evidence contradicts that what it needs is the reason.
    #[serde(skip)]
    pub own: bool,
    /// The same of its databases alone: the service itself says that it is connected.
    #[serde(skip)]
    pub connected: bool,
    /// Of the time that requests took, the part that this explains; 0 where it is not known.
    #[serde(skip)]
    pub share: f64,
    /// It is by a limit of its own, whatever the host has.
    #[serde(skip)]
    pub of_its_limit: bool,
    /// Of a cause of the host's: whom it is seen to hold up, and what these need; `None`: all that run
    /// there.
    #[serde(skip)]
    pub about: Option<BTreeSet<String>>,
    /// Causes that this finding declares to explain, but does not explain here.
    #[serde(skip)]
    pub spares: Vec<&'static str>,
    /// Of such a cause it explains only that of these subjects here.
    #[serde(skip)]
    pub only: Option<(&'static str, Vec<String>)>,
}

/// One fact, and the probe that saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `postgres login`, `http health`, `systemd`, `journal`, `/proc`, …
    pub probe: String,
    pub fact: String,
    pub value: String,
}

/// What to type next. Where nothing of ours mends it, an engineer's command that only looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    pub command: String,
    pub summary: String,
    pub risk: Risk,
    /// `mcp-ir runbook db-down#postgres-stopped` prints that heading.
    pub runbook: String,
    /// A restart of the subject is what mends it: nothing else speaks for one.
    #[serde(skip)]
    pub restart: bool,
    /// It goes on by itself: a restart would begin it anew.
    #[serde(skip)]
    pub wait: bool,
    /// A larger limit of its unit mends it: its name in systemd, and how much.
    #[serde(skip)]
    pub limit: Option<(&'static str, u64)>,
    /// A folder of its own that is set aside mends it.
    #[serde(skip)]
    pub aside: Option<String>,
    /// The setting that it refuses, as its own words have it.
    #[serde(skip)]
    pub setting: Option<String>,
}

impl Finding {
    /// A finding by its declared cause; the rest is added by the `with_…` calls.
    pub fn new(cause: &Cause, subject: &str, certainty: Certainty, summary: impl Into<String>) -> Self {
        Self {
            id: format!("{}@{subject}", cause.name),
            cause: cause.name.into(),
            scenario: cause.scenario().into(),
            subject: subject.into(),
            severity: cause.severity,
            certainty,
            since: None,
            summary: summary.into(),
            evidence: Vec::new(),
            explained_by: Vec::new(),
            remedy: Remedy {
                command: String::new(),
                summary: String::new(),
                risk: Risk::Safe,
                runbook: cause.name.replace('/', "#"),
                restart: false,
                wait: false,
                limit: None,
                aside: None,
                setting: None,
            },
            own: false,
            connected: false,
            share: 0.0,
            of_its_limit: false,
            about: None,
            spares: Vec::new(),
            only: None,
        }
    }

    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    #[must_use]
    pub fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    #[must_use]
    pub fn saw(mut self, probe: &str, fact: &str, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence { probe: probe.into(), fact: fact.into(), value: value.into() });
        self
    }

    /// Adds evidence only where there is some.
    #[must_use]
    pub fn saw_if(self, probe: &str, fact: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(v) => self.saw(probe, fact, v),
            None => self,
        }
    }

    #[must_use]
    pub fn remedy(mut self, command: impl Into<String>, summary: impl Into<String>, risk: Risk) -> Self {
        self.remedy.command = command.into();
        self.remedy.summary = summary.into();
        self.remedy.risk = risk;
        self.remedy.restart = false;
        self
    }

    /// The remedy is a restart of the subject.
    #[must_use]
    pub fn restarts(self, command: impl Into<String>, summary: impl Into<String>) -> Self {
        let mut f = self.remedy(command, summary, Risk::Disruptive);
        f.remedy.restart = true;
        f
    }

    /// The remedy is to wait.
    #[must_use]
    pub fn waits(mut self, wait: bool) -> Self {
        self.remedy.wait = wait;
        self
    }

    /// The remedy is a larger limit of its unit.
    #[must_use]
    pub fn raises(mut self, key: &'static str, to: u64) -> Self {
        self.remedy.limit = Some((key, to));
        self
    }

    /// The remedy is to set this folder aside.
    #[must_use]
    pub fn sets_aside(mut self, folder: &str) -> Self {
        self.remedy.aside = Some(folder.to_owned());
        self
    }

    /// It refuses this setting.
    #[must_use]
    pub fn refuses(mut self, setting: &str) -> Self {
        self.remedy.setting = Some(setting.to_owned());
        self
    }

    #[must_use]
    pub fn own(mut self, own: bool) -> Self {
        self.own = own;
        self
    }

    #[must_use]
    pub fn connected(mut self, connected: bool) -> Self {
        self.connected = connected;
        self
    }

    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.share = if share.is_finite() { share } else { 0.0 };
        self
    }

    #[must_use]
    pub fn about(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.about = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Takes back a declared explanation, where the facts of this look speak against it.
    #[must_use]
    pub fn spares_if(mut self, cause: &'static str, spared: bool) -> Self {
        if spared {
            self.spares.push(cause);
        }
        self
    }

    /// Of that cause it explains what these subjects have, and nobody else's.
    #[must_use]
    pub fn explains_only(mut self, cause: &'static str, subjects: Vec<String>) -> Self {
        self.only = Some((cause, subjects));
        self
    }

    /// Declared to be explained by this one, and not explained here.
    pub fn leaves(&self, f: &Self) -> bool {
        let not_its = |(cause, all): &(&str, Vec<String>)| *cause == f.cause && !all.contains(&f.subject);
        self.spares.contains(&f.cause.as_str()) || self.only.as_ref().is_some_and(not_its)
    }

    pub fn is_root(&self) -> bool {
        self.explained_by.is_empty()
    }
}
