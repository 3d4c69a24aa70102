//! The program as a user runs it: what is printed, where, and the exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod desk;
mod diagnose;
mod earlier;
mod errors;
mod evidence;
mod hold;
mod monitors;
mod recover;
mod schemas;
mod sessions;
mod texts;
mod verify;
