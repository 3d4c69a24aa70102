//! The program's own errors: what, and what to try next.

use serde_json::json;

use super::style::Paint;
use super::text;
use crate::error::Error;

pub const SCHEMA: &str = "mcp-ir/error/1";

/// Without the number that the standard library puts behind an I/O error.
fn plain(message: &str) -> String {
    match message.split_once(" (os error ") {
        Some((head, tail)) => format!("{head}{}", tail.split_once(')').map_or("", |(_, rest)| rest)),
        None => message.to_owned(),
    }
}

/// As JSON for stdout, or as text for stderr.
pub fn error(e: &Error, as_json: bool, colors: bool) -> String {
    if as_json {
        let doc = json!({
            "schema": SCHEMA,
            "error": { "kind": e.kind.word(), "message": plain(&e.message), "hints": e.hints },
        });
        return text::json(&format!("{doc:#}")) + "\n";
    }
    let paint = Paint(colors);
    let mut out = format!("{} {}\n", paint.strong("error:"), text::block(&plain(&e.message)));
    for hint in &e.hints {
        out.push_str(&format!("  {} {}\n", paint.faint("try:"), text::block(hint)));
    }
    out
}
