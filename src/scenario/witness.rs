//! What services say of their own login: the only evidence of `auth-failed`. Pure.
//! It must be of now: an old line may be of a trouble long mended.

use super::facts;
use crate::config::{Config, Service};
use crate::snapshot::Snapshot;

/// A service's word that its login is refused.
pub struct Witness<'a> {
    pub service: &'a str,
    pub probe: &'static str,
    pub text: &'a str,
    /// It uses this server and no other: so it is this one that refuses.
    pub sure: bool,
}

/// How long before its end, or before the look, a service's last words may stand.
const LAST_WORDS_S: f64 = 10.0;

pub fn of<'a>(server: &'a str, now: &'a Snapshot, config: &'a Config) -> Vec<Witness<'a>> {
    facts::clients(server, config)
        .filter_map(|s| {
            let (probe, text) = login_refused(s, now)?;
            let sure = s.needs.iter().filter(|n| config.postgres(n).is_some()).count() == 1;
            Some(Witness { service: &s.name, probe, text, sure })
        })
        .collect()
}

/// What a service that is not well says of its login: in its health answer, else as its last words.
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

/// SQLSTATE 28P01 or 28000, as drivers print them. 28000 is also a plain number: it counts only
/// beside a word that makes it a code.
fn is_refusal(text: &str) -> bool {
    const WORDS: [&str; 4] = [
        "password authentication failed",
        "no pg_hba.conf entry",
        "InvalidPasswordError",
        "InvalidAuthorizationSpecification",
    ];
    let has = |code: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == code);
    let code = ["FATAL", "SQLSTATE", "SQLState", "code"].iter().any(|w| text.contains(w));
    WORDS.iter().any(|w| text.contains(w)) || has("28P01") || (has("28000") && code)
}
