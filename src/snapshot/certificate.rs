//! The certificate that a server showed, as far as a rule needs it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Its own, not that of an authority above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub begins: Timestamp,
    pub ends: Timestamp,
}
