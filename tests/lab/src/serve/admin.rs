//! Misbehaviour on command: held connections, wrong answers, sudden ends.
//! Each fault is a real one: real sessions, real transactions, a real exit status.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use deadpool_postgres::Object;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio_postgres::NoTls;

use super::run::Server;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    #[default]
    Normal,
    Unhealthy,
    Html,
    Garbage,
    Denied,
    Redirect,
    Never,
}

pub struct Admin {
    answer: Mutex<Answer>,
    /// Bumped to make every holder let go.
    release: watch::Sender<u64>,
    /// Told once: no connection is accepted any more.
    pub deaf: Notify,
    /// Told once: the listener is closed, and all else goes on.
    pub closed: Notify,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            answer: Mutex::default(),
            release: watch::channel(0).0,
            deaf: Notify::new(),
            closed: Notify::new(),
        }
    }
}

impl Admin {
    pub fn answer(&self) -> Answer {
        self.answer.lock().map(|a| *a).unwrap_or_default()
    }

    /// Takes what every answer needs, and never gives it back: as a worker that loops in a lock.
    pub fn spin(&self) {
        let _held = self.answer.lock();
        loop {
            std::hint::spin_loop();
        }
    }

    /// It says so from now on, until it is reset.
    pub fn break_down(&self) {
        self.set_answer(Answer::Unhealthy);
    }

    fn set_answer(&self, answer: Answer) {
        if let Ok(mut now) = self.answer.lock() {
            *now = answer;
        }
    }
}

#[derive(Deserialize)]
pub struct Resize {
    max_size: usize,
}

pub async fn resize(State(server): State<Arc<Server>>, Json(to): Json<Resize>) -> StatusCode {
    server.database.resize(to.max_size);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
pub struct AnswerQuery {
    #[serde(rename = "as")]
    kind: Answer,
}

pub async fn answer(State(server): State<Arc<Server>>, Query(query): Query<AnswerQuery>) -> StatusCode {
    server.admin.set_answer(query.kind);
    StatusCode::NO_CONTENT
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldMode {
    /// Short queries one after another: a busy pool.
    Query,
    /// A table lock in a transaction that then does nothing.
    Lock,
    /// A transaction that has read something, and then does nothing.
    Idle,
    /// One query that lasts as long as it is held.
    Long,
    /// One short query; then the connection is forgotten, but never given back.
    Leak,
}

impl HoldMode {
    /// What is done at first, before the connection is left alone.
    fn first(self) -> Option<&'static str> {
        match self {
            Self::Query | Self::Long => None,
            Self::Lock => Some("BEGIN; LOCK TABLE code_chunks IN ACCESS EXCLUSIVE MODE"),
            Self::Idle => Some("BEGIN; SELECT count(*) FROM repositories"),
            Self::Leak => Some("SELECT name FROM repositories WHERE id = 3"),
        }
    }
}

#[derive(Deserialize)]
pub struct HoldQuery {
    n: usize,
    secs: u64,
    mode: HoldMode,
}

/// Answers when all that fit in the pool are held, and hold what they are to hold; those beyond its size wait in line.
pub async fn hold(State(server): State<Arc<Server>>, Query(query): Query<HoldQuery>) -> StatusCode {
    let (ready, mut count) = tokio::sync::mpsc::channel::<()>(query.n.max(1));
    for _ in 0..query.n {
        let (server, ready) = (Arc::clone(&server), ready.clone());
        let mut release = server.admin.release.subscribe();
        tokio::spawn(async move {
            let client = tokio::select! {
                got = server.database.acquire(Some(Duration::from_secs(600))) => got,
                _ = release.changed() => return,
            };
            let Ok(client) = client else { return };
            let until = tokio::time::sleep(Duration::from_secs(query.secs));
            let held = async {
                if let Some(sql) = query.mode.first() {
                    client.batch_execute(sql).await?;
                }
                let _ = ready.send(()).await;
                match query.mode {
                    HoldMode::Query => busy(&client).await,
                    HoldMode::Long => {
                        client.batch_execute("SELECT count(*), pg_sleep(600) FROM code_chunks").await
                    }
                    HoldMode::Lock | HoldMode::Idle | HoldMode::Leak => std::future::pending().await,
                }
            };
            tokio::select! {
                done = held => if let Err(e) = done { server.database.logged(&(&e).into()); },
                _ = release.changed() => {}
                () = until => {}
            }
            // A connection with an open transaction or query must not go back: close it.
            if query.mode == HoldMode::Long {
                let _ = client.cancel_token().cancel_query(NoTls).await;
            }
            if query.mode != HoldMode::Query {
                drop(Object::take(client));
            }
        });
    }
    let fits = query.n.min(server.database.max());
    let all = async {
        for _ in 0..fits {
            count.recv().await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(5), all).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::CONFLICT,
    }
}

async fn busy(client: &Object) -> Result<(), tokio_postgres::Error> {
    loop {
        client.query_one("SELECT count(*) FROM code_chunks, pg_sleep(0.02)", &[]).await?;
    }
}

#[derive(Deserialize)]
pub struct ExitQuery {
    #[serde(default)]
    code: Option<i32>,
}

/// Ends this process: with an exit code, or by SIGABRT without one.
pub async fn exit(State(server): State<Arc<Server>>, Query(query): Query<ExitQuery>) -> StatusCode {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await; // let the answer leave first
        let name = &server.database.name;
        match query.code {
            Some(0) => {
                println!("{name}: all work done, leaving");
                std::process::exit(0)
            }
            Some(code) => {
                eprintln!("{name}: ERROR unhandled exception in a worker, giving up");
                std::process::exit(code)
            }
            None => {
                eprintln!("{name}: fatal: assertion failed: index.len() == chunks.len()");
                std::process::abort()
            }
        }
    });
    StatusCode::ACCEPTED
}

/// Everything as it was after the start: nothing held, true answers, a small pool.
pub async fn reset(State(server): State<Arc<Server>>) -> StatusCode {
    server.admin.set_answer(Answer::Normal);
    server.mcp.behave(super::mcp::Manner::Normal);
    server.admin.release.send_modify(|n| *n += 1);
    for _ in 0..50 {
        let pool = server.database.status();
        if pool.available == pool.size {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.database.shrink();
    StatusCode::NO_CONTENT
}
