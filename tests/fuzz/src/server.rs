//! A PostgreSQL that sends whatever comes: the look ends in time and says something of it.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use mcp_ir::config::Postgres;
use mcp_ir::probe::postgres::look;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const DEADLINE: Duration = Duration::from_millis(100);

/// The server's answer to the first message; then it closes.
pub fn server(data: &[u8]) {
    thread_local!(static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() });
    RUNTIME.with(|r| {
        let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        r.get_or_init(make).block_on(one(data));
    });
}

async fn one(data: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let p: Postgres = serde_json::from_value(serde_json::json!({
        "name": "pg", "url": format!("postgresql://m@127.0.0.1:{port}/app?sslmode=disable"),
        "databases": [], "expect": "primary",
    }))
    .unwrap();
    let answer = async {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(data).await;
        }
    };
    let start = Instant::now();
    let seen = tokio::select! {
        seen = look(&p, None, start + DEADLINE) => seen,
        () = answer => unreachable!(),
    };
    let took = start.elapsed();
    assert!(took < DEADLINE + Duration::from_secs(2), "it took {took:?}");
    let said = serde_json::to_string(&seen).unwrap();
    assert!(said.len() < 200_000, "{} bytes are kept of it", said.len());
    // Nothing that these bytes can say makes a server whose slots were counted by us.
    assert_eq!(serde_json::from_str::<mcp_ir::snapshot::postgres::PostgresLook>(&said).unwrap(), seen);
}
