//! A cache of a real Redis, thrown away by its prefix or its name, seen by redis-cli.

use std::fs;

use crate::bench::Bench;

#[test]
fn errata_46_a_cache_is_thrown_away_by_its_prefix_and_nothing_else() {
    let Some(mut b) = Bench::start() else { return };
    b.stack.add_redis(true).unwrap();
    let config = fs::read_to_string(b.stack.config()).unwrap();
    let with = config.replace("optional = true\n", "optional = true\ncache_prefixes = [\"mcp:cache:\"]\n");
    assert_ne!(config, with);
    fs::write(b.stack.config(), with).unwrap();
    by_its_prefix(&b);
    by_its_name(&b);
    a_replica_is_left_alone(&b);
    fs::write(b.stack.config(), config).unwrap();
    b.heal();
}

fn fill(b: &Bench) {
    let fill = "for i=1,3000 do redis.call('SET', 'mcp:cache:'..i, i) end \
                for i=1,70 do redis.call('SET', 'session:'..i, i) end redis.call('SET', 'mcp:cachet', 1)";
    b.stack.redis(&["EVAL", fill, "0"]).unwrap();
    b.stack.redis(&["-n", "3", "SET", "mcp:cache:other-database", "1"]).unwrap();
}

fn size(b: &Bench, database: &str) -> u64 {
    let said = b.stack.redis(&["-n", database, "DBSIZE"]).unwrap();
    said.trim().trim_start_matches("(integer) ").parse().unwrap()
}

fn by_its_prefix(b: &Bench) {
    fill(b);
    assert_eq!((size(b, "0"), size(b, "3")), (3071, 1));
    let refused = b.json(&["recover", "server", "--flush-cache", "session:", "--yes"], 4);
    assert_eq!(refused["hints"][0], "--flush-cache mcp:cache:", "{refused}");
    let ask = ["recover", "server", "--flush-cache", "mcp:cache:"];
    assert_eq!(b.json(&[&ask[..], &["--plan"]].concat(), 0)["outcome"], "planned");
    assert_eq!(size(b, "0"), 3071, "a plan changes nothing");
    let done = b.json(&[&ask[..], &["--yes"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let detail = done["steps"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("3071 keys before, 71 after"), "{detail}");
    assert_eq!((size(b, "0"), size(b, "3")), (71, 1));
    assert!(b.stack.redis(&["EXISTS", "session:70", "mcp:cachet"]).unwrap().contains('2'));
    // There is no way back, and it says so.
    let undone = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!((&undone["outcome"], size(b, "0")), (&"nothing-to-do".into(), 71), "{undone}");
    let again = b.json(&[&ask[..], &["--yes"]].concat(), 0);
    assert_eq!(again["steps"][0]["status"], "already", "{again}");
}

fn by_its_name(b: &Bench) {
    let ask = ["recover", "server", "--flush-db", "redis/3", "--yes"];
    let refused = b.json(&ask, 4);
    assert!(refused["hints"].to_string().contains("--allow destructive"), "{refused}");
    assert_eq!((size(b, "0"), size(b, "3")), (71, 1));
    let done = b.json(&[&ask[..], &["--allow", "destructive"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!((size(b, "0"), size(b, "3")), (71, 0), "the others stay");
}

/// Though it takes writes: what it holds is its master's.
fn a_replica_is_left_alone(b: &Bench) {
    b.stack.redis(&["CONFIG", "SET", "replica-read-only", "no"]).unwrap();
    b.stack.redis(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let refused = b.json(&["recover", "server", "--flush-cache", "mcp:cache:", "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("replica"), "{refused}");
    assert_eq!(size(b, "0"), 71, "{refused}");
    b.stack.redis(&["REPLICAOF", "NO", "ONE"]).unwrap();
}
