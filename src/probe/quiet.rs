//! Since when nothing came through a TCP connection, either way, by the kernel (`sock_diag`, as `ss -i` shows
//! it). Asks about one port of this network namespace; needs no rights, changes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::diag::{self, u32_at};
use crate::snapshot::Failure;

/// In `struct tcp_info`: `tcpi_last_data_sent` and `tcpi_last_data_recv`, in ms.
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;

/// Seconds since data went out through a connection, and since some came in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quiet {
    pub sent_s: f64,
    pub received_s: f64,
}

/// The connections of this port, by the other end's address.
pub fn connections(port: u16) -> Result<BTreeMap<SocketAddr, Quiet>, Failure> {
    let mut all = BTreeMap::new();
    diag::each(diag::OPEN, Some(port), diag::INFO, &mut |socket| {
        let quiet = socket.attribute(diag::INFO).and_then(|info| {
            let seconds = |at| Some(f64::from(u32_at(info, at)?) / 1000.0);
            Some(Quiet { sent_s: seconds(LAST_SENT)?, received_s: seconds(LAST_RECEIVED)? })
        });
        all.extend(socket.remote().zip(quiet));
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_is_as_quiet_as_its_last_word_is_old() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            // Where the machine has no IPv6 there is nothing to see.
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let here = listener.local_addr().unwrap();
            let (mut old, young) = (TcpStream::connect(here).unwrap(), TcpStream::connect(here).unwrap());
            let mut taken: Vec<TcpStream> = (0..2).map(|_| listener.accept().unwrap().0).collect();
            for t in &mut taken {
                t.write_all(b"x").unwrap();
            }
            std::thread::sleep(Duration::from_millis(300));
            let speaks = taken.iter_mut().find(|t| t.peer_addr().unwrap() == young.local_addr().unwrap());
            speaks.unwrap().write_all(b"y").unwrap();
            old.write_all(b"z").unwrap();
            let seen = connections(here.port()).unwrap();
            assert_eq!(seen.len(), 2, "{seen:?}");
            let of = |s: &TcpStream| seen[&s.local_addr().unwrap()];
            assert!((0.29..20.0).contains(&of(&old).sent_s) && of(&young).sent_s < 0.29, "{seen:?}");
            assert!((0.29..20.0).contains(&of(&young).received_s) && of(&old).received_s < 0.29, "{seen:?}");
        }
    }
}
