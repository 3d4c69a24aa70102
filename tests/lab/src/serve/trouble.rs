//! Misbehaviour of the process itself: memory, threads, the processor, its queue, its cache.
//! All of it is real: what stops it is the kernel.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::run::Server;

#[derive(Deserialize)]
pub struct AllocateQuery {
    mib: usize,
}

/// Takes memory, a mebibyte at a time, and keeps it.
pub async fn allocate(State(server): State<Arc<Server>>, Query(query): Query<AllocateQuery>) -> StatusCode {
    println!("{}: building an index", server.database.name);
    thread::spawn(move || {
        let mut kept = Vec::new();
        for n in 0..query.mib {
            kept.push(vec![u8::try_from(n % 251).unwrap_or(1) | 1; 1 << 20]);
        }
        thread::sleep(Duration::from_secs(600));
        drop(kept);
    });
    StatusCode::ACCEPTED
}

/// One thread runs for ever, and holds what every answer needs.
pub async fn spin(State(server): State<Arc<Server>>) -> StatusCode {
    thread::spawn(move || server.admin.spin());
    StatusCode::ACCEPTED
}

/// No connection is accepted from now on.
pub async fn deaf(State(server): State<Arc<Server>>) -> StatusCode {
    server.admin.deaf.notify_one();
    StatusCode::ACCEPTED
}

/// The listener is closed; the process goes on.
pub async fn close(State(server): State<Arc<Server>>) -> StatusCode {
    server.admin.closed.notify_one();
    StatusCode::ACCEPTED
}

#[derive(Deserialize)]
pub struct ThreadsQuery {
    n: usize,
}

/// A thread for every job, as many as the kernel gives; then it says that there are no more.
pub async fn threads(State(server): State<Arc<Server>>, Query(query): Query<ThreadsQuery>) -> StatusCode {
    for _ in 0..query.n {
        let job =
            thread::Builder::new().stack_size(64 << 10).spawn(|| thread::sleep(Duration::from_secs(600)));
        if let Err(e) = job {
            eprintln!("{}: ERROR can't start new thread: {e}", server.database.name);
            server.admin.break_down();
            break;
        }
    }
    StatusCode::ACCEPTED
}

/// With `CACHE_DIR` set: an index is read from there, and made where there is none.
pub fn load_cache(name: &str) -> Result<()> {
    let Ok(folder) = std::env::var("CACHE_DIR") else { return Ok(()) };
    let file = Path::new(&folder).join("index.json");
    if file.exists() {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read cache {}", file.display()))?;
        serde_json::from_str::<serde_json::Value>(&text)
            .with_context(|| format!("cannot load cache {}: corrupted", file.display()))?;
        println!("{name}: index loaded from {}", file.display());
        return Ok(());
    }
    let index = serde_json::json!({ "chunks": vec!["0123456789abcdef"; 4096] });
    fs::write(&file, index.to_string()).with_context(|| format!("cannot write {}", file.display()))
}
