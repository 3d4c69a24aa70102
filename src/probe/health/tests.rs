//! The reader of health answers: what each payload says, and what no payload can make it say.

use super::*;

mod hostile;
mod shapes;

/// An answer of HTTP 200 with that body.
fn ok(body: impl Into<Vec<u8>>) -> Answer {
    answer(200, body)
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        content_type: "application/json".into(),
        location: None,
        body: body.into(),
        certificate: None,
    }
}

fn seen(body: &str) -> Health {
    read(&ok(body), None).unwrap()
}

/// What can't be read: its kind and what it says.
fn refused(a: &Answer) -> (FailKind, String) {
    let f = read(a, None).unwrap_err();
    assert_eq!(f.stage, Some(Stage::Body));
    (f.kind, f.detail)
}

fn pointers(status: Option<&str>) -> HealthPointers {
    HealthPointers {
        path: "/h".into(),
        status: status.map(Into::into),
        pool_used: Some("/pool/used".into()),
        pool_max: Some("/pool/max".into()),
    }
}
