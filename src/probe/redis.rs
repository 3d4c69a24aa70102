//! Redis: one connection, one round trip: AUTH where there is a password, PING, INFO, two settings.
//! Never a write: whether writes are refused is for the rules to infer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, RedisError, ServerError, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::place::{self, Place, Stream};
use super::tls::{self, Roots};
use super::{blocking, by, io_failure, millis, said, tls_error};
use crate::config::{Redis, RedisPlace, Secret};
use crate::snapshot::certificate::Certificate;
use crate::snapshot::redis::{RedisLook, RedisServer, RedisSettings};
use crate::snapshot::{FailKind, Failure, Look, Reading, Stage};

/// How many kinds of errors are kept, and of commands: Redis has fewer.
const ERRORS: usize = 32;
const COMMANDS: usize = 400;

/// Asks it how it is. Always ends by the deadline.
pub async fn look(r: &Redis, password: Option<&Secret>, deadline: Instant) -> RedisLook {
    ask_all(r, password, "default", deadline).await
}

/// The same, and what each command took since its start.
pub async fn totals(r: &Redis, password: Option<&Secret>, deadline: Instant) -> RedisLook {
    ask_all(r, password, "all", deadline).await
}

async fn ask_all(
    r: &Redis,
    password: Option<&Secret>,
    sections: &'static str,
    deadline: Instant,
) -> RedisLook {
    let start = Instant::now();
    let mut certificate = None;
    let (here, answers) = match place(r, deadline).await {
        Ok(place) => {
            let asked = ask(r, password, sections, &place, &mut certificate, deadline).await;
            (Some(place.here()), asked)
        }
        Err(f) => (None, Err(f)),
    };
    let elapsed_ms = millis(start);
    let look = |reading| Look { elapsed_ms, reading };
    let none = || Reading::not_asked("no answer to PING");
    let (ping, server, settings) = match answers {
        Ok(a) => (Reading::from(a.ping), a.info.into(), a.settings.into()),
        Err(f) => (Reading::Failed(f), none(), Reading::not_asked("no answer to PING")),
    };
    RedisLook { endpoint: endpoint(r), here, ping: look(ping), certificate, server, settings }
}

/// The address as people write it.
pub fn endpoint(r: &Redis) -> String {
    match r.place() {
        Some(RedisPlace::Tcp { host, port, .. }) if host.contains(':') => format!("[{host}]:{port}"),
        Some(RedisPlace::Tcp { host, port, .. }) => format!("{host}:{port}"),
        Some(RedisPlace::Unix(path)) => path,
        None => r.url.clone(),
    }
}

async fn place(r: &Redis, deadline: Instant) -> Result<Place, Failure> {
    match r.place() {
        Some(RedisPlace::Tcp { host, port, .. }) => Place::resolve(&host, port, deadline).await,
        Some(RedisPlace::Unix(path)) => Ok(Place::Unix(path.into())),
        None => Err(Failure::new(FailKind::Unsupported, "its URL names no place")),
    }
}

struct Answers {
    ping: Result<(), Failure>,
    info: Result<RedisServer, Failure>,
    settings: Result<RedisSettings, Failure>,
}

/// A connection that is driven until it is dropped.
pub struct Session {
    pub connection: MultiplexedConnection,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A session of ours, logged in, for who acts.
pub async fn session(r: &Redis, password: Option<&Secret>, deadline: Instant) -> Result<Session, Failure> {
    let place = place(r, deadline).await?;
    let mut session = open(r, &place, &mut None, deadline).await?;
    if let Some(auth) = auth(r, password) {
        let asked = session.connection.req_packed_command(&auth);
        let said = by(deadline, Stage::Answer, "connected, and no answer to AUTH", asked).await?;
        answer(said.map_err(|e| failure(&e))?)?;
    }
    Ok(session)
}

fn auth(r: &Redis, password: Option<&Secret>) -> Option<redis::Cmd> {
    let password = password?;
    let mut auth = redis::cmd("AUTH");
    if let Some(user) = r.user() {
        auth.arg(user);
    }
    auth.arg(password.reveal());
    Some(auth)
}

async fn open(
    r: &Redis,
    place: &Place,
    certificate: &mut Option<Certificate>,
    deadline: Instant,
) -> Result<Session, Failure> {
    match (place::connect(place, deadline).await?, r.place()) {
        (Stream::Unix(s), _) => spoken(s).await,
        (Stream::Tcp(s), Some(RedisPlace::Tcp { host, tls: true, .. })) => {
            let make = || tls::config(&Roots::System);
            let make = move || make().map_err(|e| Failure::new(FailKind::Tls, e).at(Stage::Tls));
            let config = blocking(deadline, "the certificates of the authorities", make).await?;
            let broken = |e: String| Failure::new(FailKind::Tls, e).at(Stage::Tls);
            let name = ServerName::try_from(host).map_err(|e| broken(e.to_string()))?;
            let handshake = TlsConnector::from(Arc::new(config)).connect(name, s);
            let s = by(deadline, Stage::Tls, "connected, and no TLS", handshake).await?;
            let s = s.map_err(|e| match tls_error(&e) {
                Some(tls) => broken(tls.to_string()),
                None => io_failure(&e, "").at(Stage::Tls),
            })?;
            *certificate = tls::shown(s.get_ref().1.peer_certificates());
            spoken(s).await
        }
        (Stream::Tcp(s), _) => spoken(s).await,
    }
}

async fn spoken<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Session, Failure> {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (connection, driver) = made.map_err(|e| failure(&e))?;
    Ok(Session { connection, driver: tokio::spawn(driver) })
}

async fn ask(
    r: &Redis,
    password: Option<&Secret>,
    sections: &'static str,
    place: &Place,
    certificate: &mut Option<Certificate>,
    deadline: Instant,
) -> Result<Answers, Failure> {
    let mut session = open(r, place, certificate, deadline).await?;
    // AUTH is a command of ours: its refusal is an answer, and PING may be let in without it.
    let mut all = Pipeline::new();
    if let Some(auth) = auth(r, password) {
        all.add_command(auth);
    }
    let first = all.len();
    all.cmd("PING").cmd("INFO").arg(sections);
    all.cmd("CONFIG").arg("GET").arg("stop-writes-on-bgsave-error");
    all.cmd("CONFIG").arg("GET").arg("save");
    let count = all.len();
    let asked = by(
        deadline,
        Stage::Answer,
        "connected, and no answer to PING",
        session.connection.req_packed_commands(&all, 0, count),
    )
    .await;
    let mut answers = asked?.map_err(|e| failure(&e))?.into_iter().map(answer);
    let login = if first > 0 { answers.next() } else { None };
    let mut next =
        || answers.next().unwrap_or_else(|| Err(Failure::new(FailKind::Malformed, "an answer is missing")));
    let (ping, info, stop, save) = (next(), next(), next(), next());
    // Why it asks for a login although we gave one is said by the answer to that.
    let ping = match (ping, login) {
        (Err(f), Some(Err(why))) if f.kind == FailKind::Denied => Err(why),
        (ping, _) => ping,
    };
    Ok(Answers {
        ping: ping.and_then(pong),
        info: info.and_then(|v| server(&v)),
        settings: settings(stop, save),
    })
}

fn answer(v: Value) -> Result<Value, Failure> {
    match v {
        Value::ServerError(e) => Err(refused(&e)),
        v => Ok(v),
    }
}

/// Redis's first word decides; its text is kept beside it.
fn refused(e: &ServerError) -> Failure {
    let code = said(e.code(), 40);
    let kind = match e.code() {
        "LOADING" | "MASTERDOWN" => FailKind::Refused,
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => FailKind::Denied,
        _ => FailKind::Unsupported,
    };
    let text = said(&format!("{} {}", e.code(), e.details().unwrap_or_default()), 200);
    Failure { code: Some(code), ..Failure::new(kind, text.trim()).at(Stage::Answer) }
}

fn failure(e: &RedisError) -> Failure {
    use std::error::Error as _;
    if let Some(io) = e.source().and_then(|s| s.downcast_ref::<std::io::Error>()) {
        let f = io_failure(io, "");
        if f.kind != FailKind::Malformed {
            return f.at(Stage::Answer);
        }
    }
    if e.is_connection_dropped() {
        return Failure::new(FailKind::Closed, "connection closed in the middle").at(Stage::Answer);
    }
    let text = format!("what answers is no Redis: {}", said(&e.to_string(), 200));
    Failure::new(FailKind::Malformed, text).at(Stage::Answer)
}

fn pong(v: Value) -> Result<(), Failure> {
    match v {
        Value::SimpleString(s) if s == "PONG" => Ok(()),
        other => Err(Failure::new(
            FailKind::Malformed,
            format!("PING was answered by {}", said(&format!("{other:?}"), 100)),
        )
        .at(Stage::Answer)),
    }
}

fn server(v: &Value) -> Result<RedisServer, Failure> {
    let text = text(v).ok_or_else(|| Failure::new(FailKind::Malformed, "INFO is no text"))?;
    Ok(info(&text))
}

/// INFO's `key:value` lines.
fn info(text: &str) -> RedisServer {
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.trim_end().split_once(':')).collect();
    let word = |key: &str| lines.get(key).map(|w| said(w, 100));
    let number = |key: &str| lines.get(key).and_then(|n| n.parse::<u64>().ok());
    let float = |key: &str| lines.get(key).and_then(|n| n.parse::<f64>().ok()).filter(|n| n.is_finite());
    let ok = |key: &str| lines.get(key).map(|w| *w == "ok");
    let errors = lines.iter().filter_map(|(key, value)| {
        let count = value.strip_prefix("count=")?.parse().ok()?;
        Some((said(key.strip_prefix("errorstat_")?, 40), count))
    });
    RedisServer {
        version: word("redis_version").unwrap_or_default(),
        loading: number("loading").is_some_and(|n| n > 0),
        loaded_percent: float("loading_loaded_perc"),
        loading_eta_s: float("loading_eta_seconds"),
        role: word("role").unwrap_or_default(),
        master: word("master_host").map(|h| format!("{h}:{}", word("master_port").unwrap_or_default())),
        master_link: word("master_link_status"),
        read_only: number("slave_read_only").map(|n| n == 1),
        // The buffers of replicas and of the append-only file don't count against the limit.
        used_memory: number("used_memory")
            .map(|used| used.saturating_sub(number("mem_not_counted_for_evict").unwrap_or(0))),
        maxmemory: number("maxmemory"),
        policy: word("maxmemory_policy"),
        save_ok: ok("rdb_last_bgsave_status"),
        append_ok: ok("aof_last_write_status"),
        run: word("run_id"),
        time_s: float("server_time_usec").map(|us| us / 1e6),
        blocked: number("blocked_clients"),
        evicted: number("evicted_keys"),
        commands: lines.iter().filter_map(|(key, value)| command(key, value)).take(COMMANDS).collect(),
        errors: errors.take(ERRORS).collect(),
    }
}

/// `cmdstat_get:calls=21,usec=175,…`
fn command(key: &str, value: &str) -> Option<(String, (u64, u64))> {
    let name = key.strip_prefix("cmdstat_")?;
    let number =
        |key: &str| value.split(',').find_map(|f| f.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    Some((said(name, 40), (number("calls")?, number("usec")?)))
}

fn settings(stop: Result<Value, Failure>, save: Result<Value, Failure>) -> Result<RedisSettings, Failure> {
    let (stop, save) = (setting(&stop?), setting(&save?));
    Ok(RedisSettings { stop_writes: stop.map(|s| s == "yes"), saves: save.map(|s| !s.is_empty()) })
}

/// The value of a `CONFIG GET` of one name.
fn setting(v: &Value) -> Option<String> {
    match v {
        Value::Array(pair) => text(pair.get(1)?),
        Value::Map(pairs) => text(&pairs.first()?.1),
        _ => None,
    }
}

fn text(v: &Value) -> Option<String> {
    match v {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(s) => Some(s.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
