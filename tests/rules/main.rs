//! The rules, by hundreds and in milliseconds: a snapshot goes in, a diagnosis comes out.
//! No probe, no clock, no network. A stack starts healthy (`stack`), is bent by one line, is judged (`told`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ahead;
mod any_server;
mod anything;
mod auth;
mod certificate;
mod chains;
mod changes;
mod contained;
mod containers;
mod containers_limits;
mod crash;
mod crash_journal;
mod crash_own;
mod crash_reason;
mod crash_silent;
mod db_disk;
mod db_down;
mod db_inside;
mod db_refused;
mod db_service;
mod db_words;
mod disks;
mod filters;
mod firewall;
mod graph;
mod idle;
mod latency;
mod latency_any;
mod latency_beside;
mod latency_host;
mod latency_network;
mod latency_tables;
mod leak;
mod long;
mod many;
mod mcp;
mod memory;
mod noise;
mod ollama;
mod payload;
mod pool;
mod pooler;
mod recorded;
mod redis;
mod slots;
mod stack;
mod target;
mod told;
mod two;
mod verdict;
mod way;
mod why_not;
