//! No connection to the service comes to be, and what lies between is why: a route or a rule of this
//! host, a host that does not answer, a name. Its process may be well.

use super::{cause, port};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::{firewall, way};
use crate::snapshot::network::Verdict;
use crate::snapshot::{FailKind, Failure, Snapshot, Stage};

pub static UNREACHABLE: Cause =
    cause("server-crash/unreachable", Severity::P1, "no way to the service's address");

/// Before what its unit says: a rule that rejects is no closed port, and the kernel has no say in it.
pub fn detect(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    let (host, port) = s.address()?;
    let here = now.network.hosts.get(host).and_then(|h| h.seen()).map(|h| h.here);
    let rule = |verdict| firewall::rule(now, host, port, here == Some(true), verdict);
    let found =
        |certainty, why: String| {
            Finding::new(&UNREACHABLE, &s.name, certainty, format!("no way to {}: {why}", s.name))
                .own(true)
                .saw("http health", "answer", &f.detail)
        };
    let by_rule = |verdict, does: &str| {
        let r = rule(verdict)?;
        let why = format!("a rule of this host {does} what goes to port {port}");
        let f = found(Certainty::Likely, why).remedy("", "", Risk::Safe);
        Some(firewall::saw(f, r))
    };
    let rest = || {
        let r = firewall::rule_of_rest(now, host, port, here == Some(true))?;
        let why = format!("connected, and a rule of this host drops the rest of what goes to port {port}");
        Some(firewall::saw(found(Certainty::Likely, why).remedy("", "", Risk::Safe), r))
    };
    match (f.kind, f.stage) {
        // Whoever listens there is not asked: else it may as well be closed.
        (FailKind::Refused, _) => {
            // At the address that is asked: at another it is not where it should be.
            let listens = port::listens(s, now);
            (listens || here == Some(false)).then(|| by_rule(Verdict::Reject, "rejects"))?
        }
        (FailKind::TimedOut, Some(Stage::Connect)) => by_rule(Verdict::Drop, "drops").or_else(|| {
            let elsewhere = here == Some(false);
            // A host whose queue is full drops as well.
            elsewhere.then(|| way_to(found(Certainty::Likely, way::why(now, host, f)), now, host))
        }),
        // Connected, and the rest is dropped.
        (FailKind::TimedOut, Some(Stage::Tls | Stage::Answer)) => rest(),
        (FailKind::Unreachable, _) => {
            Some(way_to(found(Certainty::Proven, way::why(now, host, f)), now, host))
        }
        // A local policy may say the same to this program alone.
        (FailKind::Denied, Some(Stage::Connect)) => {
            way::closed(now, host)?;
            Some(way_to(found(Certainty::Proven, way::why(now, host, f)), now, host))
        }
        (FailKind::Unresolved, _) | (FailKind::TimedOut, Some(Stage::Resolve)) => {
            let (certainty, how) = match f.kind {
                FailKind::TimedOut => (Certainty::Likely, "does not resolve in time"),
                _ => (Certainty::Proven, "does not resolve"),
            };
            Some(found(certainty, format!("its name {host} {how}")).remedy(
                format!("getent hosts {}", shell_word(host)),
                "Ask this machine's own resolver",
                Risk::Safe,
            ))
        }
        _ => None,
    }
}

fn way_to(f: Finding, now: &Snapshot, host: &str) -> Finding {
    let address = now.network.hosts.get(host).and_then(|h| h.seen()).and_then(|h| h.addresses.first());
    let command = match address {
        Some(ip) => format!("ip route get {ip}"),
        None => format!("getent ahosts {}", shell_word(host)),
    };
    way::saw(f, now, host).remedy(command, "See the way to the address, then its firewall", Risk::Safe)
}
