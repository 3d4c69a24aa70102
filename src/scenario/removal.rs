//! A replication slot, or a prepared transaction, that is taken away because somebody asks for it by its name. What
//! somebody reads, and what is of another database than those under care, is left; where the name is none, those that
//! are there are said.

use super::db_down::size;
use super::{by_name, facts};
use crate::config::{Config, Postgres};
use crate::plan::{
    Act, Ask, Kept, PreparedState, Recovered, Remedy, Removable, Removal, Risk, SlotState, TakenAway, Wanted,
    draft,
};
use crate::snapshot::{Looks, Reading};

/// `--drop-slot`, `--rollback-prepared` of this server.
pub fn removal(p: &Postgres, wanted: &Wanted, ask: &Ask) -> Remedy {
    let refused = |why: String| Remedy::Refused { why, hints: Vec::new() };
    let state = match ask.near.removable.get(&p.name) {
        Some(Ok(state)) => state,
        Some(Err(why)) => return refused(format!("{} could not be seen: {why}", p.name)),
        None => return refused(format!("{} could not be seen", p.name)),
    };
    if let Some((was, taken)) = taken(wanted, state) {
        let by = match taken.done {
            true => "mcp-ir took it away",
            false => "whether by mcp-ir, which was cut off while it did so, or by somebody, is not known:",
        };
        return Remedy::Nothing(format!("{was} of {} is gone: {by} at {:.0}", p.name, taken.at));
    }
    let planned = match wanted {
        Wanted::Slot(name) => slot(p, name, state),
        Wanted::Prepared(gid) => prepared(p, gid, state),
    };
    let (of, because, notes) = match planned {
        Ok(planned) => planned,
        Err(refused) => return refused,
    };
    let act = Removal { server: p.name.clone(), url: p.place(), of };
    if let Err(why) = act.statement().and(act.precondition()).and(act.there()) {
        return refused(why);
    }
    let step = draft(Act::Remove(act), Risk::Destructive).because(because);
    Remedy::Steps { steps: vec![step], notes }
}

/// A run of ours was told so before, and it is there no more: whoever asks again has nothing to do.
fn taken<'a>(wanted: &Wanted, state: &'a Removable) -> Option<(String, &'a TakenAway)> {
    let (there, what) = match wanted {
        Wanted::Slot(name) => (state.slots.iter().any(|s| s.name == *name), format!("the slot {name}")),
        Wanted::Prepared(gid) => {
            (state.prepared.iter().any(|x| x.gid == *gid), format!("the prepared transaction '{gid}'"))
        }
    };
    let same = |of: &Kept| match (of, wanted) {
        (Kept::Slot { name, .. }, Wanted::Slot(n)) => name == n,
        (Kept::Prepared { gid, .. }, Wanted::Prepared(g)) => gid == g,
        _ => false,
    };
    let last = state.taken.iter().filter(|t| same(&t.of)).max_by_key(|t| t.at)?;
    (!there).then_some((what, last))
}

/// What is taken away, why that has no undo, and what it costs.
type Planned = Result<(Kept, &'static str, Vec<String>), Remedy>;

/// How it is typed: of several servers with the one that is meant.
pub fn typed(wanted: &Wanted, server: &str, config: &Config) -> String {
    let verb = match wanted {
        Wanted::Slot(_) => "db",
        Wanted::Prepared(_) => "pool",
    };
    let of = match config.postgres.len() {
        0 | 1 => String::new(),
        _ => format!(" --service {}", crate::plan::shell_word(server)),
    };
    format!("mcp-ir recover {verb} {}{of}", wanted.words())
}

fn slot(p: &Postgres, name: &str, state: &Removable) -> Planned {
    let refused = |why: String, hints: Vec<String>| Err(Remedy::Refused { why, hints });
    let own = |s: &&SlotState| s.database.as_ref().is_none_or(|d| p.databases.contains(d));
    let Some(s) = state.slots.iter().find(|s| s.name == name) else {
        let all: Vec<String> = state.slots.iter().map(described).collect();
        let free = state.slots.iter().filter(|s| !s.active).filter(own);
        let hints = free.map(|s| Wanted::Slot(s.name.clone()).words()).collect();
        return refused(
            format!("no replication slot of {} is called {name}{}", p.name, there_are(&all)),
            hints,
        );
    };
    if s.active {
        let by =
            s.pid.map(|pid| format!(": process {pid} of the server serves its reader")).unwrap_or_default();
        return refused(format!("the slot {name} of {} is active{by}", p.name), Vec::new());
    }
    if !own(&s) {
        let of = s.database.as_deref().unwrap_or_default();
        let why = format!(
            "the slot {name} is of the database {of}, which is none of the `databases` of {}: {}",
            p.name,
            p.databases.join(", ")
        );
        return refused(why, Vec::new());
    }
    let kept = Kept::Slot {
        name: s.name.clone(),
        kind: s.kind.clone(),
        database: s.database.clone(),
        restart_lsn: s.restart_lsn.clone(),
    };
    if !(state.superuser || state.replication) {
        let why = format!("{} may not drop a replication slot of {}", state.user, p.name);
        return refused(why, vec![kept.grant(&state.user)]);
    }
    let mut notes = vec![format!(
        "whoever reads it, and is only away, has to be set up anew from a copy of {}: mend that reader where he is \
         still wanted",
        p.name
    )];
    notes.push(match (s.wal_status.as_deref(), s.retained) {
        (Some("lost"), _) => "the server has given it up already: nobody can go on from it".into(),
        (_, Some(bytes)) => format!("{} of WAL are kept for it: they go at a checkpoint", size(bytes)),
        (_, None) => "what WAL is kept for it goes at a checkpoint".into(),
    });
    Ok((kept, "where it stood is kept nowhere else, and the WAL from there on goes", notes))
}

fn described(s: &SlotState) -> String {
    let of = s.database.as_ref().map(|d| format!(" of {d}")).unwrap_or_default();
    format!("{}{of}{}", s.name, if s.active { " (active)" } else { "" })
}

fn prepared(p: &Postgres, gid: &str, state: &Removable) -> Planned {
    let refused = |why: String, hints: Vec<String>| Err(Remedy::Refused { why, hints });
    let own = |x: &&PreparedState| x.database == p.url.dbname;
    let Some(x) = state.prepared.iter().find(|x| x.gid == gid) else {
        let all: Vec<String> =
            state.prepared.iter().map(|x| format!("'{}' of the database {}", x.gid, x.database)).collect();
        let hints = state.prepared.iter().filter(own).map(|x| Wanted::Prepared(x.gid.clone()).words());
        let why = format!("no transaction of {} is prepared as '{gid}'{}", p.name, there_are(&all));
        return refused(why, hints.collect());
    };
    if !own(&x) {
        let why = format!(
            "'{gid}' is prepared in the database {}, and it can be rolled back there alone: {} logs in to {}",
            x.database, p.name, p.url.dbname
        );
        return refused(why, vec![format!("a `[[postgres]]` whose `url` names {}", x.database)]);
    }
    let kept = Kept::Prepared {
        gid: x.gid.clone(),
        owner: x.owner.clone(),
        database: x.database.clone(),
        prepared: x.prepared.clone(),
    };
    if !(state.superuser || x.owner == state.user) {
        let why = format!("'{gid}' is {}'s, and {} may not end it", x.owner, state.user);
        return refused(why, vec![kept.grant(&state.user)]);
    }
    let notes = vec![
        format!("prepared by {} in {}, {} ago", x.owner, x.database, facts::age(x.age_s)),
        "whoever coordinates it (an XA manager) thinks that it may still be committed: where its other half was, they \
         differ from then on. Ask there first"
            .into(),
    ];
    Ok((kept, "what it has written is thrown away, and kept nowhere else", notes))
}

fn there_are(all: &[String]) -> String {
    match all {
        [] => ", and there is none".into(),
        all => format!("; there are: {}", all.join(", ")),
    }
}

/// Whether the finding of its kind is this one's alone: it holds, and would not without it.
pub fn is_of(wanted: &Wanted, p: &Postgres, looks: &Looks, config: &Config) -> bool {
    let mut without = looks.clone();
    let look = without.now.postgres.get_mut(&p.name);
    if let Some(Reading::Seen { value }) = look.map(|l| &mut l.server.reading) {
        match wanted {
            Wanted::Slot(name) => value.replication_slots.retain(|s| s.name != *name),
            Wanted::Prepared(gid) => value.prepared.retain(|x| x.gid != *gid),
        }
    }
    let stands = |looks: &Looks| standing(wanted.cause(), &p.name, looks, config).is_some();
    stands(looks) && !stands(&without)
}

fn standing(cause: &str, server: &str, looks: &Looks, config: &Config) -> Option<String> {
    let scenario = cause.split_once('/').and_then(|(scenario, _)| by_name(scenario))?;
    let found =
        (scenario.detect)(looks, config).into_iter().find(|f| f.cause == cause && f.subject == server);
    found.map(|f| f.summary)
}

/// By the same probe: it is not there, and nothing of its kind is found but what was left.
pub fn gone(r: &Removal, looks: &Looks, left: &[String], config: &Config) -> Recovered {
    let Some(seen) = facts::server(&looks.now, &r.server) else {
        return Recovered::NotYet("what it keeps could not be seen".into());
    };
    let there = match &r.of {
        Kept::Slot { name, .. } => seen.replication_slots.iter().any(|s| s.name == *name),
        Kept::Prepared { gid, .. } => seen.prepared.iter().any(|x| x.gid == *gid),
    };
    if there {
        return Recovered::NotYet(format!("{} is there", r.what()));
    }
    let id = format!("{}@{}", r.cause(), r.server);
    match standing(r.cause(), &r.server, looks, config).filter(|_| !left.contains(&id)) {
        Some(summary) => Recovered::NotYet(summary),
        None => Recovered::Yes(format!("{} is gone, and it answers", r.what())),
    }
}
