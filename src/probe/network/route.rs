//! `ip -j route show table all match ADDRESS` as the routes that it is taken by. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::probe::said;
use crate::snapshot::network::{Net, Route, RouteKind};
use crate::snapshot::{FailKind, Failure};

/// How many routes of an address a snapshot keeps.
const ROUTES: usize = 20;

/// The most specific first.
pub fn read(bytes: &[u8], address: IpAddr) -> Result<Vec<Route>, Failure> {
    let bad = |why: String| Failure::new(FailKind::Malformed, format!("ip: {why}"));
    let all: Value = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    let all = all.as_array().ok_or_else(|| bad("no list of routes".into()))?;
    let mut routes: Vec<Route> = all.iter().filter_map(|r| route(r, address)).collect();
    routes.sort_by_key(|r| std::cmp::Reverse(r.to.bits));
    routes.truncate(ROUTES);
    Ok(routes)
}

fn route(r: &Value, address: IpAddr) -> Option<Route> {
    let text = |name: &str| r.get(name).and_then(Value::as_str);
    // Of other tables it is not known whether any rule leads to them.
    if !matches!(text("table"), None | Some("main" | "local" | "default")) {
        return None;
    }
    let to = net(text("dst")?, address)?;
    let kind = match text("type") {
        None | Some("unicast") => RouteKind::Unicast,
        Some("local") => RouteKind::Local,
        Some("blackhole") => RouteKind::Blackhole,
        Some("prohibit") => RouteKind::Prohibit,
        Some("unreachable") => RouteKind::Unreachable,
        Some("throw") => RouteKind::Throw,
        Some(_) => RouteKind::Other,
    };
    let flags = r.get("flags").and_then(Value::as_array);
    let down = flags.into_iter().flatten().any(|f| matches!(f.as_str(), Some("linkdown" | "dead")));
    let via = text("gateway").and_then(|g| g.parse().ok());
    Some(Route { kind, to, via, device: text("dev").map(|d| said(d, 32)), down })
}

fn net(text: &str, address: IpAddr) -> Option<Net> {
    let full = if address.is_ipv4() { 32 } else { 128 };
    if text == "default" {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        return Some(Net { address: any, bits: 0 });
    }
    let (base, bits) = match text.split_once('/') {
        Some((base, bits)) => (base, bits.parse().ok()?),
        None => (text, full),
    };
    let net = Net { address: base.parse().ok()?, bits };
    (bits <= full && net.contains(address)).then_some(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str, address: &str) -> Vec<(RouteKind, u8, bool)> {
        let all = read(json.as_bytes(), address.parse().unwrap()).unwrap();
        all.into_iter().map(|r| (r.kind, r.to.bits, r.down)).collect()
    }

    #[test]
    fn the_most_specific_route_comes_first() {
        let json = r#"[{"dst":"default","gateway":"192.0.2.254","dev":"v0","flags":[]},
            {"type":"blackhole","dst":"203.0.113.0/24","flags":[]},
            {"type":"prohibit","dst":"203.0.113.128/25","flags":[]}]"#;
        let want = [
            (RouteKind::Prohibit, 25, false),
            (RouteKind::Blackhole, 24, false),
            (RouteKind::Unicast, 0, false),
        ];
        assert_eq!(of(json, "203.0.113.200"), want);
    }

    #[test]
    fn a_link_that_is_down_is_seen() {
        let json = r#"[{"dst":"192.0.2.0/24","dev":"v0","scope":"link","prefsrc":"192.0.2.1","flags":["linkdown"]}]"#;
        assert_eq!(of(json, "192.0.2.9"), [(RouteKind::Unicast, 24, true)]);
    }

    #[test]
    fn what_is_no_route_to_it_is_left_out() {
        for json in [
            "[]",
            "[{}]",
            "[null,1,\"x\"]",
            r#"[{"dst":"198.51.100.0/24"}]"#,
            r#"[{"dst":"192.0.2.0/99"}]"#,
            r#"[{"dst":"2001:db8::/32"}]"#,
            r#"[{"dst":"nonsense"}]"#,
            r#"[{"type":"unreachable","dst":"default","table":"10"}]"#,
        ] {
            assert_eq!(of(json, "192.0.2.9"), [], "{json}");
        }
        assert!(read(b"", "::1".parse().unwrap()).is_err());
        assert!(read(b"{}", "::1".parse().unwrap()).is_err());
    }
}
