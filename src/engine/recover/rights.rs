//! What of a plan may not be done, seen before anybody is asked: half a plan is worse than none. Only what
//! can be known beforehand is said; what a polkit allows is its own word, at the act.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use super::guard::Held;
use super::sight::Sight;
use super::veto::{self, Word};
use crate::action::may_not;
use crate::config::{Config, Loaded, Postgres, Secret};
use crate::incident::Store;
use crate::plan::{Act, Plan, Step, drop_in_path};
use crate::probe::systemd::Bus;
use crate::probe::{blocking, host, postgres};
use crate::snapshot::Looks;

const LIMIT: Duration = Duration::from_secs(2);
/// A session that has just ended still has its slot for a moment.
const FREE: u32 = 4;

/// A step that would be refused, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    pub n: usize,
    pub why: String,
    pub grant: String,
}

impl Lacking {
    fn new(step: &Step, why: String, grant: String) -> Self {
        Self { n: step.n, why, grant }
    }

    pub fn words(&self) -> String {
        format!("step {} may not be done: {} ({})", self.n, self.why, self.grant)
    }

    /// The same in what is left of its plan, by the number that it has there.
    pub(super) fn of(&self, plan: &Plan, rest: &Plan) -> Option<Self> {
        let step = plan.steps.iter().find(|s| s.n == self.n)?;
        let now = rest.steps.iter().find(|s| s.act == step.act && s.subject == step.subject)?;
        Some(Self { n: now.n, ..self.clone() })
    }
}

/// All that is against a plan before it is begun. What decides is the same again, under the lock.
pub async fn against(plan: &Plan, sight: &Sight, loaded: &Loaded, store: &Store, word: Word) -> Vec<Held> {
    let lacking = async {
        match &sight.lacking {
            Some(known) => known.clone(),
            None => lacking(plan, &sight.looks, loaded).await,
        }
    };
    let (lacking, by_word) = tokio::join!(lacking, veto::by_what_was_done(plan, store, &loaded.config, word));
    let rights = lacking.iter().map(|l| Held { why: l.words(), hint: None });
    by_word.err().into_iter().chain(rights).collect()
}

pub(super) async fn lacking(plan: &Plan, looks: &Looks, loaded: &Loaded) -> Vec<Lacking> {
    let deadline = Instant::now() + LIMIT;
    let mut all = files(plan, &loaded.config, deadline).await;
    all.extend(units(plan, &loaded.config, deadline).await);
    let mut sessions: BTreeMap<&str, Vec<(&Step, i32)>> = BTreeMap::new();
    for s in &plan.steps {
        if let Act::EndSession(whom) = &s.act {
            sessions.entry(&whom.server).or_default().push((s, whom.pid));
        }
    }
    for (name, those) in sessions {
        let Some(p) = loaded.config.postgres(name) else { continue };
        if !has_room(name, looks) {
            continue;
        }
        let asked = signals(p, loaded.secrets.postgres(name), &those, deadline);
        // Who can't even log in is told so by the act.
        if let Ok(Some(not)) = tokio::time::timeout_at(deadline.into(), asked).await {
            all.extend(not);
        }
    }
    all.extend(upkeep(plan, looks, loaded, deadline).await);
    all.sort_by_key(|l| l.n);
    all
}

/// The last slots are for the acts, which are told the same.
fn has_room(server: &str, looks: &Looks) -> bool {
    let server = looks.now.postgres.get(server).and_then(|l| l.server.seen());
    server.is_some_and(|s| s.used + FREE <= s.slots())
}

/// Whose the tables and indexes are. Who can't even log in is told so by the act.
async fn upkeep(plan: &Plan, looks: &Looks, loaded: &Loaded, deadline: Instant) -> Vec<Lacking> {
    let one = async |s: &Step| {
        let Act::Upkeep(u) = &s.act else { return None };
        if !has_room(&u.server, looks) {
            return None;
        }
        let p = loaded.config.postgres(&u.server)?;
        let seen = postgres::piece(p, loaded.secrets.postgres(&u.server), u, deadline).await.ok()??;
        may_not(&seen, u, &p.url.user).map(|(why, grant)| Lacking::new(s, why, grant))
    };
    let mut all = Vec::new();
    // One after another: each takes a slot.
    for s in &plan.steps {
        all.extend(one(s).await);
    }
    all
}

/// The folder of the drop-ins is root's, or somebody has opened it to us; so is that which a cache is in.
async fn files(plan: &Plan, config: &Config, deadline: Instant) -> Vec<Lacking> {
    let mut all = Vec::new();
    for s in &plan.steps {
        let path = match &s.act {
            Act::DropIn { unit, .. } => drop_in_path(unit),
            Act::SetAside { aside, .. } => aside.to.clone(),
            _ => continue,
        };
        let path = host::rooted(&config.host.proc, &path);
        let ask = move || Ok(closed(&path));
        if let Ok(Some(folder)) = blocking(deadline, "the folder that is written to", ask).await {
            let why = format!("{} can't be written to", folder.display());
            all.push(Lacking::new(s, why, "run it as root".into()));
        }
    }
    all
}

/// Where there is no polkit to allow more, systemd obeys root alone.
async fn units(plan: &Plan, config: &Config, deadline: Instant) -> Vec<Lacking> {
    let asks = |s: &&Step| s.act.unit().is_some() && s.act.changes() && !matches!(s.act, Act::DropIn { .. });
    let those: Vec<&Step> = plan.steps.iter().filter(asks).collect();
    if those.is_empty() || is_privileged() {
        return Vec::new();
    }
    let ask = async { Bus::connect(&config.systemd.bus, deadline).await?.obeys_root_alone(deadline).await };
    match ask.await {
        Ok(true) => {
            let why = "systemd obeys root alone here: no polkit is on its bus".to_owned();
            those.iter().map(|s| Lacking::new(s, why.clone(), "run it as root".into())).collect()
        }
        // Who can't be asked says so at the act.
        Ok(false) | Err(_) => Vec::new(),
    }
}

/// As systemd counts it: root, or who has CAP_SYS_ADMIN.
fn is_privileged() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let caps = status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("CapEff:")?.trim(), 16).ok());
    rustix::process::geteuid().is_root() || caps.is_some_and(|caps| caps & SYS_ADMIN != 0)
}

/// The nearest folder on the way that is there, where it is closed to us.
fn closed(path: &std::path::Path) -> Option<PathBuf> {
    let there = path.ancestors().skip(1).find(|f| f.is_dir())?;
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err().then(|| there.to_owned())
}

/// Which of these sessions our role may not signal. `None`: it could not be asked.
async fn signals(
    p: &Postgres,
    password: Option<&Secret>,
    those: &[(&Step, i32)],
    deadline: Instant,
) -> Option<Vec<Lacking>> {
    let session = postgres::session(p, password, deadline).await.ok()?;
    let pids: BTreeSet<String> = those.iter().map(|(_, pid)| pid.to_string()).collect();
    let pids: Vec<String> = pids.into_iter().collect();
    let sql = format!(
        "SELECT a.pid, r.rolsuper, me.rolsuper OR (NOT r.rolsuper AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') \
         OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))) \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid, \
         (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) me WHERE a.pid IN ({})",
        pids.join(", ")
    );
    let answer = session.client.simple_query(&postgres::limited(&sql)).await.ok()?;
    let mut not = Vec::new();
    for m in &answer {
        let SimpleQueryMessage::Row(row) = m else { continue };
        let (Some(pid), Some(of_superuser), Some("f")) = (row.get(0), row.get(1), row.get(2)) else {
            continue;
        };
        let step = those.iter().filter(|(_, n)| n.to_string() == pid);
        let grant = match of_superuser {
            "t" => "it is a superuser's: only a superuser may".into(),
            _ => format!("GRANT pg_signal_backend TO {}", p.url.user),
        };
        let why = |pid: &i32| format!("{} may not end session {pid}", p.url.user);
        not.extend(step.map(|(s, pid)| Lacking::new(s, why(pid), grant.clone())));
    }
    Some(not)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_it_would_be_made_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.service.d/zz-mcp-ir.conf");
        assert_eq!(closed(&path), None, "it is ours");
        let root = rustix::process::geteuid().is_root();
        assert_eq!(closed(std::path::Path::new("/etc/x.service.d/y.conf")).is_none(), root);
    }
}
