//! The certificate by which a service, or a Redis, is asked.

use super::super::against::{ruled_out, unseen, why};
use super::super::certificate::{cause, ending, needs, stand};
use crate::config::{Config, RedisPlace};
use crate::diagnosis::{Cause, Finding, Stand};
use crate::snapshot::certificate::Certificate;
use crate::snapshot::{Look, Snapshot};

pub static CERTIFICATE_ENDS: Cause = cause("server-crash/certificate-ends");

/// One that is asked: by its name, and what it showed or why nothing was seen.
struct Asked<'a> {
    name: &'a str,
    /// `host:port`, where it is asked over TLS.
    place: Option<String>,
    shown: Result<Option<Certificate>, String>,
}

fn all<'a>(now: &'a Snapshot, config: &'a Config) -> impl Iterator<Item = Asked<'a>> {
    fn answered<T>(
        look: Option<&Look<T>>,
        shown: impl Fn(&T) -> Option<Certificate>,
    ) -> Result<Option<Certificate>, String> {
        let look = look.ok_or("not looked at")?;
        look.seen().map(shown).ok_or_else(|| why(look))
    }
    let at = |(host, port): (&str, u16)| {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    };
    let services = config.service.iter().map(move |s| {
        let https = s.url.as_deref().is_some_and(|u| u.starts_with("https:"));
        let look = now.services.get(&s.name).map(|l| &l.health);
        Asked {
            name: &s.name,
            place: s.address().filter(|_| https).map(at),
            shown: answered(look, |h| h.certificate),
        }
    });
    let redis = config.redis.iter().map(move |r| {
        let look = now.redis.get(&r.name);
        let tls = matches!(r.place(), Some(RedisPlace::Tcp { tls: true, .. }));
        Asked {
            name: &r.name,
            place: look.filter(|_| tls).map(|l| l.endpoint.clone()),
            shown: answered(look.map(|l| &l.ping), |()| look.and_then(|l| l.certificate)),
        }
    });
    services.chain(redis)
}

pub fn detect<'a>(now: &'a Snapshot, config: &'a Config) -> impl Iterator<Item = Finding> + 'a {
    all(now, config).filter_map(|a| {
        let shown = a.shown.ok()?;
        ending(&CERTIFICATE_ENDS, a.name, &a.place?, "", shown, now, config)
    })
}

pub fn stands(now: &Snapshot, config: &Config) -> Vec<(String, Stand)> {
    let one = |a: Asked| {
        let stand = match (a.place, a.shown) {
            (None, _) => ruled_out("configuration", a.name, "not asked over TLS", &needs(config)),
            (Some(place), Ok(shown)) => stand(&place, shown, now, config),
            (Some(place), Err(why)) => unseen("tls", &place, why, &needs(config)),
        };
        (a.name.to_owned(), stand)
    };
    all(now, config).map(one).collect()
}
