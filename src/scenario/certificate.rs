//! A certificate that ends soon: what was shown, by the clock of the host that looked, as everybody checks
//! it by their own. Pure.

use super::against::{ruled_out, unseen};
use super::facts::age;
use crate::config::Config;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Stand};
use crate::snapshot::Snapshot;
use crate::snapshot::certificate::Certificate;

/// Of its life: one that lives for a day is renewed in the last hours of it.
const LAST: f64 = 0.25;

/// Of a database, or of what is asked over HTTP: one rule.
pub const fn cause(name: &'static str) -> Cause {
    Cause { name, severity: Severity::P4, title: "the certificate ends soon", explains: &[] }
}

/// Seconds; negative where it has ended.
fn left_s(c: &Certificate, now: &Snapshot) -> f64 {
    c.ends.duration_since(now.taken_at).as_secs_f64()
}

pub fn has_ended(c: &Certificate, now: &Snapshot) -> bool {
    left_s(c, now) <= 0.0
}

/// `ends in 5 days`, `ended 3 h ago`
pub fn words(c: &Certificate, now: &Snapshot) -> String {
    match left_s(c, now) {
        left if left > 0.0 => format!("ends in {}", age(left)),
        left => format!("ended {} ago", age(-left)),
    }
}

fn is_soon(c: &Certificate, now: &Snapshot, config: &Config) -> bool {
    let life = c.ends.duration_since(c.begins).as_secs_f64();
    let left = left_s(c, now);
    left < config.thresholds.certificate.as_secs_f64() && left < LAST * life
}

/// `place` is `host:port`; `protocol` what openssl has to say first.
pub fn ending(
    cause: &Cause,
    subject: &str,
    place: &str,
    protocol: &str,
    shown: Option<Certificate>,
    now: &Snapshot,
    config: &Config,
) -> Option<Finding> {
    let c = shown.filter(|c| is_soon(c, now, config))?;
    let then = if has_ended(&c, now) { "; this look did not check it, and who does is refused" } else { "" };
    let summary = format!("the certificate of {place} {}{then}", words(&c, now));
    let connect = crate::diagnosis::shell_word(place);
    Some(
        Finding::new(cause, subject, Certainty::Proven, summary)
            .saw("tls", "certificate", format!("from {} to {}", c.begins, c.ends))
            .remedy(
                format!(
                    "openssl s_client {protocol}-connect {connect} </dev/null | openssl x509 -noout -dates"
                ),
                "Have it issued anew and read in; where that is done already, have the server read it",
                Risk::Safe,
            ),
    )
}

/// What speaks against it, where a look came through.
pub fn stand(place: &str, shown: Option<Certificate>, now: &Snapshot, config: &Config) -> Stand {
    match shown {
        Some(c) if is_soon(&c, now, config) => Stand::Holds,
        Some(c) => ruled_out("tls", place, words(&c, now), &needs(config)),
        None => unseen("tls", place, "its certificate could not be read", &needs(config)),
    }
}

pub fn needs(config: &Config) -> String {
    format!("a certificate that ends within {}", age(config.thresholds.certificate.as_secs_f64()))
}
