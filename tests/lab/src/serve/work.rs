//! What the sample server is for: search, metrics.
//! Every search is a real query through the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::run::Server;

#[derive(Deserialize)]
pub struct Search {
    query: String,
    /// Changes the one row that all want, and works on a little before it commits.
    #[serde(default)]
    touch: bool,
    /// Keeps what was asked: a row is changed, and its commit waits for the disk.
    #[serde(default)]
    write: bool,
    /// The database takes so long.
    #[serde(default)]
    sleep_ms: u64,
    /// The service itself takes so long.
    #[serde(default)]
    think_ms: u64,
    /// It computes so long.
    #[serde(default)]
    burn_ms: u64,
}

pub async fn search(State(server): State<Arc<Server>>, Json(search): Json<Search>) -> Response {
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(search.think_ms)).await;
    compute(Duration::from_millis(search.burn_ms)).await;
    let found = look_up(&server, &search).await;
    server.metrics.observe("/search", began.elapsed());
    match found {
        Ok(rows) => Json(json!({ "results": rows, "count": rows.len() })).into_response(),
        Err(text) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": text }))).into_response(),
    }
}

/// So much of a processor's time, whenever that is had: by the kernel's own count.
async fn compute(much: Duration) {
    if much.is_zero() {
        return;
    }
    let burn = move || {
        let clock = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            Duration::from_secs(now.tv_sec.unsigned_abs()) + Duration::from_nanos(now.tv_nsec.unsigned_abs())
        };
        let end = clock() + much;
        while clock() < end {
            std::hint::spin_loop();
        }
    };
    let _ = tokio::task::spawn_blocking(burn).await;
}

async fn look_up(server: &Server, search: &Search) -> Result<Vec<String>, String> {
    let (database, words) = (&server.database, &search.query);
    server.needs.used(&database.name).await?;
    let given = database.for_work(Duration::from_secs(60)).await?;
    let client = &given.0;
    let pattern = format!("%{words}%");
    let sql = "SELECT file_path FROM code_chunks WHERE content ILIKE $1 ORDER BY id LIMIT 5";
    if search.touch {
        let change =
            "BEGIN; UPDATE workflow_tasks SET done = NOT done WHERE id = 1; SELECT pg_sleep(0.15); COMMIT";
        client.batch_execute(change).await.map_err(|e| database.logged(&(&e).into()))?;
    }
    if search.write {
        let change = "UPDATE workflow_tasks SET done = NOT done WHERE id = (SELECT 1 + (random() * 99)::int)";
        client.batch_execute(change).await.map_err(|e| database.logged(&(&e).into()))?;
    }
    if search.sleep_ms > 0 {
        let secs = search.sleep_ms as f64 / 1000.0;
        client.query("SELECT pg_sleep($1)", &[&secs]).await.map_err(|e| database.logged(&(&e).into()))?;
    }
    let rows = client.query(sql, &[&pattern]).await.map_err(|e| database.logged(&(&e).into()))?;
    database.give_back(given);
    if std::env::var("LOG_LEVEL").is_ok_and(|level| level == "DEBUG") {
        // A line for each row that was looked at, as one does who wants to know.
        let lines = std::env::var("LAB_DEBUG_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
        let text = format!("{}: DEBUG looked at row {{}} for {words}", database.name);
        // Who only asks for its health need not wait for the journal.
        let print = move || (0..lines).for_each(|n: u32| println!("{}", text.replace("{}", &n.to_string())));
        tokio::task::spawn_blocking(print).await.map_err(|e| e.to_string())?;
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub async fn metrics(State(server): State<Arc<Server>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], server.metrics.text()).into_response()
}
