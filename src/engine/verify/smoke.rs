//! What proves that a service does its work: its configured request, or a program. Only where it is asked
//! for by `verify`: a look changes nothing.

use std::time::{Duration, Instant};

use hyper::http::Method;

use super::{Check, State, What};
use crate::config::{Header, Loaded, Service, Smoke, SmokeRequest};
use crate::probe::http::{self, Ask, Client, excerpt};
use crate::probe::{feed, millis, said};
use crate::snapshot::FailKind;

/// Of what a program prints nothing is kept but its first line.
const LARGEST: u64 = 64 << 10;
const LEAST: Duration = Duration::from_millis(1);

pub async fn check(s: &Service, loaded: &Loaded, end: Instant) -> Check {
    let begun = Instant::now();
    let end = end.max(begun + LEAST);
    let (state, says) = match &s.smoke {
        Some(Smoke::Request(r)) => match Requests::of(s, r, loaded, end).await {
            Ok(requests) => requests.once(end).await,
            Err(why) => (State::Unknown, why),
        },
        Some(Smoke::Program(p)) => program(&p.argv, end).await,
        None => (State::Unknown, "nothing is configured".into()),
    };
    Check { elapsed_ms: Some(millis(begun)), ..Check::new(What::Smoke, &s.name, state, says) }
}

async fn program(argv: &[String], end: Instant) -> (State, String) {
    let Some((program, arguments)) = argv.split_first() else {
        return (State::Unknown, "no program is named".into());
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match feed(&[program], &arguments, Vec::new(), LARGEST, end).await {
        Ok(done) if done.ok => (State::Passed, format!("{program} ended with 0")),
        Ok(done) => {
            let out = String::from_utf8_lossy(&done.out);
            let why = out.lines().find(|l| !l.trim().is_empty()).unwrap_or(&done.why);
            (State::Failed, format!("{program} failed: {}", said(why.trim(), 200)))
        }
        Err(f) if f.kind == FailKind::TimedOut => (State::Failed, f.detail),
        Err(f) => (State::Unknown, f.detail),
    }
}

/// One request, to be sent once or often.
pub struct Requests<'a> {
    client: Client,
    url: String,
    method: Method,
    headers: &'a [Header],
    body: String,
}

impl<'a> Requests<'a> {
    pub async fn of(s: &Service, r: &SmokeRequest, loaded: &'a Loaded, end: Instant) -> Result<Self, String> {
        let base = s.url.as_ref().ok_or("it has no URL")?;
        let url = format!("{base}{}", r.path);
        let method = Method::from_bytes(r.method.as_bytes()).map_err(|e| e.to_string())?;
        let client = http::client_for(&url, s.ca_file.as_deref(), end).await.map_err(|f| f.detail)?;
        let body = r.json.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(Self { client, url, method, headers: loaded.secrets.headers(&s.name), body })
    }

    /// `Ok` is the status of an answer.
    pub async fn send(&self, end: Instant) -> Result<(u16, String), crate::snapshot::Failure> {
        let plain = &[("accept", "*/*")];
        let json = &[("accept", "*/*"), ("content-type", "application/json")];
        let also: &[(&'static str, &str)] = if self.body.is_empty() { plain } else { json };
        let (method, body) = (self.method.clone(), self.body.clone());
        let ask = Ask { method, headers: self.headers, also, body, limit: http::MAX_BODY };
        let (answer, _) = http::send(&self.client, &self.url, &ask, |_, _| false, end).await?;
        Ok((answer.status, excerpt(&answer.body)))
    }

    async fn once(&self, end: Instant) -> (State, String) {
        match self.send(end).await {
            Ok((status, _)) if (200..300).contains(&status) => (State::Passed, format!("HTTP {status}")),
            Ok((status @ (401 | 403), _)) => (State::Unknown, format!("HTTP {status}: it wants a login")),
            Ok((status, body)) => (State::Failed, format!("HTTP {status}: {body}")),
            Err(f) if f.kind == FailKind::NotTried => (State::Unknown, f.detail),
            Err(f) => (State::Failed, f.detail),
        }
    }
}
