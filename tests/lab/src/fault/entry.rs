//! What a fault is, and the list of all of them.
//! The expectations are the catalogue's: the tool is measured by them, not they by the tool.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::settings::Settings;
use crate::stack::Stack;
use crate::wait;

use super::{control, crash, database, pool};

/// One way to break the stack, or a noise that must not be taken for a fault.
#[derive(Clone)]
pub struct Fault {
    /// `cause/variant` without the scenario, for the command line.
    pub name: &'static str,
    /// What must be found first; none for a control, which must be healthy.
    pub cause: Option<&'static str>,
    /// The configured name that the finding is about.
    pub subject: &'static str,
    /// What is done, in a few words.
    pub what: &'static str,
    pub inject: fn(&mut Stack) -> Result<()>,
    /// What `Stack::heal` cannot know of.
    pub heal: fn(&mut Stack) -> Result<()>,
    /// Subjects on which something must be shown as explained by the root.
    pub consequences: &'static [&'static str],
    pub settings: fn(&mut Settings),
    /// Whether only a booted systemd can show it.
    pub needs_systemd: bool,
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
            subject: "",
            what,
            inject,
            heal: |_| Ok(()),
            consequences: &[],
            settings: |_| {},
            needs_systemd: false,
        }
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

    pub const fn with(mut self, settings: fn(&mut Settings)) -> Self {
        self.settings = settings;
        self
    }

    pub const fn under_systemd(mut self) -> Self {
        self.needs_systemd = true;
        self
    }

    /// The part after the slash.
    pub fn variant(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(_, variant)| variant)
    }

    /// Injects; what it did is to be seen when this returns. The tool's configuration
    /// is the fault's until it is healed.
    pub fn inject(&self, stack: &mut Stack) -> Result<()> {
        let mut settings = Settings::default();
        (self.settings)(&mut settings);
        stack.configure(&settings)?;
        (self.inject)(stack).with_context(|| format!("{} could not be injected", self.name))
    }

    /// Heals and waits until the stack is healthy.
    pub fn heal(&self, stack: &mut Stack) -> Result<()> {
        stack.configure(&Settings::default())?;
        (self.heal)(stack).and_then(|()| stack.heal()).with_context(|| format!("{} did not heal", self.name))
    }
}

/// Until every service has noticed.
pub(super) fn all_unhealthy(stack: &Stack) -> Result<()> {
    for service in stack.services() {
        let what = format!("{} says unhealthy", service.name);
        wait::until(&what, Duration::from_secs(10), || service.says("unhealthy"))?;
    }
    Ok(())
}

/// Every fault and control, in the order of the catalogue.
pub fn all() -> Vec<Fault> {
    [database::FAULTS, pool::FAULTS, crash::FAULTS, control::CONTROLS].concat()
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
