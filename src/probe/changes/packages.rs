//! Packages that dpkg installed, upgraded or removed, by its log. One run of it is one change.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Root;
use crate::probe::said;
use crate::snapshot::changes::{Change, ChangeKind};

const LOG: &str = "/var/log/dpkg.log";
const BYTES: u64 = 128 << 10;

struct Act<'a> {
    at: Timestamp,
    verb: &'a str,
    package: &'a str,
    from: &'a str,
    to: &'a str,
}

/// Who of those under care a package is about; what none of them is named in concerns the host.
pub fn of(
    root: &Root,
    names: &[(String, String)],
    servers: &(Option<String>, Option<String>),
) -> Vec<Change> {
    let Ok(text) = root.tail(LOG, BYTES) else { return Vec::new() };
    let about = |package: &str| {
        let server = |words: &[&str], of: &Option<String>| {
            of.clone().filter(|_| words.iter().any(|w| package.contains(w)))
        };
        let postgres = server(&["postgres", "libpq", "pgbouncer"], &servers.0);
        let redis = || server(&["redis"], &servers.1);
        let own =
            || names.iter().find(|(name, unit)| is_of(package, name, unit)).map(|(name, _)| name.clone());
        postgres.or_else(redis).or_else(own)
    };
    let mut out = Vec::new();
    for run in runs(&text, &root.zone()) {
        let run: Vec<Act> = run.into_iter().filter(|a| root.is_young(a.at)).collect();
        let Some(last) = run.last() else { continue };
        // Of many the one that is of something under care is named.
        let named = run.iter().find(|a| about(a.package).is_some()).unwrap_or(&run[0]);
        let more = match run.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        let what = match named.verb {
            "upgrade" => format!("package {} {} → {}{more}", named.package, named.from, named.to),
            "install" => format!("package {} {} installed{more}", named.package, named.to),
            _ => format!("package {} removed{more}", named.package),
        };
        out.push(Change {
            at: last.at,
            kind: ChangeKind::Package,
            subject: about(named.package),
            what: said(&what, 200),
            path: Some(LOG.into()),
        });
    }
    out
}

fn is_of(package: &str, name: &str, unit: &str) -> bool {
    let stem = unit.trim_end_matches(".service");
    package == name || package == stem
}

/// `2026-11-24 11:40:00 startup archives unpack` begins one; each act is a line of its own.
fn runs<'a>(text: &'a str, zone: &TimeZone) -> Vec<Vec<Act<'a>>> {
    let mut out: Vec<Vec<Act>> = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(6, ' ');
        let (Some(day), Some(time), Some(verb)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if verb == "startup" {
            out.push(Vec::new());
        }
        if !["install", "upgrade", "remove", "purge"].contains(&verb) {
            continue;
        }
        let (Some(package), Some(from), Some(to)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Some(at) = local(day, time, zone) else { continue };
        let package = package.split(':').next().unwrap_or(package);
        // `upgrade` follows `install` of the same: the newer word stands.
        if out.is_empty() {
            out.push(Vec::new());
        }
        if let Some(run) = out.last_mut() {
            run.retain(|a| a.package != package);
            run.push(Act { at, verb, package, from, to });
        }
    }
    out
}

/// dpkg notes the time of this machine's own zone.
fn local(day: &str, time: &str, zone: &TimeZone) -> Option<Timestamp> {
    let at: DateTime = format!("{day}T{time}").parse().ok()?;
    zone.to_timestamp(at).ok()
}
