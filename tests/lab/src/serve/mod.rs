//! The sample server: a small service with a real pool on a real database.
//! It misbehaves only when told to, by the paths under `/lab`.

mod admin;
mod database;
mod health;
mod many;
mod mcp;
mod metrics;
mod needs;
mod ollama;
mod run;
mod slowly;
mod tls;
mod trouble;
mod work;

pub use many::{ManyArgs, large, many};
pub use ollama::{OllamaArgs, ollama};
pub use run::{ServeArgs, serve};
