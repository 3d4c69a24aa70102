//! The look at a real PostgreSQL: what it counts, whom it sees, and what it leaves behind.

use std::time::{Duration, Instant};

use mcp_ir::config::{Postgres, Secret};
use mcp_ir::probe::postgres::{door, look, look_unless};
use mcp_ir::snapshot::network::Door;
use mcp_ir::snapshot::postgres::{Login, PostgresLook, Server, Session};
use mcp_ir::snapshot::{FailKind, Failure, Stage};
use tokio_postgres::Client;

use crate::cluster::{Cluster, RESERVED, SLOTS, target};

pub async fn seen(p: &Postgres) -> PostgresLook {
    look(p, None, Instant::now() + Duration::from_secs(5)).await
}

async fn server(p: &Postgres) -> Server {
    let look = seen(p).await;
    look.server.seen().unwrap_or_else(|| panic!("{look:#?}")).clone()
}

async fn refusal(p: &Postgres, password: Option<&str>) -> Failure {
    let password = password.map(Secret::new);
    let look = look(p, password.as_ref(), Instant::now() + Duration::from_secs(5)).await;
    look.login.failure().unwrap_or_else(|| panic!("{look:#?}")).clone()
}

async fn pid(c: &Client) -> i32 {
    c.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Starts a statement that will wait; it ends with the cluster.
fn begin(c: Client, sql: &'static str) {
    tokio::spawn(async move {
        let _ = c.batch_execute(sql).await;
        std::future::pending::<()>().await;
    });
}

/// Looks until the sessions are as they are to be.
async fn until(p: &Postgres, so: impl Fn(&[Session]) -> bool) -> Vec<Session> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let sessions = server(p).await.sessions;
        if so(&sessions) {
            return sessions;
        }
        assert!(Instant::now() < end, "{sessions:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn slots_sessions_and_limits_are_counted_without_ourselves() {
    let c = Cluster::start("").await;
    let _a = c.session("app", "shop", "web").await;
    let _b = c.session("app", "shop", "web").await;
    let _other = c.session("app", "postgres", "job").await;
    let look = seen(&c.target("watcher", "sslmode=disable")).await;
    assert_eq!((look.login.seen(), look.here), (Some(&Login { tls: false }), Some(true)));
    let s = look.server.seen().unwrap();
    assert!(s.version.starts_with(|v: char| v.is_ascii_digit()) && s.uptime_s > 0.0 && !s.in_recovery);
    assert_eq!((s.max_connections, s.reserved, s.slots()), (SLOTS, RESERVED, SLOTS - RESERVED));
    assert_eq!((s.sees_all, s.used), (true, 3));
    let web = &s.consumers[0];
    assert_eq!((web.application.as_str(), web.user.as_str(), web.database.as_str()), ("web", "app", "shop"));
    assert_eq!((web.count, web.state.as_str(), web.client.as_str()), (2, "idle", "127.0.0.1"));
    assert_eq!(s.consumers.len(), 2);
    assert!(s.sessions.is_empty());
}

#[tokio::test]
async fn without_pg_monitor_the_count_is_right_and_said_to_be_partial() {
    let c = Cluster::start("").await;
    let _a = c.session("app", "shop", "web").await;
    let _b = c.session("app", "postgres", "job").await;
    let s = server(&c.target("plain", "")).await;
    assert_eq!((s.sees_all, s.used), (false, 2));
    assert!(s.consumers.iter().all(|c| c.state == "not shown"), "{:?}", s.consumers);
    let own = c.session("plain", "shop", "mine").await;
    own.batch_execute("BEGIN").await.unwrap();
    let s = server(&c.target("plain", "")).await;
    assert_eq!((s.used, s.sessions.len()), (3, 1), "its own role's session is seen");
}

#[tokio::test]
async fn a_recovery_from_the_crash_of_a_process_is_seen_and_a_start_is_none() {
    let c = Cluster::start("restart_after_crash = on").await;
    let p = c.target("watcher", "");
    let began = server(&p).await;
    assert!(began.checkpointer_s.is_some() && began.settings_s.is_some(), "{began:?}");
    assert_eq!(began.crash_restart_s(), None);
    assert_eq!(server(&c.target("app", "")).await.crash_restart_s(), None, "not shown to everybody");
    // Later than what counts as its start.
    tokio::time::sleep(Duration::from_secs_f64((3.0 - began.uptime_s).max(0.0))).await;
    let victim = c.session("app", "shop", "victim").await;
    let victim = rustix::process::Pid::from_raw(pid(&victim).await).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let recovered = loop {
        let look = seen(&p).await;
        match look.server.seen().and_then(Server::crash_restart_s) {
            Some(ago) => break ago,
            None => assert!(Instant::now() < end, "{look:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!((0.0..10.0).contains(&recovered), "{recovered}");
}

#[tokio::test]
async fn what_is_hopeless_is_waited_for_no_longer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let p = target(&format!("postgresql://ann@{}/shop?sslmode=disable", silent.local_addr().unwrap()));
    let start = Instant::now();
    let stopped = async { "process 7 is T".to_owned() };
    let look = look_unless(stopped, &p, None, start + Duration::from_secs(20)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let f = look.login.failure().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Answer)));
    assert!(f.detail.contains("no answer to a login") && f.detail.contains("process 7 is T"), "{f:?}");
}

#[tokio::test]
async fn a_chain_of_waiting_sessions_is_seen_link_by_link_and_without_what_they_store() {
    let c = Cluster::start("").await;
    c.admin().await.batch_execute("CREATE TABLE t AS SELECT 1 AS id; GRANT ALL ON t TO app").await.unwrap();
    let holder = c.session("app", "shop", "holder").await;
    holder.batch_execute("BEGIN; UPDATE t SET id = 2 WHERE 'secret' <> 'other'").await.unwrap();
    let (middle, last) = (c.session("app", "shop", "middle").await, c.session("app", "shop", "last").await);
    let pids = [pid(&holder).await, pid(&middle).await, pid(&last).await];
    begin(middle, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE /* secret */");
    let p = c.target("watcher", "");
    until(&p, |s| s.len() == 2).await;
    begin(last, "SELECT * FROM t WHERE 'secret' = 'x' AND id = 12345");
    let all = until(&p, |s| s.len() == 3).await;
    let by = |name: &str| all.iter().find(|s| s.application == name).unwrap();
    let (holder, middle, last) = (by("holder"), by("middle"), by("last"));
    assert_eq!([holder.pid, middle.pid, last.pid], pids);
    assert!(holder.idle_in_transaction() && holder.blocked_by.is_empty());
    assert!(holder.transaction_s.unwrap() >= holder.state_s && holder.state_s >= 0.0);
    assert_eq!((middle.blocked_by.as_slice(), last.blocked_by.as_slice()), (&[pids[0]][..], &[pids[1]][..]));
    assert_eq!(last.wait.as_deref(), Some("Lock/relation"));
    assert_eq!(last.query, "SELECT * FROM t WHERE ? = ? AND id = ?");
    assert_eq!(middle.query, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    assert!(!format!("{all:?}").contains("secret"));
    let start: String = c
        .admin()
        .await
        .query_one("SELECT backend_start::text FROM pg_stat_activity WHERE pid = $1", &[&pids[0]])
        .await
        .unwrap()
        .get(0);
    assert_eq!(holder.backend_start, start);
}

#[tokio::test]
async fn a_prepared_transaction_blocks_as_process_0() {
    let c = Cluster::start("").await;
    let admin = c.admin().await;
    admin.batch_execute("CREATE TABLE t (id int)").await.unwrap();
    admin.batch_execute("BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'left'").await.unwrap();
    begin(c.session("postgres", "shop", "victim").await, "SELECT * FROM t");
    let all = until(&c.target("watcher", ""), |s| s.iter().any(|s| s.application == "victim")).await;
    assert_eq!((all.len(), all[0].blocked_by.as_slice()), (1, &[0][..]));
}

#[tokio::test]
async fn a_query_in_the_encoding_of_another_database_is_read() {
    let c = Cluster::start("").await;
    let admin = c.admin().await;
    let create = "CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    admin.batch_execute(create).await.unwrap();
    admin
        .batch_execute("CREATE DATABASE raw ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        .await
        .unwrap();
    let old = c.session("app", "old", "old").await;
    old.batch_execute("BEGIN").await.unwrap();
    old.batch_execute("SELECT 1 AS né, 2 AS é").await.unwrap();
    let s = server(&c.target("watcher", "")).await;
    assert_eq!(s.sessions[0].query, "SELECT ? AS n\u{fffd}, ? AS \u{fffd}");
    for database in ["old", "raw", "postgres"] {
        let url = format!("postgresql://watcher@127.0.0.1:{}/{database}", c.port);
        assert_eq!(server(&target(&url)).await.sessions.len(), 1, "{database}");
    }
}

/// Puts a function of ours in the place of one that the look calls.
async fn replace_pg_is_in_recovery(c: &Cluster, body: &str) {
    let sql = format!(
        "SET allow_system_table_mods = on;
         ALTER FUNCTION pg_catalog.pg_is_in_recovery() RENAME TO was_in_recovery;
         CREATE FUNCTION pg_catalog.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN false; END $$"
    );
    c.admin().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_slow_answer_is_cut_at_the_deadline_and_leaves_no_session_behind() {
    let c = Cluster::start("").await;
    replace_pg_is_in_recovery(&c, "PERFORM pg_sleep(10)").await;
    for mode in ["sslmode=disable", "sslmode=require"] {
        let (start, limit) = (Instant::now(), Duration::from_millis(600));
        let look = look(&c.target("watcher", mode), None, start + limit).await;
        assert!(start.elapsed() < limit + Duration::from_millis(300), "{:?}", start.elapsed());
        assert_eq!(look.login.seen(), Some(&Login { tls: mode == "sslmode=require" }));
        let f = look.server.failure().unwrap();
        assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Query)), "{f:?}");
        let admin = c.admin().await;
        let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mcp-ir'";
        let end = Instant::now() + Duration::from_secs(2);
        while admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(Instant::now() < end, "the session is still there\n{}", c.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let cancelled = c.log().matches("canceling statement due to user request").count();
    assert_eq!(cancelled, 2, "by us, before its own limit was reached:\n{}", c.log());
}

#[tokio::test]
async fn the_look_can_not_write() {
    let c = Cluster::start("").await;
    c.admin()
        .await
        .batch_execute("CREATE TABLE public.t (id int); GRANT ALL ON public.t TO watcher")
        .await
        .unwrap();
    replace_pg_is_in_recovery(&c, "INSERT INTO public.t VALUES (1)").await;
    let look = seen(&c.target("watcher", "")).await;
    assert_eq!(look.server.failure().unwrap().postgres.as_ref().unwrap().sqlstate, "25006");
}

#[tokio::test]
async fn a_read_only_role_of_our_own_is_no_read_only_server() {
    let c = Cluster::start("").await;
    let admin = c.session("postgres", "postgres", "admin").await;
    let target = c.target("watcher", "sslmode=disable");
    admin.batch_execute("ALTER ROLE watcher SET default_transaction_read_only = on").await.unwrap();
    assert!(!server(&target).await.read_only, "said of our role alone");
    admin
        .batch_execute(
            "ALTER ROLE watcher RESET ALL; ALTER DATABASE shop SET default_transaction_read_only = on",
        )
        .await
        .unwrap();
    assert!(server(&target).await.read_only, "said of the database");
}

#[tokio::test]
async fn a_search_path_puts_nothing_in_the_place_of_the_system() {
    let c = Cluster::start("").await;
    let trap = "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC;
        CREATE FUNCTION trap.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
        CREATE VIEW trap.pg_stat_activity AS SELECT 1 AS pid;
        ALTER DATABASE shop SET search_path = trap, pg_catalog";
    for statement in trap.split(';') {
        c.admin().await.batch_execute(statement).await.unwrap();
    }
    assert!(!server(&c.target("watcher", "")).await.in_recovery);
    let by_url = c.target("watcher", "options=-c%20search_path%3Dtrap,pg_catalog");
    assert!(!server(&by_url).await.in_recovery);
}

#[tokio::test]
async fn a_server_without_a_slot_is_told_from_a_limit_of_a_role_or_a_database() {
    let c = Cluster::start("").await;
    let admin = c.admin().await;
    let routine = async |p: &Postgres| {
        let pg = *refusal(p, None).await.postgres.unwrap();
        assert_eq!(pg.sqlstate, "53300");
        pg.routine.unwrap()
    };
    let p = c.target("plain", "");
    admin.batch_execute("ALTER ROLE plain CONNECTION LIMIT 0").await.unwrap();
    assert_eq!(routine(&p).await, "InitializeSessionUserId");
    admin.batch_execute("ALTER ROLE plain CONNECTION LIMIT -1").await.unwrap();
    admin.batch_execute("ALTER DATABASE shop CONNECTION LIMIT 0").await.unwrap();
    assert_eq!(routine(&p).await, "CheckMyDatabase");
    admin.batch_execute("ALTER DATABASE shop CONNECTION LIMIT -1").await.unwrap();
    let mut held = Vec::new();
    while held.len() < (SLOTS - RESERVED - 1) as usize {
        held.push(c.session("app", "shop", "batch").await);
    }
    assert_eq!(routine(&p).await, "InitPostgres");
    let s = server(&c.target("postgres", "")).await;
    assert_eq!((s.used, s.slots()), (SLOTS - RESERVED, SLOTS - RESERVED), "a reserved slot lets us look");
    let _reserved = (c.admin().await, c.admin().await, c.admin().await);
    assert_eq!(routine(&c.target("postgres", "")).await, "InitProcess");
}

#[tokio::test]
async fn a_password_is_used_where_it_is_asked_for_and_never_seen_again() {
    let c = Cluster::start("").await;
    let p = c.target("secret", "");
    let deadline = || Instant::now() + Duration::from_secs(5);
    let right = look(&p, Some(&Secret::new("hunter2")), deadline()).await;
    assert_eq!(right.login.seen(), Some(&Login { tls: true }));
    assert!(right.server.seen().is_some());
    let wrong = refusal(&p, Some("letmein99")).await;
    assert_eq!((wrong.kind, wrong.postgres.as_ref().unwrap().sqlstate.as_str()), (FailKind::Denied, "28P01"));
    assert!(!format!("{wrong:?}").contains("letmein99"));
    let none = refusal(&p, None).await;
    assert_eq!(
        (none.kind, none.detail.as_str()),
        (FailKind::Denied, "the server asks for a password, and none is configured")
    );
}

#[tokio::test]
async fn a_unix_socket_is_looked_at_as_well() {
    let c = Cluster::start("").await;
    let url = format!("postgresql:///shop?user=watcher&host={}&port={}", c.folder().display(), c.port);
    let look = seen(&target(&url)).await;
    assert_eq!(look.endpoint, c.folder().join(format!(".s.PGSQL.{}", c.port)).display().to_string());
    assert_eq!((look.here, look.login.seen()), (Some(true), Some(&Login { tls: false })));
    assert!(look.server.seen().is_some());
}

#[tokio::test]
async fn a_database_or_a_role_that_is_not_there_is_said_by_its_sqlstate() {
    let c = Cluster::start("").await;
    let state = async |p: Postgres| refusal(&p, None).await.postgres.unwrap().sqlstate;
    assert_eq!(state(target(&format!("postgresql://watcher@127.0.0.1:{}/none", c.port))).await, "3D000");
    assert_eq!(state(c.target("nobody_such", "")).await, "28000");
}

#[tokio::test]
async fn a_knock_tells_a_server_from_nobody_and_leaves_nothing_in_its_log() {
    let c = Cluster::start("").await;
    let p = c.target("watcher", "sslmode=disable");
    let before = c.log();
    let knock = |port| {
        let host = p.url.host.clone();
        async move { door(&host, port, ("watcher", "shop"), Instant::now() + Duration::from_secs(5)).await }
    };
    assert_eq!(knock(p.url.port).await, Ok(Door::Other));
    assert_eq!(c.log(), before);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    assert_eq!(knock(port).await.unwrap_err().kind, FailKind::Refused);
}
