//! The connection and the login, as libpq would make them: `sslmode`, unix sockets, passwords.
//! A connection is one attempt; each stage ends by the deadline, and no answer is without end.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio::net::TcpStream;
use tokio_postgres::config::{SslMode as PgSslMode, SslNegotiation};
use tokio_postgres::tls::{NoTls, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config};

use super::failure::failure;
use super::tls::{Encryption, Ready, offers_tls};
use crate::config::{Postgres, Secret, SslMode};
use crate::probe::place::{Place, Stream, open};
use crate::probe::stream::Bounded;
use crate::probe::{blocking, by};
use crate::snapshot::certificate::Certificate;
use crate::snapshot::{Failure, Stage};

/// A logged-in session. Its connection is driven in the background and ends with the client.
pub struct Session {
    pub client: Client,
    pub cancel: Cancel,
    pub tls: bool,
    pub certificate: Option<Certificate>,
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
        self.signal(deadline).await
    }

    /// The same of a session that is somebody else's too.
    pub async fn signal(&self, deadline: Instant) -> Result<(), Failure> {
        let unmade = |e: io::Error| crate::probe::io_failure(&e, "");
        let gone = |e: tokio_postgres::Error| failure(&e);
        match (open(&self.place, deadline).await.map_err(unmade)?, &self.encryption) {
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
    let certificate = encryption.as_ref().and_then(Encryption::shown);
    let cancel = Cancel { token: client.cancel_token(), place: place.clone(), encryption };
    // Ends by itself when the client is dropped; its error is the client's too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Session { client, cancel, tls, certificate })
}
