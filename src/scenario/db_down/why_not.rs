//! What speaks against each cause of a database that takes no work. A line a cause.

use super::super::against::{Against, Against::Server, OfServer, OfService, ruled_out, unseen, why};
use super::super::certificate;
use super::super::clusters;
use super::super::facts;
use super::super::login::{Meaning, meaning};
use super::super::targets;
use super::super::witness;
use super::{ahead, disk, inside, reach, service, target, words};
use crate::config::Expect;
use crate::diagnosis::{Cause, Fact, Stand};
use crate::snapshot::Reading;

pub static WHY_NOT: &[(&Cause, Against)] = &[
    (&reach::POSTGRES_STOPPED, Server(|c, s| reached(c, s, "refused here, and no cluster of it runs"))),
    (&reach::STARTING_UP, Server(|c, s| reached(c, s, "57P03 starting up, or a start under way"))),
    (&reach::SHUTTING_DOWN, Server(|c, s| reached(c, s, "57P03 shutting down, or a stop under way"))),
    (&words::START_FAILED, Server(|c, s| reached(c, s, "a start that failed, by its unit and its log"))),
    (
        &words::BACKEND_CRASH,
        Server(|_, s| {
            let needs = "two crashes in its log";
            let found = words::crashes(s.p, s.look, s.now, s.config).is_some();
            match by_log(s, found, needs) {
                // A healthy server's journal is not read: its own word on its processes rules it out.
                Stand::Unseen(why) => match words::no_recovery(s.look, s.now) {
                    Some(value) => ruled_out("postgres sessions", "last recovery", value, needs),
                    None => Stand::Unseen(why),
                },
                stand => stand,
            }
        }),
    ),
    (&disk::DISK_FULL, Server(|c, s| by_disk(c, s, "under 1 % and 256 MiB, or no inode"))),
    (&disk::DISK_LOW, Server(|c, s| by_disk(c, s, "under 10 % and 10 GiB, or full within 4 h at its slope"))),
    (&disk::READ_ONLY_FILESYSTEM, Server(|c, s| by_disk(c, s, "ro, or emergency_ro"))),
    (&reach::HUNG, Server(|c, s| reached(c, s, "a connection that is made, and no answer in time"))),
    (&reach::UNREACHABLE, Server(|c, s| reached(c, s, "no connection in time, or no route"))),
    (&reach::REFUSED_REMOTE, Server(|c, s| reached(c, s, "refused, and it may run elsewhere"))),
    (&reach::DNS_FAILURE, Server(|c, s| reached(c, s, "a name that does not resolve"))),
    (
        &service::AUTH_FAILED,
        Server(|_, s| {
            Stand::all([
                s.takes_logins(),
                s.says(witness::login_refused, "a service that says its login is refused (28P01, 28000)"),
            ])
        }),
    ),
    (
        &service::CONNECTION_LIMIT,
        Server(|_, s| {
            let says = s.says(witness::limit_reached, "a service that says its role or database is full");
            Stand::any([
                Stand::all([own_database(s), s.login_means(Meaning::DatabaseLimit, "53300 of the database")]),
                Stand::all([s.takes_logins(), says]),
            ])
        }),
    ),
    (
        &service::DATABASE_MISSING,
        Server(|_, s| {
            let says = s.says(witness::database_missing, "a service that says it is not there (3D000)");
            Stand::all([s.takes_logins(), says])
        }),
    ),
    (
        &service::TLS_FAILED,
        Server(|_, s| {
            let ours = || s.login_means(Meaning::Tls, "TLS that we refuse");
            let says = s.says(witness::tls_refused, "a service that says it refuses its TLS");
            let theirs = Stand::all([Stand::any([ours(), s.takes_logins()]), says]);
            Stand::any([Stand::all([ours(), nobody_connected(s)]), theirs])
        }),
    ),
    (&service::CERTIFICATE_ENDS, Server(certificate_ends)),
    (&target::WRONG_TARGET, Against::Service(|_, s| told_of_another(s))),
    (
        &inside::READ_ONLY,
        Server(|_, s| {
            let wanted = Stand::when(s.p.expect != Expect::Standby, || {
                Fact::new("configuration", "expect", "standby", "a primary is expected")
            });
            let needs = "in recovery, or default_transaction_read_only";
            let is = s.inside(|x| {
                Stand::when(x.in_recovery || x.read_only, || {
                    Fact::new("postgres sessions", "takes writes", "yes", needs)
                })
            });
            Stand::all([wanted, is])
        }),
    ),
    (
        &inside::WRAPAROUND,
        Server(|_, s| {
            let needs = format!("over {}", inside::XID_AGE);
            let old = s.inside(|x| match &x.oldest_xid {
                Some(o) => Stand::when(o.age > inside::XID_AGE, || {
                    let value = format!("{} in {}", o.age, o.database);
                    Fact::new("postgres sessions", "age of datfrozenxid", value, &needs)
                }),
                None => unseen("postgres sessions", "age of datfrozenxid", "not in this look", &needs),
            });
            let says = s.says(witness::wraparound, "a service whose write was refused for it");
            Stand::any([old, Stand::all([s.takes_logins(), says])])
        }),
    ),
    (
        &inside::WAL_RETAINED,
        Server(|_, s| {
            s.inside(|x| {
                let fails = x.archiver.as_ref().is_some_and(inside::archiver_fails);
                let archiver = x.archiver.as_ref().map_or_else(
                    || "archiving is off".to_owned(),
                    |a| format!("{} failures, none now", a.failed_count),
                );
                let kept = x.replication_slots.iter().any(inside::keeps_too_much);
                let slots =
                    format!("{}, none keeps too much", facts::count(x.replication_slots.len(), "slot"));
                let fact = |fact, value, needs| ruled_out("postgres sessions", fact, value, needs);
                Stand::any([
                    Stand::unless(fails, || fact("archiver", archiver, "a failure since the last success")),
                    Stand::unless(kept, || fact("replication slots", slots, "one that keeps WAL for nobody")),
                ])
            })
        }),
    ),
    (
        &words::INDEX_CORRUPT,
        Server(|_, s| {
            let found = words::index(s.p, s.look, s.now, s.config).is_some();
            by_log(s, found, "the words of a damaged index")
        }),
    ),
    (
        &inside::DATA_CORRUPTION,
        Server(|_, s| {
            let fresh = s.inside(|x| {
                Stand::when(x.checksum_failures.iter().any(inside::fresh), || {
                    let value = match x.checksum_failures.len() {
                        0 => "none".to_owned(),
                        n => format!("in {}, none of them new", facts::count(n, "database")),
                    };
                    Fact::new("postgres sessions", "checksum failures", value, "one within the hour")
                })
            });
            Stand::any([
                fresh,
                s.login_means(Meaning::Corrupt, "XX001"),
                s.says(witness::corrupt, "a service that says XX001"),
            ])
        }),
    ),
];

/// The file systems that it lives on, as its rule reads them.
fn by_disk(cause: &Cause, s: &OfServer, needs: &str) -> Stand {
    let found = disk::detect(s.p, s.look, s.now, s.config);
    let fills = cause.name == disk::DISK_LOW.name
        && found.is_empty()
        && ahead::fills(s.p, s.look.here, s.before, s.now).is_some();
    if fills || found.iter().any(|f| f.cause == cause.name) {
        return Stand::Holds;
    }
    let places = s.now.host.places.iter().filter(|d| d.subject == s.p.name);
    let seen: Vec<Fact> = places
        .filter_map(|d| Some((d, d.file_system.seen()?)))
        .map(|(d, f)| {
            let left = format!("{:.1} % left, {}", f.share() * 100.0, f.options);
            Fact::new("file system", &format!("{} at {}", d.what, f.mounted_at), left, needs)
        })
        .collect();
    match s.look.here {
        Some(true) if !seen.is_empty() => Stand::RuledOut(seen),
        _ => unseen("file system", &s.p.name, "none of its folders was seen", needs),
    }
}

/// What its own log says: its file, its unit's journal, its container's log.
fn by_log(s: &OfServer, found: bool, needs: &str) -> Stand {
    if found {
        return Stand::Holds;
    }
    let file = s.now.host.logs.get(&s.p.name).and_then(|l| l.seen()).map(|l| l.path.clone());
    let unit = clusters::own_unit(s.p, s.now).filter(|u| facts::journal(s.now, u).is_some());
    let inside = s.p.container.as_ref().and_then(|name| s.now.containers.get(name));
    let inside = inside.filter(|l| l.log.seen().is_some()).and(s.p.container.clone());
    match (s.look.here, file.or(unit.map(ToOwned::to_owned)).or(inside)) {
        (Some(true), Some(log)) => ruled_out("log", &log, "no such line of now", needs),
        _ => unseen("log", &s.p.name, "its log was not seen", needs),
    }
}

/// What our own login and its host told apart: one cause at most, so the evidence of the one that it
/// is rules out all others.
fn reached(cause: &Cause, s: &OfServer, needs: &str) -> Stand {
    let login = || vec![s.login(needs)];
    match reach::detect(s.p, s.look, s.now, s.config) {
        Some(f) if f.cause == cause.name => Stand::Holds,
        Some(f) => Stand::RuledOut(Fact::of(&f, needs)),
        None => match &s.look.login.reading {
            Reading::Failed(f) if meaning(f) == Meaning::Refused => Stand::Unseen(apart(s, needs)),
            // The meaning of no login at all is nobody's.
            _ => match s.login_means(Meaning::Other, needs) {
                Stand::Holds => Stand::Unseen(login()),
                other => other,
            },
        },
    }
}

/// Refused, and not told apart: what would have told.
fn apart(s: &OfServer, needs: &str) -> Vec<Fact> {
    let here = match s.look.here {
        Some(true) => "of this host",
        Some(false) => "of another host",
        None => "not known whether of this host",
    };
    let units: Vec<String> =
        clusters::units(s.p, s.now).iter().map(|(n, u)| format!("{n} {}", facts::state(u))).collect();
    let units = match (&s.now.units.listed.reading, units.is_empty()) {
        (Reading::Seen { .. }, true) => "none".to_owned(),
        (Reading::Seen { .. }, false) => units.join(", "),
        _ => why(&s.now.units.listed),
    };
    let (ours, unclear) = clusters::postmasters(s.p, s.look);
    let running = match (&s.look.postmasters, unclear) {
        (Reading::Seen { .. }, true) => "one whose folder and port are not shown".to_owned(),
        (Reading::Seen { .. }, false) => facts::count(ours.len(), "postmaster"),
        (Reading::Failed(f), _) => f.detail.clone(),
        (Reading::NotAsked { why }, _) => format!("not asked: {why}"),
    };
    vec![
        s.login(needs),
        Fact::new("host", &s.look.endpoint, here, needs),
        Fact::new("systemd", "clusters that may be it", units, needs),
        Fact::new("/proc", "postmasters of it", running, needs),
    ]
}

fn own_database(s: &OfServer) -> Stand {
    Stand::when(service::same_database(s.p), || {
        Fact::new("configuration", "database of our login", &s.p.url.dbname, "one of the services'")
    })
}

fn nobody_connected(s: &OfServer) -> Stand {
    match facts::says_connected(&s.p.name, s.now, s.config) {
        None => Stand::Holds,
        Some(name) => {
            ruled_out("http health", name, "says that its database is connected", "nobody connected")
        }
    }
}

fn told_of_another(s: &OfService) -> Stand {
    let needs = "settings of its own that name another database than is looked at";
    if targets::elsewhere(s.s, s.now, s.config).is_some() {
        return Stand::Holds;
    }
    if let Some(p) = targets::seen_at(s.s, s.now, s.config) {
        return ruled_out("postgres sessions", &p.name, "has sessions of its name", needs);
    }
    let Some(look) = s.now.services.get(&s.s.name) else {
        return unseen("/proc", "environment", "not looked at", needs);
    };
    match &look.targets {
        Reading::Seen { value } => {
            let all: Vec<String> = value.iter().map(ToString::to_string).collect();
            let host =
                value.first().and_then(|t| s.now.network.hosts.get(&t.host)).and_then(Reading::failure);
            match host {
                Some(f) => unseen("resolver", &all.join("; "), f.detail.clone(), needs),
                None => ruled_out("/proc", "names", all.join("; "), needs),
            }
        }
        Reading::Failed(f) => unseen("/proc", "environment", f.detail.clone(), needs),
        Reading::NotAsked { why } => unseen("/proc", "environment", format!("not asked: {why}"), needs),
    }
}

fn certificate_ends(_: &Cause, s: &OfServer) -> Stand {
    let needs = certificate::needs(s.config);
    if let Some(refused) = service::tls_failed(s.p, s.look, s.now, s.config) {
        return Stand::RuledOut(Fact::of(&refused, &format!("{needs}, and is not refused yet")));
    }
    match &s.look.login.reading {
        Reading::Seen { value } if value.tls => {
            certificate::stand(&s.look.endpoint, s.look.certificate, s.now, s.config)
        }
        Reading::Seen { .. } => ruled_out("postgres login", "TLS", "none", &needs),
        Reading::Failed(_) | Reading::NotAsked { .. } => Stand::Unseen(vec![s.login(&needs)]),
    }
}
