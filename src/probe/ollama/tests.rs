//! What Ollama, and what is none, answers, on real sockets: each is a fact of its own.

use super::*;
use crate::probe::testbed::{closed, heard, on_time, says, server, silent, soon};

const TWO: &str = r#"{"models":[
    {"name":"nomic-embed-text:latest","model":"nomic-embed-text:latest","size":274302450,"details":{"family":"nomic-bert"}},
    {"name":"llama3:8b","model":"llama3:8b","size":4661224676}]}"#;

fn by_url(url: &str) -> Ollama {
    serde_json::from_value(serde_json::json!({ "url": url, "model": "nomic-embed-text" })).unwrap()
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

async fn at(address: std::net::SocketAddr) -> OllamaLook {
    look(&by_url(&format!("http://{address}")), soon(2000)).await
}

async fn told(status: &str, body: &str) -> Result<Vec<String>, (FailKind, String)> {
    match at(says(http(status, body)).await).await.models.reading {
        Reading::Seen { value } => Ok(value),
        Reading::Failed(f) => Err((f.kind, f.detail)),
        Reading::NotAsked { why } => panic!("not asked: {why}"),
    }
}

#[tokio::test]
async fn its_models_are_read_by_one_get_of_their_list() {
    use tokio::io::AsyncWriteExt;
    let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(String::from_utf8(heard(&mut stream).await).unwrap()).unwrap();
            let _ = stream.write_all(http("200 OK", TWO).as_bytes()).await;
        }
    })
    .await;
    // Also behind a path.
    for (path, line) in [("", "GET /api/tags HTTP/1.1\r\n"), ("/ai/", "GET /ai/api/tags HTTP/1.1\r\n")] {
        let look = look(&by_url(&format!("http://{address}{path}")), soon(2000)).await;
        assert_eq!(look.models.seen().unwrap(), &["llama3:8b", "nomic-embed-text:latest"]);
        assert_eq!((look.endpoint, look.here), (address.to_string(), Some(true)));
        let asked = asked.recv().await.unwrap();
        assert!(asked.starts_with(line), "{asked}");
    }
}

#[tokio::test]
async fn no_models_is_an_answer_and_no_list_is_none() {
    for body in [r#"{"models":[]}"#, r#"{"models":null}"#] {
        assert_eq!(told("200 OK", body).await, Ok(Vec::new()), "{body}");
    }
    for body in
        ["{}", "[]", "null", r#"{"models":{}}"#, r#"{"models":[{"name":"a"},{}]}"#, r#"{"models":[7]}"#]
    {
        let (kind, text) = told("200 OK", body).await.unwrap_err();
        assert_eq!(kind, FailKind::Malformed, "{body}");
        assert!(text.contains("another shape"), "{text}");
    }
}

#[tokio::test]
async fn a_status_is_a_fact_of_its_own_whatever_the_body() {
    for (status, kind, text) in [
        ("401 Unauthorized", FailKind::Denied, "HTTP 401"),
        ("403 Forbidden", FailKind::Denied, "HTTP 403"),
        ("404 Not Found", FailKind::Malformed, "HTTP 404: no such path"),
        ("302 Found", FailKind::Malformed, "HTTP 302, a redirect to nowhere"),
        ("204 No Content", FailKind::Malformed, "HTTP 204, which Ollama does not say"),
    ] {
        let body = if status.starts_with("204") { "" } else { TWO };
        assert_eq!(told(status, body).await, Err((kind, text.to_owned())), "{status}");
    }
    for (status, code) in [("500 Internal Server Error", "500"), ("429 Too Many Requests", "429")] {
        let look = at(says(http(status, r#"{"error":"open manifests: permission denied"}"#)).await).await;
        let f = look.models.failure().unwrap();
        assert_eq!((f.kind, f.code.as_deref()), (FailKind::Unsupported, Some(code)));
        assert!(f.detail.contains("permission denied") && !look.is_silent(), "{f:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_hostile_is_malformed_and_short() {
    let deep = format!(r#"{{"models":{}"#, "[".repeat(500_000));
    let huge = format!(r#"{{"models":[{{"name":"{}"}}]}}"#, "x".repeat(http::MAX_BODY));
    let html = format!("<!DOCTYPE html><html>password=hunter2 {}</html>", "x".repeat(5000));
    for body in [deep.as_str(), &huge, &html, "", r#"{"models":["#, "Ollama is running"] {
        let (kind, text) = told("200 OK", body).await.unwrap_err();
        assert_eq!(kind, FailKind::Malformed, "{text}");
        assert!(text.chars().count() < 300 && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn who_refuses_or_is_silent_is_told_apart_and_has_no_word_of_its_own() {
    let look_at = at(closed().await).await;
    let f = look_at.models.failure().unwrap();
    assert_eq!((f.kind, f.stage, look_at.here), (FailKind::Refused, Some(Stage::Connect), Some(true)));
    assert!(look_at.is_silent());
    let ollama = by_url(&format!("http://{}", silent().await));
    let seen = on_time(300, |deadline| look(&ollama, deadline)).await;
    let f = seen.models.failure().unwrap();
    assert_eq!((f.kind, f.stage), (FailKind::TimedOut, Some(Stage::Answer)));
    let seen = look(&by_url("http://nonexistent.invalid:11434"), soon(3000)).await;
    assert_eq!((seen.models.failure().unwrap().kind, seen.here), (FailKind::Unresolved, None));
    assert_eq!(seen.endpoint, "nonexistent.invalid:11434");
}
