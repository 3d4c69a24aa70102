//! Where a server is, and the way to it: resolved by the system, connected by the deadline.
//! No answer is without end; it knows no protocol.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Instant;

use tokio::net::{TcpStream, UnixStream};

use super::stream::Bounded;
use super::{blocking, by, io_failure, no_way};
use crate::snapshot::{FailKind, Failure, Stage};

/// Where to connect to.
#[derive(Debug, Clone)]
pub enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Place {
    /// Resolves a host by the system's resolver, which may block: it is abandoned at the deadline.
    pub async fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Self, Failure> {
        if let Ok(ip) = host.parse() {
            return Ok(Place::Tcp(vec![SocketAddr::new(ip, port)]));
        }
        let target = (host.to_owned(), port);
        let nothing = || Failure::new(FailKind::Unresolved, "the name does not resolve").at(Stage::Resolve);
        let resolve =
            move || Ok(target.to_socket_addrs().map_err(|_| nothing())?.collect::<Vec<SocketAddr>>());
        let found = blocking(deadline, "the resolver", resolve).await.map_err(|f| f.at(Stage::Resolve))?;
        if found.is_empty() {
            return Err(nothing());
        }
        Ok(Place::Tcp(found))
    }

    /// Whether it is this host: loopback, a socket, or an address that a socket can be bound to.
    pub fn here(&self) -> bool {
        match self {
            Place::Unix(_) => true,
            Place::Tcp(all) => all.iter().any(|a| is_own(a.ip())),
        }
    }
}

/// The way to an own address begins at it. Binding to it would not tell: `ip_nonlocal_bind` lets
/// any address be bound. Nothing is sent.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let way = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    ip.is_loopback() || way().is_ok_and(|from| from.ip() == ip)
}

pub enum Stream {
    Tcp(Bounded<TcpStream>),
    Unix(Bounded<UnixStream>),
}

/// Connects. Of several addresses each gets its share of the time: one that drops what it is sent
/// does not keep the others from being tried.
pub async fn open(place: &Place, deadline: Instant) -> io::Result<Stream> {
    let all = match place {
        Place::Unix(path) => return Ok(Stream::Unix(Bounded::new(UnixStream::connect(path).await?))),
        Place::Tcp(all) => all,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (i, address) in all.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(all.len() - i).unwrap_or(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(Stream::Tcp(Bounded::new(stream)));
            }
            Ok(Err(e)) => last = e,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The same, with how it failed as a fact.
pub async fn connect(place: &Place, deadline: Instant) -> Result<Stream, Failure> {
    let opened = by(deadline, Stage::Connect, "no connection", open(place, deadline)).await?;
    opened.map_err(|e| {
        let f = match place {
            Place::Tcp(_) => no_way(&e, ""),
            Place::Unix(_) => io_failure(&e, "").at(Stage::Connect),
        };
        // A socket that is not there: nobody listens.
        if f.kind == FailKind::Missing { Failure { detail: "no such socket".into(), ..f } } else { f }
    })
}
