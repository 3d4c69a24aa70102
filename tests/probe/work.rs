//! What a real PostgreSQL says of where its time goes: with and without its statistics of statements,
//! as a superuser and as one who may see nothing.

use std::time::{Duration, Instant};

use mcp_ir::config::Postgres;
use mcp_ir::probe::postgres::work;
use mcp_ir::snapshot::FailKind;
use mcp_ir::snapshot::work::Work;

use crate::cluster::Cluster;

async fn seen(p: &Postgres) -> Work {
    work(p, None, Instant::now() + Duration::from_secs(5)).await.unwrap()
}

const LOADED: &str = "shared_preload_libraries = 'pg_stat_statements'";

#[tokio::test]
async fn statements_are_totals_whose_difference_tells_what_ran() {
    let c = Cluster::start(LOADED).await;
    let admin = c.admin().await;
    // In a schema of its own, with a name that has to be quoted.
    admin
        .batch_execute("CREATE SCHEMA \"My ext\"; CREATE EXTENSION pg_stat_statements SCHEMA \"My ext\"")
        .await
        .unwrap();
    let target = c.target("watcher", "sslmode=disable");
    let denied = seen(&target).await.statements;
    assert_eq!(denied.failure().unwrap().kind, FailKind::Denied);
    admin.batch_execute("GRANT USAGE ON SCHEMA \"My ext\" TO watcher").await.unwrap();
    let before = seen(&target).await;
    for _ in 0..3 {
        admin.batch_execute("SELECT pg_sleep(0.02), 'secret of mine'").await.unwrap();
    }
    let now = seen(&target).await;
    let (old, new) = (before.statements.seen().unwrap(), now.statements.seen().unwrap());
    assert!(new.complete && old.complete);
    assert_eq!(old.reset, new.reset);
    assert!(old.reset.is_some() && (before.started - now.started).abs() < 0.001);
    let ran = new.all.iter().find(|s| s.query.contains("pg_sleep")).unwrap();
    assert_eq!((ran.calls, ran.database.as_str()), (3.0, "shop"));
    assert!((60.0..600.0).contains(&ran.total_ms), "{ran:?}");
    assert!(!format!("{new:?}").contains("secret of mine"));
    let passed = now.at.duration_since(before.at).as_secs_f64();
    assert!((0.06..5.0).contains(&passed), "{passed}");
    admin.batch_execute("SELECT \"My ext\".pg_stat_statements_reset()").await.unwrap();
    assert_ne!(seen(&target).await.statements.seen().unwrap().reset, new.reset);
}

#[tokio::test]
async fn without_the_extension_or_its_library_it_is_missing_and_the_rest_is_seen() {
    let c = Cluster::start("").await;
    let target = c.target("plain", "sslmode=disable");
    let missing = |w: &Work| w.statements.failure().unwrap().kind;
    assert_eq!(missing(&seen(&target).await), FailKind::Missing);
    // Made, and not loaded: to read it would fail.
    c.admin().await.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    assert_eq!(missing(&seen(&target).await), FailKind::Missing);
}

#[tokio::test]
async fn waits_tables_indexes_and_what_holds_dead_rows() {
    let c = Cluster::start("").await;
    let admin = c.admin().await;
    admin
        .batch_execute(
            "CREATE TABLE part (id int); INSERT INTO part SELECT n % 50 FROM generate_series(1, 5000) n;
             SELECT count(*) FROM part; ALTER TABLE part OWNER TO app;
             CREATE TABLE held (id int); ALTER TABLE held OWNER TO app",
        )
        .await
        .unwrap();
    // A unique index of what is not: left behind, and not valid.
    admin.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY part_id ON part (id)").await.unwrap_err();
    let old = c.session("app", "shop", "report").await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM part").await.unwrap();
    let holder = c.session("app", "shop", "migration").await;
    holder.batch_execute("BEGIN; LOCK TABLE held").await.unwrap();
    let waiter = c.session("app", "shop", "web").await;
    tokio::spawn(async move { waiter.batch_execute("SELECT count(*) FROM held").await });
    let target = c.target("watcher", "sslmode=disable");
    let end = Instant::now() + Duration::from_secs(10);
    let w = loop {
        let w = seen(&target).await;
        let table = w.tables.iter().any(|t| t.name == "part" && t.live > 0.0 && t.scans > 0.0);
        if table && w.waits.iter().any(|x| x.event == "Lock/relation") {
            break w;
        }
        assert!(Instant::now() < end, "{w:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let index = &w.invalid_indexes[0];
    assert_eq!(
        (index.schema.as_str(), index.name.as_str(), index.table.as_str()),
        ("public", "part_id", "part")
    );
    assert!(w.holders.iter().any(|h| h.kind == "session" && h.name.contains("report")), "{:?}", w.holders);
    assert_eq!((w.standbys.len(), w.synchronous.as_str(), w.replay_s), (0, "", None));
}
