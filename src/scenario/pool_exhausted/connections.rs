//! More connections for all, where somebody asks for them by their number: a restart of the database, said so, and
//! of its own unit alone. What would not come up again with it, or cost others their copy, is not begun.

use super::super::facts;
use super::super::registry::by_symptom;
use crate::config::{Config, Postgres};
use crate::plan::{Act, Ask, Connections, ConnectionsState, Recovered, Remedy, Risk, draft};
use crate::scenario::{clusters, server_crash, steps};
use crate::snapshot::Looks;

/// PostgreSQL's own is 262143; some of these it needs for itself.
const MOST: u64 = 100_000;

/// `--max-connections` of this server.
pub fn raise(p: &Postgres, to: u64, looks: &Looks, ask: &Ask, config: &Config) -> Remedy {
    let now = &looks.now;
    let refused = |why: String, hints: Vec<String>| Remedy::Refused { why, hints };
    let state = match ask.near.connections.get(&p.name) {
        Some(Ok(state)) => state,
        Some(Err(why)) => return refused(format!("{} could not be seen: {why}", p.name), Vec::new()),
        None => return refused(format!("{} could not be seen", p.name), Vec::new()),
    };
    if let Some(why) = against(p, to, state) {
        return why;
    }
    if now.postgres.get(&p.name).is_none_or(|look| look.here != Some(true)) {
        return refused(format!("{} is not seen to be on this host: do it there", p.name), Vec::new());
    }
    let Some(unit) = clusters::own_unit(p, now) else {
        return refused(format!("which unit of systemd {} runs in is not known", p.name), Vec::new());
    };
    let needs = match steps::run(unit, ask, now) {
        Ok(needs) => needs,
        Err(why) => return refused(why, Vec::new()),
    };
    let write = Connections {
        server: p.name.clone(),
        url: p.place(),
        unit: unit.into(),
        data_directory: state.data_directory.clone(),
        from: state.written,
        to: Some(to),
    };
    let restart = || Act::RestartUnit { unit: unit.into() };
    // Of what a run of ours wrote that was cut off, the way back is to what stood there before that one.
    let former = state.before_ours.map_or(state.written, |f| f.0);
    // Who was started in vain too often is not started at all without it.
    let reset = Act::ResetFailed { unit: unit.into() };
    let back = vec![Act::Connections(Connections { to: former, ..write.back() }), reset, restart()];
    let steps = vec![
        draft(Act::Connections(write), Risk::Destructive).undo(back, Risk::Destructive),
        draft(restart(), Risk::Destructive).needs(needs).because("with the line it is taken back"),
        draft(Act::ProveConnections { server: p.name.clone(), value: to }, Risk::Safe)
            .because("nothing is changed"),
    ];
    let mut notes = vec![format!(
        "{} restarts: {} sessions end, of whatever database, and what they have not committed is lost",
        p.name, state.sessions
    )];
    let needed: Vec<&str> = facts::dependents(&p.name, config).map(|s| s.name.as_str()).collect();
    if !needed.is_empty() {
        notes.push(format!("without it until then: {}", needed.join(", ")));
    }
    notes.push(
        "what else is written for its next start counts from then on too; a standby that copies from an archive has \
         to have it first"
            .into(),
    );
    notes.push("its pools stay as they are; each session takes memory of its own".into());
    Remedy::Steps { steps, notes }
}

fn against(p: &Postgres, to: u64, state: &ConnectionsState) -> Option<Remedy> {
    let refused = |why: String| Some(Remedy::Refused { why, hints: Vec::new() });
    let running = state.running;
    if let Some(armed) = state.written.filter(|w| *w != running && state.before_ours.is_none()) {
        let why = format!(
            "somebody has written {armed} already, and {} runs with {running} until it is restarted: \
             restart it, or take that back",
            p.name
        );
        let reset =
            format!("psql {} -c 'ALTER SYSTEM RESET max_connections'", crate::plan::shell_word(&p.place()));
        return Some(Remedy::Refused { why, hints: vec![reset] });
    }
    match () {
        () if to == running => Some(Remedy::Nothing(format!("{} takes {to} already", p.name))),
        () if to < running => refused(format!("{} takes {running}: fewer is no cure for full slots", p.name)),
        () if to > MOST => refused(format!("{MOST} at most: a pooler serves more than that")),
        () if state.source == "command line" => {
            refused(format!("{running} stands in the command line of {}, and that wins", p.name))
        }
        () if state.pending.is_some() => refused(format!(
            "{} wait for a restart as well: whose they are has to know",
            state.pending.as_deref().unwrap_or_default()
        )),
        // It takes as many more as it has sessions, or does not start.
        () if state.huge_pages == "on" => refused(
            "with `huge_pages = on` it does not start where there are too few: count them first".into(),
        ),
        // A standby that has fewer than its primary stops, or goes no further; a base backup is lost.
        () if state.copies > 0 => refused(format!(
            "{} copy from {}: a standby has to have it first, and a backup ends",
            state.copies, p.name
        )),
        () if !state.may_alter => Some(Remedy::Refused {
            why: format!("{} may not set it", p.url.user),
            hints: vec![format!(
                "GRANT ALTER SYSTEM ON PARAMETER max_connections TO {} (from PostgreSQL 15 on; before, as a superuser)",
                p.url.user
            )],
        }),
        () => None,
    }
}

/// Who is well before it, and has to be so again.
pub fn watched(p: &Postgres, looks: &Looks, config: &Config) -> Vec<String> {
    let symptoms = (server_crash::SCENARIO.symptoms)(looks, config);
    let well = |name: &str| matches!(by_symptom(&symptoms, name), Recovered::Yes(_));
    facts::dependents(&p.name, config).filter(|s| well(&s.name)).map(|s| s.name.clone()).collect()
}
