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
}

pub async fn search(State(server): State<Arc<Server>>, Json(search): Json<Search>) -> Response {
    let began = Instant::now();
    let found = look_up(&server, &search.query).await;
    server.metrics.observe("/search", began.elapsed());
    match found {
        Ok(rows) => Json(json!({ "results": rows, "count": rows.len() })).into_response(),
        Err(text) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": text }))).into_response(),
    }
}

async fn look_up(server: &Server, words: &str) -> Result<Vec<String>, String> {
    let database = &server.database;
    let client = database.acquire(Some(Duration::from_secs(60))).await?;
    let pattern = format!("%{words}%");
    let sql = "SELECT file_path FROM code_chunks WHERE content ILIKE $1 ORDER BY id LIMIT 5";
    let rows = client.query(sql, &[&pattern]).await.map_err(|e| database.logged(&(&e).into()))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub async fn metrics(State(server): State<Arc<Server>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], server.metrics.text()).into_response()
}
