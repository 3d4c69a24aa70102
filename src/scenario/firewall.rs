//! Which of this host's own rules stops what goes to an address, or comes back from it. Pure.
//! An earlier rule may let it through, and a match may not be known: a rule is likely, never proven.

use std::net::IpAddr;

use crate::diagnosis::{Finding, shell_word};
use crate::snapshot::Snapshot;
use crate::snapshot::network::{FilterRule, Hook, Match, Verdict};

/// The rule that fits best, with this verdict: one that names the port or the address, has nothing
/// that is not known, and has counted.
pub fn rule<'a>(
    now: &'a Snapshot,
    host: &str,
    port: u16,
    here: bool,
    verdict: Verdict,
) -> Option<&'a FilterRule> {
    let addresses = &now.network.hosts.get(host)?.seen()?.addresses;
    let rules = now.network.rules.seen()?.iter().filter(|r| r.verdict == verdict);
    let fits = rules.filter(|r| addresses.iter().any(|a| fits(r, *a, port, here)));
    fits.max_by_key(|r| {
        let unknown = r.matches.iter().any(|m| matches!(m, Match::Unknown(_)));
        (!unknown, r.packets.unwrap_or(0) > 0, r.matches.len())
    })
}

/// The same for a connection that was made: its first packet passed every rule of addresses, ports and
/// interfaces alone. What drops the rest looks at something else of it: flags, its state, its rate.
pub fn rule_of_rest<'a>(now: &'a Snapshot, host: &str, port: u16, here: bool) -> Option<&'a FilterRule> {
    let of_state = |m: &Match| match m {
        Match::Unknown(what) => {
            ["\"ct\"", "ct ", "flags", "limit", "length", "quota", "meter"].iter().any(|w| what.contains(w))
        }
        _ => false,
    };
    let addresses = &now.network.hosts.get(host)?.seen()?.addresses;
    let rules = now.network.rules.seen()?.iter().filter(|r| r.verdict == Verdict::Drop);
    let rules = rules.filter(|r| r.matches.iter().any(of_state));
    rules.filter(|r| addresses.iter().any(|a| fits(r, *a, port, here))).max_by_key(|r| r.packets)
}

/// Whether it may be this that stops it. A rule for everything is left out, and so is one that has
/// stopped nothing yet.
fn fits(r: &FilterRule, address: IpAddr, port: u16, here: bool) -> bool {
    let family = match r.family.as_str() {
        "ip" => address.is_ipv4(),
        "ip6" => address.is_ipv6(),
        _ => true,
    };
    let on = |all: &[(u16, u16)]| all.iter().any(|(a, b)| (*a..=*b).contains(&port));
    let of = |all: &[crate::snapshot::network::Net]| all.iter().any(|n| n.contains(address));
    // On its way there; on this host it comes in by the same words.
    let there = |m: &Match| match m {
        Match::ToPort(all) => on(all),
        Match::ToAddress(all) => of(all),
        // From us: any port, and here from the same address.
        Match::FromPort(_) => false,
        Match::FromAddress(all) => here && of(all),
        Match::Loopback(lo) => *lo == here,
        Match::Tcp | Match::Unknown(_) => true,
        Match::Never => false,
    };
    // The answer.
    let back = |m: &Match| match m {
        Match::FromPort(all) => on(all),
        Match::FromAddress(all) => of(all),
        Match::ToPort(_) => false,
        Match::ToAddress(all) => here && of(all),
        Match::Loopback(lo) => *lo == here,
        Match::Tcp | Match::Unknown(_) => true,
        Match::Never => false,
    };
    let (out, input) = match r.hook {
        Hook::Output => (true, here),
        Hook::Input => (here, true),
    };
    let named = |m: &Match| {
        matches!(m, Match::ToPort(_) | Match::FromPort(_) | Match::ToAddress(_) | Match::FromAddress(_))
    };
    family
        && r.packets != Some(0)
        && r.matches.iter().any(named)
        && (out && r.matches.iter().all(there) || input && r.matches.iter().all(back))
}

/// As evidence, and as what to look at.
pub fn saw(f: Finding, r: &FilterRule) -> Finding {
    let chain = format!("{} {} {}", r.family, r.table, r.chain);
    let list = format!(
        "nft -a list chain {} {} {}",
        shell_word(&r.family),
        shell_word(&r.table),
        shell_word(&r.chain)
    );
    let remove = format!(
        "See the rule (handle {}); `nft delete rule {chain} handle {}` takes it away, if whoever set it agrees",
        r.handle, r.handle
    );
    let risk = f.remedy.risk;
    f.saw("nft", &chain, text(r)).remedy(list, remove, risk)
}

fn text(r: &FilterRule) -> String {
    let mut words: Vec<String> = r.matches.iter().map(word).collect();
    words.extend(r.packets.map(|n| format!("counter packets {n}")));
    words.push(match r.verdict {
        Verdict::Drop => "drop".into(),
        Verdict::Reject => "reject".into(),
    });
    words.join(" ")
}

fn word(m: &Match) -> String {
    let ports = |all: &[(u16, u16)]| {
        let all: Vec<String> =
            all.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
        all.join(", ")
    };
    let nets = |all: &[crate::snapshot::network::Net]| {
        let all: Vec<String> = all.iter().map(|n| format!("{}/{}", n.address, n.bits)).collect();
        all.join(", ")
    };
    match m {
        Match::ToPort(all) => format!("tcp dport {}", ports(all)),
        Match::FromPort(all) => format!("tcp sport {}", ports(all)),
        Match::ToAddress(all) => format!("daddr {}", nets(all)),
        Match::FromAddress(all) => format!("saddr {}", nets(all)),
        Match::Loopback(true) => "by lo".into(),
        Match::Loopback(false) => "not by lo".into(),
        Match::Tcp => "tcp".into(),
        Match::Never => "not tcp".into(),
        Match::Unknown(what) => format!("({what})"),
    }
}
