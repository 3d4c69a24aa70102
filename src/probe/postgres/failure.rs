//! The client library's errors as facts. Keeps PostgreSQL's SQLSTATE, routine and text apart.

use std::error::Error as _;

use crate::config::mask;
use crate::probe::io_failure;
use crate::snapshot::{FailKind, Failure, PgRefusal, Stage};

pub fn failure(e: &tokio_postgres::Error) -> Failure {
    if let Some(db) = e.as_db_error() {
        return refused(db);
    }
    let all = chain(e);
    if let Some(io) = io_source(e) {
        return io_failure(io, "login").at(Stage::Answer);
    }
    let kind = if e.is_closed() {
        FailKind::Closed
    } else if all.contains("password missing") {
        return Failure::new(FailKind::Denied, "the server asks for a password, and none is configured")
            .at(Stage::Answer);
    } else if all.contains("error performing TLS handshake") || all.contains("server does not support TLS") {
        FailKind::Tls
    } else if all.contains("authentication") || all.contains("SCRAM") {
        FailKind::Denied
    } else {
        FailKind::Malformed
    };
    Failure::new(kind, mask::text(&all)).at(Stage::Answer)
}

fn refused(db: &tokio_postgres::error::DbError) -> Failure {
    let kind = match db.code().code() {
        "57014" => FailKind::TimedOut,
        "57P03" => FailKind::Refused,
        _ => FailKind::Denied,
    };
    let message = mask::text(db.message());
    let mut f = Failure::new(kind, format!("{message} (SQLSTATE {})", db.code().code())).at(Stage::Answer);
    f.postgres = Some(Box::new(PgRefusal {
        sqlstate: db.code().code().to_owned(),
        message,
        detail: db.detail().map(mask::text),
        routine: db.routine().map(ToOwned::to_owned),
    }));
    f
}

/// All messages of an error, from the outer to the inner.
fn chain(e: &tokio_postgres::Error) -> String {
    let mut out = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        let text = s.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        source = s.source();
    }
    out
}

/// The I/O error at the bottom, unless TLS made it up for its own errors.
fn io_source(e: &tokio_postgres::Error) -> Option<&std::io::Error> {
    let mut source = e.source();
    while let Some(s) = source {
        if let Some(io) = s.downcast_ref::<std::io::Error>() {
            let inner_tls = io.get_ref().is_some_and(|i| i.is::<rustls::Error>());
            return (!inner_tls
                && io.kind() != std::io::ErrorKind::InvalidData
                && io.kind() != std::io::ErrorKind::InvalidInput)
                .then_some(io);
        }
        source = s.source();
    }
    None
}
