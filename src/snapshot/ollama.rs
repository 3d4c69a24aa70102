//! What Ollama says of itself: the names of the models on its disk. Which are loaded says nothing:
//! an unloaded one is loaded when it is asked for.

use serde::{Deserialize, Serialize};

use super::reading::{FailKind, Look};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OllamaLook {
    /// `127.0.0.1:11434`.
    pub endpoint: String,
    /// Whether it is on this host; unknown where its name does not resolve.
    pub here: Option<bool>,
    /// `/api/tags`, all of them; the symptom.
    pub models: Look<Vec<String>>,
}

impl OllamaLook {
    /// No word of its own came: what runs it may say why.
    pub fn is_silent(&self) -> bool {
        let ours = |k| matches!(k, FailKind::NotTried | FailKind::Denied);
        self.models.failure().is_some_and(|f| f.code.is_none() && !ours(f.kind))
    }
}
