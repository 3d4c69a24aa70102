//! What of a stack a recovery can change, seen without the tool; and what of it has changed though no line of
//! the journal speaks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::bed::{A, Bed, UNIT};

const RUN: &[&str] = &["start-unit", "restart-unit", "restart-by-force", "restart-fast", "stop-unit"];

/// A part, the acts that change it, of whom (how his name begins), and what another one means.
type Part = (&'static str, &'static [&'static str], &'static str, &'static str);

const PARTS: [Part; 18] = [
    ("settings", &["drop-in"], UNIT, "a setting was written"),
    (
        "unit",
        &["start-unit", "restart-unit", "restart-by-force", "stop-unit", "reset-failed"],
        UNIT,
        "its state is another",
    ),
    ("run", RUN, UNIT, "the unit was started or stopped"),
    ("paused", &["continue"], UNIT, "the process was let go on"),
    ("size", &["resize-pool"], A, "a pool was resized"),
    ("connections", RUN, "postgresql@", "PostgreSQL takes another number"),
    ("postmaster", RUN, "postgresql@", "PostgreSQL was started anew"),
    ("auto-conf", &["connections"], "", "a line of PostgreSQL's was written"),
    ("culprit", &["end-session"], "", "a session was ended"),
    ("holder", &["end-holder"], A, "who holds the port was ended"),
    ("cache", &["set-aside", "put-back"], A, "a folder was set aside"),
    ("aside", &["set-aside", "put-back"], A, "a folder was set aside"),
    ("redis", RUN, "redis-server.", "Redis was started anew"),
    // What it has not saved is lost with its run.
    ("keys", &["flush", "restart-by-force"], "", "keys were thrown away"),
    ("other keys", &["restart-by-force"], "redis-server.", "keys of no cache were thrown away"),
    ("kept", &["remove"], "", "a slot or a prepared transaction was taken away"),
    // By its own line in it.
    ("tables", &["upkeep"], "", "a table or an index was looked after"),
    ("innocent", &[], "", "the other service was restarted"),
];

/// What a line of the journal says is done: the act, and to whom.
pub type Acts = Vec<(String, String)>;

/// Each table with how often it was vacuumed and analyzed, each index with its file.
const TABLES: &str = "
    SELECT concat_ws(' ', n.nspname, c.relname, c.relfilenode, i.indisvalid, s.vacuum_count, s.analyze_count)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
     WHERE n.nspname IN ('public', 'kept') AND c.relkind IN ('r', 'i') ORDER BY 1";

/// What it keeps for others.
const KEPT: &str = "SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL
                    SELECT 'prepared ' || gid FROM pg_prepared_xacts ORDER BY 1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World(BTreeMap<&'static str, String>);

impl World {
    pub fn see(bed: &Bed) -> Result<Self> {
        let folder = bed.stack.dir().join("units").join(format!("{UNIT}.d"));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut settings: Vec<String> = files.filter_map(|f| fs::read_to_string(f.path()).ok()).collect();
        settings.sort();
        // All by one question: there are thousands of looks.
        let names = "Environment,DropInPaths,MemoryMax,LimitNOFILE,ActiveState,MainPID";
        let shown = bed.booted()?.systemctl(&["show", "-p", names, UNIT])?;
        let of = |name: &str| {
            let mut all = shown.lines().filter_map(|l| l.split_once('='));
            all.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        settings.extend([of("Environment"), of("DropInPaths"), of("MemoryMax"), of("LimitNOFILE")]);
        let cluster = bed.stack.cluster();
        let seen = BTreeMap::from([
            ("settings", settings.join("\n")),
            ("unit", of("ActiveState")),
            ("run", of("MainPID")),
            ("paused", bed.paused()?.to_string()),
            ("size", size(bed).map(|n| n.to_string()).unwrap_or_default()),
            ("connections", bed.asked("SHOW max_connections")?.concat()),
            ("postmaster", bed.asked("SELECT pg_postmaster_start_time()")?.concat()),
            ("auto-conf", fs::read_to_string(cluster.data.join("postgresql.auto.conf"))?),
            ("culprit", bed.culprit()?.to_string()),
            ("holder", bed.booted()?.property("by-hand.scope", "ActiveState")?),
            ("cache", bed.stack.cache().metadata().map(|m| m.ino().to_string()).unwrap_or_default()),
            ("aside", asides(bed)),
            ("redis", bed.booted()?.property("redis-server.service", "MainPID")?),
            ("keys", keys(bed, "0")),
            ("other keys", keys(bed, "3")),
            ("kept", bed.asked(KEPT)?.join("\n")),
            ("tables", bed.asked(TABLES)?.join("\n")),
            ("innocent", bed.booted()?.property("workflow-mcp.service", "MainPID")?),
        ]);
        let known: BTreeSet<&str> = PARTS.iter().map(|(part, ..)| *part).collect();
        ensure!(seen.keys().copied().collect::<BTreeSet<_>>() == known, "a part has no acts, or is not seen");
        Ok(Self(seen))
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

    /// What differs from another one, but for these parts, and how.
    pub fn beside(&self, other: &Self, but: &[&str]) -> String {
        let differs = |p: &&&'static str| self.part(p) != other.part(p) && !but.contains(*p);
        let all = self.0.keys().filter(differs);
        let all: Vec<String> =
            all.map(|p| format!("{p} {:?}, not {:?}", self.part(p), other.part(p))).collect();
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
pub fn lost(before: &World, now: &World, acts: &Acts) -> Vec<String> {
    // A size is of the process that says it.
    let of_another = |part: &str| {
        let seen = |w: &World| !w.part("size").is_empty();
        part == "size" && !(before.part("run") == now.part("run") && seen(before) && seen(now))
    };
    // Who shut down, before or now, told nothing of what is in him.
    let seen = |w: &World| !w.part("connections").is_empty();
    let of_nobody = |part: &str| ["tables", "kept"].contains(&part) && !(seen(before) && seen(now));
    let spoken_of = |(part, by, whose, _): &Part| {
        let of =
            |whose: &str| acts.iter().any(|(act, of)| by.contains(&act.as_str()) && of.starts_with(whose));
        match *part {
            "tables" => relations(before, now).all(|r| of_upkeep(&r, acts)),
            _ => of(whose),
        }
    };
    PARTS
        .iter()
        .filter(|p| before.part(p.0) != now.part(p.0) && !of_another(p.0) && !of_nobody(p.0) && !spoken_of(p))
        .map(|(part, .., what)| {
            format!("{what} without an intent: {:?}, {:?}, {acts:?}", before.part(part), now.part(part))
        })
        .collect()
}

/// What a build leaves, and takes away, is its index's.
fn of_upkeep(relation: &str, acts: &Acts) -> bool {
    let stem = relation.split("_ccnew").next();
    acts.iter().any(|(act, of)| act == "upkeep" && (of == relation || Some(of.as_str()) == stem))
}

/// The tables and indexes that are others than before.
fn relations(before: &World, now: &World) -> impl Iterator<Item = String> {
    let lines = |w: &World| w.part("tables").lines().map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    let (before, now) = (lines(before), lines(now));
    let changed: Vec<String> = before.symmetric_difference(&now).cloned().collect();
    changed.into_iter().filter_map(|line| line.split(' ').nth(1).map(ToOwned::to_owned))
}

/// In one database of Redis; none where there is no Redis, or it gives no answer.
pub fn keys(bed: &Bed, database: &str) -> String {
    bed.stack.redis_within(Duration::from_secs(1), &["-n", database, "DBSIZE"]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(other: &[(&'static str, &str)]) -> World {
        let mut all = World(PARTS.iter().map(|(part, ..)| (*part, "7".to_owned())).collect());
        all.0.extend(other.iter().map(|(part, text)| (*part, (*text).to_owned())));
        all
    }

    fn acts(all: &[(&str, &str)]) -> Acts {
        all.iter().map(|(act, of)| ((*act).to_owned(), (*of).to_owned())).collect()
    }

    #[test]
    fn what_changed_without_its_line_is_a_lost_intent() {
        let none = Vec::new();
        let (before, written) = (world(&[]), world(&[("settings", "x")]));
        assert_eq!(lost(&before, &before, &none), [] as [String; 0]);
        assert_eq!(lost(&before, &written, &none).len(), 1);
        assert_eq!(lost(&before, &written, &acts(&[("restart-unit", UNIT)])).len(), 1, "of another act");
        assert_eq!(
            lost(&before, &written, &acts(&[("drop-in", "workflow-mcp.service")])).len(),
            1,
            "another's"
        );
        assert_eq!(lost(&before, &written, &acts(&[("drop-in", UNIT)])).len(), 0);
        assert_eq!(lost(&before, &world(&[("culprit", "x"), ("run", "8")]), &none).len(), 2);
        assert_eq!(lost(&before, &world(&[("size", "20")]), &none).len(), 1);
        let anew = world(&[("size", "20"), ("run", "8")]);
        assert_eq!(lost(&before, &anew, &acts(&[("start-unit", UNIT)])).len(), 0);
        let started = world(&[("unit", "active"), ("run", "8")]);
        let count = lost(&before, &started, &acts(&[("reset-failed", UNIT)]));
        assert_eq!(count.len(), 1, "a count that is reset starts nobody: {count:?}");
    }

    #[test]
    fn each_table_and_index_has_its_own_line() {
        let before = world(&[("tables", "kept a 1 f\nkept b 2 f\nkept a_ccnew 3 f")]);
        let now = world(&[("tables", "kept a 4 t\nkept b 2 f")]);
        assert_eq!(lost(&before, &now, &acts(&[("upkeep", "b")])).len(), 1);
        assert_eq!(lost(&before, &now, &acts(&[("upkeep", "a")])).len(), 0);
        let dropped = world(&[("tables", "kept a 1 f\nkept b 2 f")]);
        assert_eq!(lost(&before, &dropped, &acts(&[("upkeep", "a_ccnew")])).len(), 0);
        assert_eq!(lost(&before, &dropped, &acts(&[("upkeep", "b")])).len(), 1);
    }

    #[test]
    fn each_part_that_is_seen_has_its_acts() {
        for (part, by, whose, _) in PARTS.iter().filter(|p| p.0 != "tables") {
            let now = world(&[(part, "another")]);
            assert_eq!(lost(&world(&[]), &now, &Vec::new()).len(), 1, "{part}");
            let all: Vec<(&str, &str)> = by.iter().map(|act| (*act, *whose)).collect();
            assert_eq!(lost(&world(&[]), &now, &acts(&all)).len(), usize::from(by.is_empty()), "{part}");
        }
    }

    #[test]
    fn what_a_case_leaves_is_a_part() {
        let left = super::super::cases::ALL.iter().flat_map(|c| c.leaves);
        for part in left {
            assert!(PARTS.iter().any(|(known, ..)| known == part), "{part}");
        }
    }
}
