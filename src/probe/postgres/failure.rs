//! The client library's errors as facts. Keeps PostgreSQL's SQLSTATE, routine and text apart.
//! Says no address: that stands beside the reading.

use std::error::Error as _;
use std::io;

use crate::probe::{io_failure, said, tls_error};
use crate::snapshot::{FailKind, Failure, PgRefusal, Stage};

/// The longest text of a server that is kept, in characters.
const TEXT: usize = 300;

pub fn failure(e: &tokio_postgres::Error) -> Failure {
    if let Some(db) = e.as_db_error() {
        return refused(
            db.code().code(),
            db.message(),
            db.detail().map(ToOwned::to_owned),
            db.routine().map(ToOwned::to_owned),
        );
    }
    let mut why = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        if let Some(io) = s.downcast_ref::<io::Error>() {
            return spoken(io);
        }
        why = s.to_string();
        source = s.source();
    }
    let fact = |kind, text: String| Failure::new(kind, text).at(Stage::Answer);
    if e.is_closed() {
        return fact(FailKind::Closed, "connection closed in the middle".into());
    }
    if why.contains("password missing") {
        return fact(FailKind::Denied, "the server asks for a password, and none is configured".into());
    }
    if e.to_string().contains("authentication") {
        return fact(FailKind::Denied, format!("a login of another kind: {}", said(&why, TEXT)));
    }
    fact(FailKind::Malformed, format!("not PostgreSQL's answer: {}", said(&why, TEXT)))
}

/// An I/O error of the library. Of a stream that ends it makes two, and its reader one more of a
/// message that is shorter than it says, though the stream goes on.
fn spoken(e: &io::Error) -> Failure {
    let text = e.to_string();
    if text == "bytes remaining on stream" {
        return failed_io(&io::ErrorKind::UnexpectedEof.into());
    }
    if e.kind() == io::ErrorKind::UnexpectedEof && !text.contains("close_notify") {
        return failed_io(&io::Error::new(io::ErrorKind::InvalidData, "a message that ends too early"));
    }
    failed_io(e)
}

/// An I/O error of a login; TLS and the protocol's reader put their own errors in one.
pub fn failed_io(e: &io::Error) -> Failure {
    if let Some(tls) = tls_error(e) {
        return Failure::new(FailKind::Tls, tls.to_string()).at(Stage::Tls);
    }
    match e.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            let text = format!("not PostgreSQL's answer: {}", said(&e.to_string(), TEXT));
            Failure::new(FailKind::Malformed, text).at(Stage::Answer)
        }
        _ => io_failure(e, "").at(Stage::Answer),
    }
}

/// What came after the `E` of a server that refuses before it speaks of TLS: an ErrorResponse, or,
/// where it could not even start a process for us, a text that ends with NUL.
pub fn early(rest: &[u8]) -> Failure {
    let text = |b: &[u8]| String::from_utf8_lossy(b).trim().to_owned();
    let Some(fields) = rest.strip_prefix(&[0, 0]).and_then(|r| r.get(2..)) else {
        let words = text(rest.split(|b| *b == 0).next().unwrap_or_default());
        return Failure::new(FailKind::Unsupported, format!("refused at once: {}", said(&words, TEXT)))
            .at(Stage::Answer);
    };
    let field =
        |kind: u8| fields.split(|b| *b == 0).find(|f| f.first() == Some(&kind)).map(|f| text(&f[1..]));
    match field(b'C') {
        Some(code) => refused(&code, &field(b'M').unwrap_or_default(), field(b'D'), field(b'R')),
        None => Failure::new(FailKind::Malformed, "not PostgreSQL's answer").at(Stage::Answer),
    }
}

fn refused(code: &str, message: &str, detail: Option<String>, routine: Option<String>) -> Failure {
    let kind = match code {
        // Cancelled, by a limit too; a lock that was not to be had in time.
        "57014" | "55P03" => FailKind::TimedOut,
        "57P03" => FailKind::Refused,
        // An administrator ended the session, or a crash did.
        "57P01" | "57P02" | "57P05" => FailKind::Closed,
        // What was asked for is not in this version, or not in what stands between.
        "42883" | "42703" | "42P01" | "42704" | "42601" | "0A000" => FailKind::Unsupported,
        _ => FailKind::Denied,
    };
    let message = said(message, TEXT);
    let mut f = Failure::new(kind, format!("{message} (SQLSTATE {code})")).at(Stage::Answer);
    let detail = detail.map(|d| said(&d, TEXT));
    f.postgres = Some(PgRefusal { sqlstate: code.to_owned(), message, detail, routine }.into());
    f
}
