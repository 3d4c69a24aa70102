//! One sample server, from outside: its addresses, and how to make it misbehave.
//! It does not know under what it runs.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http;

#[derive(Clone, Debug)]
pub struct Service {
    /// The subject in findings.
    pub name: &'static str,
    pub port: u16,
    /// `a` or `c`, the payload shape it speaks.
    pub shape: &'static str,
}

impl Service {
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn arguments(&self) -> Vec<String> {
        let listen = format!("127.0.0.1:{}", self.port);
        ["serve", "--name", self.name, "--listen", &listen, "--shape", self.shape].map(String::from).into()
    }

    /// The health answer's status and body, within a limit.
    pub fn health(&self, limit: Duration) -> Result<http::Answer> {
        http::get(&format!("{}/health/status", self.url()), limit)
    }

    /// Whether it answers, and how.
    pub fn says(&self, status: &str) -> bool {
        self.health(Duration::from_secs(3))
            .is_ok_and(|answer| answer.body.contains(&format!("\"status\":\"{status}\"")))
    }

    /// A command on its path for faults.
    pub fn tell(&self, command: &str) -> Result<()> {
        let url = format!("{}/lab/{command}", self.url());
        let answer = http::post(&url, "{}", Duration::from_secs(10))?;
        ensure!((200..300).contains(&answer.status), "{url} answered {}", answer.status);
        Ok(())
    }

    /// A client's search; it lasts as long as the database lets it.
    pub fn search(&self, limit: Duration) -> Result<http::Answer> {
        self.post(Self::SEARCH, limit)
    }

    pub const SEARCH: &'static str = r#"{"query":"test_search_7"}"#;

    pub fn post(&self, body: &str, limit: Duration) -> Result<http::Answer> {
        http::post(&format!("{}/search", self.url()), body, limit)
    }
}
