//! The only code that changes the world. Every act takes the consent that was given, refuses a step that
//! is not in its plan, looks at its precondition again together with the act, and ends by a deadline.

mod apply;
mod care;
mod files;
mod http;
mod postgres;
mod proof;
mod redis;
mod systemd;
mod upkeep;

pub use apply::{Done, Failed, Sessions, World, apply};
pub use care::ours;
pub use files::read as drop_in;
pub use upkeep::{Tell, grant};
