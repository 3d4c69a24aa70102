//! What a fault is, and the list of all of them.
//! The expectations are the catalogue's: the tool is measured by them, not they by the tool.

use anyhow::{Context, Result, ensure};

use crate::settings::Settings;
use crate::stack::Stack;

use super::{
    access, contained, container, control, crash, damage, database, dependency, died, disk, holders,
    host_latency, latency, mcp, memory, network, noise, own, pairs, plain, pool, pooler, queues, silent,
    start, upkeep, vantage,
};

/// One way to break the stack, or a noise that must not be taken for a fault.
#[derive(Clone)]
pub struct Fault {
    /// `cause/variant` without the scenario, for the command line.
    pub name: &'static str,
    /// What must be found first; none for a control, which must be healthy.
    pub cause: Option<&'static str>,
    /// Whether it is a note: to be told, and the stack is healthy all the same.
    pub note: bool,
    /// A control that nobody can judge: it must be called neither healthy nor ill.
    pub not_known: bool,
    /// A control's scenario; every other has its cause's.
    of: &'static str,
    /// The configured name that the finding is about.
    pub subject: &'static str,
    /// What is done, in a few words.
    pub what: &'static str,
    pub inject: fn(&mut Stack) -> Result<()>,
    /// What `Stack::heal` cannot know of.
    pub heal: fn(&mut Stack) -> Result<()>,
    /// Subjects on which something must be shown as explained by the root.
    pub consequences: &'static [&'static str],
    /// The command that must be named to be typed next.
    pub next: Option<&'static str>,
    /// What must be said of it, as a fact or in its sentence.
    pub said: Option<&'static str>,
    /// What must be told first of what was changed of late.
    pub changed: Option<&'static str>,
    /// What must be told among them.
    pub also_changed: Option<&'static str>,
    /// What must not be told of.
    pub not_changed: Option<&'static str>,
    /// The id of a root that stands beside it, and has nothing to do with it.
    pub beside: Option<&'static str>,
    /// The id of what is true as well, and all that can be told by a look that sees less.
    pub lesser: Option<&'static str>,
    pub settings: fn(&mut Settings),
    /// Whether only a booted systemd can show it.
    pub needs_systemd: bool,
    /// Whether it needs what is installed from PyPI.
    pub from_pypi: bool,
    /// The faults that are made together; each must be a root. Its cause and subject are the first one's.
    pub parts: &'static [&'static str],
    /// An earlier look is needed to compare with, some time before it is made.
    pub two_looks: bool,
    /// One root makes others red, over more than one step or in more than one place.
    pub is_cascade: bool,
    /// It takes the processors of the whole machine: nothing else is measured meanwhile.
    pub alone: bool,
}

impl Fault {
    /// A fault under systemd that needs no healing of its own and has no consequences.
    pub const fn new(
        name: &'static str,
        cause: &'static str,
        subject: &'static str,
        what: &'static str,
        inject: fn(&mut Stack) -> Result<()>,
    ) -> Self {
        Self { cause: Some(cause), ..Self::control(name, what, inject) }.about(subject)
    }

    pub const fn control(
        name: &'static str,
        what: &'static str,
        inject: fn(&mut Stack) -> Result<()>,
    ) -> Self {
        Self {
            name,
            cause: None,
            note: false,
            not_known: false,
            of: "",
            subject: "",
            what,
            inject,
            heal: |_| Ok(()),
            consequences: &[],
            next: None,
            said: None,
            changed: None,
            also_changed: None,
            not_changed: None,
            beside: None,
            lesser: None,
            settings: |_| {},
            needs_systemd: false,
            from_pypi: false,
            parts: &[],
            two_looks: false,
            is_cascade: false,
            alone: false,
        }
    }

    /// Faults that have nothing to do with one another, made together.
    pub const fn pair(name: &'static str, what: &'static str, parts: &'static [&'static str]) -> Self {
        let none = Self::control(name, what, |_| Ok(()));
        Self { parts, of: "pairs", needs_systemd: true, ..none }
    }

    pub const fn told_by_two_looks(mut self) -> Self {
        self.two_looks = true;
        self
    }

    pub const fn cascade(mut self) -> Self {
        self.is_cascade = true;
        self
    }

    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// A note (P4), which changes no verdict.
    pub const fn as_note(mut self) -> Self {
        self.note = true;
        self
    }

    /// A control whose verdict must be *unknown*.
    pub const fn not_known(mut self) -> Self {
        self.not_known = true;
        self
    }

    /// The scenario that a control looks like.
    pub const fn like(mut self, scenario: &'static str) -> Self {
        self.of = scenario;
        self
    }

    /// The scenario it belongs to; empty for a noise that is like none.
    pub fn scenario(&self) -> &'static str {
        if !self.parts.is_empty() {
            return self.of;
        }
        self.cause.and_then(|cause| cause.split('/').next()).unwrap_or(self.of)
    }

    const fn about(mut self, subject: &'static str) -> Self {
        self.subject = subject;
        self
    }

    pub const fn healed_by(mut self, heal: fn(&mut Stack) -> Result<()>) -> Self {
        self.heal = heal;
        self
    }

    pub const fn explains(mut self, subjects: &'static [&'static str]) -> Self {
        self.consequences = subjects;
        self
    }

    pub const fn next(mut self, command: &'static str) -> Self {
        self.next = Some(command);
        self
    }

    pub const fn said(mut self, words: &'static str) -> Self {
        self.said = Some(words);
        self
    }

    pub const fn changed(mut self, what: &'static str) -> Self {
        self.changed = Some(what);
        self
    }

    pub const fn also_changed(mut self, what: &'static str) -> Self {
        self.also_changed = Some(what);
        self
    }

    pub const fn not_changed(mut self, what: &'static str) -> Self {
        self.not_changed = Some(what);
        self
    }

    pub const fn beside(mut self, id: &'static str) -> Self {
        self.beside = Some(id);
        self
    }

    pub const fn or_at_least(mut self, id: &'static str) -> Self {
        self.lesser = Some(id);
        self
    }

    pub const fn with(mut self, settings: fn(&mut Settings)) -> Self {
        self.settings = settings;
        self
    }

    pub const fn under_systemd(mut self) -> Self {
        self.needs_systemd = true;
        self
    }

    pub const fn of_real_mcp(mut self) -> Self {
        self.from_pypi = true;
        self.under_systemd()
    }

    /// The part after the slash.
    pub fn variant(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(_, variant)| variant)
    }

    /// Injects; what it did is to be seen when this returns. The tool's configuration
    /// is the fault's until it is healed.
    pub fn inject(&self, stack: &mut Stack) -> Result<()> {
        ensure!(
            !self.needs_systemd || stack.booted().is_some(),
            "{} needs a booted systemd, and so root",
            self.name
        );
        let mut settings = Settings::default();
        let parts = self.parts()?;
        let every = || std::iter::once(self).chain(&parts);
        every().for_each(|f| (f.settings)(&mut settings));
        stack.configure(&settings)?;
        every()
            .try_for_each(|f| (f.inject)(stack).with_context(|| format!("{} could not be injected", f.name)))
    }

    pub fn parts(&self) -> Result<Vec<Fault>> {
        self.parts.iter().map(|name| find(name)).collect()
    }

    /// The finding that must be a root.
    pub fn root(&self) -> Option<String> {
        self.cause.map(|cause| format!("{cause}@{}", self.subject))
    }

    /// Heals and waits until the stack is healthy.
    pub fn heal(&self, stack: &mut Stack) -> Result<()> {
        stack.configure(&Settings::default())?;
        let parts = self.parts()?;
        let mut every = parts.iter().rev().chain([self]);
        let healed = every.try_for_each(|f| (f.heal)(stack)).and_then(|()| stack.heal());
        healed.with_context(|| format!("{} did not heal", self.name))
    }
}

/// Both services: what a dead database explains.
pub(super) const BOTH: &[&str] = &["codebase-mcp", "workflow-mcp"];

/// Until every service has noticed.
pub(super) fn all_unhealthy(stack: &Stack) -> Result<()> {
    stack.wait_until_all_say("unhealthy")
}

/// Every fault and control, in the order of the catalogue; then what is made together.
pub fn all() -> Vec<Fault> {
    let mut all = single();
    let pairs = pairs::FAULTS.iter().cloned().map(|mut pair| {
        let first = pair.parts.first().and_then(|name| all.iter().find(|f| f.name == *name));
        if let Some(first) = first {
            (pair.cause, pair.subject) = (first.cause, first.subject);
        }
        pair
    });
    let pairs: Vec<Fault> = pairs.collect();
    all.extend(pairs);
    all
}

fn single() -> Vec<Fault> {
    [
        database::FAULTS,
        start::FAULTS,
        access::FAULTS,
        network::FAULTS,
        disk::FAULTS,
        damage::FAULTS,
        pool::FAULTS,
        holders::FAULTS,
        pooler::FAULTS,
        crash::FAULTS,
        died::FAULTS,
        silent::FAULTS,
        plain::FAULTS,
        own::FAULTS,
        memory::FAULTS,
        container::FAULTS,
        contained::FAULTS,
        mcp::FAULTS,
        dependency::FAULTS,
        latency::FAULTS,
        upkeep::FAULTS,
        host_latency::FAULTS,
        queues::FAULTS,
        noise::CONTROLS,
        control::CONTROLS,
        vantage::CONTROLS,
    ]
    .concat()
}

/// By its name, or by the part before the slash where that is enough.
pub fn find(name: &str) -> Result<Fault> {
    let every = all();
    let found = every.iter().find(|f| f.name == name);
    let first = || every.iter().find(|f| f.name.split('/').next() == Some(name));
    found.or_else(first).cloned().with_context(|| {
        let names: Vec<&str> = every.iter().map(|f| f.name).collect();
        format!("no fault {name}; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_as_many_controls_as_causes() {
        let all = all();
        let causes: BTreeSet<&str> = all
            .iter()
            .flat_map(|f| [f.cause, f.beside.and_then(|id| id.split('@').next())])
            .flatten()
            .collect();
        let controls = all.iter().filter(|f| f.cause.is_none()).count();
        assert!(controls >= causes.len(), "{controls} for {}", causes.len());
    }
}
