//! A session as PostgreSQL shows it: the same columns for every statement that lists sessions.

use serde::Deserialize;

use super::literals;
use crate::snapshot::postgres::Session;

/// `a`: the client sessions but ours. Ages come from the server's own clock; `pg_stat_activity` is
/// a fixed picture within a transaction. Without `pg_monitor` other roles' `backend_type` is null
/// (errata 66). A query comes as bytes: it is in the encoding of the database it runs in, and every
/// function that counts its letters may fail on it.
pub const CLIENTS: &str = r"a AS MATERIALIZED (
  SELECT pid, datname, usename, application_name, coalesce(host(client_addr), 'local') AS client, state,
         backend_start::text AS backend_start, xact_start::text AS xact_start,
         query_start::text AS query_start, state_change::text AS state_change,
         extract(epoch FROM clock_timestamp() - state_change) AS state_s,
         extract(epoch FROM clock_timestamp() - xact_start) AS transaction_s,
         wait_event_type, wait_event,
         encode(substr(CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN convert_to(query, 'SQL_ASCII')
                       ELSE textsend(query) END, 1, 1000), 'hex') AS query
    FROM pg_stat_activity
   WHERE pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
         AND datid IS NOT NULL)";

/// The columns of one session, from `a` and from `w`, those who wait for a lock.
pub const COLUMNS: &str = r"a.pid, coalesce(application_name, '') AS application, coalesce(usename, '?') AS user, client,
             coalesce(datname, '?') AS database, coalesce(state, 'not shown') AS state,
             coalesce(backend_start, '') AS backend_start, xact_start, query_start, state_change, coalesce(state_s, 0) AS state_s, transaction_s,
             CASE WHEN wait_event IS NOT NULL THEN wait_event_type || '/' || wait_event END AS wait,
             coalesce(w.blocked_by, '{}') AS blocked_by, coalesce(query, '') AS query";

#[derive(Deserialize)]
pub struct Answer {
    pid: i32,
    application: String,
    user: String,
    client: String,
    database: String,
    backend_start: String,
    xact_start: Option<String>,
    query_start: Option<String>,
    state_change: Option<String>,
    state: String,
    state_s: f64,
    transaction_s: Option<f64>,
    wait: Option<String>,
    blocked_by: Vec<i32>,
    query: String,
}

pub fn row(s: Answer) -> Session {
    // One session may block another through several locks: a pid counts once.
    let mut blocked_by = s.blocked_by;
    blocked_by.sort_unstable();
    blocked_by.dedup();
    Session {
        pid: s.pid,
        application: s.application,
        user: s.user,
        client: s.client,
        database: s.database,
        backend_start: s.backend_start,
        xact_start: s.xact_start,
        query_start: s.query_start,
        state_change: s.state_change,
        state: s.state,
        state_s: s.state_s,
        transaction_s: s.transaction_s,
        wait: s.wait,
        blocked_by,
        query: literals::mask(&from_hex(&s.query), 200),
    }
}

/// Text of any encoding: what is no UTF-8 is replaced.
pub fn from_hex(hex: &str) -> String {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Vec<u8> =
        hex.as_bytes().chunks(2).filter_map(|c| Some(digit(c[0])? << 4 | digit(*c.get(1)?)?)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
