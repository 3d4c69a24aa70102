//! All client sessions and prepared transactions of a server, by one statement after a login.

use std::time::Instant;

use serde::Deserialize;

use super::document::document;
use super::session::{self, CLIENTS, COLUMNS};
use crate::config::{Postgres, Secret};
use crate::snapshot::Failure;
use crate::snapshot::postgres::Prepared;
use crate::snapshot::who::{SESSIONS, Who};

/// Blockers first, then the oldest state. Walsenders, workers and ourselves are no clients.
const ASK: &str = r"
WITH @CLIENTS@,
w AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS blocked_by FROM a WHERE wait_event_type = 'Lock' LIMIT 500)
SELECT json_build_object(
  'count', (SELECT count(*) FROM a),
  'sees_all', current_setting('is_superuser') = 'on' OR pg_has_role('pg_read_all_stats', 'USAGE'),
  'prepared', (SELECT coalesce(json_agg(p), '[]') FROM (
      SELECT gid, owner, database, extract(epoch FROM clock_timestamp() - prepared) AS age_s
        FROM pg_prepared_xacts ORDER BY prepared LIMIT 100) p),
  'sessions', (SELECT coalesce(json_agg(s), '[]') FROM (
      SELECT @COLUMNS@
        FROM a LEFT JOIN w USING (pid)
       ORDER BY a.pid IN (SELECT unnest(blocked_by) FROM w) DESC, w.pid IS NOT NULL DESC, state_s DESC
       LIMIT @SESSIONS@) s))";

#[derive(Deserialize)]
struct Answer {
    count: u32,
    sees_all: bool,
    prepared: Vec<Prepared>,
    sessions: Vec<session::Answer>,
}

/// Logs in and asks. Always ends by the deadline.
pub async fn who(p: &Postgres, password: Option<&Secret>, deadline: Instant) -> Result<Who, Failure> {
    let place = super::place(&p.url.host, p.url.port, deadline).await?;
    let session = super::log_in(p, password, &place, deadline).await?;
    let ask = ASK
        .replace("@CLIENTS@", CLIENTS)
        .replace("@COLUMNS@", COLUMNS)
        .replace("@SESSIONS@", &SESSIONS.to_string());
    let a: Answer = document(session, &ask, deadline).await?;
    Ok(Who {
        count: a.count,
        sees_all: a.sees_all,
        prepared: a.prepared,
        sessions: a.sessions.into_iter().map(session::row).collect(),
    })
}
