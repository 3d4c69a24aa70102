//! What our own login, and the server's host, say: it does not run, starts, hangs, is not reached.

use super::super::clusters;
use super::super::facts::{self, state};
use super::super::firewall;
use super::super::login::{Meaning, meaning};
use super::super::place::Place;
use super::super::way;
use super::{cause, container, words};
use crate::config::{Config, Postgres};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, shell_word};
use crate::snapshot::network::{FilterRule, Verdict};
use crate::snapshot::postgres::PostgresLook;
use crate::snapshot::units::Unit;
use crate::snapshot::{FailKind, Failure, Snapshot, Stage};

pub static POSTGRES_STOPPED: Cause = cause("db-down/postgres-stopped", "PostgreSQL does not run");
pub static STARTING_UP: Cause = cause("db-down/starting-up", "PostgreSQL is starting: wait");
pub static SHUTTING_DOWN: Cause = cause("db-down/shutting-down", "PostgreSQL is being shut down");
pub static HUNG: Cause = cause("db-down/hung", "PostgreSQL accepts and does not answer");
pub static UNREACHABLE: Cause = cause("db-down/unreachable", "no way to the server's address");
pub static REFUSED_REMOTE: Cause = cause("db-down/refused-remote", "nothing listens at that address");
pub static DNS_FAILURE: Cause = cause("db-down/dns-failure", "the server's name does not resolve");

pub fn detect(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    by_login(p, look, now).map(|f| contradicted(f, p, now, config))
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
    // Whoever accepts there is not the server, which did not start: its port is taken.
    if let Some(start) = words::failed(p, now).filter(|s| is_another(p, look, now, s.unit)) {
        return Some(start.finding(p, look));
    }
    Some(match meaning(failure) {
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
        Meaning::ShuttingDown => shutting_down(p, look, now, found),
        Meaning::Silent => hung(p, look, failure, now),
        // A stopped process does not empty its queue either: then connections are no longer made.
        Meaning::Unreachable
            if clusters::stuck(p, look, now).is_some() || container::paused(p, look, now).is_some() =>
        {
            hung(p, look, failure, now)
        }
        Meaning::Unreachable => no_way(p, look, failure, now),
        // A local policy may say the same to this program alone; a route says it to all.
        Meaning::NotPermitted => {
            way::closed(now, &p.url.host.text())?;
            no_way(p, look, failure, now)
        }
        Meaning::Unresolved => {
            let (certainty, how) = match failure.kind {
                FailKind::TimedOut => (Certainty::Likely, "does not resolve in time"),
                _ => (Certainty::Proven, "does not resolve"),
            };
            found(&DNS_FAILURE, certainty, format!("the name of {} {how}", look.endpoint)).remedy(
                format!("getent hosts {}", shell_word(host(look))),
                "Ask this machine's own resolver",
                Risk::Safe,
            )
        }
        Meaning::SlotsFull
        | Meaning::DatabaseLimit
        | Meaning::Corrupt
        | Meaning::RoleLimit
        | Meaning::StandbyClosed
        | Meaning::OurLogin
        | Meaning::DatabaseMissing
        | Meaning::Tls
        | Meaning::Other => return None,
    })
}

/// Who is still there is what a smart shutdown waits for, for ever; a fast one ends them, and writes its checkpoint.
fn shutting_down(
    p: &Postgres,
    look: &PostgresLook,
    now: &Snapshot,
    found: impl Fn(&'static Cause, Certainty, String) -> Finding,
) -> Finding {
    let left = look.slots.seen();
    let summary = match left {
        None => "PostgreSQL is being shut down: it waits for its clients to leave".into(),
        Some(left) if left.backends == 0 => {
            "PostgreSQL is being shut down: no client is there any more, and it is not down yet".into()
        }
        Some(left) => format!(
            "PostgreSQL is being shut down: it waits for {} to leave",
            facts::count(left.backends as usize, "client")
        ),
    };
    let mut f = found(&SHUTTING_DOWN, Certainty::Proven, summary);
    for h in left.into_iter().flat_map(|l| &l.holders).take(5) {
        f = f.saw("/proc backends", &facts::holder(h), facts::held(h));
    }
    f.remedy(status(p, now), "See who stops it, and why, before anything else", Risk::Safe)
}

/// Whether what answers no login on this host is not the server: its unit has ended, and no postmaster
/// of it runs.
fn is_another(p: &Postgres, look: &PostgresLook, now: &Snapshot, unit: &str) -> bool {
    let ended = now.unit(unit).is_some_and(|u| u.active == "failed" || u.active == "inactive");
    let (ours, unclear) = clusters::postmasters(p, look);
    let silent = look
        .login
        .failure()
        .is_some_and(|f| f.postgres.is_none() && matches!(f.stage, Some(Stage::Answer | Stage::Tls)));
    silent
        && ended
        && look.here == Some(true)
        && look.postmasters.seen().is_some()
        && ours.is_empty()
        && !unclear
}

/// What we see from here proves nothing where a service says at the same time that it is connected:
/// it may have another way, or be a moment behind. PostgreSQL's own words and its silence stand.
fn contradicted(mut f: Finding, p: &Postgres, now: &Snapshot, config: &Config) -> Finding {
    let from_here = [&POSTGRES_STOPPED, &UNREACHABLE, &REFUSED_REMOTE, &DNS_FAILURE];
    if !from_here.iter().any(|c| c.name == f.cause) {
        return f;
    }
    match facts::says_connected(&p.name, now, config) {
        None => f,
        Some(service) => {
            f.certainty = Certainty::Likely;
            f.saw("http health", service, "says that its database is connected")
        }
    }
}

/// Refused says that nothing listens *there*. Only the unit or the process table of the same host
/// says that nothing runs.
fn refused(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let found = |cause, certainty, why: String| {
        let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
        Finding::new(cause, &p.name, certainty, why).saw("postgres login", &look.endpoint, said)
    };
    // A local rule that rejects says the same as a closed port.
    let rejects = rule(p, look, now, Verdict::Reject);
    let elsewhere = |certainty, why: String| {
        if let Some(r) = rejects {
            let why = format!("a rule of this host rejects what goes to {}", look.endpoint);
            return firewall::saw(found(&REFUSED_REMOTE, Certainty::Likely, why), r);
        }
        found(&REFUSED_REMOTE, certainty, why).remedy(
            format!("ss -ltn 'sport = :{}'", p.url.port),
            "See where the server listens: listen_addresses, port, unix sockets",
            Risk::Safe,
        )
    };
    // Wherever its engine is.
    if let Some(found) = container::stopped(p, look, now) {
        return Some(found);
    }
    if !look.here? {
        let why = format!("{} refuses: nothing listens there, or a firewall rejects", look.endpoint);
        return Some(elsewhere(Certainty::Proven, why));
    }
    // Another port is another address, however far its start has come.
    let stops = |(_, u): &(&str, &Unit)| u.active == "deactivating";
    if let Some((m, port)) =
        clusters::on_another_port(p, look).filter(|_| !clusters::units(p, now).iter().any(stops))
    {
        let why = format!(
            "its postmaster (process {}) has port {port}, and nothing listens at {}",
            m.pid, look.endpoint
        );
        let f = elsewhere(Certainty::Likely, why);
        return Some(f.saw("postmaster.pid", "port", port.to_string()));
    }
    let runs = |u: &Unit| u.active == "active" || u.active == "reloading";
    let (running, ended): (Vec<_>, Vec<_>) = clusters::units(p, now).into_iter().partition(|(_, u)| runs(u));
    if let ([(name, _), ..], []) = (running.as_slice(), ended.as_slice()) {
        let why = format!("{name} runs, and nothing listens at {}: it listens elsewhere", look.endpoint);
        return Some(elsewhere(Certainty::Likely, why));
    }
    let (ours, unclear) = clusters::postmasters(p, look);
    // A postmaster may run that is this server's, and can't be told from another's.
    let open = unclear || look.postmasters.seen().is_none();
    // Without a job nobody stops it: what is left of it after its death is swept up.
    let told_to = |u: &Unit| u.job.is_some() || !ours.is_empty();
    let under_way = |u: &Unit| {
        (u.active == "deactivating" && told_to(u))
            || (u.active == "activating" && !u.sub.starts_with("auto-restart"))
    };
    let moving = ended.iter().find(|(_, u)| under_way(u));
    // Of several clusters, one runs or moves and one does not: which is this one's can't be read.
    if (open && !running.is_empty()) || (ours.is_empty() && moving.is_some() && ended.len() > 1) {
        return None;
    }
    if let Some((name, u)) = moving {
        let (cause, how, remedy, words) = if u.active == "activating" {
            (&STARTING_UP, "started", again().to_owned(), "Wait for the start to end")
        } else {
            (
                &SHUTTING_DOWN,
                "stopped",
                format!("systemctl status {}", shell_word(name)),
                "See who stops it, and why",
            )
        };
        let f = found(cause, Certainty::Likely, format!("{name} is being {how}"));
        return Some(f.saw("systemd", name, state(u)).remedy(remedy, words, Risk::Safe));
    }
    if let Some(m) = ours.first() {
        let why =
            format!("its postmaster runs (process {}), and nothing listens at {}", m.pid, look.endpoint);
        return Some(elsewhere(Certainty::Likely, why));
    }
    let Some((name, u)) = ended.first() else {
        // No unit to ask.
        let none = found(
            &POSTGRES_STOPPED,
            Certainty::Likely,
            "no PostgreSQL of this address runs on this host".into(),
        );
        return (!open && !container::runs(p, now)).then(|| {
            none.saw("/proc", "postmasters of this port or folder", "none").remedy(
                "pg_lsclusters",
                "See which clusters this host has, then start the right one",
                Risk::Safe,
            )
        });
    };
    if let Some(start) = words::failed(p, now).filter(|s| s.unit == *name) {
        return Some(start.finding(p, look));
    }
    // A unit found by pattern may be a leftover: what was asked there may be a container or a tunnel.
    let sure = !open && clusters::named_unit(p).is_some();
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let d = facts::detail(now, name);
    let unread = d.filter(|d| d.result != "success").and_then(|_| unread(p, now));
    let f = found(&POSTGRES_STOPPED, certainty, format!("PostgreSQL does not run: {name} is {}", state(u)))
        .since(d.and_then(|d| d.state_since))
        .saw("systemd", name, state(u))
        .saw_if("systemd", "result", d.filter(|d| d.result != "success").map(|d| d.result.clone()))
        .saw_if("journal", "last words", facts::journal(now, name).and_then(facts::last_words))
        .saw_if("log", "last words", unread.clone());
    Some(match unread {
        // It failed: whatever it says there may speak against a start.
        Some(_) => f.remedy(
            format!("sudo {}", again()),
            "Why it failed stands in its log, which this user may not read: look as root before a start",
            Risk::Safe,
        ),
        None => f.remedy(
            format!("systemctl start {}", shell_word(name)),
            "Start it, and wait until it accepts",
            Risk::Disruptive,
        ),
    })
}

/// What of this host's own is in the way is named; else the address is all that is known.
fn no_way(p: &Postgres, look: &PostgresLook, failure: &Failure, now: &Snapshot) -> Finding {
    let name = p.url.host.text();
    let summary = format!("no connection to {}: {}", look.endpoint, way::why(now, &name, failure));
    let f = Finding::new(&UNREACHABLE, &p.name, Certainty::Proven, summary)
        .saw("postgres login", &look.endpoint, &failure.detail)
        .remedy(way_to(host(look)), "See the way to the address, then its firewall", Risk::Safe);
    match rule(p, look, now, Verdict::Drop) {
        Some(r) => firewall::saw(f, r),
        None => way::saw(f, now, &name),
    }
}

/// Who failed says why in its log: that it could not be read is said, too.
fn unread(p: &Postgres, now: &Snapshot) -> Option<String> {
    let f = now.host.logs.get(&p.name)?.failure().filter(|f| f.kind == FailKind::Denied)?;
    Some(format!("not read: {}", f.detail))
}

/// Silence alone is likely, not proven: this host's rules may drop what it answers, where they are not
/// ours to read.
fn hung(p: &Postgres, look: &PostgresLook, failure: &Failure, now: &Snapshot) -> Finding {
    if let Some(found) = container::paused(p, look, now) {
        return found;
    }
    let found = |certainty, summary: String| {
        Finding::new(&HUNG, &p.name, certainty, summary).saw(
            "postgres login",
            &look.endpoint,
            &failure.detail,
        )
    };
    let Some((pid, what)) = clusters::stuck(p, look, now) else {
        let rest = firewall::rule_of_rest(now, &p.url.host.text(), p.url.port, look.here == Some(true));
        if let Some(r) = rest {
            let why = format!("connected to {}, and a rule of this host drops the rest", look.endpoint);
            let f = Finding::new(&UNREACHABLE, &p.name, Certainty::Likely, why);
            return firewall::saw(f.saw("postgres login", &look.endpoint, &failure.detail), r);
        }
        let hidden = now.network.rules.failure().filter(|f| f.kind == FailKind::Denied);
        let summary = "PostgreSQL accepts connections and does not answer a login in time".into();
        let found = found(Certainty::Likely, summary);
        return found
            .saw_if("nft", "packet filter", hidden.map(|f| format!("not read: {}", f.detail)))
            .remedy(
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

fn again() -> &'static str {
    "mcp-ir diagnose db-down"
}

fn status(p: &Postgres, now: &Snapshot) -> String {
    match (clusters::units(p, now).first(), p.container.as_deref()) {
        (Some((name, _)), _) => format!("systemctl status {}", shell_word(name)),
        (None, Some(name)) => Place::Container(name).status(),
        (None, None) => again().into(),
    }
}

/// The command that shows the way to a host: by its address, else what its name means first.
fn way_to(host: &str) -> String {
    match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(ip) => format!("ip route get {ip}"),
        Err(_) => format!("getent ahosts {}", shell_word(host)),
    }
}

fn host(look: &PostgresLook) -> &str {
    look.endpoint.rsplit_once(':').map_or(look.endpoint.as_str(), |(h, _)| h)
}

/// The rule of this host's own that may be what stops us.
fn rule<'a>(
    p: &Postgres,
    look: &PostgresLook,
    now: &'a Snapshot,
    verdict: Verdict,
) -> Option<&'a FilterRule> {
    firewall::rule(now, &p.url.host.text(), p.url.port, look.here == Some(true), verdict)
}
