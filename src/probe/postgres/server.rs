//! Sessions, slots and limits: one round trip, one JSON document, computed by the server.
//! Read-only, in a transaction of its own, so that a pooler in between keeps nothing of it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio_postgres::SimpleQueryMessage;

use super::connect::Session;
use super::failure::failure;
use super::literals;
use crate::probe::by;
use crate::snapshot::postgres::{CONSUMERS, Consumer, SESSIONS, Server, Session as Row};
use crate::snapshot::{FailKind, Failure, Stage};

/// Ages come from the server's own clock. `a` is read once: `pg_stat_activity` is a fixed picture
/// within a transaction. Without `pg_monitor` other roles' `backend_type` is null (errata 66).
/// A query comes as bytes: it is in the encoding of the database it runs in, which may be another,
/// and then every function that counts its letters fails on it.
const ASK: &str = r"
WITH a AS MATERIALIZED (
  SELECT pid, datname, usename, application_name, coalesce(host(client_addr), 'local') AS client, state,
         backend_start::text AS backend_start,
         extract(epoch FROM clock_timestamp() - state_change) AS state_s,
         extract(epoch FROM clock_timestamp() - xact_start) AS transaction_s,
         wait_event_type, wait_event,
         encode(substr(CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN convert_to(query, 'SQL_ASCII')
                       ELSE textsend(query) END, 1, 1000), 'hex') AS query
    FROM pg_stat_activity
   WHERE pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
         AND datid IS NOT NULL),
w AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS blocked_by FROM a WHERE wait_event_type = 'Lock' LIMIT 200),
m AS (SELECT current_setting('is_superuser') = 'on' OR pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all)
SELECT json_build_object(
  'version', current_setting('server_version'),
  'in_recovery', pg_is_in_recovery(),
  'uptime_s', extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()),
  'max_connections', current_setting('max_connections')::int,
  'reserved', current_setting('superuser_reserved_connections')::int
              + coalesce(current_setting('reserved_connections', true)::int, 0),
  'sees_all', m.sees_all,
  'used', CASE WHEN m.sees_all THEN (SELECT count(*) FROM a)
          ELSE (SELECT greatest(coalesce(sum(numbackends), 0) - 1, 0) FROM pg_stat_database WHERE datid > 0) END,
  'consumers', (SELECT coalesce(json_agg(c), '[]') FROM (
      SELECT coalesce(application_name, '') AS application, coalesce(usename, '?') AS user, client,
             coalesce(datname, '?') AS database, coalesce(state, 'not shown') AS state, count(*) AS count,
             coalesce(max(state_s), 0) AS oldest_s
        FROM a GROUP BY 1, 2, 3, 4, 5 ORDER BY count(*) DESC, 1 LIMIT @CONSUMERS@) c),
  'sessions', (SELECT coalesce(json_agg(s), '[]') FROM (
      SELECT a.pid, coalesce(application_name, '') AS application, coalesce(usename, '?') AS user, client,
             coalesce(datname, '?') AS database, coalesce(state, 'not shown') AS state,
             coalesce(backend_start, '') AS backend_start, coalesce(state_s, 0) AS state_s, transaction_s,
             CASE WHEN wait_event IS NOT NULL THEN wait_event_type || '/' || wait_event END AS wait,
             coalesce(w.blocked_by, '{}') AS blocked_by, coalesce(query, '') AS query
        FROM a LEFT JOIN w USING (pid)
       WHERE state LIKE 'idle in transaction%' OR w.pid IS NOT NULL
             OR a.pid IN (SELECT unnest(blocked_by) FROM w)
       ORDER BY state_s DESC LIMIT @SESSIONS@) s))
FROM m";

/// What is left of the time for a cancel, once the deadline is near.
const FOR_CANCEL: Duration = Duration::from_millis(40);

/// Asks, and cancels on the server what the deadline cuts here.
pub async fn ask(session: Session, deadline: Instant) -> Result<Server, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    // Cut a little earlier, so that the cancel is out before whoever asked goes on, or ends.
    let cut = deadline.checked_sub(FOR_CANCEL.min(left / 4)).unwrap_or(deadline);
    let ask = ASK.replace("@CONSUMERS@", &CONSUMERS.to_string()).replace("@SESSIONS@", &SESSIONS.to_string());
    // Nobody's `search_path` may put functions of its own in the place of the system's.
    let sql = format!(
        "BEGIN READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = {}; \
         SET LOCAL lock_timeout = 200; {ask}; COMMIT",
        left.as_millis().max(1)
    );
    let query = session.client.simple_query(&sql);
    let answer = match by(cut, Stage::Query, "no answer to a query", query).await {
        Ok(answer) => answer,
        Err(late) => {
            // In a task: it goes on where it is not done in time, as long as there is a program.
            let cancel = tokio::spawn(session.cancel.send(deadline + Duration::from_millis(500)));
            let _ = tokio::time::timeout_at(deadline.into(), cancel).await;
            return Err(late);
        }
    };
    let messages = answer.map_err(|e| failure(&e).at(Stage::Query))?;
    let text = messages
        .iter()
        .find_map(|m| match m {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
            _ => None,
        })
        .ok_or_else(|| {
            Failure::new(FailKind::Malformed, "an answer without text that can be read").at(Stage::Query)
        })?;
    read(text)
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    in_recovery: bool,
    uptime_s: f64,
    max_connections: u32,
    reserved: u32,
    sees_all: bool,
    used: u32,
    consumers: Vec<Consumer>,
    sessions: Vec<AnswerSession>,
}

#[derive(Deserialize)]
struct AnswerSession {
    pid: i32,
    application: String,
    user: String,
    client: String,
    database: String,
    backend_start: String,
    state: String,
    state_s: f64,
    transaction_s: Option<f64>,
    wait: Option<String>,
    blocked_by: Vec<i32>,
    query: String,
}

fn read(text: &str) -> Result<Server, Failure> {
    let a: Answer = serde_json::from_str(text).map_err(|e| {
        Failure::new(FailKind::Malformed, format!("an answer that can't be read: {e}")).at(Stage::Query)
    })?;
    Ok(Server {
        version: a.version,
        in_recovery: a.in_recovery,
        uptime_s: a.uptime_s,
        max_connections: a.max_connections,
        reserved: a.reserved,
        used: a.used,
        sees_all: a.sees_all,
        consumers: a.consumers,
        sessions: a.sessions.into_iter().map(row).collect(),
    })
}

fn row(s: AnswerSession) -> Row {
    // One session may block another through several locks: a pid counts once.
    let mut blocked_by = s.blocked_by;
    blocked_by.sort_unstable();
    blocked_by.dedup();
    Row {
        pid: s.pid,
        application: s.application,
        user: s.user,
        client: s.client,
        database: s.database,
        backend_start: s.backend_start,
        state: s.state,
        state_s: s.state_s,
        transaction_s: s.transaction_s,
        wait: s.wait,
        blocked_by,
        query: literals::mask(&from_hex(&s.query), 200),
    }
}

/// Text of any encoding: what is no UTF-8 is replaced.
fn from_hex(hex: &str) -> String {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Vec<u8> =
        hex.as_bytes().chunks(2).filter_map(|c| Some(digit(c[0])? << 4 | digit(*c.get(1)?)?)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
