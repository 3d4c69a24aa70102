//! Requests to the sample servers: no proxy, a deadline, any status is an answer.
//! What the tool makes of the same servers is none of this module's business.

use std::time::Duration;

use anyhow::{Context, Result};

pub struct Answer {
    pub status: u16,
    pub body: String,
}

fn agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into()
}

pub fn get(url: &str, limit: Duration) -> Result<Answer> {
    let got = agent(limit).get(url).call().with_context(|| format!("GET {url}"))?;
    read(got)
}

pub fn post(url: &str, json: &str, limit: Duration) -> Result<Answer> {
    let request = agent(limit).post(url).header("content-type", "application/json");
    let got = request.send(json).with_context(|| format!("POST {url}"))?;
    read(got)
}

fn read(mut got: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = got.status().as_u16();
    let body = got.body_mut().with_config().limit(1 << 20).read_to_string()?;
    Ok(Answer { status, body })
}
