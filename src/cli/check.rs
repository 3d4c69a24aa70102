//! `mcp-ir config check`: the preflight. One look at everything; what it may not see, and the grant.

use std::time::Instant;

use super::exit::Exit;
use super::load::load;
use super::look::look;
use super::run::say;
use super::tree::Global;
use crate::diagnosis::{Permit, permissions};
use crate::engine::{Depth, Plan};
use crate::error::Result;
use crate::render::{self, Out};

pub fn run(global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let loaded = load(global)?;
    let now = look(&loaded, global, start, &Plan::of(Depth::Everything))?.looks.now;
    let all = permissions(&now);
    let text = if global.json() {
        render::document(&serde_json::json!({
            "schema": "mcp-ir/permissions/1", "vantage": now.vantage, "warnings": loaded.warnings, "permissions": all,
        }))?
    } else {
        for warning in &loaded.warnings {
            out.note(&format!("warning: {}\n", render::text::line(warning)));
        }
        render::permissions(&all, out)
    };
    say(&text, out)?;
    let any = |state| all.iter().any(|p| p.state == state);
    Ok(match (any(Permit::Missing), any(Permit::Untried)) {
        (true, _) => Exit::Problem,
        (false, true) => Exit::Unknown,
        (false, false) => Exit::Fine,
    })
}
