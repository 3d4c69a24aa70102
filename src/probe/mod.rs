//! Looks at the world, bounded and read-only: one folder or file a system.
//! A probe answers with readings; it never judges, and never writes to what it looks at.

pub mod backends;
pub mod changes;
pub mod descriptors;
mod diag;
pub mod docker;
pub mod evidence;
pub mod health;
pub mod host;
pub mod http;
pub mod listeners;
pub mod log;
pub mod mcp;
pub mod metrics;
pub mod network;
pub mod occupants;
pub mod ollama;
mod place;
pub mod postgres;
mod program;
mod quiet;
pub mod redis;
mod similar;
pub mod sockets;
mod stream;
pub mod systemd;
pub mod target;
mod tls;

use std::future::Future;
use std::time::Instant;

pub use program::feed;

use crate::config::mask;
use crate::snapshot::{FailKind, Failure, Look, Reading, Stage};

/// Runs one look and notes how long it took.
pub async fn timed<T>(look: impl Future<Output = Result<T, Failure>>) -> Look<T> {
    let start = Instant::now();
    let reading = Reading::from(look.await);
    Look { elapsed_ms: millis(start), reading }
}

/// Milliseconds since then, to a hundredth.
pub fn millis(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 100_000.0).round() / 100.0
}

/// Cuts a look off at its deadline; says at which stage it was.
pub async fn by<T>(
    deadline: Instant,
    stage: Stage,
    what: &str,
    look: impl Future<Output = T>,
) -> Result<T, Failure> {
    let start = Instant::now();
    tokio::time::timeout_at(deadline.into(), look).await.map_err(|_| {
        let waited = start.elapsed().as_millis();
        Failure::new(FailKind::TimedOut, format!("{what} within {waited} ms")).at(stage)
    })
}

/// Runs a call that may block for ever. Past the deadline it is abandoned, not waited for.
pub async fn blocking<T: Send + 'static>(
    deadline: Instant,
    what: &str,
    call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    // What begins after its end could still be quick enough to come home, or not: chance decides nothing.
    if Instant::now() >= deadline {
        return Err(Failure::new(FailKind::TimedOut, format!("{what}: no time was left")).at(Stage::Answer));
    }
    let task = tokio::task::spawn_blocking(call);
    match by(deadline, Stage::Answer, &format!("{what}: no answer"), task).await? {
        Ok(result) => result,
        Err(e) => Err(Failure::new(FailKind::Malformed, format!("{what}: {e}"))),
    }
}

/// Others' text as it may be kept: masked, and then cut. A secret that was cut before would not be
/// known for one.
pub fn said(text: &str, limit: usize) -> String {
    let masked = mask::text(text);
    // Of no more bytes are no more letters.
    if masked.len() <= limit {
        return masked;
    }
    match masked.char_indices().nth(limit) {
        None => masked,
        Some((end, _)) => format!("{}…", &masked[..end]),
    }
}

/// The I/O error at the bottom: libraries wrap one in another.
fn bottom(e: &std::io::Error) -> &std::io::Error {
    match e.get_ref().and_then(|i| i.downcast_ref::<std::io::Error>()) {
        Some(inner) => bottom(inner),
        None => e,
    }
}

/// What TLS says, where it put its error into an I/O error.
pub fn tls_error(e: &std::io::Error) -> Option<&rustls::Error> {
    bottom(e).get_ref().and_then(|i| i.downcast_ref())
}

/// Why no connection came to be over IP: the same, but for what only a route of this host says.
pub fn no_way(e: &std::io::Error, what: &str) -> Failure {
    let f = io_failure(e, what).at(Stage::Connect);
    // What the kernel answers for a blackhole, and for an address of a link without the link.
    let kind = match e.kind() {
        std::io::ErrorKind::InvalidInput => FailKind::Unreachable,
        // No port is left to go from: that is this side's.
        std::io::ErrorKind::AddrNotAvailable => FailKind::NotTried,
        _ => f.kind,
    };
    Failure { kind, ..f }
}

/// An I/O error as the fact it is: `what: why`, or why alone.
pub fn io_failure(e: &std::io::Error, what: &str) -> Failure {
    use std::io::ErrorKind as K;
    let e = bottom(e);
    let kind = match e.kind() {
        K::ConnectionRefused => FailKind::Refused,
        K::TimedOut => FailKind::TimedOut,
        K::PermissionDenied => FailKind::Denied,
        K::NotFound => FailKind::Missing,
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
            FailKind::Unreachable
        }
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => {
            FailKind::Closed
        }
        K::InvalidData | K::InvalidInput => FailKind::Malformed,
        // No descriptor, no memory, no buffer: our own side. It says nothing of the other.
        _ => FailKind::NotTried,
    };
    let words = match kind {
        FailKind::Refused => "connection refused".to_owned(),
        FailKind::Closed if e.kind() == K::ConnectionReset => "connection reset by the other side".to_owned(),
        FailKind::Closed => "connection closed in the middle".to_owned(),
        FailKind::TimedOut => "no connection in time".to_owned(),
        _ => e.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    };
    Failure::new(kind, if what.is_empty() { words } else { format!("{what}: {words}") })
}

#[cfg(test)]
mod testbed;
