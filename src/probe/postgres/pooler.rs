//! pgbouncer's admin console: it takes a login to its database `pgbouncer`, and simple queries only.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::failure::failure;
use crate::config::{Expect, Pooler, Postgres, Secret};
use crate::probe::by;
use crate::snapshot::pooler::{Pool, Pools};
use crate::snapshot::{FailKind, Failure, Stage};

/// How many pools a snapshot keeps.
const POOLS: usize = 200;

/// The console as a server to log in to.
pub fn console(p: &Pooler) -> Postgres {
    Postgres {
        name: p.name.clone(),
        url: p.url.clone(),
        password_file: None,
        password_env: None,
        databases: Vec::new(),
        expect: Expect::default(),
        unit: None,
        container: None,
        data_directory: None,
        log: None,
        bin_dir: None,
    }
}

pub async fn pools(p: &Pooler, password: Option<&Secret>, deadline: Instant) -> Result<Pools, Failure> {
    let server = console(p);
    let place = super::place(&p.url.host, p.url.port, deadline).await?;
    let session = super::log_in(&server, password, &place, deadline).await?;
    let c = &session.client;
    let rows = show(c, "SHOW POOLS", deadline).await?;
    let databases = show(c, "SHOW DATABASES", deadline).await?;
    let lists = show(c, "SHOW LISTS", deadline).await?;
    let settings = show(c, "SHOW CONFIG", deadline).await?;
    let by_name: BTreeMap<&str, &SimpleQueryRow> =
        databases.iter().filter_map(|row| Some((text(row, "name")?, row))).collect();
    let pool = |row: &SimpleQueryRow| {
        let need = |column: &str| {
            number(row, column).ok_or_else(|| {
                Failure::new(FailKind::Malformed, format!("SHOW POOLS has no {column}")).at(Stage::Query)
            })
        };
        let database = text(row, "database").unwrap_or_default().to_owned();
        let of = by_name.get(database.as_str());
        let own = |column: &str| of.and_then(|d| number(d, column)).unwrap_or(0);
        let sum = |columns: &[&str]| columns.iter().filter_map(|c| number(row, c)).sum::<u64>();
        Ok(Pool {
            user: text(row, "user").unwrap_or_default().to_owned(),
            waiting: need("cl_waiting")?,
            max_wait_s: need("maxwait")? as f64 + number(row, "maxwait_us").unwrap_or(0) as f64 / 1e6,
            // One that is cancelled is not given out either.
            busy: need("sv_active")? + sum(&["sv_tested", "sv_active_cancel", "sv_being_canceled"]),
            // Free for so long that it is tried before it is given out.
            idle: need("sv_idle")? + sum(&["sv_used"]),
            // The reserve opens by itself where clients wait.
            size: of.and_then(|d| number(d, "pool_size")).map(|n| n + own("reserve_pool")),
            paused: own("paused") == 1 || own("disabled") == 1,
            database,
        })
    };
    let all = rows.iter().filter(|r| text(r, "database") != Some("pgbouncer")).take(POOLS);
    Ok(Pools {
        all: all.map(pool).collect::<Result<_, Failure>>()?,
        clients: lists
            .iter()
            .find(|r| text(r, "list") == Some("used_clients"))
            .and_then(|r| number(r, "items")),
        max_clients: settings
            .iter()
            .find(|r| text(r, "key") == Some("max_client_conn"))
            .and_then(|r| number(r, "value")),
    })
}

async fn show(c: &Client, what: &str, deadline: Instant) -> Result<Vec<SimpleQueryRow>, Failure> {
    let answer = by(deadline, Stage::Query, "no answer to a query", c.simple_query(what)).await?;
    let rows = answer.map_err(|e| failure(&e).at(Stage::Query))?.into_iter().filter_map(|m| match m {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

/// Columns come and go with versions: by name.
fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Option<&'a str> {
    let at = row.columns().iter().position(|c| c.name() == column)?;
    row.try_get(at).ok().flatten()
}

fn number(row: &SimpleQueryRow, column: &str) -> Option<u64> {
    text(row, column)?.parse().ok()
}
