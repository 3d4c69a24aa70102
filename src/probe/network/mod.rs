//! What this host's own packet filter does, where it may be read.

mod nft;

use std::time::Instant;

use super::program::run;
use super::said;
use crate::snapshot::network::FilterRule;
use crate::snapshot::{FailKind, Failure};

const NFT: [&str; 2] = ["/usr/sbin/nft", "/sbin/nft"];
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
