//! The sample server's connection pool: real connections, a real limit.
//! It logs what goes wrong as a server would: to stderr, and so to the journal.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Status, Timeouts,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::NoTls;

use super::tls;

/// How long a health check waits for a connection: the real server's figure.
pub const ACQUIRE: Duration = Duration::from_secs(1);

/// The real server's limit of its pool.
const LARGEST: usize = 100;

/// In the words of the library that the real server reads its settings with.
fn too_large(name: &str, value: usize) -> String {
    format!(
        "1 validation error for Settings\n{name}\n  Input should be less than or equal to {LARGEST} \
         [type=less_than_equal, input_value='{value}', input_type=str]"
    )
}

pub struct Database {
    pub name: String,
    pub min: usize,
    pool: Pool,
    /// All but those that `LAB_KEPT` says are for its health alone.
    for_work: Semaphore,
    /// With `LAB_FRESH` every search has a connection of its own, made for it.
    fresh: Option<Pool>,
}

impl Database {
    /// From `DATABASE_URL`, `POOL_MIN_SIZE`, `POOL_MAX_SIZE`; `LAB_KEPT`, `LAB_FRESH`.
    pub fn from_env(name: &str) -> Result<Self> {
        let url = env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
        // The services' own library names its driver in the scheme; libpq's scheme has none.
        let url = url.replacen("postgresql+asyncpg://", "postgresql://", 1);
        let (url, tls) = tls::asked_for(&url)?;
        let mut config: tokio_postgres::Config =
            url.parse().context("DATABASE_URL is not a URL of PostgreSQL")?;
        config.application_name(name);
        let (min, max) = (size("POOL_MIN_SIZE", 2)?, size("POOL_MAX_SIZE", 10)?);
        let largest = size("LAB_POOL_LARGEST", LARGEST)?;
        ensure!(max <= largest, "{}", too_large("POOL_MAX_SIZE", max));
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let build = |most: usize| {
            let (config, fast) = (config.clone(), fast.clone());
            let manager = match tls.clone() {
                Some(tls) => Manager::from_config(config, tls, fast),
                None => Manager::from_config(config, NoTls, fast),
            };
            let pool = Pool::builder(manager).max_size(most).runtime(Runtime::Tokio1);
            pool.build().context("the pool could not be built")
        };
        let for_work = Semaphore::new(max.saturating_sub(size("LAB_KEPT", 0)?));
        let fresh = env::var("LAB_FRESH").is_ok().then(|| build(LARGEST)).transpose()?;
        Ok(Self { name: name.to_owned(), min, pool: build(max)?, for_work, fresh })
    }

    /// A connection, waiting at most `wait` for a free one or a new one.
    pub async fn acquire(&self, wait: Option<Duration>) -> Result<Object, String> {
        let limits = Timeouts { wait, create: wait.or(Some(Duration::from_secs(10))), recycle: None };
        self.pool.timeout_get(&limits).await.map_err(|e| self.logged(&(&e).into()))
    }

    /// For one search, and to be given back.
    pub async fn for_work(&self, wait: Duration) -> Result<(Object, SemaphorePermit<'_>), String> {
        let permit = self.for_work.acquire().await.map_err(|e| e.to_string())?;
        let Some(fresh) = &self.fresh else { return Ok((self.acquire(Some(wait)).await?, permit)) };
        let made = fresh.get().await.map_err(|e| self.logged(&(&e).into()))?;
        Ok((made, permit))
    }

    pub fn give_back(&self, (client, permit): (Object, SemaphorePermit<'_>)) {
        if self.fresh.is_some() {
            drop(Object::take(client));
        } else {
            drop(client);
        }
        drop(permit);
    }

    pub fn max(&self) -> usize {
        self.pool.status().max_size
    }

    /// Until the process ends.
    pub fn resize(&self, max: usize) {
        let former = self.max();
        self.pool.resize(max);
        if max > former {
            self.for_work.add_permits(max - former);
        } else {
            self.for_work.forget_permits(former - max);
        }
    }

    /// Numbers of the pool, connections that are known to be dead not counted.
    pub fn status(&self) -> Status {
        self.pool.retain(|client, _| !client.is_closed());
        self.pool.status()
    }

    /// Closes idle connections beyond the minimum.
    pub fn shrink(&self) {
        let mut kept = 0;
        self.pool.retain(|_, _| {
            kept += 1;
            kept <= self.min
        });
    }

    /// Opens what is missing to the minimum. Taking all of them at once is the only
    /// way to make the pool open new ones.
    pub async fn fill_to_minimum(&self) {
        let mut taken = Vec::new();
        while self.status().size < self.min && taken.len() < self.min {
            match self.acquire(Some(ACQUIRE)).await {
                Ok(client) => taken.push(client),
                Err(_) => break,
            }
        }
    }

    /// Into the log goes all that is known; an answer holds what was said.
    pub fn logged(&self, error: &Trouble) -> String {
        eprintln!("{}: ERROR database: {}{}", self.name, error.said, error.code);
        error.said.clone()
    }
}

/// What went wrong, in the words of whoever said it, and the SQLSTATE where there is one.
pub struct Trouble {
    said: String,
    code: String,
}

fn size(variable: &str, default: usize) -> Result<usize> {
    match env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text} is not a number")),
        Err(_) => Ok(default),
    }
}

impl From<&PoolError> for Trouble {
    fn from(error: &PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => {
                Self { said: "no connection from the pool within 1.0 s".into(), code: String::new() }
            }
            PoolError::Backend(e) => e.into(),
            other => Self { said: other.to_string(), code: String::new() },
        }
    }
}

impl From<&tokio_postgres::Error> for Trouble {
    fn from(error: &tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            let code = format!(" ({} {})", db.severity(), db.code().code());
            return Self { said: db.message().to_owned(), code };
        }
        let mut said = error.to_string();
        let mut inner = std::error::Error::source(error);
        while let Some(cause) = inner {
            said = format!("{said}: {cause}");
            inner = cause.source();
        }
        Self { said, code: String::new() }
    }
}
