//! PostgreSQL, by a real login: connect, log in, then sessions, slots and limits in one statement.
//! Never writes; its session is read-only, named, and limited by the server too.

mod connect;
mod connections;
mod document;
mod door;
mod entry;
mod failure;
mod literals;
mod pooler;
mod removal;
mod server;
mod session;
mod tls;
mod upkeep;
mod who;
mod work;

use std::future::Future;
use std::time::{Duration, Instant};

use crate::config::{MASK, PgHost, Postgres, Secret, SslMode};
use crate::probe::millis;
use crate::probe::place::{self, Place};
use crate::snapshot::postgres::{Login, PostgresLook};
use crate::snapshot::{FailKind, Failure, Look, Reading, Stage};

pub use connect::{Cancel, Session};
pub use connections::{connections, not_taken};
pub use door::{door, host};
pub use entry::{entry, is_entry};
pub use pooler::{console, pools};
pub use removal::removable;
pub use upkeep::{Piece, indexes, piece, progress};
pub use who::who;
pub use work::{Ready, ready, work};

/// A line of the server's log, or of its journal, without what people stored: the statement in it
/// loses its literals.
pub fn statement(line: &str) -> String {
    const BEFORE: [&str; 2] = ["Failed process was running: ", "STATEMENT:  "];
    match BEFORE.iter().find_map(|w| Some(line.split_at(line.find(w)? + w.len()))) {
        Some((said, sql)) => format!("{said}{}", literals::mask(sql, 200)),
        None => line.to_owned(),
    }
}

/// Logs in and looks around. Always ends by the deadline.
pub async fn look(p: &Postgres, password: Option<&Secret>, deadline: Instant) -> PostgresLook {
    look_unless(std::future::pending(), p, password, deadline).await
}

/// The same. `hopeless` comes back, with the reason, once this host shows that no server of it can
/// answer a login: then it is waited for no longer.
pub async fn look_unless(
    hopeless: impl Future<Output = String>,
    p: &Postgres,
    password: Option<&Secret>,
    deadline: Instant,
) -> PostgresLook {
    let start = Instant::now();
    let endpoint = endpoint(p);
    let (here, session) = match place(&p.url.host, p.url.port, deadline).await {
        Ok(place) => {
            let (here, tried) = (place.here(), Instant::now());
            let session = tokio::select! {
                biased;
                session = log_in(p, password, &place, deadline) => session,
                why = hopeless, if here => Err(silent(tried, &why)),
            };
            (Some(here), session)
        }
        Err(f) => (None, Err(f)),
    };
    let elapsed_ms = millis(start);
    let mut certificate = None;
    let (login, server) = match session {
        Ok(session) => {
            let tls = session.tls;
            certificate = session.certificate;
            let server = crate::probe::timed(server::ask(session, deadline)).await;
            (Reading::Seen { value: Login { tls } }, server)
        }
        Err(f) => (Reading::Failed(f), Look::not_asked("no login")),
    };
    PostgresLook {
        endpoint,
        here,
        login: Look { elapsed_ms, reading: login },
        certificate,
        server,
        work: None,
        pid_file: Reading::not_asked("only where a login fails on this host"),
        postmasters: Reading::not_asked("only where a login fails on this host"),
        slots: Reading::default(),
    }
}

fn silent(since: Instant, why: &str) -> Failure {
    let text = format!("no answer to a login within {} ms, and {why}", since.elapsed().as_millis());
    Failure::new(FailKind::TimedOut, text).at(Stage::Answer)
}

/// A session of ours, for who acts.
pub async fn session(
    p: &Postgres,
    password: Option<&Secret>,
    deadline: Instant,
) -> Result<connect::Session, Failure> {
    let place = place(&p.url.host, p.url.port, deadline).await?;
    log_in(p, password, &place, deadline).await
}

/// A statement of ours, limited by the server too and in a transaction of its own: a pooler in between
/// keeps nothing of it.
pub fn limited(sql: &str) -> String {
    format!(
        "BEGIN; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 5000; \
         SET LOCAL lock_timeout = 200; {sql}; COMMIT"
    )
}

/// The address as people write it.
pub fn endpoint(p: &Postgres) -> String {
    match &p.url.host {
        PgHost::Tcp(host) if host.contains(':') => format!("[{host}]:{}", p.url.port),
        PgHost::Tcp(host) => format!("{host}:{}", p.url.port),
        PgHost::Unix(dir) => socket(dir, p.url.port),
    }
}

fn socket(dir: &std::path::Path, port: u16) -> String {
    dir.join(format!(".s.PGSQL.{port}")).display().to_string()
}

async fn place(host: &PgHost, port: u16, deadline: Instant) -> Result<Place, Failure> {
    match host {
        PgHost::Unix(dir) => Ok(Place::Unix(socket(dir, port).into())),
        PgHost::Tcp(host) => Place::resolve(host, port, deadline).await,
    }
}

/// Logs in as libpq would: with `prefer` and `allow` once more the other way, where the first way
/// was not accepted.
async fn log_in(
    p: &Postgres,
    password: Option<&Secret>,
    place: &Place,
    deadline: Instant,
) -> Result<connect::Session, Failure> {
    let (first, second) = match p.url.sslmode {
        SslMode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
        SslMode::Allow => (SslMode::Disable, Some(SslMode::Prefer)),
        only => (only, None),
    };
    match (attempt(p, first, password, place, deadline).await, second) {
        (Err(f), Some(second)) if other_way(&f) => {
            attempt(p, second, password, place, deadline).await.map_err(|_| f)
        }
        (outcome, _) => outcome,
    }
}

/// Refused for the way it was made: by `pg_hba.conf`, or in the handshake.
fn other_way(f: &Failure) -> bool {
    f.kind == FailKind::Tls || f.postgres.as_ref().is_some_and(|e| e.sqlstate == "28000")
}

async fn attempt(
    p: &Postgres,
    sslmode: SslMode,
    password: Option<&Secret>,
    place: &Place,
    deadline: Instant,
) -> Result<connect::Session, Failure> {
    let mut p = p.clone();
    p.url.sslmode = sslmode;
    // `connect_timeout` counts where it is the shorter one.
    let limit = p.url.connect_timeout.map(|s| Instant::now() + Duration::from_secs(s.into()));
    let deadline = limit.map_or(deadline, |l| l.min(deadline));
    let stream = place::connect(place, deadline).await?;
    connect::start(&p, password, place, stream, deadline).await.map_err(|f| without(password, f))
}

/// Takes our own password out of what a server says: it knows it now, and may give it back.
fn without(password: Option<&Secret>, mut f: Failure) -> Failure {
    // A shorter one would be found in any text, and be told by its gaps.
    let Some(secret) = password.map(Secret::reveal).filter(|s| s.len() >= 4) else { return f };
    let clean = |text: &mut String| {
        if text.contains(secret) {
            *text = text.replace(secret, MASK);
        }
    };
    clean(&mut f.detail);
    if let Some(p) = &mut f.postgres {
        clean(&mut p.message);
        p.detail.as_mut().map(clean);
    }
    f
}

#[cfg(test)]
mod tests;
