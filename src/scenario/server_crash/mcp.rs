//! It says that it is well, or does not let us ask, and yet its clients get nowhere: its MCP endpoint
//! does not shake hands, or has no tools. Who wants a login, or is busy, is not broken.

use super::{cause, port, runbook};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Stand, shell_word};
use crate::plan::Recovered;
use crate::scenario::against::{ruled_out, unseen, why};
use crate::scenario::facts;
use crate::snapshot::mcp::McpLook;
use crate::snapshot::{FailKind, Failure, Look, Reading, Snapshot, Stage};

pub static MCP_BROKEN: Cause =
    cause("server-crash/mcp-broken", Severity::P2, "its MCP endpoint serves no client");

/// What is wrong with a handshake.
struct Trouble<'a> {
    certainty: Certainty,
    step: &'static str,
    says: &'a str,
    advice: &'static str,
    /// A restart may help; else only looking does.
    restart: bool,
    /// No database makes an endpoint answer like this.
    own: bool,
}

/// The numbers that JSON-RPC itself has for what a server can't do.
const KNOWN: [&str; 2] = ["error -32603", "error -32601"];

/// A first answer may take its time: so long nobody is called silent.
const SILENCE_MS: f64 = 1000.0;

pub fn broken(s: &Service, now: &Snapshot) -> Option<Finding> {
    let path = s.mcp.as_deref().filter(|_| s.url.is_some())?;
    let look = now.services.get(&s.name)?;
    let m = look.mcp.as_deref()?;
    // Of one that is down or unwell there is more to say than this.
    let alive = match &look.health.reading {
        Reading::Seen { value } => !value.is_bad(),
        Reading::Failed(f) => {
            matches!(f.kind, FailKind::Denied | FailKind::Missing | FailKind::Unsupported)
        }
        Reading::NotAsked { .. } => false,
    };
    let t = trouble(m, look.health.elapsed_ms).filter(|_| alive)?;
    let healthy = if look.health.seen().is_some() { "is healthy, and its" } else { "answers, and its" };
    let summary = format!("{} {healthy} MCP endpoint {path} serves no client: {}", s.name, t.says);
    let connected = facts::health(now, &s.name).is_some_and(|h| h.says_connected())
        && !facts::saturated(now, &s.name, &now.config);
    let mut f = Finding::new(&MCP_BROKEN, &s.name, t.certainty, summary)
        .own(t.own)
        .connected(connected)
        .saw(t.step, path, t.says);
    if let Some(h) = m.initialize.seen() {
        f = f.saw("mcp initialize", "protocol", &h.protocol).saw_if(
            "mcp initialize",
            "server",
            h.server.clone(),
        );
    }
    f = f.saw("http health", "answer", health(&look.health));
    let unit = s.unit.as_deref().filter(|_| !port::bare(s, now));
    if let Some(unit) = unit.filter(|_| !t.own) {
        f = f.saw_if("journal", "last words", facts::journal(now, unit).and_then(facts::last_words));
    }
    Some(match unit {
        Some(unit) if t.restart => f.restarts(format!("systemctl restart {}", shell_word(unit)), t.advice),
        _ if t.restart => f.remedy(runbook(&MCP_BROKEN), t.advice, Risk::Disruptive),
        _ => f.remedy(runbook(&MCP_BROKEN), t.advice, Risk::Safe),
    })
}

fn health<T>(look: &Look<T>) -> String {
    match &look.reading {
        Reading::Seen { .. } => format!("healthy, in {:.0} ms", look.elapsed_ms),
        _ => why(look),
    }
}

fn trouble(m: &McpLook, health_ms: f64) -> Option<Trouble<'_>> {
    let step = match (m.initialize.seen(), m.tools.seen()) {
        (Some(_), Some(0)) => {
            return Some(Trouble {
                // Some offer tools to those who log in only, or declare them and have resources alone.
                certainty: Certainty::Likely,
                step: "mcp tools/list",
                says: "it lists no tools",
                advice: "See in its log what registers its tools, before a restart",
                restart: false,
                own: false,
            });
        }
        (None, _) => "mcp initialize",
        (Some(h), _) if h.has_tools => "mcp tools/list",
        (Some(_), _) => "mcp ping",
    };
    let f = m.failure()?;
    let waited = if m.initialize.seen().is_some() { m.tools.elapsed_ms } else { m.initialize.elapsed_ms };
    // Busy is who is late with both.
    let silent = waited >= SILENCE_MS && health_ms * 4.0 < waited;
    let t = |certainty, own, restart, advice| {
        Some(Trouble { certainty, step, says: &f.detail, advice, restart, own })
    };
    const LOG: &str = "Take its logs as evidence first, then restart that one service";
    match f.kind {
        FailKind::Missing => t(
            Certainty::Likely,
            true,
            false,
            "See whether `mcp` names the right path; if it does, its start has not mounted it",
        ),
        // A list may well be longer than what is read of it.
        FailKind::Malformed if f.code.is_some() && m.initialize.seen().is_some() => None,
        FailKind::Malformed => t(
            Certainty::Likely,
            true,
            false,
            "See what answers there: a proxy's page, another server, another transport",
        ),
        FailKind::Unsupported => match f.code.as_deref() {
            Some("session") => t(
                Certainty::Proven,
                false,
                false,
                "Several workers behind one address must share their sessions, or keep a client at one of them",
            ),
            Some(code) if by_its_own_word(step, code, f) => {
                // Its own numbers may mean a login, or a limit.
                let own = code.starts_with("error ") && !KNOWN.contains(&code);
                let certainty = if own { Certainty::Likely } else { Certainty::Proven };
                t(certainty, false, !own, if own { "See in its log what this number means" } else { LOG })
            }
            _ => None,
        },
        FailKind::TimedOut if silent && matches!(f.stage, Some(Stage::Answer | Stage::Body)) => {
            t(Certainty::Likely, false, true, "Take its stacks as evidence before a restart")
        }
        FailKind::Closed if matches!(f.stage, Some(Stage::Answer | Stage::Body)) => {
            t(Certainty::Likely, false, true, LOG)
        }
        _ => None,
    }
}

/// An error that means that it can't: not that we ask for what it never had, or that it is busy.
fn by_its_own_word(step: &str, code: &str, f: &Failure) -> bool {
    if let Some(number) = code.strip_prefix("error ") {
        // A later protocol knows no `initialize`, or no version of ours; a ping is a courtesy.
        let other = f.detail.to_lowercase().contains("protocol version") || number == "-32022";
        let unknown = number == "-32601" && step != "mcp tools/list";
        return !other && !unknown;
    }
    let status = code.strip_prefix("HTTP ").and_then(|s| s.parse::<u16>().ok());
    status.is_some_and(|s| s == 400 || s >= 500 && s != 503)
}

/// Whether it serves its clients again: by the handshake itself, whatever its health says.
pub fn serves(s: &Service, now: &Snapshot) -> Recovered {
    let not_yet = |why: String| Recovered::NotYet(why);
    let Some(look) = now.services.get(&s.name) else { return not_yet("it was not looked at".into()) };
    if look.health.seen().is_some_and(|h| h.is_bad()) {
        return not_yet("it says that it is unhealthy".into());
    }
    let Some(m) = look.mcp.as_deref() else { return not_yet("its MCP endpoint was not asked".into()) };
    match (m.failure(), &m.initialize.reading, m.tools.seen()) {
        (Some(f), ..) => not_yet(f.detail.clone()),
        (None, Reading::Seen { .. }, Some(0)) => not_yet("its MCP endpoint lists no tools".into()),
        (None, Reading::Seen { .. }, Some(n)) => Recovered::Yes(format!(
            "its MCP endpoint shakes hands and lists {}",
            facts::count(usize::try_from(*n).unwrap_or(usize::MAX), "tool")
        )),
        (None, Reading::Seen { .. }, None) if m.ping.seen().is_some() => {
            Recovered::Yes("its MCP endpoint shakes hands, and has no tools to list".into())
        }
        _ => not_yet("its MCP endpoint was not seen".into()),
    }
}

/// Its endpoint was asked, and what came of it says neither that it works nor that it is broken. That it
/// wants a login is no doubt: it lives.
pub fn doubt<'a>(s: &Service, now: &'a Snapshot) -> Option<&'a str> {
    s.url.as_ref().zip(s.mcp.as_ref())?;
    let look = now.services.get(&s.name)?;
    let f = look.mcp.as_deref()?.failure().filter(|f| f.kind != FailKind::Denied)?;
    trouble(look.mcp.as_deref()?, look.health.elapsed_ms).is_none().then_some(f.detail.as_str())
}

/// What speaks against it, where the service has no other cause.
pub fn stand(s: &Service, now: &Snapshot) -> Stand {
    const NEEDS: &str = "a handshake that fails, or a list without tools, of a service that is alive";
    let Some(m) = now.services.get(&s.name).and_then(|l| l.mcp.as_deref()) else {
        return ruled_out("configuration", "mcp", "no MCP endpoint is configured", NEEDS);
    };
    let fact = s.mcp.as_deref().unwrap_or("mcp");
    match (m.failure(), &m.initialize.reading, m.tools.seen()) {
        (Some(f), ..) => unseen("mcp initialize", fact, &f.detail, NEEDS),
        (None, Reading::Seen { .. }, Some(0)) => unseen("mcp tools/list", fact, "no tools", NEEDS),
        (None, Reading::Seen { .. }, Some(n)) => {
            ruled_out("mcp tools/list", fact, format!("{n} tools"), NEEDS)
        }
        (None, Reading::Seen { .. }, None) => {
            ruled_out("mcp ping", fact, "it answers, and has no tools to list", NEEDS)
        }
        (None, ..) => unseen("mcp initialize", fact, why(&m.initialize), NEEDS),
    }
}
