//! Starting the sample server: its arguments, its state, its routes.
//! What it needs comes from the environment, as for the servers it stands for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::routing::{get, post};
use clap::{Args, ValueEnum};

use super::admin::{self, Admin};
use super::database::Database;
use super::mcp::{self, Endpoint};
use super::metrics::Metrics;
use super::needs::Needs;
use super::{health, slowly, trouble, work};

/// Which of the published health payloads the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// `connection_pool{size,min_size,max_size,free}`, always HTTP 200.
    A,
    /// `connection_pool{total_connections,…}` with `checks`, 503 when unhealthy.
    C,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service's name; PostgreSQL sees it as application_name
    #[arg(long)]
    pub name: String,
    #[arg(long)]
    pub listen: SocketAddr,
    #[arg(long, value_enum)]
    pub shape: Shape,
}

/// Shared by every request.
pub struct Server {
    pub shape: Shape,
    pub started: Instant,
    pub database: Database,
    pub needs: Needs,
    pub mcp: Endpoint,
    pub metrics: Metrics,
    pub admin: Admin,
}

/// Runs the server until it is told to end.
pub async fn serve(args: ServeArgs) -> Result<()> {
    rehearsed_start(&args.name).await?;
    trouble::load_cache(&args.name)?;
    let database = Database::from_env(&args.name)?;
    let server = Arc::new(Server {
        shape: args.shape,
        started: Instant::now(),
        database,
        needs: Needs::from_env()?,
        mcp: Endpoint::default(),
        metrics: Metrics::default(),
        admin: Admin::default(),
    });
    tokio::spawn(keep_warm(Arc::clone(&server)));

    let router = Router::new()
        .route("/health/status", get(health::status))
        .route("/metrics", get(work::metrics))
        .route("/search", post(work::search))
        .route("/mcp", post(mcp::post).delete(mcp::leave))
        .route("/lab/mcp", post(mcp::behave))
        .route("/lab/sessions", get(mcp::sessions))
        .route("/lab/hold", post(admin::hold))
        .route("/lab/answer", post(admin::answer))
        .route("/lab/exit", post(admin::exit))
        .route("/lab/reset", post(admin::reset))
        .route("/lab/allocate", post(trouble::allocate))
        .route("/lab/churn", post(trouble::churn))
        .route("/lab/grow", post(trouble::grow))
        .route("/lab/open", post(trouble::open))
        .route("/lab/spin", post(trouble::spin))
        .route("/lab/threads", post(trouble::threads))
        .route("/lab/deaf", post(trouble::deaf))
        .route("/lab/close", post(trouble::close))
        .merge(resizable())
        .with_state(Arc::clone(&server));
    let listener = slowly::Listener::bind(args.listen)?;
    println!("{} listens on {}", args.name, args.listen);
    let serving = async {
        until_closed(&server, axum::serve(listener, router)).await?;
        std::future::pending().await
    };
    tokio::select! {
        done = serving => done,
        () = told_to_end() => { println!("{}: SIGTERM, leaving", args.name); Ok(()) }
    }
}

/// Only some servers have it (errata 35).
fn resizable() -> Router<Arc<Server>> {
    match std::env::var_os("LAB_RESIZE") {
        Some(_) => Router::new().route("/admin/pool/resize", post(admin::resize)),
        None => Router::new(),
    }
}

/// Serves until its listener is to be closed, or it is told to accept no more: then the listener
/// stays, and what knocks waits in its queue.
async fn until_closed(server: &Server, serving: impl IntoFuture<Output = std::io::Result<()>>) -> Result<()> {
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        done = &mut serving => done.context("the listener failed"),
        () = server.admin.deaf.notified() => std::future::pending().await,
        () = server.admin.closed.notified() => {
            // Let the answer leave first.
            tokio::select! {
                done = &mut serving => done.context("the listener failed"),
                () = tokio::time::sleep(Duration::from_millis(50)) => Ok(()),
            }
        }
    }
}

/// `LAB_START=exit:CODE:SECONDS` makes a start that never listens and then dies:
/// a service that `Restart=` brings back again and again.
async fn rehearsed_start(name: &str) -> Result<()> {
    let Ok(plan) = std::env::var("LAB_START") else { return Ok(()) };
    let mut parts = plan.splitn(3, ':');
    let (Some("exit"), Some(code), Some(secs)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("LAB_START={plan}: exit:CODE:SECONDS is known")
    };
    let (code, secs): (i32, u64) = (code.parse()?, secs.parse()?);
    println!("{name}: loading the index");
    tokio::time::sleep(Duration::from_secs(secs)).await;
    eprintln!("{name}: ERROR unhandled exception during start, giving up");
    std::process::exit(code)
}

/// The pool library opens connections when they are asked for; the servers that
/// this one stands for keep a minimum open, and try again when it is lost.
async fn keep_warm(server: Arc<Server>) {
    loop {
        server.database.fill_to_minimum().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn told_to_end() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut term) => {
            term.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
