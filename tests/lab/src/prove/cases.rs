//! The cases: recoveries of every kind of step that changes something, and the way back of those that have one.
//! Thaw is missing where no unit can be frozen; `--flush-db` goes the way of `--flush-cache`.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{A, Bed, UNIT, words};
use super::case::Case;
use super::world::keys;
use crate::{fault, wait};

const SIZE: &[&str] = &["recover", "pool", "--service", A, "--max-size", "20"];
const SERVER: &[&str] = &["recover", "server", "--wait", "30s"];
const LATENCY: &[&str] = &["recover", "latency", "--wait", "60s"];
const LIMIT: &[&str] = &["recover", "memory", "--service", A, "--memory-max", "512M"];
const CONNECTIONS: &[&str] = &["recover", "pool", "--max-connections", "60", "--allow", "destructive"];
const RESET: &[&str] = &["recover", "server", "--service", A, "--reset-state"];
const FORCE: &[&str] = &[
    "recover",
    "server",
    "--service",
    "redis",
    "--restart-dependencies",
    "--grace",
    "1s",
    "--allow",
    "destructive",
    "--wait",
    "30s",
];
const REDIS: &str = "redis-server.service";
const SLOT: &str = "old_standby";
const GID: &str = "transfer-4711";
const LOOP: &str = "corrupted-state/truncated";
const ROWS: &str = "stale-statistics/other-rows";
const INDEXES: &str = "invalid-index/needed";

pub const ALL: &[Case] = &[
    // A drop-in, a restart, and its proof.
    Case::new("size", SIZE, |_| Ok(())).mends(|_, w| Ok(w.part("size") == "20")).leaves(&["run"]),
    Case::new("undo-size", SIZE, |_| Ok(())).back().leaves(&["run"]),
    Case::new("resize", SIZE, |_| Ok(())).by_interface().mends(|_, w| Ok(w.part("size") == "20")),
    Case::new("undo-resize", SIZE, |_| Ok(())).by_interface().back(),
    Case::new("start", SERVER, stop).again(),
    Case::new("undo-start", SERVER, stop).back(),
    // A main process that was stopped by a signal goes on.
    Case::new("continue", SERVER, |bed| bed.booted()?.kill(UNIT, "STOP")).leaves(&["paused", "size"]).again(),
    Case::new("session", &["recover", "pool"], |bed| {
        bed.grant("pg_signal_backend")?;
        fault::find("blocking-chain/migration")?.inject(&mut bed.stack)
    })
    .leaves(&["culprit", "size"])
    .again(),
    // No restart: systemd sets it in the kernel at once.
    Case::new("limit", LIMIT, |_| Ok(()))
        .mends(|_, w| Ok(w.part("settings").contains("MemoryMax=536870912"))),
    Case::new("undo-limit", LIMIT, |_| Ok(())).back(),
    // A line of PostgreSQL's, its restart, and a proof.
    Case::new("connections", CONNECTIONS, may_alter)
        .mends(|_, w| Ok(w.part("connections") == "60"))
        .leaves(&["postmaster"]),
    Case::new("undo-connections", CONNECTIONS, may_alter).back().leaves(&["postmaster"]),
    // A folder is exchanged, a count reset, a unit started; who failed is stopped then.
    Case::new("cache", SERVER, broken_cache)
        .healed_by(heal_cache)
        .mends(|_, w| Ok(w.part("aside") == "cache.aside-1"))
        .leaves(&["unit", "aside"]),
    Case::new("undo-cache", SERVER, broken_cache).healed_by(heal_cache).back().leaves(&["unit", "aside"]),
    // A service that is well is stopped for it, and started again; so too on its way back.
    Case::new("reset", RESET, with_cache)
        .healed_by(without_cache)
        .mends(|_, w| Ok(w.part("aside") == "cache.aside-1"))
        .leaves(&["run", "aside"]),
    Case::new("undo-reset", RESET, with_cache).healed_by(without_cache).back().leaves(&["run", "aside"]),
    // Who had failed is not made to fail again.
    Case::new("port", &["recover", "server", "--free-port", "--allow", "destructive"], |bed| {
        bed.stack.serve_by_hand(A)
    })
    .healed_by(|bed| bed.stack.end_by_hand())
    .mends(|_, w| Ok(w.part("holder") != "active"))
    .leaves(&["holder", "unit", "run", "size"])
    .again(),
    Case::new("flush", &["recover", "server", "--flush-cache", "mcp:cache:"], fill_redis)
        .healed_by(Bed::heal)
        .mends(|_, w| Ok(w.part("keys") == KEPT))
        .leaves(&["keys"])
        .again(),
    // Its stop knows no limit: who was killed within its grace leaves a job that nobody ends.
    Case::new("force", FORCE, lost_in_a_script)
        .healed_by(Bed::heal)
        .mends(|bed, _| Ok(bed.stack.redis(&["PING"])?.contains("PONG")))
        .leaves(&["redis", "keys", "other keys"])
        .again(),
    // Somebody waits for a client that does not leave; nobody else is let in, so the lab is not either.
    Case::new(
        "shutdown",
        &["recover", "db", "--restart", "--allow", "destructive", "--wait", "30s"],
        |bed| fault::find("shutting-down/smart")?.inject(&mut bed.stack),
    )
    .healed_by(Bed::heal)
    .mends(|bed, _| Ok(bed.stack.cluster().accepts()))
    .leaves(&["postmaster", "connections", "kept", "tables", "size"])
    .again(),
    Case::new("slot", &["recover", "db", "--drop-slot", SLOT, "--allow", "destructive"], |bed| {
        bed.attribute("REPLICATION")?;
        bed.stack
            .cluster()
            .sql(&format!("SELECT pg_create_physical_replication_slot('{SLOT}', true)"))
            .map(drop)
    })
    .healed_by(|bed| bed.attribute("NOREPLICATION"))
    .mends(|_, w| Ok(!w.part("kept").contains(SLOT)))
    .leaves(&["kept"])
    .again(),
    Case::new(
        "prepared",
        &["recover", "pool", "--rollback-prepared", GID, "--allow", "destructive"],
        |bed| {
            bed.attribute("SUPERUSER")?;
            let session = bed.stack.cluster().session("codebase_mcp")?;
            session.run(&format!("BEGIN; SELECT txid_current(); PREPARE TRANSACTION '{GID}'")).map(drop)
        },
    )
    .healed_by(|bed| bed.attribute("NOSUPERUSER"))
    .mends(|_, w| Ok(!w.part("kept").contains(GID)))
    .leaves(&["kept"])
    .again(),
    Case::new("vacuum", LATENCY, |bed| slow(bed, ROWS))
        .found_by(is_found)
        .healed_by(|bed| quick(bed, ROWS))
        .mends(|bed, _| Ok(bed.stack.cluster().sql(DEAD)?.is_empty()))
        .leaves(&["tables"])
        .again(),
    // One is dropped, one built anew.
    Case::new("indexes", LATENCY, |bed| slow(bed, INDEXES))
        .found_by(is_found)
        .healed_by(|bed| quick(bed, INDEXES))
        .mends(|bed, _| Ok(bed.stack.cluster().sql(INVALID)?.is_empty()))
        .leaves(&["tables"])
        .again(),
];

const DEAD: &str = "SELECT 1 FROM pg_stat_user_tables WHERE relname = 'code_chunks' AND n_dead_tup > 1000";
/// The one that is needed, and what a build of it that was cut off would leave. The other left-over makes nobody
/// slow: once that one is built, there is no finding to drop it for.
const INVALID: &str =
    "SELECT 1 FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text LIKE '%chunks_kind%'";
const FOUND: Duration = Duration::from_secs(30);
/// Keys of no cache.
const KEPT: &str = "70";

fn may_alter(bed: &mut Bed) -> Result<()> {
    bed.grant("ALTER SYSTEM ON PARAMETER max_connections")
}

fn stop(bed: &mut Bed) -> Result<()> {
    bed.booted()?.systemctl(&["stop", UNIT]).map(drop)
}

fn broken_cache(bed: &mut Bed) -> Result<()> {
    fault::find(LOOP)?.inject(&mut bed.stack)
}

fn heal_cache(bed: &mut Bed) -> Result<()> {
    let cache = bed.stack.cache();
    let share = cache.parent().context("it is in no folder")?;
    for e in fs::read_dir(share)?.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("cache."))
    {
        fs::remove_dir_all(e.path())?;
    }
    fault::find(LOOP)?.heal(&mut bed.stack)?;
    bed.furnish()
}

fn with_cache(bed: &mut Bed) -> Result<()> {
    let mut settings = bed.stack.settings().clone();
    settings.cache = true;
    bed.stack.configure(&settings)?;
    let cache = bed.stack.cache();
    fs::create_dir_all(&cache)?;
    Ok(fs::write(cache.join("mine"), "kept")?)
}

fn without_cache(bed: &mut Bed) -> Result<()> {
    let cache = bed.stack.cache();
    let share = cache.parent().context("it is in no folder")?;
    for e in fs::read_dir(share)?.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("cache")) {
        fs::remove_dir_all(e.path())?;
    }
    bed.configure()
}

fn fill_redis(bed: &mut Bed) -> Result<()> {
    bed.stack.add_redis(true)?;
    let mut settings = bed.stack.settings().clone();
    settings.extra =
        settings.extra.replace("optional = true\n", "optional = true\ncache_prefixes = [\"mcp:cache:\"]\n");
    bed.stack.configure(&settings)?;
    let fill = format!(
        "for i=1,30000 do redis.call('SET', 'mcp:cache:'..i, i) end \
         for i=1,{KEPT} do redis.call('SET', 'session:'..i, i) end"
    );
    bed.stack.redis(&["EVAL", &fill, "0"])?;
    bed.stack.redis(&["-n", "3", "SET", "mcp:cache:other-database", "1"]).map(drop)
}

fn lost_in_a_script(bed: &mut Bed) -> Result<()> {
    bed.stack.add_redis(true)?;
    bed.booted()?.drop_in(REDIS, "[Service]\nTimeoutStopSec=infinity\n")?;
    bed.stack.redis(&["CONFIG", "SET", "busy-reply-threshold", "0"])?;
    let mut lost = TcpStream::connect(("127.0.0.1", bed.stack.spare_ports()[0]))?;
    lost.write_all(b"AUTH redis-secret\r\nEVAL \"while true do end\" 0\r\n")?;
    wait::until("Redis is lost", FOUND, || keys(bed, "0").is_empty())
}

fn slow(bed: &mut Bed, name: &str) -> Result<()> {
    fault::find(name)?.inject(&mut bed.stack)?;
    // It may look after the tables of who they are.
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'code_chunks'";
    bed.grant(&bed.stack.cluster().sql(owner)?.concat())
}

/// Of few requests a look may meet the quick ones.
fn is_found(bed: &Bed) -> Result<()> {
    let look = words(&["diagnose", "latency"]);
    wait::until("it is found", FOUND, || bed.run(&look).is_ok_and(|run| run.code == Some(1)))
}

fn quick(bed: &mut Bed, name: &str) -> Result<()> {
    fault::find(name)?.heal(&mut bed.stack)?;
    bed.furnish()
}
