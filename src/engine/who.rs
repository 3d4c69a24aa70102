//! Asks every configured server for its sessions, all at once.

use std::future::Future;
use std::time::Instant;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::awaited::Awaited;
use super::runtime::runtime;
use crate::config::Loaded;
use crate::error::Result;
use crate::probe::postgres;
use crate::snapshot::Reading;
use crate::snapshot::who::Who;

pub struct WhoLook {
    pub taken_at: Timestamp,
    pub servers: Vec<WhoServer>,
}

pub struct WhoServer {
    pub name: String,
    pub endpoint: String,
    pub reading: Reading<Who>,
}

/// `meanwhile` goes on until the servers have answered, and ends with them.
pub fn who(loaded: &Loaded, awaited: &Awaited, meanwhile: impl Future, start: Instant) -> Result<WhoLook> {
    let deadline = start + loaded.config.timeout.0;
    let runtime = runtime()?;
    #[expect(clippy::disallowed_methods, reason = "the time of the look itself")]
    let taken_at = Timestamp::now();
    let ask = ask(loaded, awaited, deadline);
    let servers = runtime.block_on(async {
        tokio::pin!(ask, meanwhile);
        loop {
            tokio::select! {
                servers = &mut ask => break servers,
                _ = &mut meanwhile => {}
            }
        }
    });
    runtime.shutdown_background();
    Ok(WhoLook { taken_at, servers })
}

/// The sessions of each, within a runtime that is there.
pub(super) async fn ask(loaded: &Loaded, awaited: &Awaited, deadline: Instant) -> Vec<WhoServer> {
    join_all(loaded.config.postgres.iter().map(|p| async move {
        let _guard = awaited.begin(&p.name);
        let reading = postgres::who(p, loaded.secrets.postgres(&p.name), deadline).await.into();
        WhoServer { name: p.name.clone(), endpoint: postgres::endpoint(p), reading }
    }))
    .await
}
