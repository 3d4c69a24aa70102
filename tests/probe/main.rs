//! The probes against real servers, through the library's public door. What needs none stands
//! beside the code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod documents;
mod postgres;
mod proxy;
mod redis;
mod redis_tls;
mod tls;
mod work;
