//! What this host's own packet filter and routes do, where they may be read.

mod nft;
mod route;

use std::net::IpAddr;
use std::time::Instant;

use super::program::run;
use super::said;
use crate::snapshot::network::{FilterRule, Route};
use crate::snapshot::{FailKind, Failure};

const NFT: [&str; 2] = ["/usr/sbin/nft", "/sbin/nft"];
const IP: [&str; 4] = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
const MAX_BYTES: u64 = 8 << 20;

/// The rules that drop or reject, of every table of nft: iptables of today keeps its own there, too.
pub async fn rules(deadline: Instant) -> Result<Vec<FilterRule>, Failure> {
    let done = run(&NFT, &["-j", "list", "ruleset"], MAX_BYTES, deadline).await?;
    if !done.ok {
        let denied = done.why.contains("not permitted") || done.why.contains("ermission");
        let kind = if denied { FailKind::Denied } else { FailKind::Unsupported };
        return Err(Failure::new(kind, format!("nft: {}", said(&done.why, 200))));
    }
    nft::read(&done.out)
}

/// The routes of all tables that match an address, the most specific first.
pub async fn routes(address: IpAddr, deadline: Instant) -> Result<Vec<Route>, Failure> {
    let family = if address.is_ipv4() { "-4" } else { "-6" };
    let to = address.to_string();
    let done =
        run(&IP, &[family, "-j", "route", "show", "table", "all", "match", &to], MAX_BYTES, deadline).await?;
    if !done.ok {
        return Err(Failure::new(FailKind::Unsupported, format!("ip: {}", said(&done.why, 200))));
    }
    // Nothing at all is how some versions write an empty list.
    if done.out.trim_ascii().is_empty() { Ok(Vec::new()) } else { route::read(&done.out, address) }
}
