//! JSON documents: the whole of stdout, and nothing else on it.

use serde::Serialize;

use super::text;
use crate::error::{Error, Kind, Result};

pub fn document(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Kind::Internal, format!("the report can't be written as JSON: {e}")))?;
    Ok(text::json(&json) + "\n")
}
