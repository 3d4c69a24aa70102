//! Since when nothing came through a TCP connection, either way, by the kernel (`sock_diag`, as `ss -i` shows
//! it). Asks about one port of this network namespace; needs no rights, changes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::snapshot::{FailKind, Failure};

const HEADER: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const ASK_ALL: u16 = 0x301;
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// `INET_DIAG_INFO`: the kernel's `struct tcp_info`, and in it `tcpi_last_data_sent` and
/// `tcpi_last_data_recv`, in ms.
const INFO: u16 = 2;
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;
/// Established, and closed by the other end alone.
const STATES: u32 = 1 << 1 | 1 << 8;
/// An answer of so many parts is no longer a server's slots.
const PARTS: usize = 4096;

/// Seconds since data went out through a connection, and since some came in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quiet {
    pub sent_s: f64,
    pub received_s: f64,
}

/// The connections of this port, by the other end's address.
pub fn connections(port: u16) -> Result<BTreeMap<SocketAddr, Quiet>, Failure> {
    let failed = |e: rustix::io::Errno| Failure::new(FailKind::Unsupported, format!("sock_diag: {e}"));
    let mut all = BTreeMap::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::SOCK_DIAG),
        )
        .map_err(failed)?;
        let family = u8::try_from(family.as_raw()).unwrap_or_default();
        rustix::net::send(&socket, &request(family, port), SendFlags::empty()).map_err(failed)?;
        let mut buffer = vec![0_u8; 64 * 1024];
        // The kernel fills its answer while it is read: nothing is waited for.
        for _ in 0..PARTS {
            let (n, _) =
                rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()).map_err(failed)?;
            if !read(buffer.get(..n).unwrap_or_default(), &mut all)? {
                break;
            }
        }
    }
    Ok(all)
}

fn request(family: u8, port: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + 56);
    out.extend(72_u32.to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(ASK_ALL.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family, 6, 1 << (INFO - 1), 0]);
    out.extend(STATES.to_ne_bytes());
    out.extend(port.to_be_bytes());
    out.resize(HEADER + 56, 0);
    out
}

/// Reads what came in one piece; whether more is to come.
fn read(mut bytes: &[u8], all: &mut BTreeMap<SocketAddr, Quiet>) -> Result<bool, Failure> {
    let bad = || Failure::new(FailKind::Malformed, "sock_diag: an answer that can't be read");
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0).ok_or_else(bad)? as usize;
        let message = bytes.get(HEADER..length).ok_or_else(bad)?;
        match u16_at(bytes, 4) {
            Some(DONE) => return Ok(false),
            Some(ERROR) => {
                return Err(Failure::new(FailKind::Unsupported, "sock_diag: refused by the kernel"));
            }
            _ => all.extend(connection(message)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn connection(message: &[u8]) -> Option<(SocketAddr, Quiet)> {
    let port = u16::from_be_bytes(message.get(6..8)?.try_into().ok()?);
    let address = message.get(24..40)?;
    let ip: IpAddr = match u16::from(*message.first()?) {
        f if f == AddressFamily::INET.as_raw() => {
            Ipv4Addr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?).into()
        }
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical(),
    };
    let mut attributes = message.get(MESSAGE..)?;
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == INFO {
            let seconds = |at| Some(f64::from(u32_at(value, at)?) / 1000.0);
            let quiet = Quiet { sent_s: seconds(LAST_SENT)?, received_s: seconds(LAST_RECEIVED)? };
            return Some((SocketAddr::new(ip, port), quiet));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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

    #[test]
    fn what_can_not_be_read_is_no_connection() {
        let mut all = BTreeMap::new();
        assert!(read(&[], &mut all).unwrap());
        assert!(read(&[9; 40], &mut all).is_err());
        let mut short = 20_u32.to_ne_bytes().to_vec();
        short.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0]);
        assert!(read(&short, &mut all).unwrap());
        assert!(all.is_empty());
    }
}
