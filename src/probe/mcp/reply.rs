//! From an answer to the result of a request, or to why there is none. Pure: the same for a live and for
//! a recorded answer.

use serde_json::Value;

use crate::probe::http::{Answer, excerpt};
use crate::probe::said;
use crate::snapshot::{FailKind, Failure, Stage};

pub fn is_stream(head: &Answer) -> bool {
    let kind = head.content_type.split(';').next().unwrap_or_default().trim();
    (200..300).contains(&head.status) && kind.eq_ignore_ascii_case("text/event-stream")
}

/// The result in a message, where it is the response to our request; alone, or in a batch.
pub fn reply(v: &Value, id: u64) -> Option<Result<Value, Failure>> {
    if let Value::Array(all) = v {
        return all.iter().filter(|v| v.is_object()).find_map(|v| reply(v, id));
    }
    let ours = v.get("jsonrpc").and_then(Value::as_str) == Some("2.0")
        && v.get("id").is_some_and(|own| *own == id || own.as_str().is_some_and(|t| t.parse() == Ok(id)));
    if !ours {
        return None;
    }
    match (v.get("error").filter(|e| !e.is_null()), v.get("result")) {
        (Some(e), _) => Some(Err(refused(e))),
        (None, Some(result)) => Some(Ok(result.clone())),
        (None, None) => None,
    }
}

/// An answer that is no event stream.
pub fn read(a: &Answer, id: u64) -> Result<Value, Failure> {
    let fail = |kind, what: &str| Err(Failure::new(kind, format!("HTTP {}{what}", a.status)).at(Stage::Body));
    let coded =
        |r: Result<Value, Failure>| r.map_err(|f| Failure { code: Some(format!("HTTP {}", a.status)), ..f });
    let body = a.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&a.body);
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let shown = excerpt(body);
    match a.status {
        200..=299 => {}
        401 | 403 => return fail(FailKind::Denied, ""),
        404 | 410 => return fail(FailKind::Missing, ": no such path"),
        300..=399 => {
            let to = said(a.location.as_deref().unwrap_or("nowhere"), 200);
            return coded(fail(FailKind::Unsupported, &format!(", a redirect to {to}")));
        }
        _ => {
            // Who does not know the request can't repeat its id.
            let error = json.as_ref().filter(|v| v.get("jsonrpc").is_some()).and_then(|v| v.get("error"));
            // Busy, or not asked as it wants to be: whatever form it says that in.
            let declined = matches!(a.status, 405 | 406 | 415 | 429 | 503);
            return match error.filter(|e| e.is_object()) {
                Some(e) if declined => coded(Err(refused(e))),
                Some(e) => Err(refused(e))
                    .map_err(|f| Failure { detail: format!("HTTP {}, {}", a.status, f.detail), ..f }),
                None if shown.is_empty() => coded(fail(FailKind::Unsupported, "")),
                None => coded(fail(FailKind::Unsupported, &format!(": {shown}"))),
            };
        }
    }
    let html =
        a.content_type.to_ascii_lowercase().contains("html") || body.trim_ascii_start().starts_with(b"<");
    match json {
        Some(v) => match reply(&v, id) {
            Some(result) => result,
            None => fail(FailKind::Malformed, &format!(", JSON that is no answer of JSON-RPC: {shown}")),
        },
        None if body.is_empty() => fail(FailKind::Malformed, ", an empty body"),
        None if html => fail(FailKind::Malformed, &format!(", HTML: {shown}")),
        None => fail(FailKind::Malformed, &format!(", not JSON: {shown}")),
    }
}

/// A stream that came to its end.
pub fn ended(a: &Answer) -> Failure {
    let shown = excerpt(&a.body);
    let what =
        if shown.is_empty() { "and nothing in it".into() } else { format!("without the answer: {shown}") };
    let text = format!("HTTP {}, an event stream that ended, {what}", a.status);
    Failure::new(FailKind::Malformed, text).at(Stage::Body)
}

/// Its own error: the number decides, the text is kept beside it.
fn refused(e: &Value) -> Failure {
    let number = e.get("code").and_then(Value::as_i64);
    let text = e.get("message").and_then(Value::as_str).unwrap_or_default();
    let number = number.map_or_else(|| "without a code".to_owned(), |n| n.to_string());
    let text = format!("JSON-RPC error {number}: {}", said(text, 200));
    let failure = Failure::new(FailKind::Unsupported, text.trim_end_matches([':', ' '])).at(Stage::Body);
    Failure { code: Some(format!("error {number}")), ..failure }
}
