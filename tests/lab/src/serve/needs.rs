//! What the sample server needs beside its database, where its environment names it: a Redis that it
//! writes to, an Ollama that it asks. Each health answer tries both for real.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Needs {
    redis: Option<Redis>,
    ollama: Option<Ollama>,
}

/// `redis://USER:PASSWORD@HOST:PORT`, both of the first may be empty.
struct Redis {
    address: String,
    login: Vec<String>,
}

/// `http://HOST:PORT/MODEL`.
struct Ollama {
    address: String,
    model: String,
}

impl Needs {
    /// From `REDIS_URL` and `OLLAMA_MODEL_URL`.
    pub fn from_env() -> Result<Self> {
        let redis = env::var("REDIS_URL").ok().map(|url| {
            let rest = url.strip_prefix("redis://").context("REDIS_URL is no URL of a Redis")?;
            let (login, address) = rest.rsplit_once('@').unwrap_or(("", rest));
            let login = login.split(':').filter(|w| !w.is_empty()).map(String::from).collect();
            Ok::<_, anyhow::Error>(Redis { address: address.to_owned(), login })
        });
        let ollama = env::var("OLLAMA_MODEL_URL").ok().map(|url| {
            let rest = url.strip_prefix("http://").context("OLLAMA_MODEL_URL is no URL of an Ollama")?;
            let (address, model) = rest.split_once('/').context("OLLAMA_MODEL_URL names no model")?;
            Ok::<_, anyhow::Error>(Ollama { address: address.to_owned(), model: model.to_owned() })
        });
        Ok(Self { redis: redis.transpose()?, ollama: ollama.transpose()? })
    }

    /// What is wrong with one of them, as a client's library would say it.
    pub async fn trouble(&self, name: &str) -> Option<String> {
        let mut said = None;
        if let Some(redis) = &self.redis {
            said = in_time(redis.write(name)).await.err().map(|e| format!("redis: {e}"));
        }
        if let (Some(ollama), None) = (&self.ollama, &said) {
            said = in_time(ollama.embed()).await.err().map(|e| format!("ollama: {e}"));
        }
        if let Some(said) = &said {
            eprintln!("{name}: ERROR {said}");
        }
        said
    }
}

impl Needs {
    /// What a request of a user takes of them.
    pub async fn used(&self, name: &str) -> Result<(), String> {
        if let Some(redis) = &self.redis {
            redis.write(name).await?;
        }
        if let Some(ollama) = &self.ollama {
            ollama.embed().await?;
        }
        Ok(())
    }
}

async fn in_time(asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer within 1.0 s".into()))
}

impl Redis {
    async fn write(&self, name: &str) -> Result<(), String> {
        let mut stream = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        if !self.login.is_empty() {
            let auth: Vec<&str> =
                std::iter::once("AUTH").chain(self.login.iter().map(String::as_str)).collect();
            say(&mut stream, &auth).await?;
        }
        say(&mut stream, &["SET", &format!("{name}:beat"), "1", "EX", "60"]).await
    }
}

/// One command, and the line that answers it.
async fn say(stream: &mut TcpStream, words: &[&str]) -> Result<(), String> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(text.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let byte = stream.read_u8().await.map_err(|_| "connection closed by server".to_owned())?;
        line.push(byte);
    }
    let line = String::from_utf8_lossy(&line);
    match line.trim_end().strip_prefix('-') {
        Some(error) => Err(error.to_owned()),
        None => Ok(()),
    }
}

impl Ollama {
    async fn embed(&self) -> Result<(), String> {
        let mut stream = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        let body = serde_json::json!({ "model": self.model, "input": "hello" }).to_string();
        let text = format!(
            "POST /api/embed HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(text.as_bytes()).await.map_err(|e| e.to_string())?;
        let mut answer = String::new();
        stream.take(1 << 16).read_to_string(&mut answer).await.map_err(|e| e.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(body.trim().to_owned()) }
    }
}
