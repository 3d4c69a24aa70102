//! How many connections a server takes, by what, and who would feel its restart.

use std::time::Instant;

use serde::Deserialize;

use super::document::document;
use crate::config::{Postgres, Secret};
use crate::plan::ConnectionsState;
use crate::snapshot::Failure;

/// `has_parameter_privilege` is there from 15 on; before that a superuser sets it.
const ASK: &str = r"
SELECT json_build_object('running', s.setting::bigint, 'source', s.source,
  'huge_pages', current_setting('huge_pages'),
  'copies', (SELECT count(*) FROM pg_stat_replication)
            + (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active),
  'pending', (SELECT string_agg(name, ', ') FROM pg_settings
               WHERE pending_restart AND name <> 'max_connections'),
  'data_directory', coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), ''),
  'sessions', (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()),
  'may_alter', current_setting('is_superuser') = 'on' OR @MAY@)
FROM pg_settings s WHERE s.name = 'max_connections'";
const FILES: &str = r"
SELECT json_build_object('bad', string_agg(DISTINCT coalesce(name, sourcefile), ', '))
FROM pg_file_settings WHERE error IS NOT NULL AND name IS DISTINCT FROM 'max_connections'";
const MAY: &str = "has_parameter_privilege('max_connections', 'ALTER SYSTEM')";
const NO_SUCH_FUNCTION: &str = "42883";
const NOT_ALLOWED: &str = "42501";

#[derive(Deserialize)]
struct Files {
    bad: Option<String>,
}

pub async fn connections(
    p: &Postgres,
    password: Option<&Secret>,
    deadline: Instant,
) -> Result<ConnectionsState, Failure> {
    let ask = async |may: &str| {
        let session = super::session(p, password, deadline).await?;
        document(session, &ASK.replace("@MAY@", may), deadline).await
    };
    match ask(MAY).await {
        Err(f) if f.postgres.as_ref().is_some_and(|e| e.sqlstate == NO_SUCH_FUNCTION) => ask("false").await,
        other => other,
    }
}

/// What was edited and can't be taken as it stands counts with the restart as well. Only a superuser is shown
/// it.
pub async fn not_taken(
    p: &Postgres,
    password: Option<&Secret>,
    deadline: Instant,
) -> Result<Option<String>, Failure> {
    let session = super::session(p, password, deadline).await?;
    match document::<Files>(session, FILES, deadline).await {
        Ok(files) => Ok(files.bad),
        Err(f) if f.postgres.as_ref().is_some_and(|e| e.sqlstate == NOT_ALLOWED) => Ok(None),
        Err(f) => Err(f),
    }
}
