//! A server's own words and its file systems, once more: where something is wrong that they may
//! explain. A healthy server's journal is not read: that takes a process, and tens of milliseconds.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::config::{Config, Postgres};
use crate::probe::{blocking, host, log, systemd, timed};
use crate::scenario::clusters;
use crate::snapshot::host::{Log, Place};
use crate::snapshot::postgres::{PostgresLook, Postmaster};
use crate::snapshot::units::Journal;
use crate::snapshot::{Look, Reading, Snapshot};

pub struct Words {
    pub name: String,
    pub places: Vec<Place>,
    pub log: Reading<Log>,
    pub journal: Option<(String, Look<Journal>)>,
}

/// The servers of this host to ask, and the unit whose journal nobody else reads.
pub fn doubtful(
    now: &Snapshot,
    config: &Config,
    units: &BTreeSet<String>,
    everything: bool,
) -> Vec<(Postgres, Option<String>)> {
    let asked = |p: &&Postgres| {
        let Some(look) = now.postgres.get(&p.name).filter(|l| l.here == Some(true)) else { return false };
        everything
            || look.login.failure().is_some()
            || crashed(look, config)
            || narrow(p, now)
            || missed(p, now, config)
    };
    let unit = |p| clusters::own_unit(p, now).filter(|u| !units.contains(*u)).map(ToOwned::to_owned);
    config.postgres.iter().filter(asked).map(|p| (p.clone(), unit(p))).collect()
}

/// It recovered lately from the crash of one of its processes.
fn crashed(look: &PostgresLook, config: &Config) -> bool {
    let recent = config.thresholds.recent_failure.as_secs_f64();
    look.server.seen().and_then(|s| s.crash_restart_s()).is_some_and(|s| s <= recent)
}

/// A file system that it lives on has little left, or none that it may write to.
fn narrow(p: &Postgres, now: &Snapshot) -> bool {
    let places = now.host.places.iter().filter(|d| d.subject == p.name);
    places.filter_map(|d| d.file_system.seen()).any(|f| f.read_only || f.is_low() || f.is_full())
}

/// A service that needs it is not well.
fn missed(p: &Postgres, now: &Snapshot, config: &Config) -> bool {
    let needs = |s: &str| crate::diagnosis::needs(s, config).contains(p.name.as_str());
    config.service.iter().any(|s| super::unwell(s, now) && needs(&s.name))
}

pub async fn words(p: Postgres, unit: Option<String>, config: &Config, deadline: Instant) -> Words {
    let (name, proc) = (p.name.clone(), config.host.proc.clone());
    let files = blocking(deadline, "this host", move || {
        let data_directory = p.data_directory.clone().or_else(|| folder(&proc, &p));
        let p = Postgres { data_directory, ..p };
        let places = p.data_directory.as_deref().map(|data| host::disk::of_server(&proc, &p.name, data));
        Ok((places.unwrap_or_default(), log::read(&proc, &p)))
    });
    let journal = async {
        let unit = unit?;
        let look = timed(systemd::journal(&unit, config.systemd.journal.as_deref(), deadline)).await;
        Some((unit, look))
    };
    let (files, journal) = tokio::join!(files, journal);
    match files {
        Ok((places, log)) => Words { name, places, log: log.into(), journal },
        Err(f) => Words { name, places: Vec::new(), log: Reading::Failed(f), journal },
    }
}

/// `-D` of its running postmaster, where the pid file there agrees: in a container the same path is
/// another folder.
pub fn folder(proc: &str, p: &Postgres) -> Option<String> {
    let all = host::postmasters(proc).ok()?;
    let Postmaster { pid, data_directory, .. } = clusters::one(p, &all)?;
    let folder = data_directory.clone().filter(|d| d.starts_with('/'))?;
    let there = host::pid_file(host::rooted(proc, &folder).to_str()?).ok()?;
    (there.pid == *pid).then_some(folder)
}
