//! The sample server's MCP endpoint: streamable HTTP with sessions, answered by JSON or by events.
//! What it is asked is read as JSON-RPC; what it can't answer it says so, unless it is told to misbehave.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::run::Server;

const SESSION: &str = "mcp-session-id";
const VERSIONS: [&str; 3] = ["2025-06-18", "2025-03-26", "2024-11-05"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    #[default]
    Normal,
    /// Well, and answers by events.
    Events,
    /// Nobody mounted it.
    Gone,
    /// A proxy's page.
    Html,
    /// Its tools can't be listed.
    Error,
    /// No tool was registered.
    Empty,
    /// Another worker made the session.
    Forgetful,
    /// Its event stream never sends the answer.
    Stalled,
    Mute,
    /// It wants a login.
    Login,
    Busy,
}

#[derive(Default)]
pub struct Endpoint {
    manner: Mutex<Manner>,
    sessions: Mutex<BTreeSet<String>>,
    made: AtomicU64,
}

impl Endpoint {
    fn manner(&self) -> Manner {
        self.manner.lock().map(|m| *m).unwrap_or_default()
    }

    pub fn behave(&self, manner: Manner) {
        if let Ok(mut now) = self.manner.lock() {
            *now = manner;
        }
    }

    fn begin(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let id = format!("{:x}-{}", now.as_nanos(), self.made.fetch_add(1, Ordering::Relaxed));
        if let Ok(mut all) = self.sessions.lock() {
            all.insert(id.clone());
        }
        id
    }

    /// Whether the caller may go on: with the session that was made for it.
    fn admits(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let Some(id) = headers.get(SESSION).and_then(|id| id.to_str().ok()) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let known = self.sessions.lock().is_ok_and(|all| all.contains(id));
        if known && self.manner() != Manner::Forgetful { Ok(()) } else { Err(StatusCode::NOT_FOUND) }
    }

    fn end(&self, headers: &HeaderMap) -> bool {
        let id = headers.get(SESSION).and_then(|id| id.to_str().ok());
        id.is_some_and(|id| self.sessions.lock().is_ok_and(|mut all| all.remove(id)))
    }
}

#[derive(Deserialize)]
pub struct MannerQuery {
    #[serde(rename = "as")]
    manner: Manner,
}

pub async fn behave(State(server): State<Arc<Server>>, Query(query): Query<MannerQuery>) -> StatusCode {
    server.mcp.behave(query.manner);
    StatusCode::NO_CONTENT
}

/// How many sessions are open: a client that leaves none behind is a good one.
pub async fn sessions(State(server): State<Arc<Server>>) -> String {
    server.mcp.sessions.lock().map(|all| all.len()).unwrap_or_default().to_string()
}

pub async fn leave(State(server): State<Arc<Server>>, headers: HeaderMap) -> StatusCode {
    if server.mcp.end(&headers) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

pub async fn post(State(server): State<Arc<Server>>, headers: HeaderMap, body: String) -> Response {
    let endpoint = &server.mcp;
    match endpoint.manner() {
        Manner::Gone => return StatusCode::NOT_FOUND.into_response(),
        Manner::Html => return Html("<html><body><h1>Welcome to nginx!</h1></body></html>").into_response(),
        Manner::Login => {
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
        }
        Manner::Busy => {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once").into_response();
        }
        Manner::Mute => tokio::time::sleep(Duration::from_secs(3600)).await,
        _ => {}
    }
    let accepts = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    if !accepts.contains("application/json") || !accepts.contains("text/event-stream") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let Ok(call) = serde_json::from_str::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, axum::Json(error(&Value::Null, -32700, "Parse error")))
            .into_response();
    };
    let method = call["method"].as_str().unwrap_or_default();
    if method != "initialize"
        && let Err(status) = endpoint.admits(&headers)
    {
        let text = "Bad Request: no valid session ID was given";
        return (status, axum::Json(error(&Value::Null, -32600, text))).into_response();
    }
    if method.starts_with("notifications/") {
        return StatusCode::ACCEPTED.into_response();
    }
    let answer = answer(&server, method, &call);
    let mut response = match endpoint.manner() {
        Manner::Stalled => {
            stream(Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, Infallible>>()))
        }
        Manner::Events => {
            let before = json!({"jsonrpc": "2.0", "method": "notifications/message",
                                "params": {"level": "info", "data": "working"}});
            stream(Body::from(format!(
                ": hello\n\nevent: message\ndata: {before}\n\nevent: message\ndata: {answer}\n\n"
            )))
        }
        _ => axum::Json(answer).into_response(),
    };
    if method == "initialize"
        && let Ok(id) = endpoint.begin().parse()
    {
        response.headers_mut().insert(SESSION, id);
    }
    response
}

fn stream(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

fn answer(server: &Server, method: &str, call: &Value) -> Value {
    let manner = server.mcp.manner();
    let result = match method {
        "initialize" => {
            let asked = call["params"]["protocolVersion"].as_str().unwrap_or_default();
            let version = VERSIONS.iter().find(|v| **v == asked).unwrap_or(&VERSIONS[0]);
            json!({
                "protocolVersion": version,
                "capabilities": { "tools": {} },
                "serverInfo": { "name": server.database.name, "version": env!("CARGO_PKG_VERSION") }
            })
        }
        "ping" => json!({}),
        "tools/list" if manner == Manner::Error => {
            eprintln!("{}: ERROR tools: the registry could not be read", server.database.name);
            return error(&call["id"], -32603, "Internal error: the registry could not be read");
        }
        "tools/list" if manner == Manner::Empty => json!({ "tools": [] }),
        "tools/list" => json!({ "tools": [{
            "name": "search", "description": "Search code", "inputSchema":
            { "type": "object", "properties": { "query": { "type": "string" } }, "required": ["query"] }
        }] }),
        _ => return error(&call["id"], -32601, "Method not found"),
    };
    json!({ "jsonrpc": "2.0", "id": call["id"], "result": result })
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
