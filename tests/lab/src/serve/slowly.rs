//! The server's listener: with a queue as long as it is told, taken from as slowly as it is told.
//! `LAB_BACKLOG` and `LAB_ACCEPT_MS`; without them as any other.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub struct Listener {
    inner: TcpListener,
    pause: Duration,
    turn: u32,
}

impl Listener {
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let number = |name: &str| env::var(name).ok().map(|n| n.parse::<u32>()).transpose();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        let what = || format!("cannot listen on {address}");
        socket.bind(address).with_context(what)?;
        let inner = socket.listen(number("LAB_BACKLOG")?.unwrap_or(1024)).with_context(what)?;
        let pause = Duration::from_millis(number("LAB_ACCEPT_MS")?.unwrap_or(0).into());
        Ok(Self { inner, pause, turn: 0 })
    }
}

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if !self.pause.is_zero() {
            // Now sooner, now later: else who knocks at the wrong moment does so each time.
            self.turn = (self.turn + 7) % 16;
            tokio::time::sleep(self.pause * self.turn / 8).await;
        }
        axum::serve::Listener::accept(&mut self.inner).await
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}
