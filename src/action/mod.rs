//! The only code that changes the world. Every act takes the consent that was given, refuses a step that
//! is not in its plan, looks at its precondition again together with the act, and ends by a deadline.

mod apply;
mod aside;
mod care;
mod connections;
mod files;
mod holder;
mod http;
mod postgres;
mod proof;
mod redis;
mod removal;
mod systemd;
mod upkeep;

pub use apply::{Done, Failed, Sessions, World, apply};
pub use aside::look as aside;
pub use care::ours;
pub use connections::written as connections_written;
pub use files::read as drop_in;
pub use holder::at as listens_at;
pub use upkeep::{Tell, may_not};
