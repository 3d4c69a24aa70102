//! `mcp-ir`: what is broken, why, how sure that is, and what to type next.
//!
//! Ground rules, which every part keeps:
//! - It never lies. Unknown is an answer; a missing value never verifies; a figure names its
//!   source. Better to say nothing than a wrong cause.
//! - A failed look is a reading, not an error: the program goes on and says what it saw.
//! - Looks only read. Nothing is changed but by `recover` and `undo`: agreed to, written to a journal
//!   before it begins, and looked at afterwards.
//! - Every look has a deadline that holds, also where a call never returns.
//! - No secret, no literal of a statement, no raw text of others leaves the program.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let start = Instant::now();
    ExitCode::from(mcp_ir::cli::run(std::env::args_os().collect(), start))
}
