//! PostgreSQL's way into TLS: a request of its own, one byte in answer, then the handshake.
//! Done here and not by the client library, which takes an error for a "no", and can't tell a
//! handshake that hangs from a login that does.

use std::future::{Ready as Done, ready};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Empty};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{early, failed_io};
use crate::config::{PgHost, PgUrl, RootCert, SslMode};
use crate::probe::stream::Bounded;
use crate::probe::tls::{self, Check, Roots, Shown};
use crate::snapshot::certificate::Certificate;
use crate::snapshot::{FailKind, Failure, Stage};

type Plain = Bounded<TcpStream>;
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Plain>>::Stream;

/// Length 8, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Whether the server takes up TLS. Reads one byte only: what comes after it is TLS's.
pub async fn offers_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<bool, Failure> {
    let mut answer = [0];
    stream.write_all(&SSL_REQUEST).await.map_err(|e| failed_io(&e))?;
    stream.read_exact(&mut answer).await.map_err(|e| failed_io(&e))?;
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => {
            let mut rest = Vec::new();
            // Not all close after it.
            let _ = tokio::time::timeout(Duration::from_millis(100), whole(stream, &mut rest)).await;
            Err(early(&rest))
        }
        _ => Err(Failure::new(FailKind::Malformed, "what answers is no PostgreSQL").at(Stage::Answer)),
    }
}

async fn whole<S: AsyncRead + Unpin>(stream: &mut S, into: &mut Vec<u8>) {
    while into.len() < 4096 && matches!(stream.read_buf(into).await, Ok(1..)) {}
}

/// How a connection is to be encrypted.
pub struct Encryption {
    make: MakeRustlsConnect,
    host: String,
    required: bool,
    shown: Shown,
}

impl Encryption {
    /// As far as the URL asks for it.
    pub fn wanted(url: &PgUrl) -> Result<Self, Failure> {
        let (required, check) = match url.sslmode {
            // libpq's `allow` begins in the clear; the server's own rule may then ask for TLS.
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => (false, Check::Nothing),
            // As libpq: `require` with a root certificate at hand checks the chain.
            SslMode::Require if url.sslrootcert.is_some() => (true, Check::Chain),
            SslMode::Require => (true, Check::Nothing),
            SslMode::VerifyCa => (true, Check::Chain),
            SslMode::VerifyFull => (true, Check::Name),
        };
        let roots = match &url.sslrootcert {
            _ if check == Check::Nothing => Roots::None,
            Some(RootCert::System) | None => Roots::System,
            Some(RootCert::File(path)) => Roots::File(path),
        };
        let (config, shown) =
            tls::noting(check, &roots).map_err(|e| Failure::new(FailKind::Tls, e).at(Stage::Tls))?;
        let host = match &url.host {
            PgHost::Tcp(h) => h.clone(),
            PgHost::Unix(_) => "localhost".into(),
        };
        Ok(Self { make: MakeRustlsConnect::new(config), host, required, shown })
    }

    /// In its handshake; nothing before it.
    pub fn shown(&self) -> Option<Certificate> {
        self.shown.get().copied().flatten()
    }

    /// The server has no TLS.
    pub fn may_be_left_out(&self) -> Result<(), Failure> {
        match self.required {
            false => Ok(()),
            true => Err(Failure::new(FailKind::Tls, "the server does not offer TLS").at(Stage::Tls)),
        }
    }

    pub async fn begin(&self, stream: Plain) -> Result<Encrypted, Failure> {
        let mut make = self.make.clone();
        let connector = match MakeTlsConnect::<Plain>::make_tls_connect(&mut make, &self.host) {
            Ok(connector) => connector,
            Err(never) => match never {},
        };
        connector.connect(stream).await.map_err(|e| failed_io(&e).at(Stage::Tls))
    }
}

/// An encrypted stream for a library that wants to begin the encryption itself.
pub struct Ready<T>(pub T);

impl<T: TlsStream + Unpin> TlsConnect<Empty> for Ready<T> {
    type Stream = T;
    type Error = io::Error;
    type Future = Done<io::Result<T>>;

    fn connect(self, _: Empty) -> Self::Future {
        ready(Ok(self.0))
    }
}
