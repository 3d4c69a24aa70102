//! Whoever takes memory and is under care: a service, or a server with a unit or container of its own.

use crate::config::Config;
use crate::scenario::against::unseen;
use crate::scenario::place::Place;
use crate::snapshot::memory::{GroupUse, ProcessUse, Taken};
use crate::snapshot::{Reading, Snapshot};

use crate::diagnosis::Stand;

pub struct Who<'a> {
    pub name: &'a str,
    pub place: Option<Place<'a>>,
    /// A server keeps what it is given: that it grows is its work, and a restart may lose it.
    pub is_service: bool,
}

pub fn all(config: &Config) -> impl Iterator<Item = Who<'_>> {
    let services = config.service.iter().map(|s| (&s.name, &s.unit, &s.container));
    let postgres = config.postgres.iter().map(|p| (&p.name, &p.unit, &p.container));
    let redis = config.redis.iter().map(|r| (&r.name, &r.unit, &r.container));
    let ollama = config.ollama.iter().map(|o| (&o.name, &o.unit, &o.container));
    let all = services.chain(postgres).chain(redis).chain(ollama);
    all.map(move |(name, unit, container)| Who {
        name,
        place: Place::named(unit.as_deref(), container.as_deref()),
        is_service: config.service(name).is_some(),
    })
}

impl Who<'_> {
    fn taken<'s>(&self, now: &'s Snapshot) -> Option<&'s Taken> {
        now.host.taken.get(self.name)
    }

    pub fn process<'s>(&self, now: &'s Snapshot) -> Option<&'s ProcessUse> {
        self.taken(now)?.process.seen()
    }

    pub fn group<'s>(&self, now: &'s Snapshot) -> Option<&'s GroupUse> {
        self.taken(now)?.group.seen()
    }

    /// Why there is no such reading.
    pub fn no_process(&self, now: &Snapshot, needs: &str) -> Stand {
        unseen("/proc", self.name, self.taken(now).map_or_else(unasked, |t| why(&t.process)), needs)
    }

    pub fn no_group(&self, now: &Snapshot, needs: &str) -> Stand {
        unseen("cgroup", self.name, self.taken(now).map_or_else(unasked, |t| why(&t.group)), needs)
    }

    /// The same run of it in an earlier look.
    pub fn before<'s>(&self, before: Option<&'s Snapshot>, now: &ProcessUse) -> Option<&'s ProcessUse> {
        self.process(before?).filter(|b| b.same_as(now) && b.uptime_s < now.uptime_s)
    }
}

fn unasked() -> String {
    "not looked at".into()
}

pub fn why<T>(r: &Reading<T>) -> String {
    match r {
        Reading::Seen { .. } => "seen".into(),
        Reading::Failed(f) => f.detail.clone(),
        Reading::NotAsked { why } => format!("not asked: {why}"),
    }
}
