//! Ollama: one GET of the models on its disk. No model is loaded by it, and none is asked.

use std::time::Instant;

use serde_json::Value;

use super::http::{self, Answer, excerpt};
use super::place::Place;
use super::{millis, said};
use crate::config::Ollama;
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::{FailKind, Failure, Look, Reading, Stage};

/// Longer than any name that Ollama permits: none of its own is cut.
const NAME: usize = 600;

/// Asks it for its models. Always ends by the deadline.
pub async fn look(o: &Ollama, deadline: Instant) -> OllamaLook {
    let start = Instant::now();
    let (here, models) = match place(&o.url, deadline).await {
        Ok(place) => (Some(place.here()), ask(&o.url, deadline).await),
        Err(f) => (None, Err(f)),
    };
    let models = Look { elapsed_ms: millis(start), reading: Reading::from(models) };
    OllamaLook { endpoint: endpoint(o), here, models }
}

/// The address as people write it.
pub fn endpoint(o: &Ollama) -> String {
    http::place(&o.url)
}

async fn place(url: &str, deadline: Instant) -> Result<Place, Failure> {
    let nowhere = || Failure::new(FailKind::Unsupported, "its URL names no place");
    let url = url::Url::parse(url).map_err(|_| nowhere())?;
    let host = url.host_str().ok_or_else(nowhere)?.trim_matches(['[', ']']);
    Place::resolve(host, url.port_or_known_default().unwrap_or(80), deadline).await
}

async fn ask(url: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
    let client = http::client_for(url, None, deadline).await?;
    let url = format!("{}/api/tags", url.trim_end_matches('/'));
    read(&http::get(&client, &url, &[], deadline).await?)
}

/// From an answer to the names. Pure: the same for a live and for a recorded answer.
pub fn read(a: &Answer) -> Result<Vec<String>, Failure> {
    let fail = |kind, what: &str| Err(Failure::new(kind, format!("HTTP {}{what}", a.status)).at(Stage::Body));
    let (body, coded) = (excerpt(&a.body), Some(a.status.to_string()));
    match a.status {
        200 => {}
        401 | 403 => return fail(FailKind::Denied, ""),
        404 | 410 => return fail(FailKind::Malformed, ": no such path"),
        300..=399 => {
            let to = a.location.as_deref().unwrap_or("nowhere");
            return fail(FailKind::Malformed, &format!(", a redirect to {}", said(to, 200)));
        }
        // A word of its own, or of what stands before it.
        400..=599 => {
            return fail(FailKind::Unsupported, &format!(": {body}"))
                .map_err(|f| Failure { code: coded, ..f });
        }
        _ => return fail(FailKind::Malformed, ", which Ollama does not say"),
    }
    match serde_json::from_slice(&a.body) {
        Ok(v) => match names(&v) {
            Some(names) => Ok(names),
            None => fail(FailKind::Malformed, &format!(", JSON of another shape: {body}")),
        },
        Err(_) if body.is_empty() => fail(FailKind::Malformed, ", an empty body"),
        Err(_) => fail(FailKind::Malformed, &format!(", not JSON: {body}")),
    }
}

/// All of them, or nothing: a list with a hole can't say what is not there.
fn names(v: &Value) -> Option<Vec<String>> {
    let name = |m: &Value| Some(said(m.get("name")?.as_str()?, NAME));
    let mut names = match v.get("models")? {
        // So it was in versions that had none.
        Value::Null => Vec::new(),
        models => models.as_array()?.iter().map(name).collect::<Option<Vec<_>>>()?,
    };
    names.sort_unstable();
    Some(names)
}

#[cfg(test)]
mod tests;
