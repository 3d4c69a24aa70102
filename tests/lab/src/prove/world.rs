//! What of a stack a recovery can change, seen without the tool; and what of it has changed though no line of
//! the journal speaks of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::bed::{A, Bed, UNIT};

const RUN: &[&str] = &["start-unit", "restart-unit", "stop-unit", "reset-failed"];

/// Its parts, the acts that change them, and what another one means.
const PARTS: [(&str, &[&str], &str); 13] = [
    ("settings", &["drop-in"], "a setting was written"),
    ("unit", RUN, "the unit was started or stopped"),
    ("run", RUN, "the unit was started or stopped"),
    ("paused", &["continue"], "the process was let go on"),
    ("size", &["resize-pool"], "a pool was resized"),
    ("connections", RUN, "PostgreSQL was started anew"),
    ("auto-conf", &["connections"], "a line of PostgreSQL's was written"),
    ("culprit", &["end-session"], "a session was ended"),
    ("holder", &["end-holder"], "who holds the port was ended"),
    ("cache", &["set-aside", "put-back"], "a folder was set aside"),
    ("aside", &["set-aside", "put-back"], "a folder was set aside"),
    ("keys", &["flush"], "keys were thrown away"),
    ("tables", &["upkeep"], "a table or an index was looked after"),
];

/// Each table with how often it was vacuumed and analyzed, each index with its file.
const TABLES: &str = "
    SELECT concat_ws(' ', n.nspname, c.relname, c.relfilenode, i.indisvalid, s.vacuum_count, s.analyze_count)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
     WHERE n.nspname IN ('public', 'kept') AND c.relkind IN ('r', 'i') ORDER BY 1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World(BTreeMap<&'static str, String>);

impl World {
    pub fn see(bed: &Bed) -> Result<Self> {
        let folder = bed.stack.dir().join("units").join(format!("{UNIT}.d"));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut settings: Vec<String> = files.filter_map(|f| fs::read_to_string(f.path()).ok()).collect();
        settings.sort();
        // All by one question: there are thousands of looks.
        let names = "Environment,DropInPaths,MemoryMax,ActiveState,MainPID";
        let shown = bed.booted()?.systemctl(&["show", "-p", names, UNIT])?;
        let of = |name: &str| {
            let mut all = shown.lines().filter_map(|l| l.split_once('='));
            all.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        settings.extend([of("Environment"), of("DropInPaths"), of("MemoryMax")]);
        let cluster = bed.stack.cluster();
        Ok(Self(BTreeMap::from([
            ("settings", settings.join("\n")),
            ("unit", of("ActiveState")),
            ("run", of("MainPID")),
            ("paused", bed.paused()?.to_string()),
            ("size", size(bed).map(|n| n.to_string()).unwrap_or_default()),
            ("connections", cluster.sql("SHOW max_connections")?.concat()),
            ("auto-conf", fs::read_to_string(cluster.data.join("postgresql.auto.conf"))?),
            ("culprit", bed.culprit()?.to_string()),
            ("holder", bed.booted()?.property("by-hand.scope", "ActiveState")?),
            ("cache", bed.stack.cache().metadata().map(|m| m.ino().to_string()).unwrap_or_default()),
            ("aside", asides(bed)),
            ("keys", bed.stack.redis(&["DBSIZE"]).unwrap_or_default().trim().to_owned()),
            ("tables", cluster.sql(TABLES)?.join("\n")),
        ])))
    }

    pub fn part(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn is_up(&self) -> bool {
        self.part("unit") == "active"
    }

    pub fn is_well(&self) -> bool {
        self.is_up() && self.part("paused") == "false" && self.part("culprit") == "false"
    }

    /// Whether it is as that one in this part; a failed unit is down as one that was stopped is.
    pub fn is_as(&self, other: &Self, part: &str) -> bool {
        match part {
            "unit" => self.is_up() == other.is_up(),
            _ => self.part(part) == other.part(part),
        }
    }

    /// What differs, and what is said of it elsewhere.
    pub fn beside(&self, other: &Self) -> String {
        let parts = self.0.keys().filter(|part| self.part(part) != other.part(part));
        let all: Vec<String> =
            parts.map(|p| format!("{p} {:?}, not {:?}", self.part(p), other.part(p))).collect();
        all.join("; ")
    }
}

fn size(bed: &Bed) -> Option<u64> {
    let answer = bed.stack.service(A).ok()?.health(Duration::from_secs(1)).ok()?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    body["connection_pool"]["max_size"].as_u64()
}

/// What the cache was set aside as. An empty one is what a killed run has made to exchange it for.
fn asides(bed: &Bed) -> String {
    let above = bed.stack.cache().parent().map(fs::read_dir);
    let mut all: Vec<String> = above
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("cache."))
        .filter(|e| fs::read_dir(e.path()).is_ok_and(|mut inside| inside.next().is_some()))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all.join(" ")
}

/// What is another, though no line on disk speaks of it.
pub fn lost(before: &World, now: &World, acts: &[&str]) -> Vec<String> {
    // A size is of the process that says it.
    let of_another = |part: &str| {
        let seen = |w: &World| !w.part("size").is_empty();
        part == "size" && !(before.is_as(now, "run") && seen(before) && seen(now))
    };
    let spoken_of = |by: &[&str]| acts.iter().any(|a| by.contains(a) || *a == "undo");
    let changed = |p: &&(&str, &[&str], &str)| before.part(p.0) != now.part(p.0) && !of_another(p.0);
    PARTS
        .iter()
        .filter(changed)
        .filter(|(_, by, _)| !spoken_of(by))
        .map(|(part, _, what)| {
            format!("{what} without an intent: {:?}, {:?}, {acts:?}", before.part(part), now.part(part))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(other: &[(&'static str, &str)]) -> World {
        let mut all = World(BTreeMap::from([("run", "7".into()), ("size", "10".into())]));
        all.0.extend(other.iter().map(|(part, text)| (*part, (*text).to_owned())));
        all
    }

    #[test]
    fn what_changed_without_its_line_is_a_lost_intent() {
        let before = world(&[]);
        let written = world(&[("settings", "x")]);
        assert_eq!(lost(&before, &before, &[]), [] as [String; 0]);
        assert_eq!(lost(&before, &written, &[]).len(), 1);
        assert_eq!(lost(&before, &written, &["restart-unit"]).len(), 1, "of another act");
        assert_eq!(lost(&before, &written, &["drop-in"]).len(), 0);
        assert_eq!(lost(&before, &world(&[("culprit", "x"), ("run", "8")]), &[]).len(), 2);
        assert_eq!(lost(&before, &world(&[("size", "20")]), &[]).len(), 1);
        assert_eq!(lost(&before, &world(&[("size", "20"), ("run", "8")]), &["start-unit"]).len(), 0);
    }

    #[test]
    fn each_part_that_is_seen_has_its_acts() {
        for (part, by, _) in PARTS {
            let now = world(&[(part, "another")]);
            assert_eq!(lost(&world(&[]), &now, &[]).len(), 1, "{part}");
            assert_eq!(lost(&world(&[]), &now, by).len(), 0, "{part}");
        }
    }
}
