//! MCP over streamable HTTP: a handshake as any client makes it, a ping, the list of tools; then the
//! session is ended. No tool is called.

mod events;
mod reply;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use hyper::http::Method;
use serde_json::{Value, json};

use super::http::{self, Ask, Client};
use super::{millis, said, timed};
use crate::config::{Header, Service};
use crate::snapshot::mcp::{Hello, McpLook};
use crate::snapshot::{FailKind, Failure, Look, Reading, Stage};

pub use events::Events;
pub use reply::{read, reply};

/// What we offer to speak: known to all servers since. The oldest that there is.
const OFFERED: &str = "2025-06-18";
const OLDEST: &str = "2024-11-05";
const SESSION: &str = "mcp-session-id";
/// How long a server may take to end a session: nothing hangs on its answer.
const LEAVES: Duration = Duration::from_millis(200);
/// Pages of a list of tools: one that is empty may be followed by others.
const PAGES: usize = 4;

/// Shakes hands. Always ends by the deadline, and leaves no session behind that it knows of.
pub async fn look(s: &Service, headers: &[Header], deadline: Instant) -> McpLook {
    let start = Instant::now();
    // What is left after a server that hangs is enough to end the session.
    let kept = (deadline.saturating_duration_since(start) / 8).min(LEAVES);
    let by = deadline.checked_sub(kept).unwrap_or(deadline);
    let begun = async {
        let mut door = Door::to(s, headers, by).await?;
        let hello = door.initialize(by).await?;
        Ok((door, hello))
    };
    let begun = begun.await;
    let elapsed_ms = millis(start);
    let (door, hello) = match begun {
        Ok(begun) => begun,
        Err(f) => return failed(Look { elapsed_ms, reading: Reading::Failed(f) }),
    };
    let told = Instant::now();
    let (ping, tools) = match door.notify(by).await {
        Err(f) => {
            let tools = Look { elapsed_ms: millis(told), reading: Reading::Failed(f) };
            (Reading::not_asked("no handshake"), tools)
        }
        Ok(()) => {
            let tools = async {
                match hello.has_tools {
                    true => timed(door.tools(by)).await,
                    false => Look::not_asked("it says that it has no tools to list"),
                }
            };
            let (ping, tools) = tokio::join!(door.call("ping", None, by), tools);
            (Reading::from(ping.map(|_| ())), tools)
        }
    };
    door.leave(deadline.min(Instant::now() + kept)).await;
    McpLook { initialize: Look { elapsed_ms, reading: Reading::Seen { value: hello } }, ping, tools }
}

/// A look of which the first step did not succeed.
pub fn failed(initialize: Look<Hello>) -> McpLook {
    let none = "no answer to initialize";
    McpLook { initialize, ping: Reading::not_asked(none), tools: Look::not_asked(none) }
}

/// An endpoint, and what the handshake agreed upon.
struct Door<'a> {
    client: Client,
    url: String,
    headers: &'a [Header],
    session: Option<String>,
    protocol: Option<String>,
    /// How many requests were sent.
    asked: AtomicU64,
}

impl<'a> Door<'a> {
    async fn to(s: &Service, headers: &'a [Header], deadline: Instant) -> Result<Self, Failure> {
        let (Some(url), Some(path)) = (&s.url, &s.mcp) else {
            return Err(Failure::new(FailKind::NotTried, "no path of an MCP endpoint is configured"));
        };
        let client = http::client_for(url, s.ca_file.as_deref(), deadline).await?;
        let url = format!("{}{path}", url.trim_end_matches('/'));
        Ok(Self { client, url, headers, session: None, protocol: None, asked: AtomicU64::new(0) })
    }

    async fn send(
        &self,
        method: Method,
        body: String,
        enough: impl FnMut(&http::Answer, &[u8]) -> bool,
        deadline: Instant,
    ) -> Result<(http::Answer, HeaderMap), Failure> {
        let mut also = vec![(ACCEPT.as_str(), "application/json, text/event-stream")];
        if !body.is_empty() {
            also.push((CONTENT_TYPE.as_str(), "application/json"));
        }
        also.extend(self.session.as_deref().map(|id| (SESSION, id)));
        also.extend(self.protocol.as_deref().map(|v| ("mcp-protocol-version", v)));
        let ask = Ask { method, headers: self.headers, also: &also, body, limit: http::MAX_BODY };
        http::send(&self.client, &self.url, &ask, enough, deadline).await
    }

    /// One request and its result. What else the server says in between is not for us.
    async fn request(
        &self,
        method: &str,
        params: Option<Value>,
        deadline: Instant,
    ) -> Result<Answered, Failure> {
        // Two that share a number in one session are one: a server may answer only the first.
        let id = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = json!({"jsonrpc": "2.0", "id": id, "method": method});
        if let (Some(params), Some(message)) = (params, message.as_object_mut()) {
            message.insert("params".into(), params);
        }
        let (mut stream, mut events, mut found) = (false, Events::default(), None);
        let enough = |head: &http::Answer, piece: &[u8]| {
            stream = reply::is_stream(head);
            if stream {
                events.feed(piece);
                while found.is_none()
                    && let Some(data) = events.take()
                {
                    found = serde_json::from_slice(&data).ok().and_then(|v| reply(&v, id));
                }
            }
            found.is_some()
        };
        let sent = self.send(Method::POST, message.to_string(), enough, deadline).await;
        let named = |f: Failure| Failure { detail: format!("{method}: {}", f.detail), ..f };
        let (answer, headers) = sent.map_err(|f| named(if stream { unsaid(f) } else { f }))?;
        let result = match found {
            Some(result) => result,
            None if stream => Err(reply::ended(&answer)),
            None => read(&answer, id),
        };
        Ok(Answered { result: result.map_err(named)?, headers, events: stream })
    }

    /// The same once there is a session: who does not know it says so by its HTTP status.
    async fn call(&self, method: &str, params: Option<Value>, deadline: Instant) -> Result<Value, Failure> {
        let answered = self.request(method, params, deadline).await;
        Ok(answered.map_err(|f| self.of_session(f))?.result)
    }

    async fn initialize(&mut self, deadline: Instant) -> Result<Hello, Failure> {
        let params = json!({
            "protocolVersion": OFFERED, "capabilities": {},
            "clientInfo": {"name": "mcp-ir", "version": env!("CARGO_PKG_VERSION")}
        });
        let Answered { result, headers, events } = self.request("initialize", Some(params), deadline).await?;
        self.session = headers.get(SESSION).and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
        let hello = hello(&result, self.session.is_some(), events);
        match &hello {
            Ok(hello) => self.protocol = Some(hello.protocol.clone()),
            Err(_) => self.leave(deadline.min(Instant::now() + LEAVES)).await,
        }
        hello
    }

    async fn notify(&self, deadline: Instant) -> Result<(), Failure> {
        const METHOD: &str = "notifications/initialized";
        let message = json!({"jsonrpc": "2.0", "method": METHOD}).to_string();
        let named = |f: Failure| Failure { detail: format!("{METHOD}: {}", f.detail), ..f };
        // Accepted is all that it says: who answers by a stream may leave it open.
        let enough = |head: &http::Answer, _: &[u8]| (200..300).contains(&head.status);
        let (answer, _) = self.send(Method::POST, message, enough, deadline).await.map_err(named)?;
        match answer.status {
            200..=299 => Ok(()),
            _ => {
                let refused = read(&answer, 0).err();
                let none = || Failure::new(FailKind::Malformed, format!("HTTP {}", answer.status));
                Err(self.of_session(named(refused.unwrap_or_else(none))))
            }
        }
    }

    async fn tools(&self, deadline: Instant) -> Result<u64, Failure> {
        let mut cursor: Option<Value> = None;
        for _ in 0..PAGES {
            let params = cursor.take().map(|c| json!({"cursor": c}));
            let page = self.call("tools/list", params, deadline).await?;
            let Some(tools) = page.get("tools").and_then(Value::as_array) else {
                let shown = said(&page.to_string(), 200);
                let text = format!("tools/list: a result without a list of tools: {shown}");
                return Err(Failure::new(FailKind::Malformed, text).at(Stage::Body));
            };
            cursor = page.get("nextCursor").filter(|c| c.is_string()).cloned();
            if !tools.is_empty() || cursor.is_none() {
                return Ok(tools.len() as u64);
            }
        }
        Err(Failure::new(FailKind::Unsupported, "tools/list: pages without a tool, and always one more"))
    }

    /// Ends the session. That a server ends none, or is not heard, changes nothing.
    async fn leave(&self, deadline: Instant) {
        if self.session.is_some() {
            let _ = self.send(Method::DELETE, String::new(), |_, _| true, deadline).await;
        }
    }

    fn of_session(&self, f: Failure) -> Failure {
        let by_words = || {
            let coded = f.code.as_deref().is_some_and(|c| c == "HTTP 400" || c.starts_with("error "));
            coded && f.detail.to_lowercase().contains("session")
        };
        if f.kind != FailKind::Missing && !by_words() {
            return f;
        }
        let made = if self.session.is_some() { "that it made" } else { "that it never made" };
        let detail = format!("{}: it does not know the session {made}", f.detail);
        Failure { kind: FailKind::Unsupported, code: Some("session".into()), detail, ..f }
    }
}

struct Answered {
    result: Value,
    headers: HeaderMap,
    events: bool,
}

/// Its stream is open, and the answer is not among what came.
fn unsaid(f: Failure) -> Failure {
    let detail = match f.kind {
        FailKind::TimedOut => format!("an event stream without the answer: {}", f.detail),
        _ => format!("in an event stream: {}", f.detail),
    };
    Failure { detail, ..f }
}

/// What `initialize` agreed upon. A version that we do not know yet is fine: its list of tools is asked for.
fn hello(result: &Value, session: bool, events: bool) -> Result<Hello, Failure> {
    let wrong =
        |what: String| Err(Failure::new(FailKind::Malformed, format!("initialize: {what}")).at(Stage::Body));
    let Some(protocol) = result.get("protocolVersion").and_then(Value::as_str) else {
        return wrong(format!("a result without a protocol version: {}", said(&result.to_string(), 200)));
    };
    if !is_version(protocol) {
        return wrong(format!("a protocol version that does not exist: `{}`", said(protocol, 40)));
    }
    let word = |key: &str| {
        let word = result.pointer(&format!("/serverInfo/{key}")).and_then(Value::as_str);
        word.map(|w| said(w.trim(), 60)).filter(|w| !w.is_empty())
    };
    let server = [word("name"), word("version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Ok(Hello {
        protocol: protocol.to_owned(),
        server: (!server.is_empty()).then_some(server),
        session,
        events,
        has_tools: result.pointer("/capabilities/tools").is_some_and(|t| !t.is_null()),
    })
}

/// The day of its publication.
fn is_version(text: &str) -> bool {
    let form = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    form && text >= OLDEST
}

#[cfg(test)]
mod tests;
