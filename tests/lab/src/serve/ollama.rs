//! An Ollama as far as its interface goes: it lists its models and embeds with those that it has.
//! None can be fetched here: the answers are those of `/api/tags`, `/api/ps` and `/api/embed`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct OllamaArgs {
    #[arg(long)]
    pub listen: SocketAddr,
    /// A model that it has, with its tag
    #[arg(long)]
    pub model: Vec<String>,
}

pub async fn ollama(args: OllamaArgs) -> Result<()> {
    let router = Router::new()
        .route("/", get(|| async { "Ollama is running" }))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(|| async { Json(json!({ "models": [] })) }))
        .route("/api/embed", post(embed))
        .layer(axum::middleware::map_request(busy))
        .with_state(Arc::new(args.model));
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    axum::serve(listener, router).await.context("the listener failed")
}

/// `LAB_SLOW_MS`: whatever is asked takes so long.
async fn busy(request: axum::extract::Request) -> axum::extract::Request {
    let ms = std::env::var("LAB_SLOW_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    request
}

async fn tags(State(models): State<Arc<Vec<String>>>) -> Json<Value> {
    let one = |name: &String| {
        json!({ "name": name, "model": name, "modified_at": "2026-01-01T00:00:00Z", "size": 274_302_450,
                "digest": "0a109f422b47e3a30ba2b10eca18548e944e8a23073ee3f3e947efcf3c45e59f",
                "details": { "format": "gguf", "family": "nomic-bert", "parameter_size": "137M" } })
    };
    Json(json!({ "models": models.iter().map(one).collect::<Vec<_>>() }))
}

async fn embed(State(models): State<Arc<Vec<String>>>, Json(asked): Json<Value>) -> Response {
    let model = asked["model"].as_str().unwrap_or_default();
    let has = models.iter().any(|m| m == model || m.strip_suffix(":latest") == Some(model));
    if !has {
        let error = format!("model \"{model}\" not found, try pulling it first");
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
    }
    Json(json!({ "model": model, "embeddings": [[0.01, -0.02, 0.03]] })).into_response()
}
