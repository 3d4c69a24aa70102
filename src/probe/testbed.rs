//! Servers that misbehave, for the tests of the probes: real sockets on 127.0.0.1, free ports.
//! What a test measures is whether a deadline holds, not how fast this machine is.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How late a look may be that was cut off.
const LATE: Duration = Duration::from_millis(100);

pub fn soon(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// Gives every connection to `serve`. The listener lives as long as the test's runtime.
pub async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Takes what comes first, gives `answer`, and closes.
pub async fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Vec<u8> = answer.into();
    server(move |mut stream| {
        let answer = answer.clone();
        async move {
            heard(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

/// Accepts, hears, and never says a word.
pub async fn silent() -> SocketAddr {
    server(|mut stream| async move { while !heard(&mut stream).await.is_empty() {} }).await
}

/// What one read gives; nothing at the end.
pub async fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = vec![0; 16 << 10];
    let read = stream.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(read);
    buffer
}

/// A port where nobody listens.
pub async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener that takes no more connections: its queue is full, so a SYN is dropped. Both parts
/// are to be kept.
pub async fn full() -> (std::net::TcpListener, Vec<TcpStream>, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&fd, 0).unwrap();
    let address = SocketAddr::try_from(getsockname(&fd).unwrap()).unwrap();
    let mut kept = Vec::new();
    while let Ok(made) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        kept.push(made.unwrap());
    }
    (fd.into(), kept, address)
}

/// Runs a look with that deadline, and again if it came late: a machine under load makes one look
/// late, a deadline that does not hold makes all of them late.
pub async fn on_time<T, Fut: Future<Output = T>>(ms: u64, look: impl Fn(Instant) -> Fut) -> T {
    let mut late = Vec::new();
    for _ in 0..3 {
        let (start, deadline) = (Instant::now(), soon(ms));
        let seen = look(deadline).await;
        if Instant::now() <= deadline + LATE {
            return seen;
        }
        late.push(start.elapsed());
    }
    panic!("a deadline of {ms} ms did not hold: {late:?}");
}
