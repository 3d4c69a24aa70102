//! `nft -j list ruleset` as the rules that drop or reject: those of a hooked chain, and those that it
//! jumps to. What is not known of a match is kept as such: it proves nothing. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::probe::said;
use crate::snapshot::network::{FilterRule, Hook, Match, Net, Verdict};
use crate::snapshot::{FailKind, Failure};

/// How many rules a snapshot keeps, and how deep jumps are followed.
const RULES: usize = 500;
const JUMPS: usize = 8;

struct Chains<'a> {
    /// Rules by family, table, chain.
    rules: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Value>>,
    counters: BTreeMap<(&'a str, &'a str, &'a str), u64>,
}

pub fn read(bytes: &[u8]) -> Result<Vec<FilterRule>, Failure> {
    let bad = |why: String| Failure::new(FailKind::Malformed, format!("nft: {why}"));
    let all: Value = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    let all = all.get("nftables").and_then(Value::as_array).ok_or_else(|| bad("no list of rules".into()))?;
    let mut chains = Chains { rules: BTreeMap::new(), counters: BTreeMap::new() };
    for rule in all.iter().filter_map(|o| o.get("rule")) {
        if let Some(key) = key(rule, "chain") {
            chains.rules.entry(key).or_default().push(rule);
        }
    }
    for c in all.iter().filter_map(|o| o.get("counter")) {
        if let (Some(key), Some(n)) = (key(c, "name"), c.get("packets").and_then(Value::as_u64)) {
            chains.counters.insert(key, n);
        }
    }
    let mut out = Vec::new();
    for chain in all.iter().filter_map(|o| o.get("chain")) {
        let hook = match chain.get("hook").and_then(Value::as_str) {
            Some("input") => Hook::Input,
            Some("output") => Hook::Output,
            // What is only passed on is nobody's connection here.
            _ => continue,
        };
        if let Some(key) = key(chain, "name").filter(|k| ["ip", "ip6", "inet"].contains(&k.0)) {
            chains.walk(key, hook, &[], 0, &mut out);
        }
    }
    Ok(out)
}

fn key<'a>(o: &'a Value, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let text = |k: &str| o.get(k).and_then(Value::as_str);
    Some((text("family")?, text("table")?, text(name)?))
}

impl<'a> Chains<'a> {
    fn walk(
        &self,
        chain: (&'a str, &'a str, &'a str),
        hook: Hook,
        before: &[Match],
        depth: usize,
        out: &mut Vec<FilterRule>,
    ) {
        for rule in self.rules.get(&chain).into_iter().flatten() {
            if out.len() >= RULES || depth > JUMPS {
                return;
            }
            let mut matches = before.to_vec();
            let mut packets = None;
            for e in rule.get("expr").and_then(Value::as_array).into_iter().flatten() {
                let Some((word, value)) = e.as_object().and_then(|o| o.iter().next()) else { continue };
                match word.as_str() {
                    "match" => matches.push(condition(value)),
                    "counter" => packets = self.counted(chain, value),
                    "drop" => out.push(told(chain, rule, hook, Verdict::Drop, &matches, packets)),
                    "reject" => out.push(told(chain, rule, hook, Verdict::Reject, &matches, packets)),
                    // As iptables writes it into nft.
                    "xt" if value.get("name").and_then(Value::as_str) == Some("REJECT") => {
                        out.push(told(chain, rule, hook, Verdict::Reject, &matches, packets));
                    }
                    "jump" | "goto" => {
                        if let Some(to) = value.get("target").and_then(Value::as_str) {
                            self.walk((chain.0, chain.1, to), hook, &matches, depth + 1, out);
                        }
                    }
                    "log" | "accept" | "return" | "continue" | "mangle" | "comment" => {}
                    // A limit, a map of verdicts, a match of iptables' own.
                    other => matches.push(Match::Unknown(said(other, 60))),
                }
            }
        }
    }

    /// Inline, or by the name of a counter of its own.
    fn counted(&self, chain: (&str, &str, &str), value: &Value) -> Option<u64> {
        match value {
            Value::String(name) => self.counters.get(&(chain.0, chain.1, name.as_str())).copied(),
            v => v.get("packets").and_then(Value::as_u64),
        }
    }
}

fn told(
    (family, table, chain): (&str, &str, &str),
    rule: &Value,
    hook: Hook,
    verdict: Verdict,
    matches: &[Match],
    packets: Option<u64>,
) -> FilterRule {
    FilterRule {
        family: said(family, 60),
        table: said(table, 60),
        chain: said(chain, 60),
        handle: rule.get("handle").and_then(Value::as_u64).unwrap_or(0),
        hook,
        verdict,
        matches: matches.to_vec(),
        packets,
    }
}

fn condition(m: &Value) -> Match {
    known(m).unwrap_or_else(|| Match::Unknown(said(&m.get("left").unwrap_or(m).to_string(), 120)))
}

fn known(m: &Value) -> Option<Match> {
    // `!=` and bit operations are left unknown.
    if !matches!(m.get("op").and_then(Value::as_str), Some("==" | "in")) {
        return None;
    }
    let (left, right) = (m.get("left")?, m.get("right")?);
    if let Some(payload) = left.get("payload") {
        let field = payload.get("field").and_then(Value::as_str)?;
        let ports = || values(right).map(range).collect::<Option<Vec<_>>>();
        let nets = || values(right).map(net).collect::<Option<Vec<_>>>();
        return match (payload.get("protocol").and_then(Value::as_str)?, field) {
            ("tcp" | "th", "dport") => Some(Match::ToPort(ports()?)),
            ("tcp" | "th", "sport") => Some(Match::FromPort(ports()?)),
            ("ip" | "ip6", "daddr") => Some(Match::ToAddress(nets()?)),
            ("ip" | "ip6", "saddr") => Some(Match::FromAddress(nets()?)),
            ("ip", "protocol") | ("ip6", "nexthdr") => protocol(right),
            // A datagram is no connection.
            ("udp" | "icmp" | "icmpv6" | "sctp", _) => Some(Match::Never),
            _ => None,
        };
    }
    match left.get("meta")?.get("key")?.as_str()? {
        "l4proto" => protocol(right),
        "iif" | "iifname" | "oif" | "oifname" => {
            let all: Option<Vec<&str>> = values(right).map(Value::as_str).collect();
            let all = all?;
            match (all.iter().all(|n| *n == "lo"), all.contains(&"lo")) {
                (true, _) => Some(Match::Loopback(true)),
                (_, false) if all.iter().all(|n| !n.contains('*')) => Some(Match::Loopback(false)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn protocol(right: &Value) -> Option<Match> {
    let tcp = values(right).any(|v| v.as_str() == Some("tcp") || v.as_u64() == Some(6));
    let named = values(right).all(|v| v.is_string() || v.is_u64());
    // One that says it is TCP says nothing more.
    if tcp { Some(Match::Tcp) } else { named.then_some(Match::Never) }
}

/// One value, or those of a set.
fn values(right: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match right.get("set").and_then(Value::as_array).or_else(|| right.as_array()) {
        Some(all) => Box::new(all.iter()),
        None => Box::new(std::iter::once(right)),
    }
}

fn range(v: &Value) -> Option<(u16, u16)> {
    let port = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok());
    match v.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([a, b]) => Some((port(a)?, port(b)?)),
        _ => port(v).map(|p| (p, p)),
    }
}

fn net(v: &Value) -> Option<Net> {
    let address = |v: &Value| v.as_str().and_then(|t| t.parse::<IpAddr>().ok());
    match v.get("prefix") {
        Some(p) => {
            let bits = p.get("len").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok())?;
            Some(Net { address: address(p.get("addr")?)?, bits })
        }
        None => {
            let address = address(v)?;
            Some(Net { address, bits: if address.is_ipv4() { 32 } else { 128 } })
        }
    }
}

#[cfg(test)]
mod tests;
