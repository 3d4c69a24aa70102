//! The local rule that drops or rejects: named where it may be the one, never where it can't.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::network::{FilterRule, Hook, Host, Match, Net, Verdict};
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use crate::payload;
use crate::stack::{A, C, FOLDER, Stack, fail, postmaster, refused};

const SHUT: &str = "db-down/unreachable@postgres";
const REFUSED: &str = "db-down/refused-remote@postgres";

fn rule(hook: Hook, verdict: Verdict, matches: Vec<Match>) -> FilterRule {
    FilterRule {
        family: "ip".into(),
        table: "lab".into(),
        chain: "out".into(),
        handle: 7,
        hook,
        verdict,
        matches,
        packets: Some(12),
    }
}

fn dropping(matches: Vec<Match>) -> FilterRule {
    rule(Hook::Output, Verdict::Drop, matches)
}

fn filtered(mut s: Stack, rules: Vec<FilterRule>) -> Stack {
    let host = Host { addresses: vec!["127.0.0.1".parse().unwrap()], here: true };
    s.now.network.hosts.insert("127.0.0.1".into(), Reading::Seen { value: host });
    s.now.network.rules = Reading::Seen { value: rules };
    s
}

fn shut() -> Stack {
    let late = "no connection from the pool within 1.0 s";
    let s = Stack::healthy().login(fail(FailKind::TimedOut, Stage::Connect));
    s.health(A, payload::a_down(late)).health(C, payload::c_down(late))
}

fn port(p: u16) -> Match {
    Match::ToPort(vec![(p, p)])
}

fn net(text: &str, bits: u8) -> Vec<Net> {
    vec![Net { address: text.parse().unwrap(), bits }]
}

#[test]
fn the_rule_that_drops_is_named_with_its_counter_and_its_handle() {
    let told = filtered(shut(), vec![dropping(vec![port(5432)])]).told();
    told.expect_root(SHUT, Certainty::Proven);
    told.evidence(SHUT, "ip lab out").evidence(SHUT, "tcp dport 5432 counter packets 12 drop");
    let remedy = &told.find(SHUT).remedy;
    assert_eq!(remedy.command, "nft -a list chain ip lab out");
    assert!(remedy.summary.contains("handle 7"), "{}", remedy.summary);
}

#[test]
fn rules_that_can_not_be_it_are_not_named() {
    for (why, r) in [
        ("another port", dropping(vec![port(5433)])),
        ("another address", dropping(vec![Match::ToAddress(net("10.0.0.0", 8))])),
        ("another interface", dropping(vec![port(5432), Match::Loopback(false)])),
        ("no TCP", dropping(vec![port(5432), Match::Never])),
        ("another family", FilterRule { family: "ip6".into(), ..dropping(vec![port(5432)]) }),
        ("it has stopped nothing", FilterRule { packets: Some(0), ..dropping(vec![port(5432)]) }),
        ("it names nothing of it", dropping(vec![Match::Tcp])),
        ("it rejects, and nothing was rejected", rule(Hook::Output, Verdict::Reject, vec![port(5432)])),
    ] {
        let told = filtered(shut(), vec![r]).told().case(why);
        told.expect_root(SHUT, Certainty::Proven);
        assert!(told.find(SHUT).evidence.iter().all(|e| e.probe != "nft"), "{why}");
    }
}

#[test]
fn the_answer_may_be_what_is_dropped() {
    let back = rule(Hook::Input, Verdict::Drop, vec![Match::FromPort(vec![(5432, 5432)])]);
    filtered(shut(), vec![back]).told().evidence(SHUT, "tcp sport 5432");
}

#[test]
fn of_several_the_one_that_is_read_whole_and_has_counted_is_named() {
    let vague = dropping(vec![port(5432), Match::Unknown("ct state".into())]);
    let silent = FilterRule { packets: None, ..dropping(vec![port(5432)]) };
    let told = filtered(shut(), vec![vague, silent, dropping(vec![port(5432)])]).told();
    told.evidence(SHUT, "tcp dport 5432 counter packets 12 drop");
}

#[test]
fn a_rule_that_rejects_is_no_server_that_listens_elsewhere() {
    let s = || Stack::healthy().login(refused()).postmasters(vec![postmaster("S", Some(FOLDER), Some(5432))]);
    let told = filtered(s(), vec![rule(Hook::Output, Verdict::Reject, vec![port(5432)])]).told();
    told.expect_root(REFUSED, Certainty::Likely).evidence(REFUSED, "reject");
    assert!(told.find(REFUSED).summary.contains("rule of this host"), "{}", told.find(REFUSED).summary);
    // A dropped packet is not refused.
    let told = filtered(s(), vec![dropping(vec![port(5432)])]).told();
    assert!(told.find(REFUSED).evidence.iter().all(|e| e.probe != "nft"));
}

#[test]
fn rules_that_could_not_be_read_change_nothing() {
    let mut s = filtered(shut(), Vec::new());
    s.now.network.rules = Reading::Failed(Failure::new(FailKind::Denied, "nft: Operation not permitted"));
    let told = s.told();
    told.expect_root(SHUT, Certainty::Proven);
    assert_eq!(told.find(SHUT).remedy.command, "ip route get 127.0.0.1");
}
