//! What services say of what they need: the only evidence of what our own login does not meet. Pure.
//! It must be of now: an old line may be of a trouble long mended.

use std::cell::LazyCell;
use std::collections::HashMap;

use super::place::{Place, container};
use super::{facts, targets};
use crate::config::{Config, Service};
use crate::diagnosis::Finding;
use crate::snapshot::Snapshot;

/// A service's word on what it needs.
pub struct Witness<'a> {
    pub service: &'a str,
    pub probe: &'static str,
    pub text: &'a str,
    /// It uses this server and no other: so it is this one that it speaks of.
    pub sure: bool,
}

/// How long before its end, or before the look, a service's last words may stand.
const LAST_WORDS_S: f64 = 10.0;

/// The services whose words of now mean what `says` looks for.
pub fn of<'a>(
    server: &'a str,
    now: &'a Snapshot,
    config: &'a Config,
    says: impl Fn(&str) -> bool,
) -> Vec<Witness<'a>> {
    let of_database = config.postgres(server).is_some();
    // Made where somebody speaks of it at all.
    let kinds = LazyCell::new(|| {
        config.names().into_iter().map(|(kind, name)| (name, kind)).collect::<HashMap<&str, &str>>()
    });
    facts::clients(server, config)
        // Who says that its database is connected does not speak of it; nor who uses another.
        .filter(|s| !of_database || !facts::health(now, &s.name).is_some_and(|h| h.says_connected()))
        .filter(|s| !of_database || !targets::elsewhere(s, now, config).is_some_and(|e| e.how.sure()))
        .filter_map(|s| {
            let (probe, text) = words(s, now, &says)?;
            let needs = crate::diagnosis::needs(&s.name, config);
            let alike = needs.iter().filter(|n| kinds.get(*n) == kinds.get(server));
            let sure = alike.count() == 1;
            Some(Witness { service: &s.name, probe, text, sure })
        })
        .collect()
}

/// Their words as evidence.
pub fn heard(mut f: Finding, witnesses: &[Witness]) -> Finding {
    for w in witnesses {
        f = f.saw(w.probe, w.service, w.text);
    }
    f
}

/// What a service that is not well says: in its health answer, else as its last words.
fn words<'a>(
    s: &Service,
    now: &'a Snapshot,
    says: &impl Fn(&str) -> bool,
) -> Option<(&'static str, &'a str)> {
    let health = now.services.get(&s.name)?.health.seen();
    if let Some(h) = health {
        if !h.is_bad() {
            return None;
        }
        if !h.messages.is_empty() {
            return h.messages.iter().find(|m| says(m)).map(|m| ("http health", m.as_str()));
        }
    }
    let place = Place::of(s)?;
    let ended = match place {
        Place::Unit(unit) => facts::detail(now, unit).and_then(|d| d.exited_at),
        Place::Container(name) => container(now, name).filter(|c| c.pid == 0).and_then(|c| c.finished_at),
    };
    let ended = ended.filter(|_| health.is_none());
    let line = facts::last_line(place.journal(now)?)?;
    let silence = ended.unwrap_or(now.taken_at).duration_since(line.at).as_secs_f64();
    (silence < LAST_WORDS_S && says(&line.text)).then_some((place.log(), line.text.as_str()))
}

/// SQLSTATE 28P01 or 28000, as drivers print them. 28000 is also a plain number: it counts only
/// beside a word that makes it a code.
pub fn login_refused(text: &str) -> bool {
    const WORDS: [&str; 4] = [
        "password authentication failed",
        "no pg_hba.conf entry",
        "InvalidPasswordError",
        "InvalidAuthorizationSpecification",
    ];
    let code = ["FATAL", "SQLSTATE", "SQLState", "code"].iter().any(|w| text.contains(w));
    WORDS.iter().any(|w| text.contains(w)) || has(text, "28P01") || (has(text, "28000") && code)
}

/// 53300 of a role's or a database's CONNECTION LIMIT.
pub fn limit_reached(text: &str) -> bool {
    text.contains("too many connections for role") || text.contains("too many connections for database")
}

/// 57P02, or the words of a session that ended because another process crashed, or of a login while the
/// server recovers from that.
pub fn crashed(text: &str) -> bool {
    const WORDS: [&str; 3] =
        ["crash of another server process", "the database system is in recovery mode", "CrashShutdown"];
    has(text, "57P02") || WORDS.iter().any(|w| text.contains(w))
}

/// 3D000.
pub fn database_missing(text: &str) -> bool {
    let named = text.split("database \"").skip(1).filter_map(|rest| rest.split_once('"'));
    let missing = || named.into_iter().any(|(_, then)| then.starts_with(" does not exist"));
    has(text, "3D000") || text.contains("InvalidCatalogName") || missing()
}

/// 08P01 is any protocol's error: pgbouncer's own words tell.
pub fn pooler_full(text: &str) -> bool {
    text.contains("query_wait_timeout") || text.contains("no more connections allowed")
}

/// 53100, or the server's words with a file of its own: a service may itself have no space left.
pub fn disk_full(text: &str) -> bool {
    let of_server = || text.contains("could not ") && text.contains(" file \"");
    has(text, "53100") || text.contains("DiskFull") || of_server()
}

/// XX001, or the words of a page that can't be read.
pub fn corrupt(text: &str) -> bool {
    has(text, "XX001") || text.contains("invalid page in block") || text.contains("DataCorrupted")
}

/// XX002, or the words of an index that can't be read.
pub fn index(text: &str) -> bool {
    const WORDS: [&str; 7] = [
        "contains unexpected zero page",
        "contains corrupted page",
        "is not a btree",
        "does not match left-link",
        "left-link doesn't match",
        "left link changed unexpectedly",
        "failed to re-find parent key",
    ];
    has(text, "XX002") || (text.contains("index \"") && WORDS.iter().any(|w| text.contains(w)))
}

/// The server's TLS is not accepted, in the words of drivers.
pub fn tls_refused(text: &str) -> bool {
    const WORDS: [&str; 5] = [
        "error performing TLS handshake",
        "server does not support SSL",
        "rejected SSL upgrade",
        "certificate verify failed",
        "does not match host name",
    ];
    WORDS.iter().any(|w| text.contains(w))
}

/// 54000 is many a limit's number: only its words tell that transaction ids are used up.
pub fn wraparound(text: &str) -> bool {
    text.contains("wraparound data loss")
}

/// Redis lets them in no more, or not to what they do: its own codes, as its clients print them.
pub fn redis_login_refused(text: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "NOPERM"].iter().any(|code| has(text, code))
}

/// Redis refuses what they write: it is full, can't save, or is a replica.
pub fn redis_write_refused(text: &str) -> bool {
    ["OOM command not allowed", "MISCONF Redis", "READONLY You can't write"].iter().any(|w| text.contains(w))
}

/// A SQLSTATE as a word of its own.
fn has(text: &str, code: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == code)
}
