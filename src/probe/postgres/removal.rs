//! What a server keeps for others: its replication slots and prepared transactions, as they are before one of them
//! is taken away.

use std::time::Instant;

use super::document::document;
use super::upkeep::text;
use crate::config::{Postgres, Secret};
use crate::plan::{Removable, Wanted};
use crate::snapshot::Failure;

/// The one that was named first: of many the rest is only there to be named. Before 13 a slot has no `wal_status`.
const ASK: &str = r"
SELECT json_build_object('user', current_user::text, 'superuser', current_setting('is_superuser') = 'on',
  'replication', coalesce((SELECT rolreplication FROM pg_roles WHERE rolname = current_user), false),
  'slots', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT slot_name AS name, slot_type AS kind, database, active, active_pid AS pid,
             restart_lsn::text AS restart_lsn, to_jsonb(s)->>'wal_status' AS wal_status,
             CASE WHEN pg_is_in_recovery() THEN NULL
             ELSE greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint END AS retained
        FROM pg_replication_slots s ORDER BY slot_name::text <> @NAME@, slot_name LIMIT 100) x),
  'prepared', (SELECT coalesce(json_agg(x), '[]') FROM (
      SELECT gid, owner, database, prepared::text AS prepared,
             extract(epoch FROM clock_timestamp() - p.prepared) AS age_s
        FROM pg_prepared_xacts p ORDER BY gid <> @NAME@, p.prepared LIMIT 100) x))";

pub async fn removable(
    p: &Postgres,
    password: Option<&Secret>,
    wanted: &Wanted,
    deadline: Instant,
) -> Result<Removable, Failure> {
    let session = super::session(p, password, deadline).await?;
    document(session, &ASK.replace("@NAME@", &text(wanted.name())), deadline).await
}
