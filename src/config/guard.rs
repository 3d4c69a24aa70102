//! What holds recoveries back, though a plan would stand: how often, by whose word, and what is never
//! touched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::Program;
use super::span::Span;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Before the same is done to the same again; it doubles with each time within a day.
    pub cooldown: Span,
    /// How often within a day one unit is started, stopped or restarted.
    pub budget: u32,
    /// Asked before anything is done: where it ends with an error, nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<Program>,
    /// Names of services and servers, and units, that are left to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

impl Default for Guard {
    /// Of a snapshot from before it could be set.
    fn default() -> Self {
        Self { cooldown: Span(Duration::from_secs(300)), budget: 6, veto: None, never: Vec::new() }
    }
}
