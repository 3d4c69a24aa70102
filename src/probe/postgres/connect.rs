//! The connection and the login, as libpq would make them: `sslmode`, unix sockets, passwords.
//! A connection is one attempt; whoever calls sets the deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode as PgSslMode;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::failure;
use crate::config::{PgHost, Postgres, RootCert, Secret, SslMode};
use crate::probe::tls::{self, Check, Roots};
use crate::snapshot::{FailKind, Failure, Stage};

/// Where to connect to.
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

fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub async fn open(place: &Place) -> io::Result<Stream> {
    match place {
        Place::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        Place::Tcp(all) => {
            let stream = TcpStream::connect(all.as_slice()).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
    }
}

/// A logged-in session. Its connection is driven in the background and ends with the client.
pub struct Session {
    pub client: Client,
    pub cancel: CancelToken,
    pub tls: bool,
}

pub async fn start(p: &Postgres, password: Option<&Secret>, stream: Stream) -> Result<Session, Failure> {
    let mut config = Config::new();
    config.user(&p.url.user).dbname(&p.url.dbname).application_name("mcp-ir");
    if let Some(password) = password {
        config.password(password.reveal());
    }
    match stream {
        Stream::Unix(s) => {
            config.ssl_mode(PgSslMode::Disable);
            connected(&config, s, NoTls, false).await
        }
        Stream::Tcp(s) => {
            let (mode, check) = match p.url.sslmode {
                SslMode::Disable => (PgSslMode::Disable, Check::Nothing),
                // libpq's `allow` begins in the clear; the server's own rule may then ask for TLS.
                SslMode::Allow | SslMode::Prefer => (PgSslMode::Prefer, Check::Nothing),
                // As libpq: `require` with a root certificate at hand checks the chain.
                SslMode::Require if p.url.sslrootcert.is_some() => (PgSslMode::Require, Check::Chain),
                SslMode::Require => (PgSslMode::Require, Check::Nothing),
                SslMode::VerifyCa => (PgSslMode::Require, Check::Chain),
                SslMode::VerifyFull => (PgSslMode::Require, Check::Name),
            };
            config.ssl_mode(mode);
            if mode == PgSslMode::Disable {
                return connected(&config, s, NoTls, false).await;
            }
            let roots = match &p.url.sslrootcert {
                _ if check == Check::Nothing => Roots::None,
                Some(RootCert::System) | None => Roots::System,
                Some(RootCert::File(path)) => Roots::File(path),
            };
            let refuse = |e: String| Failure::new(FailKind::Tls, e).at(Stage::Tls);
            let mut make = MakeRustlsConnect::new(tls::config(check, &roots).map_err(refuse)?);
            let host = match &p.url.host {
                PgHost::Tcp(h) => h.as_str(),
                PgHost::Unix(_) => "localhost",
            };
            let connector =
                <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut make, host)
                    .map_err(|e| refuse(e.to_string()))?;
            connected(&config, s, connector, true).await
        }
    }
}

async fn connected<S, T>(config: &Config, stream: S, tls: T, may_tls: bool) -> Result<Session, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S> + Send + 'static,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|e| failure(&e))?;
    let cancel = client.cancel_token();
    // Ends by itself when the client is dropped; its error is the client's too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Session { client, cancel, tls: may_tls })
}
