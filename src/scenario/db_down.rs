//! The database takes no work: told by a real login, and by what its host says of it.
//! Our own refused login is "alive, cannot look inside", never a cause.

use super::facts::{self, state};
use super::login::Meaning;
use super::registry::Scenario;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::Relation::NeededBy;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Symptom, SymptomState};
use crate::snapshot::postgres::{PostgresLook, Postmaster};
use crate::snapshot::units::Unit;
use crate::snapshot::{Looks, Reading, Snapshot};

/// What everything that dies of a dead database shows: the same list for every cause here.
const DIES_OF_IT: &[(&str, crate::diagnosis::Relation)] = &[
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("pool-exhausted/client-pool-saturated", NeededBy),
];

const fn cause(name: &'static str, title: &'static str) -> Cause {
    Cause { name, severity: Severity::P1, title, explains: DIES_OF_IT }
}

pub static POSTGRES_STOPPED: Cause = cause("db-down/postgres-stopped", "PostgreSQL does not run");
pub static STARTING_UP: Cause = cause("db-down/starting-up", "PostgreSQL is starting: wait");
pub static SHUTTING_DOWN: Cause = cause("db-down/shutting-down", "PostgreSQL is being shut down");
pub static HUNG: Cause = cause("db-down/hung", "PostgreSQL accepts and does not answer");
pub static UNREACHABLE: Cause = cause("db-down/unreachable", "no way to the server's address");
pub static REFUSED_REMOTE: Cause = cause("db-down/refused-remote", "nothing listens at that address");
pub static DNS_FAILURE: Cause = cause("db-down/dns-failure", "the server's name does not resolve");
pub static AUTH_FAILED: Cause = cause("db-down/auth-failed", "the services' login is refused");

pub static SCENARIO: Scenario = Scenario {
    name: "db-down",
    alias: "db",
    severity: Severity::P1,
    title: "Database connection failure",
    first_action: "see whether it runs, starts, hangs or refuses",
    causes: &[
        &POSTGRES_STOPPED,
        &STARTING_UP,
        &SHUTTING_DOWN,
        &HUNG,
        &UNREACHABLE,
        &REFUSED_REMOTE,
        &DNS_FAILURE,
        &AUTH_FAILED,
    ],
    detect,
    symptoms,
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    config
        .postgres
        .iter()
        .filter_map(|p| Some((p, looks.now.postgres.get(&p.name)?)))
        .flat_map(|(p, look)| {
            by_login(p, look, &looks.now).into_iter().chain(auth_failed(p, look, &looks.now, config))
        })
        .collect()
}

/// A login by us or, where ours is refused, a service that says it is connected.
fn symptoms(looks: &Looks, config: &Config) -> Vec<Symptom> {
    let now = &looks.now;
    config
        .postgres
        .iter()
        .map(|p| {
            let (state, says) = match now.postgres.get(&p.name) {
                None => (SymptomState::Unseen, "not looked at".to_owned()),
                Some(look) => symptom(p, look, now, config),
            };
            Symptom { subject: p.name.clone(), state, says }
        })
        .collect()
}

fn symptom(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> (SymptomState, String) {
    let f = match &look.login.reading {
        Reading::Seen { .. } => return (SymptomState::Good, "accepts logins".into()),
        Reading::NotAsked { why } => return (SymptomState::Unseen, format!("not asked: {why}")),
        Reading::Failed(f) => f,
    };
    match super::login::meaning(f) {
        Meaning::OurLogin | Meaning::RoleLimit | Meaning::DatabaseMissing => {
            let alive = format!("alive, cannot look inside: {}", f.detail);
            match facts::says_connected(&p.name, now, config) {
                Some(service) => (SymptomState::Good, format!("{alive}; {service} says it is connected")),
                None => (SymptomState::Unseen, alive),
            }
        }
        _ => (SymptomState::Bad, f.detail.clone()),
    }
}

fn by_login(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let failure = look.login.failure()?;
    let found = |cause, certainty, summary: String| {
        Finding::new(cause, &p.name, certainty, summary).saw(
            "postgres login",
            &look.endpoint,
            &failure.detail,
        )
    };
    Some(match super::login::meaning(failure) {
        Meaning::Refused => return refused(p, look, now),
        Meaning::StartingUp => {
            found(&STARTING_UP, Certainty::Proven, "PostgreSQL is starting up and takes no logins yet".into())
                .remedy(again(), "Wait: a start replays its log first. Restarting begins it anew", Risk::Safe)
        }
        Meaning::Recovering => found(
            &STARTING_UP,
            Certainty::Proven,
            "PostgreSQL recovers from the crash of one of its processes".into(),
        )
        .remedy(again(), "Wait: recovery replays the log. Restarting begins it anew", Risk::Safe),
        Meaning::ShuttingDown => found(
            &SHUTTING_DOWN,
            Certainty::Proven,
            "PostgreSQL is being shut down: it waits for its clients to leave".into(),
        )
        .remedy(status(p, now), "See who stops it, and why, before anything else", Risk::Safe),
        Meaning::Silent => hung(p, look, now),
        // A stopped process does not empty its queue either: then connections are no longer made.
        Meaning::Unreachable if stuck(p, look, now).is_some() => hung(p, look, now),
        Meaning::Unreachable => found(
            &UNREACHABLE,
            Certainty::Proven,
            format!("no connection to {}: {}", look.endpoint, failure.detail),
        )
        .remedy(way(host(look)), "See the way to the address, then its firewall", Risk::Safe),
        Meaning::Unresolved => {
            found(&DNS_FAILURE, Certainty::Proven, format!("the name of {} does not resolve", look.endpoint))
                .remedy(format!("getent hosts {}", host(look)), "Ask this machine's own resolver", Risk::Safe)
        }
        Meaning::SlotsFull
        | Meaning::DatabaseLimit
        | Meaning::RoleLimit
        | Meaning::StandbyClosed
        | Meaning::OurLogin
        | Meaning::DatabaseMissing
        | Meaning::Tls
        | Meaning::Other => return None,
    })
}

/// Refused says that nothing listens *there*. Only the unit or the process table of the same host
/// says that nothing runs.
fn refused(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let refused = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let remote = |certainty, why: String| {
        Finding::new(&REFUSED_REMOTE, &p.name, certainty, why)
            .saw("postgres login", &look.endpoint, refused.clone())
            .remedy(
                format!("ss -ltn 'sport = :{}'", p.url.port),
                "See where the server listens: listen_addresses, port, unix sockets",
                Risk::Safe,
            )
    };
    match look.here {
        None => return None,
        Some(false) => {
            let why = format!("{} refuses: nothing listens there, or a firewall rejects", look.endpoint);
            return Some(remote(Certainty::Proven, why));
        }
        Some(true) => {}
    }
    let units = facts::postgres_units(p, now);
    let stopped = |certainty, why: String| {
        Finding::new(&POSTGRES_STOPPED, &p.name, certainty, why).saw(
            "postgres login",
            &look.endpoint,
            refused.clone(),
        )
    };
    let runs = |u: &Unit| u.active == "active" || u.active == "reloading";
    // Of several clusters found by pattern, a running one need not be the one of this address: then
    // the postmasters' own folders and ports decide below.
    let clear = p.unit.is_some() || units.iter().all(|(_, u)| runs(u));
    let (running, units): (Vec<_>, Vec<_>) = units.into_iter().partition(|(_, u)| runs(u));
    if let Some((name, _)) = running.first().filter(|_| clear) {
        return Some(remote(
            Certainty::Likely,
            format!("{name} runs, and nothing listens at {}: it listens elsewhere", look.endpoint),
        ));
    }
    if let Some((name, u)) = units.iter().find(|(_, u)| u.active == "activating" && u.sub != "auto-restart") {
        return Some(
            Finding::new(&STARTING_UP, &p.name, Certainty::Likely, format!("{name} is being started"))
                .saw("postgres login", &look.endpoint, refused)
                .saw("systemd", name, state(u))
                .remedy(again(), "Wait for the start to end", Risk::Safe),
        );
    }
    if let Some((name, u)) = units.iter().find(|(_, u)| u.active == "deactivating") {
        return Some(
            Finding::new(&SHUTTING_DOWN, &p.name, Certainty::Likely, format!("{name} is being stopped"))
                .saw("postgres login", &look.endpoint, refused)
                .saw("systemd", name, state(u))
                .remedy(format!("systemctl status {name}"), "See who stops it, and why", Risk::Safe),
        );
    }
    let (ours, unclear) = postmasters(p, look);
    match units.as_slice() {
        _ if !ours.is_empty() => Some(remote(
            Certainty::Likely,
            format!(
                "its postmaster runs (process {}), and nothing listens at {}",
                ours[0].pid, look.endpoint
            ),
        )),
        // One cluster runs and one does not, and which is which can't be read.
        _ if !running.is_empty() && (unclear || look.postmasters.seen().is_none()) => None,
        // No unit to ask; and a postmaster that may be this one's, or a table that can't be read.
        [] if unclear || look.postmasters.seen().is_none() => None,
        [] => Some(
            stopped(Certainty::Likely, "no PostgreSQL of this address runs on this host".into())
                .saw("/proc", "postmasters of this port or folder", "none")
                .remedy(
                    "pg_lsclusters",
                    "See which clusters this host has, then start the right one",
                    Risk::Safe,
                ),
        ),
        [(name, u), ..] => {
            let d = facts::detail(now, name);
            let sure = !unclear && (p.unit.is_some() || units.len() == 1);
            let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
            Some(
                stopped(certainty, format!("PostgreSQL does not run: {name} is {}", state(u)))
                    .since(d.and_then(|d| d.state_since))
                    .saw("systemd", name, state(u))
                    .saw_if(
                        "systemd",
                        "result",
                        d.filter(|d| d.result != "success").map(|d| d.result.clone()),
                    )
                    .saw_if("journal", "last words", facts::journal(now, name).and_then(facts::last_words))
                    .remedy(
                        format!("systemctl start {name}"),
                        "Start it, and wait until it accepts",
                        Risk::Disruptive,
                    ),
            )
        }
    }
}

/// The running postmasters that are this server's, by folder or port; and whether there is one that
/// may be, because neither could be read. A host may have several clusters.
fn postmasters<'a>(p: &Postgres, look: &'a PostgresLook) -> (Vec<&'a Postmaster>, bool) {
    let all = look.postmasters.seen().map(Vec::as_slice).unwrap_or_default();
    let is_ours = |m: &Postmaster| match (&p.data_directory, &m.data_directory, m.port) {
        (Some(a), Some(b), _) => Some(a == b),
        (_, _, Some(port)) => Some(port == p.url.port),
        _ => None,
    };
    (all.iter().filter(|m| is_ours(m) == Some(true)).collect(), all.iter().any(|m| is_ours(m).is_none()))
}

fn hung(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Finding {
    let silent = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let found = |certainty, summary: String| {
        Finding::new(&HUNG, &p.name, certainty, summary).saw("postgres login", &look.endpoint, silent)
    };
    let Some((pid, what)) = stuck(p, look, now) else {
        let summary = "PostgreSQL accepts connections and does not answer a login in time".into();
        return found(Certainty::Likely, summary).remedy(
            "mcp-ir diagnose --timeout 20s",
            "Look once more, longer: a login under load is slow, not hung",
            Risk::Safe,
        );
    };
    let summary = format!("PostgreSQL accepts connections and answers nothing: process {pid} is {what}");
    let f = found(Certainty::Proven, summary).saw("/proc", &format!("state of process {pid}"), what);
    if what.starts_with(['T', 't']) {
        f.remedy(format!("kill -CONT {pid}"), "Let the stopped process go on", Risk::Disruptive)
    } else {
        f.remedy(format!("cat /proc/{pid}/stack"), "See which device it waits for; don't restart", Risk::Safe)
    }
}

/// The postmaster, where it can't answer by the kernel's own word.
fn stuck(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<(u32, &'static str)> {
    let by_unit =
        || facts::postgres_units(p, now).into_iter().find_map(|(n, _)| facts::stuck_process(now, n));
    let by_table = || {
        // Only one postmaster: it is the one that does not answer. Of several, the one of the folder.
        let one = match look.postmasters.seen()?.as_slice() {
            [one] => Some(one),
            many => many.iter().find(|m| m.data_directory.is_some() && m.data_directory == p.data_directory),
        };
        one.and_then(|m| Some((m.pid, facts::stuck(&m.state)?)))
    };
    if look.here == Some(true) { by_unit().or_else(by_table) } else { None }
}

/// The *service's* evidence decides: its health answer, or its own log.
fn auth_failed(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    if !facts::answers(look) {
        return None;
    }
    let witnesses: Vec<(&str, &str, &str)> = facts::dependents(&p.name, config)
        .filter_map(|s| login_refused(s, now).map(|(probe, text)| (s.name.as_str(), probe, text)))
        .collect();
    let first = witnesses.first()?;
    let summary = format!("PostgreSQL runs and refuses the login of {}: {}", first.0, first.2);
    let mut f = Finding::new(&AUTH_FAILED, &p.name, Certainty::Proven, summary);
    for (service, probe, text) in &witnesses {
        f = f.saw(probe, service, *text);
    }
    let ours = match &look.login.reading {
        Reading::Seen { .. } => "accepted".to_owned(),
        Reading::Failed(x) => x.detail.clone(),
        Reading::NotAsked { why } => why.clone(),
    };
    Some(f.saw("postgres login", "our own login", ours).remedy(
        format!("mcp-ir runbook {}", AUTH_FAILED.name.replace('/', "#")),
        "Compare the service's role and password with the server's; nothing to restart",
        Risk::Safe,
    ))
}

/// What a service that is not well says of its login: in its health answer, else as its last words.
/// An old line counts for nothing: it may be of a trouble long mended.
fn login_refused<'a>(s: &Service, now: &'a Snapshot) -> Option<(&'static str, &'a str)> {
    let health = now.services.get(&s.name)?.health.seen();
    if let Some(h) = health {
        if !h.is_bad() || h.says_connected() {
            return None;
        }
        if !h.messages.is_empty() {
            return h.messages.iter().find(|m| is_refusal(m)).map(|m| ("http health", m.as_str()));
        }
    }
    let unit = s.unit.as_deref()?;
    let ended = facts::detail(now, unit).and_then(|d| d.exited_at).filter(|_| health.is_none());
    let line = facts::last_line(facts::journal(now, unit)?)?;
    let silence = ended.unwrap_or(now.taken_at).duration_since(line.at).as_secs_f64();
    (silence < LAST_WORDS_S && is_refusal(&line.text)).then_some(("journal", line.text.as_str()))
}

/// How long before its end, or before the look, a service's last words may stand.
const LAST_WORDS_S: f64 = 10.0;

/// SQLSTATE 28P01 or 28000, as drivers print them.
fn is_refusal(text: &str) -> bool {
    [
        "28P01",
        "28000",
        "password authentication failed",
        "no pg_hba.conf entry",
        "InvalidPasswordError",
        "InvalidAuthorizationSpecification",
    ]
    .iter()
    .any(|w| text.contains(w))
}

fn again() -> &'static str {
    "mcp-ir diagnose db-down"
}

fn status(p: &Postgres, now: &Snapshot) -> String {
    match facts::postgres_units(p, now).first() {
        Some((name, _)) => format!("systemctl status {name}"),
        None => again().into(),
    }
}

/// The command that shows the way to a host: by its address, else what its name means first.
fn way(host: &str) -> String {
    match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(ip) => format!("ip route get {ip}"),
        Err(_) => format!("getent ahosts {host}"),
    }
}

fn host(look: &PostgresLook) -> &str {
    look.endpoint.rsplit_once(':').map_or(look.endpoint.as_str(), |(h, _)| h)
}
