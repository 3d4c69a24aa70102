//! One bounded GET: no proxy, no redirect, a size limit, a deadline.
//! Transport, HTTP status and body are three separate facts (errata 5).

use std::error::Error as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Header;
use crate::probe::tls::{self, Check, Roots};
use crate::probe::{by, io_failure};
use crate::snapshot::{FailKind, Failure, Stage};

/// The largest body that is read, in bytes. A health answer has a few hundred.
pub const MAX_BODY: usize = 1 << 20;

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// A client for one service. `https` says whether authorities have to be loaded: that is slow.
pub fn client(https: bool, ca_file: Option<&str>, deadline: Instant) -> Result<reqwest::Client, Failure> {
    let roots = match ca_file {
        Some(path) => Roots::File(Path::new(path)),
        None if https => Roots::System,
        None => Roots::None,
    };
    let broken = |e: String| Failure::new(FailKind::Tls, e).at(Stage::Tls);
    let tls = tls::config(Check::Name, &roots).map_err(broken)?;
    let left = deadline.saturating_duration_since(Instant::now());
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mcp-ir/", env!("CARGO_PKG_VERSION")))
        // Shorter than the deadline by a little: so a connection that is never made is told from
        // an answer that never comes.
        .connect_timeout(left.saturating_sub(Duration::from_millis(20)).max(Duration::from_millis(1)))
        .http1_only()
        .build()
        .map_err(|e| broken(e.to_string()))
}

pub async fn get(
    client: &reqwest::Client,
    url: &str,
    headers: &[Header],
    deadline: Instant,
) -> Result<Answer, Failure> {
    let mut request = client.get(url);
    for h in headers {
        request = request.header(&h.name, h.value.reveal());
    }
    let silent = format!("connected to {}, and no answer", place(url));
    let mut response =
        by(deadline, Stage::Answer, &silent, request.send()).await?.map_err(|e| failure(&e, url))?;
    let header = |name: reqwest::header::HeaderName| {
        response.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned)
    };
    let mut answer = Answer {
        status: response.status().as_u16(),
        content_type: header(reqwest::header::CONTENT_TYPE).unwrap_or_default(),
        location: header(reqwest::header::LOCATION),
        body: Vec::new(),
    };
    let endless = format!("{} began to answer and did not end", place(url));
    loop {
        match by(deadline, Stage::Body, &endless, response.chunk()).await? {
            Ok(Some(chunk)) if answer.body.len() + chunk.len() <= MAX_BODY => answer.body.extend(&chunk),
            Ok(Some(_)) => {
                let text = format!("an answer of more than {} KiB", MAX_BODY >> 10);
                return Err(Failure::new(FailKind::Malformed, text).at(Stage::Body));
            }
            Ok(None) => return Ok(answer),
            Err(e) => return Err(failure(&e, url).at(Stage::Body)),
        }
    }
}

/// `host:port` of a URL, for messages.
fn place(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(
        |_| "the server".into(),
        |u| format!("{}:{}", u.host_str().unwrap_or_default(), u.port_or_known_default().unwrap_or(80)),
    )
}

fn failure(e: &reqwest::Error, url: &str) -> Failure {
    let place = place(url);
    let mut text = Vec::new();
    let mut source = e.source();
    while let Some(s) = source {
        if let Some(io) = s.downcast_ref::<std::io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|i| i.downcast_ref::<rustls::Error>()) {
                return Failure::new(FailKind::Tls, format!("{place}: {tls}")).at(Stage::Tls);
            }
            let stage = if e.is_connect() { Stage::Connect } else { Stage::Answer };
            return io_failure(io, &place).at(stage);
        }
        text.push(s.to_string());
        source = s.source();
    }
    let all = text.join(": ");
    if all.contains("dns error") {
        return Failure::new(FailKind::Unresolved, format!("{place}: the name does not resolve"))
            .at(Stage::Resolve);
    }
    if e.is_timeout() {
        let stage = if e.is_connect() { Stage::Connect } else { Stage::Answer };
        let what = if e.is_connect() { "no connection in time" } else { "no answer in time" };
        return Failure::new(FailKind::TimedOut, format!("{place}: {what}")).at(stage);
    }
    let closed =
        all.contains("connection closed") || all.contains("IncompleteMessage") || all.contains("incomplete");
    let kind = if closed { FailKind::Closed } else { FailKind::Malformed };
    let words = if closed { "connection closed in the middle".to_owned() } else { all };
    Failure::new(kind, format!("{place}: {words}")).at(Stage::Answer)
}
