//! Any two readings of a host: no panic, no broken promise, the same answer every time; and what speaks
//! against a cause agrees with its rule.

use mcp_ir::diagnosis::Diagnosis;
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::load::{
    Device, HostLoad, Lossy, OwnLoad, OwnNetwork, Queue, Quota, Towards, Tracked, Waits, Worker,
};
use mcp_ir::snapshot::memory::Stall;
use proptest::prelude::*;

use crate::stack::load::worker;
use crate::stack::{A, A_UNIT, C, PG_UNIT};
use crate::two::{SEARCH, Two};

/// Small, so that two of them are often near one another; sometimes as large as can be.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..2000_u64, 1 => Just(u64::MAX), 1 => Just(0)]
}

fn stall() -> impl Strategy<Value = Option<Stall>> {
    let one = (0..3_000_000_u64, prop::option::of(0..3_000_000_u64));
    prop::option::of(one.prop_map(|(some_us, full_us)| Stall { some_us, full_us, lately: 0.0 }))
}

prop_compose! {
    fn host()(
        at in 4999.0..5003.0, booted in 0..4_u64, cores in 0..4_u32, load in 0.0..20.0, running in 0..20_u32,
        busy_s in 990.0..1010.0, (cpu, io) in (stall(), stall()),
        took in prop::collection::vec((0..3_usize, 0.0..3.0, prop::option::of(number()), any::<bool>()), 0..4),
        disk in prop::option::of((number(), number(), number())),
    ) -> HostLoad {
        let unit = |n: usize| [A_UNIT, PG_UNIT, "batch.service"][n];
        let one = |(n, cpu, moved, grouped): (usize, f64, Option<u64>, bool)| {
            let w = worker(900 + n as u32, "x", unit(n));
            Worker { cpu_s: 50.0 + cpu, moved, group: w.group.clone().filter(|_| grouped), ..w }
        };
        HostLoad {
            uptime_s: at,
            booted,
            cores,
            load,
            running,
            busy_s,
            stolen_s: busy_s - 990.0,
            stalled: mcp_ir::snapshot::memory::Stalls { cpu, memory: None, io },
            workers: took.into_iter().map(one).collect(),
            devices: disk.map(|(busy_ms, read, written)| Device { name: "sda".into(), busy_ms, read, written }).into_iter().collect(),
        }
    }
}

prop_compose! {
    fn network()(
        (id, here) in (0..2_u8, any::<bool>()), (sent, retransmitted, overflows) in (number(), number(), number()),
        queue in prop::option::of((0..12_u32, prop::option::of(0..10_u32), prop::option::of(number()))),
        lossy in prop::collection::vec((0..4_usize, number()), 0..3),
        tracked in prop::option::of((number(), number(), prop::option::of(number()))),
        range in prop::option::of((39_990..40_020_u16, 39_990..40_020_u16)),
        taken in prop::option::of((0..2_usize, 0..40_u32)),
    ) -> OwnNetwork {
        let ends = |n: usize| [
            ("127.0.0.1:41000", "127.0.0.1:5432"), ("127.0.0.1:8000", "10.0.0.9:41000"), ("x", ""), ("[::1]:5432", "[::1]:9"),
        ][n];
        let lost = |(n, retransmitted): (usize, u64)| Lossy {
            local: ends(n).0.into(), remote: ends(n).1.into(), sent: 9, retransmitted,
        };
        OwnNetwork {
            id: id.to_string(), here, sent, retransmitted, overflows,
            queues: queue.map(|(queued, backlog, dropped)| Queue { address: "127.0.0.1:8000".into(), queued, backlog, dropped }).into_iter().collect(),
            lossy: lossy.into_iter().map(lost).collect(),
            tracked: tracked.map(|(count, max, dropped)| Tracked { count, max, dropped }),
            range,
            towards: taken.map(|(n, taken)| Towards { remote: ends(n).1.into(), taken }).into_iter().collect(),
        }
    }
}

prop_compose! {
    fn own()(
        at in 4999.0..5003.0, began in prop::sample::select(vec![1000.0, 5000.0]),
        waits in prop::collection::vec((0..3_u32, 0.0..9.0, any::<bool>()), 0..3),
        quota in prop::option::of((0.0..4.0, number(), number(), 0.0..9.0)), io in stall(),
        network in prop::option::of(network()),
    ) -> OwnLoad {
        let wait = |(pid, waited_s, stuck): (u32, f64, bool)| Waits {
            pid, began_s: 1000.0, state: if stuck { "D" } else { "S" }.into(), waited_s,
        };
        OwnLoad {
            uptime_s: at,
            began_s: began,
            group: Some("/a".into()),
            processes: waits.into_iter().map(wait).collect(),
            quotas: quota.map(|(cores, periods, throttled, throttled_s)| Quota {
                group: "/a".into(), cores, periods, throttled, throttled_s,
            }).into_iter().collect(),
            io,
            network: network.map_or_else(Reading::default, |value| Reading::Seen { value }),
        }
    }
}

type One = (Option<HostLoad>, Vec<(usize, OwnLoad)>);

fn one() -> impl Strategy<Value = One> {
    (prop::option::weighted(0.9, host()), prop::collection::vec((0..3_usize, own()), 0..4))
}

fn keeps_its_word(d: &Diagnosis) {
    for f in d.findings.iter().filter(|f| f.scenario == "latency") {
        assert!((0.0..=1.0).contains(&f.share), "{}: a share of {}", f.id, f.share);
        assert!(!f.evidence.is_empty() && !f.summary.is_empty() && !f.remedy.command.is_empty(), "{f:?}");
        assert!(!f.summary.contains("NaN") && !f.summary.contains("inf "), "{}", f.summary);
    }
    let once: std::collections::BTreeSet<&str> = d.findings.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(once.len(), d.findings.len(), "an id twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_two_readings_keep_the_promises(before in one(), now in one(), statements in any::<bool>()) {
        let mut two = Two::idle_host();
        for (look, (host, own)) in [(&mut two.before, before), (&mut two.now, now)] {
            if let Some(host) = host {
                look.now.host.load = Reading::Seen { value: host };
            }
            for (n, own) in own {
                look.now.host.own.insert([A, C, "postgres"][n].into(), own);
            }
        }
        if statements {
            two = two.ran(10.0, 6000.0, SEARCH);
        }
        // It holds what speaks against each cause against the findings.
        let d = two.told();
        keeps_its_word(&d);
        prop_assert_eq!(d, two.told());
    }
}
