//! One look for a verb: the runtime, the progress line, and an end that waits for nobody.

use std::time::Instant;

use super::tree::{Global, Output};
use crate::config::Loaded;
use crate::engine::{self, Awaited, Looked, Plan};
use crate::error::Result;
use crate::render::Progress;

/// Takes a look, with the progress line where people look on.
pub fn look(loaded: &Loaded, global: &Global, start: Instant, plan: &Plan) -> Result<Looked> {
    let runtime = engine::runtime()?;
    let awaited = Awaited::default();
    let progress = Progress::new(global.quiet || global.output != Output::Human);
    let looked = runtime.block_on(async {
        tokio::select! {
            looked = engine::look(loaded, &awaited, start, plan) => looked,
            never = progress.run(start, || awaited.names()) => match never {},
        }
    });
    // A blocking call that never returns is left behind, not waited for.
    runtime.shutdown_background();
    Ok(looked)
}
