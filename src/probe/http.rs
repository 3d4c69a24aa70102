//! One bounded request: no proxy, no redirect, a size limit, a deadline, a connection of its own.
//! Transport, HTTP status and body are three separate facts (errata 5); each stage is made here, one
//! after another, so that it is known how far a look came.

use std::error::Error as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::http::Method;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::config::Header;
use crate::probe::tls::{self, Roots};
use crate::probe::{blocking, by, io_failure, no_way, said, tls_error};
use crate::snapshot::certificate::Certificate;
use crate::snapshot::{FailKind, Failure, Stage};

/// The largest body that is read, in bytes. A health answer has a few hundred.
pub const MAX_BODY: usize = 1 << 20;

type Request = hyper::Request<Full<Bytes>>;

/// What is asked, beside the URL.
pub struct Ask<'a> {
    pub method: Method,
    /// Those that are configured.
    pub headers: &'a [Header],
    /// Those of the protocol that is spoken.
    pub also: &'a [(&'static str, &'a str)],
    pub body: String,
    /// The largest answer that is read, in bytes.
    pub limit: usize,
}

impl<'a> Ask<'a> {
    pub fn get(headers: &'a [Header]) -> Self {
        let also = &[("accept", "*/*")];
        Self { method: Method::GET, headers, also, body: String::new(), limit: MAX_BODY }
    }
}

/// What a server answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// Of https.
    pub certificate: Option<Certificate>,
}

/// What asking takes: nothing or, for https, whom to believe.
pub struct Client(Option<TlsConnector>);

/// `https` says whether authorities have to be loaded: that is slow.
pub fn client(https: bool, ca_file: Option<&str>) -> Result<Client, Failure> {
    if !https {
        return Ok(Client(None));
    }
    let roots = ca_file.map_or(Roots::System, |path| Roots::File(Path::new(path)));
    let config = tls::config(&roots).map_err(|e| Failure::new(FailKind::Tls, e).at(Stage::Tls))?;
    Ok(Client(Some(TlsConnector::from(Arc::new(config)))))
}

/// Where an answer is expected.
struct Place {
    url: Url,
    /// `host:port`, for messages.
    name: String,
}

impl Place {
    fn of(url: &str) -> Result<Self, Failure> {
        let bad = |e: String| Failure::new(FailKind::Malformed, format!("the URL can't be read: {e}"));
        let url = Url::parse(url).map_err(|e| bad(e.to_string()))?;
        let host = url.host_str().ok_or_else(|| bad("no host".into()))?;
        let name = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        Ok(Self { url, name })
    }

    fn failed(&self, kind: FailKind, stage: Stage, words: &str) -> Failure {
        Failure::new(kind, format!("{}: {words}", self.name)).at(stage)
    }

    /// By the system's resolver, which may block: it is abandoned at the deadline.
    async fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
        let port = self.url.port_or_known_default().unwrap_or(80);
        let name = match self.url.host() {
            Some(Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Domain(name)) => name.to_owned(),
            None => String::new(),
        };
        let lookup = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let late = |_| self.failed(FailKind::TimedOut, Stage::Resolve, "the name was not resolved in time");
        let found = tokio::time::timeout_at(deadline.into(), tokio::task::spawn_blocking(lookup));
        match found.await.map_err(late)? {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            _ => Err(self.failed(FailKind::Unresolved, Stage::Resolve, "the name does not resolve")),
        }
    }

    /// Of several addresses each gets its share of the time.
    async fn connect(&self, deadline: Instant) -> Result<TcpStream, Failure> {
        let all = self.addresses(deadline).await?;
        let mut last = self.failed(FailKind::TimedOut, Stage::Connect, "no connection in time");
        for (i, address) in all.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(all.len() - i).unwrap_or(1);
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => last = no_way(&e, &self.name),
                Err(_) => {
                    last = self.failed(FailKind::TimedOut, Stage::Connect, "no connection in time");
                }
            }
        }
        Err(last)
    }

    async fn encrypt(
        &self,
        tls: &TlsConnector,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host)
            .map_err(|_| self.failed(FailKind::Tls, Stage::Tls, "no name that a certificate can have"))?;
        let made = tokio::time::timeout_at(deadline.into(), tls.connect(name, stream)).await;
        let late = |_| self.failed(FailKind::TimedOut, Stage::Tls, "connected, and no TLS in time");
        made.map_err(late)?.map_err(|e| self.broken(&e, Stage::Tls))
    }

    fn broken(&self, e: &std::io::Error, stage: Stage) -> Failure {
        match tls_error(e) {
            Some(tls) => self.failed(FailKind::Tls, Stage::Tls, &tls.to_string()),
            None => io_failure(e, &self.name).at(stage),
        }
    }

    fn failure(&self, e: &hyper::Error, stage: Stage) -> Failure {
        let mut source = e.source();
        while let Some(s) = source {
            if let Some(io) = s.downcast_ref::<std::io::Error>() {
                return self.broken(io, stage);
            }
            source = s.source();
        }
        if e.is_incomplete_message() || e.is_closed() || e.is_canceled() {
            return self.failed(FailKind::Closed, stage, "connection closed in the middle");
        }
        let why = innermost(e);
        self.failed(FailKind::Malformed, stage, &format!("no HTTP answer: {}", said(&why, 200)))
    }

    fn request(&self, ask: &Ask) -> Result<Request, Failure> {
        let query = self.url.query().map(|q| format!("?{q}")).unwrap_or_default();
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let mut request = hyper::Request::builder()
            .method(&ask.method)
            .uri(format!("{}{query}", self.url.path()))
            .header(HOST, format!("{host}{port}"))
            .header(USER_AGENT, concat!("mcp-ir/", env!("CARGO_PKG_VERSION")));
        for (name, value) in ask.also {
            request = request.header(*name, *value);
        }
        for h in ask.headers {
            request = request.header(&h.name, h.value.reveal());
        }
        let bad = |_| Failure::new(FailKind::Malformed, "a configured header can't be sent");
        request.body(Full::from(ask.body.clone())).map_err(bad)
    }
}

/// A client for the server of this URL. Files are read only for https: many, and one may never be
/// given.
pub async fn client_for(url: &str, ca_file: Option<&str>, deadline: Instant) -> Result<Client, Failure> {
    let (https, ca_file) = (url.starts_with("https:"), ca_file.map(ToOwned::to_owned));
    let make = move || client(https, ca_file.as_deref());
    if !https {
        return make();
    }
    blocking(deadline, "the certificates of the authorities", make).await.map_err(|f| f.at(Stage::Tls))
}

pub async fn get(
    client: &Client,
    url: &str,
    headers: &[Header],
    deadline: Instant,
) -> Result<Answer, Failure> {
    let (answer, _) = send(client, url, &Ask::get(headers), |_, _| false, deadline).await?;
    Ok(answer)
}

/// Asks, and reads the answer until it ends or `enough` says so: which is shown the head first, and
/// then each piece.
pub async fn send(
    client: &Client,
    url: &str,
    ask: &Ask<'_>,
    enough: impl FnMut(&Answer, &[u8]) -> bool,
    deadline: Instant,
) -> Result<(Answer, HeaderMap), Failure> {
    let place = Place::of(url)?;
    let request = (place.request(ask)?, ask.limit);
    let stream = place.connect(deadline).await?;
    match &client.0 {
        None => exchange(&place, stream, request, enough, deadline).await,
        // On the heap: those who need no TLS, a thousand at once, do not pay for it.
        Some(tls) => {
            let stream = place.encrypt(tls, stream, deadline).await?;
            let certificate = tls::shown(stream.get_ref().1.peer_certificates());
            let asked = Box::pin(exchange(&place, stream, request, enough, deadline)).await;
            asked.map(|(answer, head)| (Answer { certificate, ..answer }, head))
        }
    }
}

/// The same over a socket of this machine: `target` is a path, with its query.
pub async fn get_unix(socket: &str, target: &str, deadline: Instant) -> Result<(Answer, HeaderMap), Failure> {
    let place = Place { name: socket.to_owned(), ..Place::of(&format!("http://localhost{target}"))? };
    let request = (place.request(&Ask::get(&[]))?, MAX_BODY);
    let made = tokio::time::timeout_at(deadline.into(), UnixStream::connect(socket));
    let late = |_| place.failed(FailKind::TimedOut, Stage::Connect, "no connection in time");
    let stream = made.await.map_err(late)?.map_err(|e| io_failure(&e, socket).at(Stage::Connect))?;
    exchange(&place, stream, request, |_, _| false, deadline).await
}

/// The beginning of a body on one line, masked.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: Vec<&str> = text.split_whitespace().collect();
    said(&line.join(" "), 200)
}

/// `host:port` of a URL, for messages.
pub fn place(url: &str) -> String {
    Place::of(url).map_or_else(|_| "the server".into(), |p| p.name)
}

/// The request and its whole answer, while the connection is driven beside them.
async fn exchange(
    place: &Place,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: (Request, usize),
    enough: impl FnMut(&Answer, &[u8]) -> bool,
    deadline: Instant,
) -> Result<(Answer, HeaderMap), Failure> {
    let (request, limit) = request;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|e| place.failure(&e, Stage::Answer))?;
    let answer = async {
        let silent = format!("connected to {}, and no answer", place.name);
        let asked = Instant::now();
        let response = by(deadline, Stage::Answer, &silent, sender.send_request(request)).await;
        let response = response.map_err(|f| heard_out(f, asked))?;
        let response = response.map_err(|e| place.failure(&e, Stage::Answer))?;
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
        let answer = Answer {
            status: response.status().as_u16(),
            content_type: header(CONTENT_TYPE).unwrap_or_default(),
            location: header(LOCATION),
            ..Answer::default()
        };
        let endless = format!("{} began to answer and did not end", place.name);
        let (head, body) = response.into_parts();
        // The whole body under one deadline, so that what is said was waited is the whole of it.
        let body = by(deadline, Stage::Body, &endless, whole(place, body, &answer, limit, enough)).await??;
        Ok((Answer { body, ..answer }, head.headers))
    };
    match select(pin!(answer), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // Closed: what it has read is still there to be taken.
        Either::Right((_, answer)) => answer.await,
    }
}

/// Shorter than this is no silence: it was we who had no time left.
const SILENCE: Duration = Duration::from_millis(100);

fn heard_out(f: Failure, asked: Instant) -> Failure {
    if asked.elapsed() >= SILENCE {
        return f;
    }
    Failure { kind: FailKind::NotTried, detail: format!("{}: no time was left to wait", f.detail), ..f }
}

async fn whole(
    place: &Place,
    mut body: hyper::body::Incoming,
    head: &Answer,
    limit: usize,
    mut enough: impl FnMut(&Answer, &[u8]) -> bool,
) -> Result<Vec<u8>, Failure> {
    // As long as it says that it is: a promise, and no more than may be read.
    let says = hyper::body::Body::size_hint(&body).exact().and_then(|n| usize::try_from(n).ok());
    let mut all = Vec::with_capacity(says.unwrap_or(0).min(limit));
    let mut done = enough(head, &[]);
    while !done && let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| place.failure(&e, Stage::Body))?;
        let Some(chunk) = frame.data_ref() else { continue };
        if all.len() + chunk.len() > limit {
            let text = format!("an answer of more than {} KiB", limit >> 10);
            let code = Some("size".into());
            return Err(Failure { code, ..Failure::new(FailKind::Malformed, text).at(Stage::Body) });
        }
        all.extend_from_slice(chunk);
        done = enough(head, chunk);
    }
    Ok(all)
}

/// The last cause, in its own words.
fn innermost(e: &dyn std::error::Error) -> String {
    match e.source() {
        Some(source) => innermost(source),
        None => e.to_string(),
    }
}

#[cfg(test)]
mod tests;
