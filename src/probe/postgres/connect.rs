//! The connection and the login, as libpq would make them: `sslmode`, unix sockets, passwords.
//! A connection is one attempt; each stage ends by the deadline, and no answer is without end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{SslMode as PgSslMode, SslNegotiation};
use tokio_postgres::tls::{NoTls, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config};

use super::failure::failure;
use super::stream::Bounded;
use super::tls::{Encryption, Ready, offers_tls};
use crate::config::{Postgres, Secret, SslMode};
use crate::probe::{blocking, by};
use crate::snapshot::{Failure, Stage};

/// Where to connect to.
#[derive(Debug, Clone)]
pub enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Place {
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

/// A logged-in session. Its connection is driven in the background and ends with the client.
pub struct Session {
    pub client: Client,
    pub cancel: Cancel,
    pub tls: bool,
}

/// Ends a query of a session on the server, over a connection of its own.
pub struct Cancel {
    token: CancelToken,
    place: Place,
    encryption: Option<Encryption>,
}

impl Cancel {
    /// By the deadline. The server does not say whether it came of anything.
    pub async fn send(self, deadline: Instant) -> Result<(), Failure> {
        let unmade = |e: io::Error| crate::probe::io_failure(&e, "");
        let gone = |e: tokio_postgres::Error| failure(&e);
        match (open(&self.place, deadline).await.map_err(unmade)?, self.encryption) {
            (Stream::Unix(s), _) => self.token.cancel_query_raw(s, NoTls).await.map_err(gone),
            (Stream::Tcp(s), None) => self.token.cancel_query_raw(s, NoTls).await.map_err(gone),
            (Stream::Tcp(mut s), Some(encryption)) => {
                offers_tls(&mut s).await?;
                let ready = Ready(encryption.begin(s).await?);
                self.token.cancel_query_raw(tokio::io::empty(), ready).await.map_err(gone)
            }
        }
    }
}

pub async fn start(
    p: &Postgres,
    password: Option<&Secret>,
    place: &Place,
    stream: Stream,
    deadline: Instant,
) -> Result<Session, Failure> {
    let mut config = Config::new();
    config.user(&p.url.user).dbname(&p.url.dbname).application_name("mcp-ir").ssl_mode(PgSslMode::Disable);
    if let Some(options) = &p.url.options {
        config.options(options);
    }
    if let Some(password) = password {
        config.password(password.reveal());
    }
    let silent = "connected, and no answer to a login";
    let log_in = async {
        match stream {
            Stream::Unix(s) => logged_in(&config, s, NoTls, place, None).await,
            Stream::Tcp(s) => over_tcp(p, &mut config, s, place, deadline).await,
        }
    };
    by(deadline, Stage::Answer, silent, log_in).await?
}

async fn over_tcp(
    p: &Postgres,
    config: &mut Config,
    mut stream: Bounded<TcpStream>,
    place: &Place,
    deadline: Instant,
) -> Result<Session, Failure> {
    let url = p.url.clone();
    let wanted = match url.sslmode {
        SslMode::Disable => None,
        SslMode::Allow | SslMode::Prefer => Some(Encryption::wanted(&url)?),
        // May read the files of the authorities.
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            let make = move || Encryption::wanted(&url);
            Some(
                blocking(deadline, "the certificates of the authorities", make)
                    .await
                    .map_err(|f| f.at(Stage::Tls))?,
            )
        }
    };
    let Some(encryption) = wanted else { return logged_in(config, stream, NoTls, place, None).await };
    if !offers_tls(&mut stream).await? {
        encryption.may_be_left_out()?;
        return logged_in(config, stream, NoTls, place, None).await;
    }
    let stream = by(deadline, Stage::Tls, "connected, and no TLS", encryption.begin(stream)).await??;
    // The handshake is done: the library is not to ask for one.
    config.ssl_mode(PgSslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    logged_in::<Empty, _>(config, tokio::io::empty(), Ready(stream), place, Some(encryption)).await
}

async fn logged_in<S, T>(
    config: &Config,
    stream: S,
    tls: T,
    place: &Place,
    encryption: Option<Encryption>,
) -> Result<Session, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S> + Send + 'static,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|e| failure(&e))?;
    let tls = encryption.is_some();
    let cancel = Cancel { token: client.cancel_token(), place: place.clone(), encryption };
    // Ends by itself when the client is dropped; its error is the client's too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Session { client, cancel, tls })
}
