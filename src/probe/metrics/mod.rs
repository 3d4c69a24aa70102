//! The metrics page of a service: Prometheus text or OpenMetrics, of which the times of its requests
//! are kept. Bounded in size and time.

mod read;

use std::time::Instant;

use jiff::Timestamp;

use super::http::{self, Answer, Ask, excerpt};
use super::said;
use crate::config::{Header, Service};
use crate::snapshot::metrics::Metrics;
use crate::snapshot::{FailKind, Failure, Stage};

pub use read::read;

/// The largest page that is read, in bytes.
const MAX_PAGE: usize = 16 << 20;
/// Prometheus text in either of its forms, or whatever there is.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.7,text/plain;version=0.0.4,*/*;q=0.1";

/// Asks the metrics path of a service.
pub async fn look(s: &Service, headers: &[Header], deadline: Instant) -> Result<Metrics, Failure> {
    let (Some(url), Some(path)) = (&s.url, &s.metrics) else {
        return Err(Failure::new(FailKind::Unsupported, "no metrics path is configured"));
    };
    let client = http::client_for(url, s.ca_file.as_deref(), deadline).await?;
    let url = format!("{}{path}", url.trim_end_matches('/'));
    #[expect(clippy::disallowed_methods, reason = "a rate needs the time of each of its readings")]
    let at = Timestamp::now();
    let ask = Ask { also: &[("accept", ACCEPT)], limit: MAX_PAGE, ..Ask::get(headers) };
    let (answer, _) = http::send(&client, &url, &ask, |_, _| false, deadline).await?;
    let ours: Vec<&str> = s.health.iter().map(crate::config::Health::path).chain([path.as_str()]).collect();
    page(&answer, at, &ours)
}

fn page(a: &Answer, at: Timestamp, ours: &[&str]) -> Result<Metrics, Failure> {
    let fail = |kind, text: String| Err(Failure::new(kind, text).at(Stage::Body));
    match a.status {
        200 => {}
        401 | 403 => return fail(FailKind::Denied, format!("HTTP {}", a.status)),
        300..=399 => {
            let to = a.location.as_deref().unwrap_or("nowhere");
            return fail(
                FailKind::Unsupported,
                format!("HTTP {}, a redirect to {}", a.status, said(to, 200)),
            );
        }
        404 | 410 => return fail(FailKind::Missing, format!("HTTP {}: no such path", a.status)),
        other => return fail(FailKind::Unsupported, format!("HTTP {other}: {}", excerpt(&a.body))),
    }
    match read(&a.body, at, ours) {
        Some(metrics) => Ok(metrics),
        None => fail(FailKind::Malformed, format!("no metrics: {}", excerpt(&a.body))),
    }
}

#[cfg(test)]
mod tests;
