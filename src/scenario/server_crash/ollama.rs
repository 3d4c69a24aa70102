//! An Ollama that takes no work: it does not answer, or the model that is asked of it is not there.
//! An unloaded model is none: it is loaded when it is asked for.

use super::dependency::{Dependency, Trouble};
use crate::config::Config;
use crate::snapshot::{Looks, Reading, Snapshot};

pub fn all<'a>(_: &'a Looks, _: &'a Config) -> Vec<(Dependency<'a>, Option<Trouble>)> {
    Vec::new()
}

pub fn answer(_: &Snapshot, _: &str) -> Option<Reading<()>> {
    None
}
