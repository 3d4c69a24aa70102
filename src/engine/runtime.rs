//! The runtime of a look. Two workers: one that is kept busy can't hold up the other's deadlines.

use crate::error::{Error, Kind, Result};
use crate::probe::descriptors;

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    descriptors::raise();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Internal, format!("the runtime can't be started: {e}")))
}
