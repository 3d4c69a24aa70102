//! The kernel's own word on TCP sockets (`sock_diag`, as `ss` shows it): of this network namespace, without
//! rights, and nothing is changed.

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
/// `INET_DIAG_INFO`: the kernel's `struct tcp_info`.
pub const INFO: u16 = 2;
/// `INET_DIAG_SKMEMINFO`: nine words, of which the last counts what was turned away.
pub const MEMORY: u16 = 7;
/// Established, and closed by the other end alone.
pub const OPEN: u32 = 1 << 1 | 1 << 8;
pub const LISTENING: u32 = 1 << 10;
/// An answer of so many parts is no longer one that is worth its time.
const PARTS: usize = 4096;

/// One socket.
pub struct Socket<'a> {
    message: &'a [u8],
}

impl<'a> Socket<'a> {
    fn address(&self, port: usize, address: usize) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.message.get(port..port + 2)?.try_into().ok()?);
        let address = self.message.get(address..address + 16)?;
        let ip: IpAddr = match u16::from(*self.message.first()?) {
            f if f == AddressFamily::INET.as_raw() => {
                Ipv4Addr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?).into()
            }
            _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical(),
        };
        Some(SocketAddr::new(ip, port))
    }

    pub fn local(&self) -> Option<SocketAddr> {
        self.address(4, 8)
    }

    pub fn remote(&self) -> Option<SocketAddr> {
        self.address(6, 24)
    }

    /// Of a listener: how many wait, and how many may.
    pub fn queue(&self) -> Option<(u32, u32)> {
        Some((u32_at(self.message, 56)?, u32_at(self.message, 60)?))
    }

    /// What was asked for beside.
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        let mut attributes = self.message.get(MESSAGE..)?;
        loop {
            let length = usize::from(u16_at(attributes, 0)?);
            let value = attributes.get(4..length)?;
            if u16_at(attributes, 2)? == kind {
                return Some(value);
            }
            attributes = attributes.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// All sockets in these states, at this port of ours where one is named, told one by one.
pub fn each(
    states: u32,
    port: Option<u16>,
    beside: u16,
    tell: &mut dyn FnMut(Socket),
) -> Result<(), Failure> {
    let failed = |e: rustix::io::Errno| Failure::new(FailKind::Unsupported, format!("sock_diag: {e}"));
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::SOCK_DIAG),
        )
        .map_err(failed)?;
        let family = u8::try_from(family.as_raw()).unwrap_or_default();
        let request = request(family, states, port.unwrap_or(0), beside);
        rustix::net::send(&socket, &request, SendFlags::empty()).map_err(failed)?;
        let mut buffer = vec![0_u8; 64 * 1024];
        // The kernel fills its answer while it is read: nothing is waited for.
        for _ in 0..PARTS {
            let (n, _) =
                rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()).map_err(failed)?;
            if !read(buffer.get(..n).unwrap_or_default(), tell)? {
                break;
            }
        }
    }
    Ok(())
}

fn request(family: u8, states: u32, port: u16, beside: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + 56);
    out.extend(72_u32.to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(ASK_ALL.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family, 6, 1 << (beside - 1), 0]);
    out.extend(states.to_ne_bytes());
    out.extend(port.to_be_bytes());
    out.resize(HEADER + 56, 0);
    out
}

/// Reads what came in one piece; whether more is to come.
fn read(mut bytes: &[u8], tell: &mut dyn FnMut(Socket)) -> Result<bool, Failure> {
    let bad = || Failure::new(FailKind::Malformed, "sock_diag: an answer that can't be read");
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0).ok_or_else(bad)? as usize;
        let message = bytes.get(HEADER..length).ok_or_else(bad)?;
        match u16_at(bytes, 4) {
            Some(DONE) => return Ok(false),
            Some(ERROR) => {
                return Err(Failure::new(FailKind::Unsupported, "sock_diag: refused by the kernel"));
            }
            _ => tell(Socket { message }),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_can_not_be_read_is_no_connection() {
        let mut seen = 0;
        let mut tell = |s: Socket| {
            seen += usize::from(s.remote().is_some() || s.queue().is_some() || s.attribute(INFO).is_some());
        };
        assert!(read(&[], &mut tell).unwrap());
        assert!(read(&[9; 40], &mut tell).is_err());
        let mut short = 20_u32.to_ne_bytes().to_vec();
        short.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0]);
        assert!(read(&short, &mut tell).unwrap());
        assert_eq!(seen, 0);
    }
}
