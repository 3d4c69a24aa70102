//! How far one connection came: the client library tells "no connection" and "no TLS" alike.
//! Only watches: the system's resolver resolves, and no TLS session is kept.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::snapshot::Stage;

const CONNECT: u8 = 0;
const RESOLVE: u8 = 1;
const TLS: u8 = 2;

#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Where a connection stands that is not made. An address needs no resolver: then it begins at
    /// `Connect`.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            RESOLVE => Stage::Resolve,
            TLS => Stage::Tls,
            _ => Stage::Connect,
        }
    }

    fn reached(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }
}

impl Resolve for Progress {
    fn resolve(&self, name: Name) -> Resolving {
        let progress = self.clone();
        progress.reached(RESOLVE);
        Box::pin(async move {
            let lookup =
                move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
            let found = tokio::task::spawn_blocking(lookup).await??;
            if found.is_empty() {
                return Err("no address".into());
            }
            progress.reached(CONNECT);
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// rustls looks for a former session when a handshake begins, that is: once there is a connection.
impl ClientSessionStore for Progress {
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.reached(TLS);
        None
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.reached(TLS);
        None
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}
}
