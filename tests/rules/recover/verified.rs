//! What is a recovery, and what is none: the original symptom, by what was seen.

use mcp_ir::plan::{Aim, Recovered};
use mcp_ir::scenario::by_name;
use mcp_ir::snapshot::{FailKind, Looks, Stage};

use super::looks;
use crate::mcp;
use crate::payload;
use crate::stack::{A, C, Stack, fail, idle_tx, refused, waits};
use crate::two::{Two, histogram};

/// `Err`: why not yet.
fn recovered(s: &Stack, scenario: &str, aim: &Aim) -> Result<String, String> {
    let looks = looks(s);
    match (by_name(scenario).unwrap().recovered)(&looks, aim, &looks.now.config) {
        Recovered::Yes(says) => Ok(says),
        Recovered::NotYet(why) => Err(why),
    }
}

fn aim(subject: &str) -> Aim<'_> {
    Aim { cause: None, subject, size: None }
}

#[test]
fn rule_6_and_errata_4_what_was_not_seen_is_no_recovery() {
    for scenario in ["server-crash", "pool-exhausted"] {
        recovered(&Stack::healthy(), scenario, &aim(A)).expect(scenario);
        for s in [Stack::healthy().no_answer(A, refused()), Stack::healthy().health(A, payload::a_own())] {
            recovered(&s, scenario, &aim(A)).expect_err(scenario);
        }
        let mut unseen = Stack::healthy();
        unseen.now.services.remove(A);
        recovered(&unseen, scenario, &aim(A)).expect_err(scenario);
    }
    let mut unseen = Stack::healthy();
    unseen.now.postgres.clear();
    recovered(&unseen, "db-down", &aim("postgres")).expect_err("no login was tried");
    recovered(&unseen, "pool-exhausted", &aim("postgres")).expect_err("no session was seen");
}

#[test]
fn rule_6_who_was_slow_is_quick_by_his_own_answers_before_he_is_called_well() {
    let recovered = |looks: &Looks| {
        let aim = Aim { cause: Some("latency/debug-logging"), ..aim(A) };
        (by_name("latency").unwrap().recovered)(looks, &aim, &looks.now.config)
    };
    let why = |looks: &Looks| match recovered(looks) {
        Recovered::NotYet(why) => why,
        Recovered::Yes(says) => panic!("{says}"),
    };
    let quick = Two::healthy().looks();
    assert!(matches!(recovered(&quick), Recovered::Yes(says) if says.contains("p95")));
    assert!(why(&Two::slow().looks()).contains("slow still"), "its health is quick all the same");
    assert!(why(&Looks { before: None, ..quick.clone() }).contains("a rate needs two"));
    for requests in [0.0, 3.0] {
        let (mut few, all) = (Two::healthy(), 400.0 + requests);
        few.now.now.services.get_mut(A).unwrap().metrics = Some(histogram([all, all, all, all], 4.0));
        assert!(why(&few.looks()).contains("hardly a request"), "{requests}");
    }
}

#[test]
fn rule_6_a_size_that_was_ignored_is_no_recovery() {
    let sized = |size| Aim { size: Some(size), ..aim(A) };
    recovered(&Stack::healthy(), "pool-exhausted", &sized(99)).expect_err("its payload says 10");
    recovered(&Stack::healthy(), "pool-exhausted", &sized(10)).expect("it is 10");
}

#[test]
fn rule_6_a_size_that_is_not_known_is_no_recovery_of_one() {
    let sized = Aim { size: Some(20), ..aim(C) };
    recovered(&Stack::healthy(), "pool-exhausted", &sized).expect_err("its payload leaves it out");
    recovered(&Stack::healthy().pool_max(C, 10), "pool-exhausted", &sized).expect_err("it is another");
    // That its process has what we have set ourselves proves nothing of its pool (errata 33).
    let why = recovered(&Stack::healthy().pool_max(C, 20), "pool-exhausted", &sized).unwrap_err();
    assert!(why.contains("not said by its payload"), "{why}");
}

#[test]
fn rule_6_who_waits_for_a_pool_is_not_served_by_it() {
    let s = Stack::healthy().health(C, payload::c("healthy", "connected", 4, 2, 3, "-")).pool_max(C, 20);
    recovered(&s, "pool-exhausted", &aim(C)).expect_err("three wait");
}

#[test]
fn rule_6_a_broken_mcp_is_recovered_by_its_handshake_alone() {
    let broken = Aim { cause: Some("server-crash/mcp-broken"), ..aim(A) };
    let of = |look| Stack::healthy().mcp(A, look);
    recovered(&Stack::healthy(), "server-crash", &broken).expect_err("it was not asked");
    let closed = || fail(FailKind::Closed, Stage::Answer);
    for how in [1, 2, 4] {
        recovered(&of(mcp::any(closed(), how, 0)), "server-crash", &broken).expect_err("it fails still");
    }
    recovered(&of(mcp::any(closed(), 3, 0)), "server-crash", &broken).expect_err("it lists no tools");
    recovered(&of(mcp::any(closed(), 0, 0)), "server-crash", &broken).expect("it shakes hands");
    let unhealthy = of(mcp::any(closed(), 0, 0)).health(A, payload::a_own());
    recovered(&unhealthy, "server-crash", &broken).expect_err("it is unhealthy");
}

#[test]
fn who_suffered_and_says_nothing_of_a_pool_is_well_by_his_health() {
    let mut health = payload::a_healthy(5, 5, 10);
    if let mcp_ir::snapshot::Reading::Seen { value } = &mut health.reading {
        value.pool = None;
    }
    let s = Stack::healthy().health(A, health);
    recovered(&s, "pool-exhausted", &aim(A)).expect("he is well");
    let saturated = Aim { cause: Some("pool-exhausted/client-pool-saturated"), ..aim(A) };
    recovered(&s, "pool-exhausted", &saturated).expect_err("what was full is not seen");
}

const IDLE: &str = "pool-exhausted/idle-in-transaction";

#[test]
fn rule_6_holders_whose_harm_can_not_be_seen_are_no_recovery() {
    let held = || (0..8).map(|n| idle_tx(1000 + n, A, 400.0));
    let idle = Aim { cause: Some(IDLE), ..aim("postgres") };
    let full = Stack::healthy().health(A, payload::a_full(10)).sessions(held());
    recovered(&full, "pool-exhausted", &idle).expect_err("they hold the pool of A");
    let silent = Stack::healthy().no_answer(A, refused()).sessions(held());
    recovered(&silent, "pool-exhausted", &idle).expect_err("A could not be seen");
    recovered(&Stack::healthy().no_answer(A, refused()), "pool-exhausted", &idle).expect("they are gone");
    recovered(&Stack::healthy().sessions(held()), "pool-exhausted", &idle).expect("they harm nobody");
}

#[test]
fn the_finding_that_was_mended_decides_and_no_other() {
    let chain = Aim { cause: Some("pool-exhausted/blocking-chain"), ..aim("postgres") };
    let s = Stack::healthy().sessions([idle_tx(10, "migration", 60.0), waits(20, A, 50.0, &[10])]);
    recovered(&s, "pool-exhausted", &chain).expect_err("it stands");
    let held = (0..8).map(|n| idle_tx(1000 + n, A, 400.0));
    let other = Stack::healthy().health(A, payload::a_full(10)).sessions(held);
    recovered(&other, "pool-exhausted", &chain).expect("no chain is left");
}

#[test]
fn who_shows_how_a_server_is_is_looked_at_with_it() {
    let all = mcp_ir::config::defaults().unwrap();
    let only = |name: &str| {
        let c = all.only(&[name.to_owned()]).config;
        let services = c.service.into_iter().map(|s| s.name);
        let rest = c.postgres.into_iter().map(|p| p.name).chain(c.redis.into_iter().map(|r| r.name));
        services.chain(rest).collect::<Vec<_>>()
    };
    assert_eq!(only("postgres"), [A, C, "postgres"], "and not what its clients need besides");
    assert_eq!(only(A), [A, "postgres", "redis"], "and no other client of these");
}
