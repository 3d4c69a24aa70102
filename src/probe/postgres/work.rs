//! What a server's time goes into, by one statement: two of these, a known time apart, are rates. Asked
//! only where something is slow. Read-only, as all that we ask.

use std::time::Instant;

use jiff::Timestamp;
use serde::Deserialize;
use tokio_postgres::SimpleQueryMessage;

use super::connect::Session;
use super::document::document;
use super::literals;
use super::session::{self, CLIENTS, COLUMNS, from_hex};
use crate::config::{Postgres, Secret};
use crate::probe::by;
use crate::snapshot::work::{Holder, Index, Standby, Statement, Statements, Table, Waits, Work};
use crate::snapshot::{FailKind, Failure, Reading, Stage};

/// How many statements and tables are kept: those that took the most, and are the largest.
const STATEMENTS: usize = 500;
const TABLES: usize = 200;

/// Where the extension is, and which columns it has. It can only be read where its library is loaded:
/// then its settings are known. Names are whole: what others put into `public` is not run.
const EXTENSION: &str = "SELECT pg_catalog.quote_ident(n.nspname::text), e.extversion,
    pg_catalog.current_setting('pg_stat_statements.max', true) IS NOT NULL,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = 'pg_stat_statements'";

/// The name of one of its parts marks this statement itself: it is left out of what is counted.
const ASK: &str = r"
WITH @CLIENTS@,
w AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS blocked_by FROM a WHERE wait_event_type = 'Lock' LIMIT 200),
mcp_ir_work AS MATERIALIZED (
  SELECT queryid, dbid, sum(calls) AS calls, sum(total_ms) AS total_ms, min(query) AS query
    FROM (@ROWS@) s WHERE query NOT LIKE '%mcp\_ir\_work%' GROUP BY 1, 2)
SELECT json_build_object(
  'at', extract(epoch FROM clock_timestamp()),
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'statements', CASE WHEN @THERE@ THEN json_build_object(
      'reset', @RESET@, 'count', (SELECT count(*) FROM mcp_ir_work),
      'all', (SELECT coalesce(json_agg(s), '[]') FROM (
        SELECT queryid::text AS id, coalesce(datname, '?') AS database, calls, total_ms,
               encode(substr(CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN convert_to(query, 'SQL_ASCII')
                             ELSE textsend(query) END, 1, 1000), 'hex') AS query
          FROM mcp_ir_work LEFT JOIN pg_database ON pg_database.oid = dbid ORDER BY total_ms DESC LIMIT @STATEMENTS@) s)) END,
  'waits', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT coalesce(wait_event_type || '/' || wait_event, 'CPU') AS event, count(*) AS count,
             greatest(coalesce(max(state_s), 0), 0) AS longest_s
        FROM a WHERE state = 'active' AND coalesce(application_name, '') <> 'mcp-ir'
       GROUP BY 1 ORDER BY 2 DESC LIMIT 50) x),
  'running', (SELECT coalesce(json_agg(s), '[]') FROM (
      SELECT @COLUMNS@ FROM a LEFT JOIN w USING (pid)
       WHERE state = 'active' AND state_s > 0.1 ORDER BY state_s DESC LIMIT 50) s),
  'tables', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT schemaname AS schema, relname AS name, n_live_tup AS live, n_dead_tup AS dead,
             n_mod_since_analyze AS changed, coalesce(seq_scan, 0) AS scans,
             coalesce(seq_tup_read, 0) AS scanned, coalesce(idx_scan, 0) AS by_index
        FROM pg_stat_user_tables ORDER BY n_live_tup + n_dead_tup DESC LIMIT @TABLES@) x),
  'invalid_indexes', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT n.nspname AS schema, c.relname AS name, t.relname AS table
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname NOT LIKE 'pg\_%'
         AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p
                          WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid) LIMIT 50) x),
  'holders', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT * FROM (
        SELECT CASE WHEN backend_type = 'walsender' THEN 'standby' ELSE 'session' END AS kind,
               'pid ' || pid || ' (' || coalesce(application_name, '') || ')' AS name, age(backend_xmin) AS age,
               extract(epoch FROM clock_timestamp() - xact_start) AS age_s
          FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
                AND coalesce(backend_type, '') <> 'autovacuum worker' AND coalesce(query, '') NOT ILIKE 'vacuum%'
        UNION ALL
        SELECT 'prepared transaction', gid, age(transaction), extract(epoch FROM clock_timestamp() - prepared)
          FROM pg_prepared_xacts
        UNION ALL
        SELECT 'replication slot', slot_name, greatest(age(xmin), age(catalog_xmin)), NULL
          FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL) h
       ORDER BY age DESC LIMIT 10) x),
  'standbys', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT coalesce(application_name, '') AS name, coalesce(state, '') AS state,
             coalesce(sync_state, '') AS sync_state, extract(epoch FROM replay_lag) AS replay_s,
             CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END AS behind
        FROM pg_stat_replication WHERE coalesce(application_name, '') <> 'pg_basebackup' LIMIT 50) x),
  'synchronous', current_setting('synchronous_standby_names'),
  'replay_s', CASE WHEN pg_is_in_recovery() AND pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()
      THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END)";

#[derive(Deserialize)]
struct Answer {
    at: f64,
    started: f64,
    statements: Option<StatementsAnswer>,
    waits: Vec<Waits>,
    running: Vec<session::Answer>,
    tables: Vec<Table>,
    invalid_indexes: Vec<Index>,
    holders: Vec<Holder>,
    standbys: Vec<Standby>,
    synchronous: String,
    replay_s: Option<f64>,
}

#[derive(Deserialize)]
struct StatementsAnswer {
    reset: Option<f64>,
    count: f64,
    all: Vec<Statement>,
}

/// A session that is logged in, and what it is to be asked: nothing but the answer is waited for then.
pub struct Ready {
    session: Session,
    ask: String,
    none: Option<Failure>,
}

/// Logs in and asks. Always ends by the deadline.
pub async fn work(p: &Postgres, password: Option<&Secret>, deadline: Instant) -> Result<Work, Failure> {
    ready(p, password, deadline).await?.ask(deadline).await
}

pub async fn ready(p: &Postgres, password: Option<&Secret>, deadline: Instant) -> Result<Ready, Failure> {
    let place = super::place(&p.url.host, p.url.port, deadline).await?;
    let session = super::log_in(p, password, &place, deadline).await?;
    let source = source(&session, deadline).await?;
    let ask = ASK
        .replace("@CLIENTS@", CLIENTS)
        .replace("@COLUMNS@", COLUMNS)
        .replace("@ROWS@", &source.rows)
        .replace("@RESET@", &source.reset)
        .replace("@THERE@", if source.none.is_none() { "true" } else { "false" })
        .replace("@STATEMENTS@", &STATEMENTS.to_string())
        .replace("@TABLES@", &TABLES.to_string());
    Ok(Ready { session, ask, none: source.none })
}

impl Ready {
    pub async fn ask(self, deadline: Instant) -> Result<Work, Failure> {
        let none = self.none;
        document(self.session, &self.ask, deadline).await.and_then(|a| told(a, none))
    }
}

fn told(a: Answer, none: Option<Failure>) -> Result<Work, Failure> {
    let odd = |e: jiff::Error| Failure::new(FailKind::Malformed, format!("its time: {e}")).at(Stage::Query);
    let at = jiff::SignedDuration::try_from_secs_f64(a.at).and_then(Timestamp::from_duration).map_err(odd)?;
    let statements = a.statements.map(|s| Statements {
        reset: s.reset,
        complete: s.count <= s.all.len() as f64,
        all: s.all.into_iter().map(readable).collect(),
    });
    let missing = || none.unwrap_or_else(|| Failure::new(FailKind::Malformed, "no statements"));
    Ok(Work {
        at,
        started: a.started,
        statements: Reading::from(statements.ok_or_else(missing)),
        waits: a.waits,
        running: a.running.into_iter().map(session::row).collect(),
        tables: a.tables,
        invalid_indexes: a.invalid_indexes,
        holders: a.holders,
        standbys: a.standbys,
        synchronous: a.synchronous,
        replay_s: a.replay_s,
    })
}

/// The query comes in hex, as it may be in any encoding.
fn readable(s: Statement) -> Statement {
    Statement { query: literals::mask(&from_hex(&s.query), 200), ..s }
}

/// Where the statements come from: a table of them, and when they began.
struct Source {
    rows: String,
    reset: String,
    /// Why there are none.
    none: Option<Failure>,
}

async fn source(session: &Session, deadline: Instant) -> Result<Source, Failure> {
    let asked = by(deadline, Stage::Query, "no answer to a query", session.client.simple_query(EXTENSION));
    let answer = asked.await?.map_err(|e| super::failure::failure(&e).at(Stage::Query))?;
    let found = answer.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => {
            Some((row.get(0)?, row.get(1)?, row.get(2)? == "t", row.get(3)? == "t"))
        }
        _ => None,
    });
    let missing = || Failure::new(FailKind::Missing, "no pg_stat_statements in this database");
    let denied = |schema| {
        Failure::new(FailKind::Denied, format!("pg_stat_statements: permission denied for schema {schema}"))
    };
    let none = match found {
        Some((_, _, true, true)) => None,
        Some((schema, _, true, false)) => Some(denied(schema)),
        _ => Some(missing()),
    };
    let Some((schema, version, ..)) = found.filter(|_| none.is_none()) else {
        let rows = "SELECT 0 AS queryid, 0::oid AS dbid, 0 AS calls, 0 AS total_ms, '' AS query LIMIT 0";
        return Ok(Source { rows: rows.into(), reset: "NULL".into(), none });
    };
    let version: Vec<u32> = version.split('.').filter_map(|n| n.parse().ok()).collect();
    let total = if version >= vec![1, 8] { "total_exec_time" } else { "total_time" };
    let reset = if version >= vec![1, 9] {
        format!("(SELECT extract(epoch FROM stats_reset) FROM {schema}.pg_stat_statements_info)")
    } else {
        "NULL".to_owned()
    };
    let rows = format!(
        "SELECT queryid, dbid, calls, {total} AS total_ms, query FROM {schema}.pg_stat_statements WHERE queryid IS NOT NULL"
    );
    Ok(Source { rows, reset, none: None })
}
