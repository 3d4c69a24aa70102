//! What a table or an index of a database needs from time to time. None of it keeps who reads or writes
//! waiting, and none of it is FULL (errata 24).

use serde::{Deserialize, Serialize};

use super::risk::shell_word;

/// One piece of work on one table or index, in the database that is logged in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    pub server: String,
    /// Where that is, without a password.
    pub url: String,
    pub schema: String,
    pub name: String,
    pub chore: Chore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chore {
    /// Of a table: its dead rows and its statistics.
    Vacuum,
    /// Its statistics alone.
    Analyze,
    /// An index that a build left behind; only while it is not valid.
    DropIndex,
    /// An index, built anew beside itself.
    Reindex,
}

impl Chore {
    /// The first PostgreSQL that does it so that nobody waits: by CONCURRENTLY, or without TRUNCATE.
    pub fn since(self) -> u32 {
        match self {
            Chore::Analyze => 0,
            Chore::Vacuum | Chore::DropIndex | Chore::Reindex => 12,
        }
    }
}

/// An index as the catalogue has it, and who is at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    pub schema: String,
    pub name: String,
    pub table: String,
    pub valid: bool,
    /// `pg_stat_progress_create_index` shows it, or its table.
    pub building: bool,
    /// The session that holds a lock on it or its table that is stronger than who reads and writes take.
    pub held_by: Option<i32>,
    /// The constraint that stands on it.
    pub constraint: Option<String>,
    /// On its table is a valid index of the name that it was built for.
    #[serde(default)]
    pub replaced: bool,
    pub bytes: u64,
    pub definition: String,
}

impl IndexState {
    /// A rebuild's other half, by its name: that of the index it was built for. Whether that is there,
    /// `replaced` says.
    pub fn is_left_over(&self) -> bool {
        !self.valid && self.stem().is_some()
    }

    /// The name of the index that it was built for; of a long one its beginning.
    fn stem(&self) -> Option<&str> {
        let (stem, tail) = self.name.rsplit_once("_cc")?;
        let numbered =
            |word: &str| tail.strip_prefix(word).is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
        (numbered("new") || numbered("old")).then_some(stem)
    }

    /// What a rebuild of this one left there, while nobody is at it: somebody else's is not finished.
    pub fn left_by_rebuild(&self, left: &IndexState) -> bool {
        // A name of PostgreSQL's has 63 bytes, and a letter is not cut through.
        let cut = left.name.len() > 63 - 4;
        let of_it = left.stem().is_some_and(|stem| stem == self.name || (cut && self.name.starts_with(stem)));
        of_it && left.schema == self.schema && left.table == self.table && left.kept().is_none()
    }

    /// Why nothing is done to it now.
    pub fn busy(&self) -> Option<String> {
        let name = &self.name;
        if self.building {
            return Some(format!("{name} is being built now"));
        }
        self.held_by.map(|pid| format!("session {pid} holds a lock on {name} or its table"))
    }

    /// Of a left-over: why it is no garbage. It may be all that is left of what somebody meant to have.
    pub fn alone(&self) -> Option<String> {
        let stem = self.stem().unwrap_or(&self.name);
        (!self.replaced).then(|| format!("no valid index {stem} is on {}: see what it was for", self.table))
    }

    /// Why it may not be dropped, whoever asks.
    pub fn kept(&self) -> Option<String> {
        let name = &self.name;
        if self.valid {
            return Some(format!("{name} is valid"));
        }
        if let Some(constraint) = &self.constraint {
            return Some(format!("the constraint {constraint} stands on {name}"));
        }
        self.busy()
    }
}

/// A name as SQL takes it, whatever it holds.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Upkeep {
    /// `"public"."code_chunks"`
    pub fn qualified(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// None of them runs within a transaction: it is sent alone.
    pub fn statement(&self) -> String {
        let words = match self.chore {
            // To give the end of its file back it would lock the table, and on a standby end who reads there.
            Chore::Vacuum => "VACUUM (ANALYZE, TRUNCATE false)",
            Chore::Analyze => "ANALYZE",
            Chore::DropIndex => "DROP INDEX CONCURRENTLY",
            Chore::Reindex => "REINDEX INDEX CONCURRENTLY",
        };
        format!("{words} {}", self.qualified())
    }

    /// How long it waits for a lock, in milliseconds. Who reads and writes is not held up by its waiting: it
    /// waits for its like alone. An index is swapped once whoever began before has ended; what is dropped by
    /// its name might be another by then.
    pub fn lock_timeout(&self) -> u32 {
        match self.chore {
            Chore::Vacuum | Chore::Analyze | Chore::DropIndex => 2_000,
            Chore::Reindex => 20_000,
        }
    }

    /// What its session is limited by; at the pace of an autovacuum: by hand there is none.
    pub fn limits(&self) -> String {
        let pace = match self.chore {
            Chore::Vacuum | Chore::Analyze => " -c vacuum_cost_delay=2",
            Chore::DropIndex | Chore::Reindex => "",
        };
        format!("-c lock_timeout={}{pace}", self.lock_timeout())
    }

    pub fn is_of_index(&self) -> bool {
        matches!(self.chore, Chore::DropIndex | Chore::Reindex)
    }

    pub fn describe(&self) -> String {
        let (what, server) = (format!("{}.{}", self.schema, self.name), &self.server);
        match self.chore {
            Chore::Vacuum => format!("vacuum and analyze {what} of {server}"),
            Chore::Analyze => format!("analyze {what} of {server}"),
            Chore::DropIndex => format!("drop the index {what} of {server}, which is not valid"),
            Chore::Reindex => format!(
                "build the index {what} of {server} anew, beside itself, and drop what a build that fails leaves"
            ),
        }
    }

    pub fn command(&self) -> String {
        format!(
            "PGOPTIONS='{}' psql {} -c {}",
            self.limits(),
            shell_word(&self.url),
            shell_word(&self.statement())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str) -> IndexState {
        IndexState { name: name.into(), ..IndexState::default() }
    }

    #[test]
    fn errata_24_a_vacuum_is_never_full_and_waits_for_a_lock_not_for_long() {
        for chore in [Chore::Vacuum, Chore::Analyze, Chore::DropIndex, Chore::Reindex] {
            let u = Upkeep {
                server: "postgres".into(),
                url: "postgresql://a@b/c".into(),
                schema: "public".into(),
                name: "a\"; DROP".into(),
                chore,
            };
            let sql = u.statement();
            assert!(
                !sql.to_uppercase().contains("FULL") && sql.ends_with("\"public\".\"a\"\"; DROP\""),
                "{sql}"
            );
            assert!(u.command().contains(&format!("lock_timeout={}", u.lock_timeout())), "{}", u.command());
            assert!(u.lock_timeout() <= 20_000);
            let vacuum = chore == Chore::Vacuum;
            assert_eq!(sql.contains("TRUNCATE false"), vacuum, "its end would lock the table: {sql}");
            let paced = vacuum || chore == Chore::Analyze;
            assert_eq!(u.command().contains("vacuum_cost_delay=2'"), paced, "{}", u.command());
            assert_eq!(chore.since() < 12, chore == Chore::Analyze);
        }
    }

    #[test]
    fn errata_23_only_what_a_rebuild_left_is_a_left_over() {
        for (name, is) in [
            ("chunks_pkey_ccnew", true),
            ("chunks_pkey_ccnew1", true),
            ("chunks_pkey_ccold", true),
            ("chunks_ccnews", false),
            ("chunks_pkey", false),
        ] {
            assert_eq!(index(name).is_left_over(), is, "{name}");
        }
        assert!(!IndexState { valid: true, ..index("a_ccnew") }.is_left_over(), "somebody named it so");
    }

    #[test]
    fn errata_23_only_what_our_own_rebuild_left_is_taken_away() {
        let own = |name: &str| IndexState { schema: "s".into(), table: "t".into(), ..index(name) };
        let (long, cut) = ("a".repeat(63), format!("{}_ccnew", "a".repeat(57)));
        assert!(own("chunks").left_by_rebuild(&own("chunks_ccnew1")));
        assert!(own(&long).left_by_rebuild(&own(&cut)), "a name that was cut");
        for other in [
            own("other_ccnew"),
            own("chunk_ccnew"),
            own("chunks"),
            IndexState { table: "u".into(), ..own("chunks_ccnew") },
            IndexState { valid: true, ..own("chunks_ccnew") },
            IndexState { building: true, ..own("chunks_ccnew") },
            IndexState { held_by: Some(7), ..own("chunks_ccnew") },
            IndexState { constraint: Some("c".into()), ..own("chunks_ccnew") },
        ] {
            assert!(!own("chunks").left_by_rebuild(&other), "{other:?}");
        }
    }

    #[test]
    fn errata_23_what_is_valid_or_built_or_held_or_stands_under_a_constraint_is_not_dropped() {
        assert_eq!(index("a").kept(), None);
        for (state, word) in [
            (IndexState { valid: true, ..index("a") }, "is valid"),
            (IndexState { building: true, ..index("a") }, "being built"),
            (IndexState { held_by: Some(7), ..index("a") }, "session 7"),
            (IndexState { constraint: Some("a_key".into()), ..index("a") }, "a_key"),
        ] {
            assert!(state.kept().unwrap().contains(word), "{state:?}");
        }
    }
}
