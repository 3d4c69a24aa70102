//! One recovery a database also from two hosts: an advisory lock of PostgreSQL's, held by a session of ours as
//! long as that lives. A raise of its connections takes none: the session would have
//! to end for its restart. It is of the database that the `url` names, as advisory locks are. Where we can't log in, the act can't either, and says why.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use crate::action::Sessions;
use crate::config::{Loaded, PgHost, Postgres, Secret};
use crate::plan::Plan;
use crate::probe::{postgres, said};

const LIMIT: Duration = Duration::from_secs(5);
/// "mcp-ir" and "recover", as numbers that nobody else has.
const KEY: (i32, i32) = (0x6d63_7069, 0x7265_636f);

/// A session that has just ended gives its slot back in a moment.
const PAUSE: Duration = Duration::from_millis(50);

/// Held until these sessions are dropped.
pub async fn take(plan: &Plan, loaded: &Loaded) -> Result<Sessions, String> {
    let servers: BTreeSet<&str> = plan.steps.iter().filter_map(|s| s.act.server()).collect();
    let mut held = Sessions::new();
    for name in servers {
        let Some(p) = loaded.config.postgres(name) else { continue };
        let end = Instant::now() + LIMIT;
        let Some(session) = session(p, loaded.secrets.postgres(name), end).await else { continue };
        let asked = tokio::time::timeout_at(end.into(), ask(p, &session)).await;
        match asked {
            Ok(Ok(None)) => drop(held.insert(name.to_owned(), session)),
            Ok(Ok(Some(who))) => return Err(format!("{name} is being recovered by a run from {who}")),
            Ok(Err(e)) => return Err(format!("{name} can't be locked: {}", said(&e.to_string(), 200))),
            Err(_) => return Err(format!("{name} can't be locked: no answer in time")),
        }
    }
    Ok(held)
}

async fn session(p: &Postgres, password: Option<&Secret>, end: Instant) -> Option<postgres::Session> {
    loop {
        match postgres::session(p, password, end).await {
            Ok(session) => return Some(session),
            Err(f) if f.postgres.as_ref().is_some_and(|e| e.sqlstate == "53300") && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => return None,
        }
    }
}

/// `None`: nobody else has it. Else from where its holder is. It is taken only where the server itself says
/// that it is reached by our own address's port: a pooler in between hands its connections on, and would keep
/// the lock for whoever has that one next.
async fn ask(p: &Postgres, session: &postgres::Session) -> Result<Option<String>, tokio_postgres::Error> {
    let (a, b) = KEY;
    let port = match p.url.host {
        PgHost::Unix(_) => "NULL".to_owned(),
        PgHost::Tcp(_) => p.url.port.to_string(),
    };
    let sql = postgres::limited(&format!(
        "SELECT CASE WHEN pg_catalog.inet_server_port() IS NOT DISTINCT FROM {port} \
         THEN pg_catalog.pg_try_advisory_lock({a}, {b}) END"
    ));
    if first(&session.client.simple_query(&sql).await?).as_deref() != Some("f") {
        return Ok(None);
    }
    let sql = postgres::limited(&format!(
        "SELECT coalesce('the host ' || host(client_addr), 'a host that is not shown to us') \
         || ' (process ' || pid || ' of the server)' FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) \
         WHERE locktype = 'advisory' AND classid = {a} AND objid = {b} AND objsubid = 2 AND granted"
    ));
    let who = first(&session.client.simple_query(&sql).await?);
    Ok(Some(who.unwrap_or_else(|| "elsewhere, which has just ended".into())))
}

fn first(messages: &[SimpleQueryMessage]) -> Option<String> {
    messages.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    })
}
