//! A thousand services behind one port: every path under `/well` answers, every one under `/mute`
//! takes the request and is silent. As little work as can be: what is measured is who asks.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

#[derive(Debug, Args)]
pub struct ManyArgs {
    #[arg(long)]
    pub listen: SocketAddr,
}

const BODY: &str = r#"{"status":"healthy","timestamp":"2026-01-01T00:00:00Z","database_status":"connected","connection_pool":{"size":4,"min_size":2,"max_size":20,"free":3},"uptime_seconds":"81234.56","details":null}"#;

pub async fn many(args: ManyArgs) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let listener = socket.listen(4096)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let answer: &'static str = answer.leak();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(one(stream, answer));
    }
}

/// Requests without a body, one after another, as long as the client keeps the connection.
async fn one(mut stream: TcpStream, answer: &'static str) {
    let mut asked = Vec::with_capacity(1024);
    while matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        if asked.starts_with(b"GET /mute") {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        asked.clear();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
