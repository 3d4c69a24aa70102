//! A thousand services behind one port: every path under `/well` answers, every one under `/mute`
//! takes the request and is silent; `/large/metrics` is a page of 5 MB. As little work as can be: what is measured is who asks.

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
    let page = large();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\r\n",
        page.len()
    );
    let page: &'static str = (head + &page).leak();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(one(stream, answer, page));
    }
}

/// A metrics page of 5 MB, as a service with very many routes has it: a histogram for each.
pub fn large() -> String {
    const BYTES: usize = 5_000_000;
    const BOUNDS: [&str; 11] =
        ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];
    let mut page = String::with_capacity(BYTES + 4096);
    page += "# HELP http_request_duration_seconds How long requests took.\n\
             # TYPE http_request_duration_seconds histogram\n";
    for route in 0.. {
        if page.len() >= BYTES {
            break;
        }
        let labels = format!("method=\"POST\",route=\"/v1/projects/{route}/search\",status=\"200\"");
        for (i, bound) in BOUNDS.iter().enumerate() {
            // All within 50 ms.
            let count = 40 * (i + 1).min(4);
            page += &format!("http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}\n");
        }
        page += &format!("http_request_duration_seconds_sum{{{labels}}} 3.2\n");
        page += &format!("http_request_duration_seconds_count{{{labels}}} 160\n");
    }
    page
}

/// Requests without a body, one after another, as long as the client keeps the connection.
async fn one(mut stream: TcpStream, answer: &'static str, page: &'static str) {
    let mut asked = Vec::with_capacity(1024);
    while matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        if asked.starts_with(b"GET /mute") {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        let answer = if asked.starts_with(b"GET /large/metrics") { page } else { answer };
        asked.clear();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
