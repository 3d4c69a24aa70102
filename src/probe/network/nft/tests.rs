//! A ruleset as nft 1.0.6 wrote it: tables of its own, one by iptables, jumps, sets, a named counter.

use super::*;

fn recorded() -> Vec<FilterRule> {
    read(include_bytes!("ruleset.json")).unwrap()
}

fn of(table: &str, chain: &str) -> Vec<FilterRule> {
    recorded().into_iter().filter(|r| r.table == table && r.chain == chain).collect()
}

#[test]
fn a_rule_that_drops_is_read_with_its_port_its_handle_and_its_counter() {
    let r = &of("lab", "out")[0];
    assert_eq!((r.hook, r.verdict, r.packets), (Hook::Output, Verdict::Drop, Some(0)));
    assert_eq!(r.matches, [Match::ToPort(vec![(28846, 28846)])]);
}

#[test]
fn what_a_chain_jumps_to_has_the_conditions_of_the_jump() {
    let r = &of("lab", "sub")[0];
    assert_eq!((r.hook, r.verdict, r.handle > 0), (Hook::Output, Verdict::Reject, true));
    let Match::ToAddress(nets) = &r.matches[0] else { panic!("{r:?}") };
    assert!(nets.iter().any(|n| n.contains("10.1.2.3".parse().unwrap())), "{nets:?}");
    assert!(!nets.iter().any(|n| n.contains("192.168.1.6".parse().unwrap())), "{nets:?}");
    let Match::ToPort(ports) = &r.matches[1] else { panic!("{r:?}") };
    assert!(ports.contains(&(6000, 6010)) && ports.contains(&(5432, 5432)), "{ports:?}");
}

#[test]
fn what_is_not_known_is_kept_as_unknown() {
    let all = of("fw", "in");
    // `iifname != lo`: a negation is not read.
    assert!(matches!(all[0].matches[0], Match::Unknown(_)), "{:?}", all[0]);
    assert_eq!(all[0].packets, Some(0));
    // The state of a connection is not, either.
    assert!(all[1].matches.iter().any(|m| matches!(m, Match::Unknown(_))), "{:?}", all[1]);
    assert!(all[1].matches.contains(&Match::FromPort(vec![(5432, 5432)])));
    assert_eq!(all[2].matches, [Match::Never]);
}

#[test]
fn iptables_of_today_is_read_as_well() {
    assert_eq!(of("filter", "OUTPUT")[0].verdict, Verdict::Drop);
    let r = &of("filter", "INPUT")[0];
    assert_eq!((r.verdict, &r.matches[..]), (Verdict::Reject, &[Match::ToPort(vec![(5432, 5432)])][..]));
}

#[test]
fn an_accepting_ruleset_has_none_and_nonsense_is_malformed() {
    assert_eq!(read(br#"{"nftables": [{"metainfo": {}}]}"#), Ok(Vec::new()));
    for bad in ["", "{", "[]", "{\"nftables\": 1}", "nft: syntax error"] {
        assert_eq!(read(bad.as_bytes()).unwrap_err().kind, FailKind::Malformed, "{bad}");
    }
}

#[test]
fn chains_that_jump_to_each_other_end() {
    let chain = |name: &str, hook: &str| {
        format!(r#"{{"chain":{{"family":"ip","table":"t","name":"{name}"{hook}}}}}"#)
    };
    let jump = |from: &str, to: &str| {
        let rule = format!(r#""family":"ip","table":"t","chain":"{from}","handle":1"#);
        format!(r#"{{"rule":{{{rule},"expr":[{{"jump":{{"target":"{to}"}}}}]}}}}"#)
    };
    let all = [chain("a", r#","hook":"input""#), chain("b", ""), jump("a", "b"), jump("b", "a")];
    assert_eq!(read(format!(r#"{{"nftables":[{}]}}"#, all.join(",")).as_bytes()), Ok(Vec::new()));
}
