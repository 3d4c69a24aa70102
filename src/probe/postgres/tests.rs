//! The login and the query against servers made for it; real ones are in `tests/probe`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::probe::testbed::{closed, full, heard, on_time, says, server, silent, soon};
use crate::snapshot::Stage;

mod query;
mod refusals;
mod wire;

fn at(address: SocketAddr, more: &str) -> Postgres {
    by_url(&format!("postgresql://ann@{address}/shop?{more}"))
}

fn by_url(url: &str) -> Postgres {
    serde_json::from_value(serde_json::json!({"name": "pg", "url": url})).unwrap()
}

/// Logs in without TLS.
async fn plain(address: SocketAddr) -> PostgresLook {
    look(&at(address, "sslmode=disable"), None, soon(2000)).await
}

/// Why the login failed.
fn why(look: &PostgresLook) -> (FailKind, Option<Stage>, String) {
    match &look.login.reading {
        Reading::Failed(f) => (f.kind, f.stage, f.detail.clone()),
        other => panic!("{other:?}"),
    }
}

/// The same of a look that is cut off after 300 ms; numbers as N.
async fn cut(p: Postgres) -> (FailKind, Option<Stage>, String) {
    let look = on_time(300, async |deadline| look(&p, None, deadline).await).await;
    let (kind, stage, text) = why(&look);
    let text = text.split_whitespace().map(|w| if w.parse::<u32>().is_ok() { "N" } else { w });
    (kind, stage, text.collect::<Vec<_>>().join(" "))
}

/// A message of PostgreSQL: its letter, its length, its body.
fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![letter];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

/// An ErrorResponse of these fields.
fn error(fields: &[(char, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (letter, text) in fields {
        body.extend(format!("{letter}{text}\0").as_bytes());
    }
    body.push(0);
    message(b'E', &body)
}

/// AuthenticationOk, BackendKeyData of process 7 and key 9, ReadyForQuery.
fn welcome() -> Vec<u8> {
    let key = [7u32.to_be_bytes(), 9u32.to_be_bytes()].concat();
    [message(b'R', &[0, 0, 0, 0]), message(b'K', &key), message(b'Z', b"I")].concat()
}

#[test]
fn rule_11_a_statement_of_ours_is_limited_by_the_server_and_leaves_nothing_in_a_session() {
    let sql = super::limited("SELECT 1");
    for part in ["BEGIN; ", "SET LOCAL statement_timeout", "SET LOCAL lock_timeout", "; SELECT 1; COMMIT"] {
        assert!(sql.contains(part), "{sql}");
    }
    assert!(!sql.replace("SET LOCAL", "").contains("SET "), "nothing outlives its transaction: {sql}");
}
