//! A table or an index as it is before something is done to it: whose it is, whether we may, who is at it;
//! and how far what is done to it has come.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Deserialize;

use super::document::document;
use crate::config::{Postgres, Secret};
use crate::plan::{IndexState, Upkeep};
use crate::snapshot::Failure;

/// An index that is not valid may be of any size: as large as the largest of its table, or as all of that; it
/// holds no more. An autovacuum gives way to who waits for it.
const INDEXES: &str = r"
SELECT coalesce(json_agg(x), '[]') FROM (
  SELECT n.nspname AS schema, c.relname AS name, t.relname AS table, i.indisvalid AS valid,
         EXISTS (SELECT 1 FROM pg_stat_progress_create_index p
                  WHERE p.index_relid = c.oid OR p.relid = i.indrelid) AS building,
         (SELECT min(l.pid) FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
           WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.relation IN (c.oid, i.indrelid) AND l.pid <> pg_backend_pid() AND l.granted
             AND coalesce(a.backend_type, '') <> 'autovacuum worker'
             AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) AS held_by,
         (SELECT min(k.conname) FROM pg_constraint k WHERE k.conindid = c.oid) AS constraint,
         EXISTS (SELECT 1 FROM pg_index o JOIN pg_class oc ON oc.oid = o.indexrelid,
                        regexp_replace(c.relname::text, '_cc(new|old)[0-9]*$', '') stem
                  WHERE o.indrelid = i.indrelid AND o.indisvalid AND o.indexrelid <> i.indexrelid
                    AND (oc.relname::text = stem OR (octet_length(c.relname::text) > 59
                         AND left(oc.relname::text, length(stem)) = stem))) AS replaced,
         CASE WHEN i.indisvalid THEN pg_relation_size(c.oid)
              ELSE GREATEST(pg_table_size(i.indrelid), (SELECT max(pg_relation_size(o.indexrelid))
                              FROM pg_index o WHERE o.indrelid = i.indrelid)) END AS bytes,
         pg_get_indexdef(c.oid) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'i' AND n.nspname NOT LIKE 'pg\_%' AND (NOT i.indisvalid @NAMED@)
   ORDER BY NOT i.indisvalid, 1, 2 LIMIT 100) x";

/// Who may: its owner, of a vacuum also the database's, from 17 on also whoever was allowed to.
const PIECE: &str = r"
SELECT json_build_object('all', coalesce((SELECT json_agg(x) FROM (
  SELECT pg_get_userbyid(c.relowner) AS owner, c.relkind = 'p' AS parted,
         current_setting('is_superuser') = 'on' OR pg_has_role(c.relowner, 'USAGE')
         OR (c.relkind <> 'i' AND (pg_has_role(d.datdba, 'USAGE')
             OR CASE WHEN current_setting('server_version_num')::int >= 170000
                     THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)) AS allowed,
         coalesce(s.vacuum_count, 0) AS vacuums, coalesce(s.analyze_count, 0) AS analyzes,
         coalesce(s.n_dead_tup, 0) AS dead
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_database d ON d.datname = current_database()
    LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
   WHERE n.nspname = @SCHEMA@ AND c.relname = @NAME@ AND c.relkind IN (@KINDS@)) x), '[]'))";

#[derive(Debug, Clone, Deserialize)]
pub struct Piece {
    pub owner: String,
    pub allowed: bool,
    /// It holds no rows itself: its parts do.
    pub parted: bool,
    /// How often somebody has done it by hand, since these are counted.
    pub vacuums: u64,
    pub analyzes: u64,
    pub dead: u64,
}

/// The indexes of this database that are not valid, and those of this name.
pub async fn indexes(
    p: &Postgres,
    password: Option<&Secret>,
    name: Option<&str>,
    deadline: Instant,
) -> Result<Vec<IndexState>, Failure> {
    let named = name.map(|n| format!("OR c.relname = {}", text(n))).unwrap_or_default();
    let session = super::session(p, password, deadline).await?;
    document(session, &INDEXES.replace("@NAMED@", &named), deadline).await
}

/// `None`: it is not there.
pub async fn piece(
    p: &Postgres,
    password: Option<&Secret>,
    u: &Upkeep,
    deadline: Instant,
) -> Result<Option<Piece>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        all: Vec<Piece>,
    }
    let kinds = if u.is_of_index() { "'i'" } else { "'r', 'm', 'p', 't'" };
    let ask = PIECE
        .replace("@SCHEMA@", &text(&u.schema))
        .replace("@NAME@", &text(&u.name))
        .replace("@KINDS@", kinds);
    let session = super::session(p, password, deadline).await?;
    let answer: Answer = document(session, &ask, deadline).await?;
    Ok(answer.all.into_iter().next())
}

/// A name as a text of SQL's, whatever it holds and however the server reads backslashes.
pub(super) fn text(name: &str) -> String {
    let hex = name.bytes().fold(String::new(), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    });
    format!("convert_from(decode('{hex}', 'hex'), 'UTF8')")
}

/// How far the statement of this session has come, in a few words; nothing where none of these views shows it.
pub fn progress(pid: i32) -> String {
    let part = |done: &str, all: &str| {
        format!("phase || CASE WHEN {all} > 0 THEN ', ' || 100 * {done} / {all} || ' %' ELSE '' END")
    };
    let of = |view: &str, words: String| {
        format!("SELECT {words} AS w FROM pg_stat_progress_{view} WHERE pid = {pid}")
    };
    let waits = format!(
        "SELECT 'waits for session ' || min(b) FROM unnest(pg_blocking_pids({pid})) b HAVING count(*) > 0"
    );
    [
        waits,
        of("vacuum", part("heap_blks_scanned", "heap_blks_total")),
        of("create_index", part("blocks_done", "blocks_total")),
        of("analyze", part("sample_blks_scanned", "sample_blks_total")),
    ]
    .join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_part_of_a_statement() {
        assert_eq!(text("a'"), "convert_from(decode('6127', 'hex'), 'UTF8')");
    }
}
