//! A service's own interface that sets its pool's size. Only where its payload still says the size that
//! was seen; what it made of it is read back from the payload.

use std::time::Instant;

use hyper::http::Method;

use super::apply::{Done, Failed};
use crate::config::{Header, Service};
use crate::plan::resize_body;
use crate::probe::http::{self as client, Ask, excerpt};
use crate::probe::{health, said};

pub async fn resize(
    s: &Service,
    headers: &[Header],
    url: &str,
    (from, to): (u64, u64),
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let (Some(base), Some(path)) = (&s.url, s.pool.as_ref().and_then(|p| p.resize.as_ref())) else {
        return Err(refused(format!("{} has no resize interface", s.name)));
    };
    if *url != format!("{base}{path}") {
        return Err(refused(format!("the resize interface of {} is another one now", s.name)));
    }
    let max = size(s, headers, deadline).await.map_err(refused)?;
    match max {
        max if max == to => return Ok(Done::already(format!("its largest size is {to} already"))),
        max if max != from => {
            return Err(Failed::Changed(format!("its largest size is {max} now, and was {from}")));
        }
        _ => {}
    }
    let made = client::client_for(url, s.ca_file.as_deref(), deadline).await;
    let made = made.map_err(|f| Failed::before(&f))?;
    let body = resize_body(to);
    let also = &[("content-type", "application/json"), ("accept", "*/*")];
    let ask = Ask { method: Method::POST, headers, also, body, limit: client::MAX_BODY };
    let answer = client::send(&made, url, &ask, |_, _| false, deadline).await;
    // A connection that was not made carried nothing.
    let (answer, _) = answer.map_err(|f| match f.stage {
        Some(crate::snapshot::Stage::Connect | crate::snapshot::Stage::Resolve) => Failed::before(&f),
        _ => Failed::Broken(f.detail),
    })?;
    if !(200..300).contains(&answer.status) {
        let why = format!("HTTP {}: {}", answer.status, excerpt(&answer.body));
        return Err(match size(s, headers, deadline).await {
            Ok(max) if max == from => refused(why),
            _ => Failed::Broken(why),
        });
    }
    let max = size(s, headers, deadline).await.map_err(Failed::Broken)?;
    if max != to {
        return Err(Failed::Broken(format!(
            "it answered HTTP {}, and its largest size is {max}",
            answer.status
        )));
    }
    Ok(Done::new(format!("HTTP {}; its largest size is {to}", answer.status)))
}

/// The largest size by its own payload.
async fn size(s: &Service, headers: &[Header], deadline: Instant) -> Result<u64, String> {
    let health = health::look(s, headers, deadline).await.map_err(|f| said(&f.detail, 200))?;
    health.pool.and_then(|p| p.max).ok_or_else(|| "its payload does not say its pool's largest size".into())
}
