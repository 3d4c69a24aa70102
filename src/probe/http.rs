//! One bounded GET: no proxy, no redirect, a size limit, a deadline.
//! Transport, HTTP status and body are three separate facts (errata 5).

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Header;
use crate::probe::tls::{self, Check, Roots};
use crate::probe::{by, io_failure, said, tls_error};
use crate::snapshot::{FailKind, Failure, Stage};

mod progress;

use progress::Progress;

/// The largest body that is read, in bytes. A health answer has a few hundred.
pub const MAX_BODY: usize = 1 << 20;

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// A client for one service, and how far its connection came.
pub struct Client {
    inner: reqwest::Client,
    progress: Progress,
}

/// `https` says whether authorities have to be loaded: that is slow.
pub fn client(https: bool, ca_file: Option<&str>, deadline: Instant) -> Result<Client, Failure> {
    let roots = match ca_file {
        Some(path) => Roots::File(Path::new(path)),
        None if https => Roots::System,
        None => Roots::None,
    };
    let broken = |e: String| Failure::new(FailKind::Tls, e).at(Stage::Tls);
    let progress = Progress::default();
    let mut tls = tls::config(Check::Name, &roots).map_err(broken)?;
    tls.resumption = rustls::client::Resumption::store(Arc::new(progress.clone()));
    let left = deadline.saturating_duration_since(Instant::now());
    let inner = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(progress.clone()))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mcp-ir/", env!("CARGO_PKG_VERSION")))
        // Shorter than the deadline by a little: so a connection that is never made is told from
        // an answer that never comes.
        .connect_timeout(left.saturating_sub(Duration::from_millis(20)).max(Duration::from_millis(1)))
        .http1_only()
        .build()
        .map_err(|e| broken(innermost(&e)))?;
    Ok(Client { inner, progress })
}

pub async fn get(
    client: &Client,
    url: &str,
    headers: &[Header],
    deadline: Instant,
) -> Result<Answer, Failure> {
    let failed = |e: reqwest::Error| failure(&e, &place(url), client.progress.stage());
    let mut request = client.inner.get(url);
    for h in headers {
        request = request.header(&h.name, h.value.reveal());
    }
    let silent = format!("connected to {}, and no answer", place(url));
    let mut response = by(deadline, Stage::Answer, &silent, request.send()).await?.map_err(failed)?;
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
    // The whole body under one deadline, so that what is said was waited is the whole of it.
    let body = async {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answer.body.len() + chunk.len() <= MAX_BODY => answer.body.extend(&chunk),
                Ok(Some(_)) => {
                    let text = format!("an answer of more than {} KiB", MAX_BODY >> 10);
                    return Err(Failure::new(FailKind::Malformed, text).at(Stage::Body));
                }
                Ok(None) => return Ok(()),
                Err(e) => return Err(failed(e).at(Stage::Body)),
            }
        }
    };
    by(deadline, Stage::Body, &endless, body).await??;
    Ok(answer)
}

/// `host:port` of a URL, for messages.
fn place(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(
        |_| "the server".into(),
        |u| format!("{}:{}", u.host_str().unwrap_or_default(), u.port_or_known_default().unwrap_or(80)),
    )
}

fn failure(e: &reqwest::Error, place: &str, reached: Stage) -> Failure {
    let stage = if e.is_connect() { reached } else { Stage::Answer };
    let fact = |kind, words: &str| Failure::new(kind, format!("{place}: {words}")).at(stage);
    if e.is_timeout() {
        return match stage {
            Stage::Resolve => fact(FailKind::TimedOut, "the name was not resolved in time"),
            Stage::Connect => fact(FailKind::TimedOut, "no connection in time"),
            Stage::Tls => fact(FailKind::TimedOut, "connected, and no TLS in time"),
            Stage::Answer | Stage::Body | Stage::Query => fact(FailKind::TimedOut, "no answer in time"),
        };
    }
    if stage == Stage::Resolve {
        return fact(FailKind::Unresolved, "the name does not resolve");
    }
    let mut source = e.source();
    while let Some(s) = source {
        if let Some(io) = s.downcast_ref::<std::io::Error>() {
            if let Some(tls) = tls_error(io) {
                return Failure::new(FailKind::Tls, format!("{place}: {tls}")).at(Stage::Tls);
            }
            return io_failure(io, place).at(stage);
        }
        source = s.source();
    }
    let why = innermost(e);
    if why.contains("connection closed") || why.contains("before message completed") {
        return fact(FailKind::Closed, "connection closed in the middle");
    }
    fact(FailKind::Malformed, &format!("no HTTP answer: {}", said(&why, 200)))
}

/// The last cause, in its own words.
fn innermost(e: &dyn std::error::Error) -> String {
    match e.source() {
        Some(source) => innermost(source),
        None => e.to_string(),
    }
}

#[cfg(test)]
mod tests;
