//! What is under care, with which limits, and where each value came from.
//! It opens no connection, prints nothing, and never reads the current folder.

mod check;
mod defaults;
mod env;
mod files;
mod guard;
mod index;
mod keys;
mod layer;
mod load;
pub mod mask;
mod model;
mod origins;
mod pg_url;
mod pgpass;
mod places;
mod scrub;
mod secret;
mod secrets;
pub mod show;
mod span;
#[cfg(test)]
mod testbed;
mod thresholds;
mod url;

pub use defaults::{defaults, template};
pub use env::{Env, Flags};
pub use guard::Guard;
pub use index::Index;
pub use keys::{KEYS, Key, Shape};
pub use load::{Loaded, load, own_config};
pub use model::*;
pub use origins::{Origin, Origins};
pub use pg_url::{PgDefaults, PgHost, PgUrl, RootCert, SOCKET_FOLDER, SslMode};
pub use pgpass::find as find_password;
pub use scrub::Scrub;
pub use secret::{MASK, Secret};
pub use secrets::{Header, Password, PasswordSource, Secrets};
pub use span::Span;
pub use thresholds::Thresholds;
pub use url::RedisPlace;
