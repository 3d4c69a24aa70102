//! Keys of a Redis are thrown away: those of a prefix batch by batch, so that nobody waits for long, or one
//! database. Only by the one that takes writes; what was there before and after is counted.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};

use super::apply::{Done, Failed};
use crate::config::{Redis, Secret};
use crate::plan::{BATCH, Flush};
use crate::probe::{redis as client, said};

/// Between two batches others have their turn.
const PAUSE: Duration = Duration::from_millis(1);

pub async fn flush(
    r: &Redis,
    password: Option<&Secret>,
    f: &Flush,
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let opened = client::session(r, password, deadline).await.map_err(|f| Failed::before(&f))?;
    let mut s = Keys { connection: opened.connection.clone(), deadline, gone: 0 };
    s.ask(redis::cmd("SELECT").arg(f.database)).await.map_err(refused)?;
    // With the act: who became a replica meanwhile takes no writes of ours.
    let info = s.ask(redis::cmd("INFO").arg("replication")).await.map_err(refused)?;
    let info: String = redis::from_redis_value(info).map_err(|_| refused("INFO is no text".into()))?;
    let line = |key: &str| info.lines().find_map(|l| l.trim_end().strip_prefix(key));
    if line("role:") != Some("master") {
        let role = line("role:").unwrap_or("of no known role");
        return Err(refused(format!("{} is {}: only who takes writes is asked to", f.redis, said(role, 40))));
    }
    let replicas = match line("connected_slaves:").and_then(|n| n.parse::<u64>().ok()) {
        Some(n) if n > 0 => format!("; its {n} replicas did the same"),
        _ => String::new(),
    };
    let before = s.size().await.map_err(refused)?;
    match f.pattern() {
        None if before == 0 => return Ok(Done::already("it holds no key")),
        None => {
            s.ask(redis::cmd("FLUSHDB").arg("ASYNC")).await.map_err(Failed::Broken)?;
        }
        Some(pattern) => s.unlink(&pattern).await.map_err(|why| match s.gone {
            0 => Failed::Refused { why, hint: None },
            n => Failed::Broken(format!("{why}; {n} keys are gone, and the others are not")),
        })?,
    }
    if f.prefix.is_some() && s.gone == 0 {
        return Ok(Done::already(format!("none of its {before} keys begins so")));
    }
    let after = s.size().await.map_err(Failed::Broken)?;
    Ok(Done::new(format!("{before} keys before, {after} after{replicas}")))
}

struct Keys {
    connection: MultiplexedConnection,
    deadline: Instant,
    gone: u64,
}

impl Keys {
    async fn ask(&mut self, cmd: &Cmd) -> Result<Value, String> {
        let asked = tokio::time::timeout_at(self.deadline.into(), cmd.query_async(&mut self.connection));
        match asked.await {
            Ok(answer) => answer.map_err(|e: RedisError| said(&e.to_string(), 200)),
            Err(_) => Err("Redis did not answer in time".into()),
        }
    }

    async fn size(&mut self) -> Result<u64, String> {
        let size = self.ask(&redis::cmd("DBSIZE")).await?;
        redis::from_redis_value(size).map_err(|_| "DBSIZE is no number".into())
    }

    /// SCAN gives back all that are there from its beginning to its end, and may give one twice.
    async fn unlink(&mut self, pattern: &str) -> Result<(), String> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(BATCH);
            let page = self.ask(&scan).await?;
            let (next, keys): (u64, Vec<Vec<u8>>) =
                redis::from_redis_value(page).map_err(|_| "SCAN is answered otherwise".to_owned())?;
            if !keys.is_empty() {
                let gone = self.ask(redis::cmd("UNLINK").arg(keys)).await?;
                self.gone += redis::from_redis_value::<u64>(gone).unwrap_or_default();
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
