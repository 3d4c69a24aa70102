//! Sessions, slots and limits: one round trip, one JSON document, computed by the server.
//! Read-only, in a transaction of its own, so that a pooler in between keeps nothing of it.

use std::time::Instant;

use serde::Deserialize;

use super::connect::Session;
use super::document::document;
use super::session::{self, CLIENTS, COLUMNS};
use crate::snapshot::Failure;
use crate::snapshot::postgres::{
    Archiver, CONSUMERS, ChecksumFailure, Consumer, OldestXid, Prepared, ReplicationSlot, SESSIONS, Server,
};

/// `used` is exact where all sessions are shown to us, else the sum of `numbackends`.
const ASK: &str = r"
WITH @CLIENTS@,
w AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS blocked_by FROM a WHERE wait_event_type = 'Lock' LIMIT 200),
m AS (SELECT current_setting('is_superuser') = 'on' OR pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all)
SELECT json_build_object(
  'version', current_setting('server_version'),
  'in_recovery', pg_is_in_recovery(),
  'uptime_s', extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()),
  'settings_s', extract(epoch FROM clock_timestamp() - pg_conf_load_time()),
  'checkpointer_s', (SELECT extract(epoch FROM clock_timestamp() - backend_start)
      FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
  'max_connections', current_setting('max_connections')::int,
  'reserved', current_setting('superuser_reserved_connections')::int
              + coalesce(current_setting('reserved_connections', true)::int, 0),
  'sees_all', m.sees_all,
  'read_only', CASE WHEN current_setting('default_transaction_read_only') = 'on' THEN
      (SELECT source NOT IN ('user', 'database user', 'client', 'session')
         FROM pg_settings WHERE name = 'default_transaction_read_only') ELSE false END,
  'oldest_xid', (SELECT row_to_json(x) FROM (
      SELECT datname AS database, age(datfrozenxid) AS age FROM pg_database ORDER BY 2 DESC LIMIT 1) x),
  'archiver', CASE WHEN current_setting('archive_mode') <> 'off' THEN (SELECT row_to_json(x) FROM (
      SELECT failed_count, extract(epoch FROM clock_timestamp() - last_failed_time) AS failed_s,
             extract(epoch FROM clock_timestamp() - last_archived_time) AS archived_s,
             last_failed_wal AS failed_wal FROM pg_stat_archiver) x) END,
  'replication_slots', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT slot_name AS name, active, to_jsonb(s)->>'wal_status' AS wal_status,
             CASE WHEN pg_is_in_recovery() THEN NULL
             ELSE greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint END AS retained
        FROM pg_replication_slots s LIMIT 50) x),
  'checksum_failures', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT coalesce(datname, '(shared)') AS database, checksum_failures AS count,
             extract(epoch FROM clock_timestamp() - checksum_last_failure) AS last_s
        FROM pg_stat_database WHERE checksum_failures > 0 LIMIT 50) x),
  'prepared', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT gid, owner, database, extract(epoch FROM clock_timestamp() - prepared) AS age_s
        FROM pg_prepared_xacts ORDER BY prepared LIMIT 50) x),
  'used', CASE WHEN m.sees_all THEN (SELECT count(*) FROM a)
          ELSE (SELECT greatest(coalesce(sum(numbackends), 0) - 1, 0) FROM pg_stat_database WHERE datid > 0) END,
  'consumers', (SELECT coalesce(json_agg(c), '[]') FROM (
      SELECT coalesce(application_name, '') AS application, coalesce(usename, '?') AS user, client,
             coalesce(datname, '?') AS database, coalesce(state, 'not shown') AS state, count(*) AS count,
             coalesce(max(state_s), 0) AS oldest_s, min(state_s) AS newest_s
        FROM a GROUP BY 1, 2, 3, 4, 5 ORDER BY count(*) DESC, 1 LIMIT @CONSUMERS@) c),
  'sessions', (SELECT coalesce(json_agg(s), '[]') FROM (
      SELECT @COLUMNS@
        FROM a LEFT JOIN w USING (pid)
       WHERE state LIKE 'idle in transaction%' OR w.pid IS NOT NULL
             OR a.pid IN (SELECT unnest(blocked_by) FROM w) OR (state = 'active' AND state_s > 1)
       ORDER BY state_s DESC LIMIT @SESSIONS@) s))
FROM m";

pub async fn ask(session: Session, deadline: Instant) -> Result<Server, Failure> {
    let ask = ASK
        .replace("@CLIENTS@", CLIENTS)
        .replace("@COLUMNS@", COLUMNS)
        .replace("@CONSUMERS@", &CONSUMERS.to_string())
        .replace("@SESSIONS@", &SESSIONS.to_string());
    let a: Answer = document(session, &ask, deadline).await?;
    Ok(Server {
        version: a.version,
        in_recovery: a.in_recovery,
        uptime_s: a.uptime_s,
        checkpointer_s: a.checkpointer_s,
        settings_s: a.settings_s,
        max_connections: a.max_connections,
        reserved: a.reserved,
        used: a.used,
        read_only: a.read_only,
        oldest_xid: a.oldest_xid,
        archiver: a.archiver,
        replication_slots: a.replication_slots,
        checksum_failures: a.checksum_failures,
        prepared: a.prepared,
        sees_all: a.sees_all,
        consumers: a.consumers,
        sessions: a.sessions.into_iter().map(session::row).collect(),
    })
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    in_recovery: bool,
    uptime_s: f64,
    checkpointer_s: Option<f64>,
    settings_s: Option<f64>,
    max_connections: u32,
    reserved: u32,
    sees_all: bool,
    used: u32,
    read_only: bool,
    oldest_xid: Option<OldestXid>,
    archiver: Option<Archiver>,
    replication_slots: Vec<ReplicationSlot>,
    checksum_failures: Vec<ChecksumFailure>,
    prepared: Vec<Prepared>,
    consumers: Vec<Consumer>,
    sessions: Vec<session::Answer>,
}
