//! What is still awaited, for the progress line. Shared between the look and whoever shows it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Names of the looks under way.
#[derive(Debug, Clone, Default)]
pub struct Awaited(Arc<Mutex<BTreeSet<String>>>);

impl Awaited {
    /// Adds a name until the returned guard is dropped.
    pub fn begin(&self, name: impl Into<String>) -> Guard {
        let name = name.into();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        Guard { all: self.clone(), name }
    }

    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

pub struct Guard {
    all: Awaited,
    name: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
