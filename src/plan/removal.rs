//! What a server keeps for somebody who may never come: a replication slot that nobody reads, a prepared transaction
//! that nobody has ended. Each is taken away only by its name, and only while it is what was seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::risk::shell_word;

/// As a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `--drop-slot`
    Slot(String),
    /// `--rollback-prepared`
    Prepared(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub server: String,
    /// Where that is, and which database is logged in to, without a password.
    pub url: String,
    pub of: Kept,
}

/// Texts are PostgreSQL's own, compared as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    Slot {
        name: String,
        /// `physical`, `logical`
        kind: String,
        /// Of a logical one; a physical one has none.
        database: Option<String>,
        /// `None`: it keeps nothing, or nothing any more.
        restart_lsn: Option<String>,
    },
    Prepared {
        gid: String,
        owner: String,
        database: String,
        /// When it was.
        prepared: String,
    },
}

/// What of a server could be taken away, by a look of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Removable {
    /// Whom the server takes us for.
    pub user: String,
    pub superuser: bool,
    /// Its attribute REPLICATION, which no role inherits.
    pub replication: bool,
    pub slots: Vec<SlotState>,
    pub prepared: Vec<PreparedState>,
    /// What runs of ours were to take away from there of late, by their journals.
    #[serde(default)]
    pub taken: Vec<TakenAway>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakenAway {
    pub of: Kept,
    pub at: Timestamp,
    /// By its journal that was done; else what it came to is not known.
    pub done: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotState {
    pub name: String,
    pub kind: String,
    pub database: Option<String>,
    pub active: bool,
    /// Who reads it.
    pub pid: Option<i32>,
    pub restart_lsn: Option<String>,
    pub wal_status: Option<String>,
    /// Bytes of WAL kept for it.
    pub retained: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PreparedState {
    pub gid: String,
    pub owner: String,
    pub database: String,
    pub prepared: String,
    pub age_s: f64,
}

impl Wanted {
    pub fn name(&self) -> &str {
        match self {
            Wanted::Slot(name) | Wanted::Prepared(name) => name,
        }
    }

    /// The finding that it may be for.
    pub fn cause(&self) -> &'static str {
        match self {
            Wanted::Slot(_) => "db-down/wal-retained",
            Wanted::Prepared(_) => "pool-exhausted/prepared-transaction",
        }
    }

    /// As it is asked for.
    pub fn words(&self) -> String {
        match self {
            Wanted::Slot(name) => format!("--drop-slot {}", shell_word(name)),
            Wanted::Prepared(gid) => format!("--rollback-prepared {}", shell_word(gid)),
        }
    }
}

/// Any text as SQL takes it, however the server reads backslashes. What can't be shown is not acted on.
fn literal(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("its name holds what can't be shown as it is: it is left to people".into());
    }
    let doubled = text.replace('\'', "''");
    Ok(match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', r"\\")),
        false => format!("'{doubled}'"),
    })
}

fn or_null(text: Option<&String>) -> Result<String, String> {
    text.map_or_else(|| Ok("NULL".into()), |t| literal(t))
}

impl Kept {
    /// What helps who may not: REPLICATION is inherited by nobody, and a prepared transaction is its role's alone.
    pub fn grant(&self, user: &str) -> String {
        match self {
            Kept::Slot { .. } => format!("ALTER ROLE {user} REPLICATION, or log in as a superuser"),
            Kept::Prepared { owner, .. } => {
                format!("log in as {owner}, who has prepared it, or as a superuser: no GRANT helps")
            }
        }
    }
}

impl Removal {
    /// What is sent. Of a slot the precondition stands in it; a prepared transaction is ended in no transaction, so
    /// that `precondition` is asked right before.
    pub fn statement(&self) -> Result<String, String> {
        match &self.of {
            Kept::Slot { .. } => Ok(format!(
                "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) {}",
                self.condition(" AND NOT s.active")?
            )),
            Kept::Prepared { gid, .. } => Ok(format!("ROLLBACK PREPARED {}", literal(gid)?)),
        }
    }

    /// One row while it is there as it was seen; whether somebody reads a slot by now is not asked.
    pub fn precondition(&self) -> Result<String, String> {
        Ok(format!("SELECT 1 {}", self.condition("")?))
    }

    /// One row while there is one of that name.
    pub fn there(&self) -> Result<String, String> {
        let (view, column) = match &self.of {
            Kept::Slot { .. } => ("pg_replication_slots", "slot_name"),
            Kept::Prepared { .. } => ("pg_prepared_xacts", "gid"),
        };
        Ok(format!("SELECT 1 FROM pg_catalog.{view} WHERE {column} = {}", literal(self.name())?))
    }

    fn condition(&self, besides: &str) -> Result<String, String> {
        Ok(match &self.of {
            Kept::Slot { name, kind, database, restart_lsn } => format!(
                "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}{besides} \
                 AND s.restart_lsn::text IS NOT DISTINCT FROM {} AND s.slot_type = {} \
                 AND s.database::text IS NOT DISTINCT FROM {}",
                literal(name)?,
                or_null(restart_lsn.as_ref())?,
                literal(kind)?,
                or_null(database.as_ref())?
            ),
            Kept::Prepared { gid, owner, database, prepared } => format!(
                "FROM pg_catalog.pg_prepared_xacts x WHERE x.gid = {} AND x.owner::text = {} \
                 AND x.database::text = {} AND x.database = pg_catalog.current_database() \
                 AND x.prepared::text = {}",
                literal(gid)?,
                literal(owner)?,
                literal(database)?,
                literal(prepared)?
            ),
        })
    }

    pub fn name(&self) -> &str {
        match &self.of {
            Kept::Slot { name, .. } => name,
            Kept::Prepared { gid, .. } => gid,
        }
    }

    /// `the slot old_standby`
    pub fn what(&self) -> String {
        match &self.of {
            Kept::Slot { name, .. } => format!("the slot {name}"),
            Kept::Prepared { gid, .. } => format!("the prepared transaction '{gid}'"),
        }
    }

    /// The finding that it may have been for.
    pub fn cause(&self) -> &'static str {
        match self.of {
            Kept::Slot { .. } => Wanted::Slot(String::new()).cause(),
            Kept::Prepared { .. } => Wanted::Prepared(String::new()).cause(),
        }
    }

    pub fn describe(&self) -> String {
        let server = &self.server;
        match &self.of {
            Kept::Slot { name, kind, database, restart_lsn } => {
                let of = database.as_ref().map(|d| format!(" of the database {d}")).unwrap_or_default();
                let at = restart_lsn.as_ref().map(|at| format!(", at {at}")).unwrap_or_default();
                format!("drop the {kind} replication slot {name}{of} on {server}, which nobody reads{at}")
            }
            Kept::Prepared { gid, owner, database, prepared } => format!(
                "roll back the prepared transaction '{gid}' of {owner} in the database {database} on {server}, \
                 prepared at {prepared}"
            ),
        }
    }

    pub fn command(&self) -> String {
        match self.statement() {
            Ok(sql) => format!("psql {} -c {}", shell_word(&self.url), shell_word(&sql)),
            Err(why) => format!("(nothing: {why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(of: Kept) -> Removal {
        Removal { server: "postgres".into(), url: "postgresql://ir@127.0.0.1/app".into(), of }
    }

    fn slot(name: &str, database: Option<&str>, at: Option<&str>) -> Removal {
        let kind = if database.is_some() { "logical" } else { "physical" };
        let (database, restart_lsn) = (database.map(Into::into), at.map(Into::into));
        of(Kept::Slot { name: name.into(), kind: kind.into(), database, restart_lsn })
    }

    fn prepared(gid: &str) -> Removal {
        let (owner, database) = ("o'neil".into(), "app".into());
        of(Kept::Prepared { gid: gid.into(), owner, database, prepared: "2026-11-27 07:00:00.1+00".into() })
    }

    #[test]
    fn rule_1_a_slot_is_dropped_by_one_statement_that_holds_what_was_seen() {
        let sql = slot("old_standby", None, Some("0/1A2B")).statement().unwrap();
        assert_eq!(
            sql,
            "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) FROM pg_catalog.pg_replication_slots s \
             WHERE s.slot_name = 'old_standby' AND NOT s.active \
             AND s.restart_lsn::text IS NOT DISTINCT FROM '0/1A2B' AND s.slot_type = 'physical' \
             AND s.database::text IS NOT DISTINCT FROM NULL"
        );
        let sql = slot("cdc", Some("a'b"), None).statement().unwrap();
        for part in ["restart_lsn::text IS NOT DISTINCT FROM NULL", "'logical'", "FROM 'a''b'"] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
    }

    #[test]
    fn rule_1_a_prepared_transaction_is_looked_at_with_its_owner_database_and_time() {
        let r = prepared("transfer-4711");
        assert_eq!(r.statement().unwrap(), "ROLLBACK PREPARED 'transfer-4711'");
        let sql = r.precondition().unwrap();
        for part in [
            "x.gid = 'transfer-4711'",
            "x.owner::text = 'o''neil'",
            "x.database::text = 'app'",
            "x.database = pg_catalog.current_database()",
            "x.prepared::text = '2026-11-27 07:00:00.1+00'",
        ] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
    }

    #[test]
    fn a_gid_is_no_part_of_a_statement_whatever_it_holds() {
        for (gid, sql) in [
            ("a'; DROP TABLE x; --", "ROLLBACK PREPARED 'a''; DROP TABLE x; --'"),
            (r"a\'b", r"ROLLBACK PREPARED E'a\\''b'"),
            ("\\", r"ROLLBACK PREPARED E'\\'"),
            ("größe", "ROLLBACK PREPARED 'größe'"),
        ] {
            assert_eq!(prepared(gid).statement().unwrap(), sql);
        }
        for gid in ["", "a\nb", "a\u{1b}[2Jb", "a\u{0}"] {
            let r = prepared(gid);
            assert!(r.statement().is_err() && r.precondition().is_err() && r.there().is_err(), "{gid:?}");
            assert!(r.command().starts_with("(nothing: "), "{}", r.command());
        }
        let command = prepared("it's").command();
        assert_eq!(command, r"psql postgresql://ir@127.0.0.1/app -c 'ROLLBACK PREPARED '\''it'\'''\''s'\'''");
    }

    #[test]
    fn what_is_asked_for_is_typed_as_a_shell_takes_it() {
        assert_eq!(Wanted::Slot("old_standby".into()).words(), "--drop-slot old_standby");
        assert_eq!(Wanted::Prepared("a b".into()).words(), "--rollback-prepared 'a b'");
    }

    #[test]
    fn it_is_read_back_from_a_journal_as_it_was_written() {
        for r in [slot("cdc", Some("app"), Some("0/1")), slot("p", None, None), prepared("g")] {
            let act = super::super::Act::Remove(r);
            let text = serde_json::to_string(&act).unwrap();
            assert!(text.contains("\"act\":\"remove\""), "{text}");
            assert_eq!(serde_json::from_str::<super::super::Act>(&text).unwrap(), act);
        }
    }
}
