//! Sessions in PostgreSQL for code that is not async: the administrator's, and the culprits'.
//! A session lives until it is dropped; each statement has a deadline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

const LIMIT: Duration = Duration::from_secs(10);

/// One open session. Dropping it ends it.
pub struct Session {
    client: Arc<Client>,
    gone: Arc<Notify>,
    runtime: Arc<Runtime>,
}

impl Session {
    pub fn open(runtime: &Arc<Runtime>, config: &Config) -> Result<Self> {
        let client = runtime.block_on(async {
            let (client, connection) = timeout(LIMIT, config.connect(NoTls)).await??;
            tokio::spawn(connection);
            anyhow::Ok(client)
        })?;
        Ok(Self { client: Arc::new(client), gone: Arc::default(), runtime: Arc::clone(runtime) })
    }

    /// Sends a statement and waits for nothing; it runs until the session is dropped.
    pub fn send(&self, sql: &str) {
        let client = Arc::clone(&self.client);
        let sql = sql.to_owned();
        let (gone, cancel) = (Arc::clone(&self.gone), self.client.cancel_token());
        self.runtime.spawn(async move {
            tokio::select! {
                _ = client.simple_query(&sql) => {}
                () = gone.notified() => { let _ = cancel.cancel_query(NoTls).await; }
            }
        });
    }

    /// Runs statements; gives the first column of every row.
    pub fn run(&self, sql: &str) -> Result<Vec<String>> {
        let messages = self
            .runtime
            .block_on(async { timeout(LIMIT, self.client.simple_query(sql)).await })
            .with_context(|| format!("no answer to {sql}"))?
            .with_context(|| format!("failed: {sql}"))?;
        let rows = messages.iter().filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        Ok(rows.collect())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gone.notify_waiters();
    }
}

/// The superuser by the socket in `folder`: reserved slots are for him.
pub fn superuser(folder: &Path, port: u16, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(folder).port(port).user("postgres").dbname(database);
    config.application_name("lab").connect_timeout(LIMIT);
    config
}

/// A role by TCP and password, as the services do it.
pub fn role(port: u16, secret: &crate::Secret, application: &str) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(secret.role).password(secret.password);
    config.dbname("codebase_mcp").application_name(application).connect_timeout(LIMIT);
    config
}
