//! Looks with less than usual, at a stack that is healthy: nothing may be found.
//! The same is asked of every fault by `lab matrix --as`.

use clap::ValueEnum;

use crate::cluster::SERVICES;
use crate::settings::Settings;

use super::Fault;

/// What the tool is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Vantage {
    /// Logs in as the services do, without pg_monitor
    PlainRole,
    /// Run by nobody: no journal, no files of others
    PlainUser,
    /// No D-Bus to ask
    NoBus,
}

impl Vantage {
    pub fn lessen(self, settings: &mut Settings) {
        match self {
            Self::PlainRole => settings.log_in_as(SERVICES),
            Self::PlainUser => settings.plain_user = true,
            Self::NoBus => settings.bus = Some("unix:path=/nonexistent/bus".into()),
        }
    }
}

pub const CONTROLS: &[Fault] = &[
    Fault::control("healthy/plain-role", "the tool logs in as the services' role", |_| Ok(()))
        .with(|settings| Vantage::PlainRole.lessen(settings))
        .like("pool-exhausted"),
    Fault::control("healthy/plain-user", "the tool is run by nobody", |_| Ok(()))
        .with(|settings| Vantage::PlainUser.lessen(settings))
        .under_systemd(),
    Fault::control("healthy/no-bus", "the bus that the tool is told of is not there", |_| Ok(()))
        .with(|settings| Vantage::NoBus.lessen(settings))
        .under_systemd(),
];
