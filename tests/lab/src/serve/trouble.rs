//! Misbehaviour of the process itself: memory, threads, the processor, its queue, its cache.
//! All of it is real: what stops it is the kernel.

use std::fs;
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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

#[derive(Deserialize)]
pub struct ChurnQuery {
    /// Kept.
    mib: usize,
    /// Written again and again, as a log would be.
    file: Option<PathBuf>,
}

/// Keeps so much memory, and has the kernel keep a file in what is left.
pub async fn churn(State(server): State<Arc<Server>>, Query(query): Query<ChurnQuery>) -> StatusCode {
    let kept: Vec<Vec<u8>> = (0..query.mib).map(|_| vec![1; 1 << 20]).collect();
    thread::spawn(move || {
        if let Some(file) = &query.file
            && let Err(e) = write_on(file)
        {
            eprintln!("{}: ERROR {}: {e}", server.database.name, file.display());
        }
        thread::sleep(Duration::from_secs(600));
        drop(kept);
    });
    StatusCode::ACCEPTED
}

fn write_on(path: &Path) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    for n in 0_u64.. {
        file.write_all(&[7; 1 << 20])?;
        if n % 4 == 3 {
            file.sync_data()?;
            thread::sleep(Duration::from_millis(10));
        }
        if n % 256 == 255 {
            file.rewind()?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct GrowQuery {
    /// Every second.
    mib: usize,
    secs: u64,
}

/// Takes memory, second by second, and keeps it.
pub async fn grow(Query(query): Query<GrowQuery>) -> StatusCode {
    thread::spawn(move || {
        let mut kept = Vec::new();
        for _ in 0..query.secs {
            kept.extend((0..query.mib).map(|_| vec![1_u8; 1 << 20]));
            thread::sleep(Duration::from_secs(1));
        }
        thread::sleep(Duration::from_secs(600));
        drop(kept);
    });
    StatusCode::ACCEPTED
}

#[derive(Deserialize)]
pub struct OpenQuery {
    to: SocketAddr,
    n: usize,
}

/// Connects so often, and forgets to close; says so when it gets no more.
pub async fn open(State(server): State<Arc<Server>>, Query(query): Query<OpenQuery>) -> StatusCode {
    let mut kept = Vec::new();
    for _ in 0..query.n {
        match std::net::TcpStream::connect(query.to) {
            Ok(made) => kept.push(made),
            Err(e) => {
                eprintln!("{}: ERROR connect {}: {e}", server.database.name, query.to);
                break;
            }
        }
    }
    thread::spawn(move || {
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
