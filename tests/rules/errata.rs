//! What runbooks do to mend things and what does harm: of nothing that was ever recorded in the lab is such a
//! thing planned, whatever is asked for. The numbers are of the list of such mistakes.

use mcp_ir::engine::recover::{Choice, Request, as_planned, choose};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Ask, Near, Plan, Recovered};
use mcp_ir::snapshot::{Looks, Snapshot};

use crate::recorded::all;
use crate::stack::Stack;

/// What is planned of a look: for everything, and for each scenario, also against the first root.
fn plans(now: &Snapshot) -> Vec<Plan> {
    let looks = Looks { now: now.clone(), before: None };
    let d = diagnose(&looks, &Filter::default());
    // Nothing is held back for want of a closer look.
    let drop_ins = now.config.service.iter().filter_map(|s| Some((s.unit.clone()?, Ok(None)))).collect();
    let runs = now.config.service.iter().filter_map(|s| Some((s.unit.clone()?, "a run".into()))).collect();
    let near = Near { drop_ins, runs, ..Near::default() };
    let ask = |max_size| Ask { max_size, near: near.clone(), ..Ask::default() };
    let of = |scenario: Option<&str>, all, max_size| Request {
        scenario: scenario.map(Into::into),
        all,
        anyway: !all,
        ask: ask(max_size),
        ..Request::default()
    };
    let scenarios = ["db-down", "pool-exhausted", "server-crash", "latency", "memory"];
    let mut requests = vec![of(None, true, None), of(None, false, None)];
    requests.extend(scenarios.map(|s| of(Some(s), false, None)));
    requests.push(of(Some("pool-exhausted"), false, Some(40)));
    let chosen = requests.iter().map(|r| choose(&looks, &d, r));
    chosen.filter_map(|c| if let Choice::Plan(plan) = c { Some(plan) } else { None }).collect()
}

fn every(check: impl Fn(&str, &Snapshot, &Act, &str)) {
    let mut steps = 0;
    for (name, now) in all() {
        for plan in plans(&now) {
            for step in &plan.steps {
                let undo = step.undo.iter().flat_map(|u| &u.acts);
                for act in [&step.act].into_iter().chain(undo) {
                    check(&name, &now, act, &step.command);
                    steps += 1;
                }
            }
        }
    }
    assert!(steps > 50, "{steps}: the recorded faults have remedies");
}

/// `systemctl restart networking`, `iptables -A`, `sysctl -w`: the network and the kernel are people's.
#[test]
fn errata_27_28_29_no_plan_touches_the_network_or_the_kernel() {
    every(|name, now, act, command| {
        for word in ["networking", "iptables", "nft", "sysctl", "somaxconn", "ip route"] {
            assert!(!command.contains(word), "{name}: {command}");
        }
        let Some(unit) = act.unit() else { return };
        let c = &now.config;
        let services = c.service.iter().filter_map(|s| s.unit.as_deref());
        let beside = c.redis.iter().filter_map(|r| r.unit.as_deref());
        let beside = beside.chain(c.ollama.iter().filter_map(|o| o.unit.as_deref()));
        let mut known = services.chain(beside);
        let server = |u: &str| u.starts_with("postgresql");
        assert!(known.any(|u| u == unit) || server(unit), "{name}: {unit} is nobody's under care");
    });
}

/// `systemctl set-environment` reaches every unit; a file of ours reaches one.
#[test]
fn errata_39_no_plan_sets_a_variable_for_every_unit() {
    every(|name, _, _, command| {
        for word in ["set-environment", "export ", "override.conf", "import-environment"] {
            assert!(!command.contains(word), "{name}: {command}");
        }
    });
}

/// A database that lives is not restarted, nor a cache or a model that lives: whatever its clients say.
#[test]
fn errata_10_47_what_others_need_is_started_and_never_restarted() {
    every(|name, now, act, _| {
        if let Act::RestartUnit { unit } = act {
            let own = now.config.service.iter().any(|s| s.unit.as_deref() == Some(unit));
            assert!(own, "{name}: {unit} would be restarted");
        }
    });
}

/// No signal to whoever has a port, no `rm`, no FLUSHALL, no VACUUM FULL, no `docker update`: where nobody
/// asked for it by name.
#[test]
fn errata_24_41_43_45_46_nothing_is_killed_emptied_or_rewritten_unasked() {
    every(|name, _, act, command| {
        for word in ["kill -9", "rm -", "FLUSH", "FULL", "docker", "pg_resetwal", "DROP DATABASE"] {
            assert!(!command.contains(word), "{name}: {command}");
        }
        if let Act::EndSession(whom) = act {
            assert!(!whom.databases.is_empty() && whom.pid > 1, "{name}: {whom:?}");
        }
    });
}

/// `MemoryLimit=` is of another age; `systemd-run` would start a second copy.
#[test]
fn errata_42_50_memory_is_given_by_the_units_own_properties() {
    every(|name, _, act, command| {
        assert!(!command.contains("systemd-run") && !command.contains("MemoryLimit"), "{name}: {command}");
        let Act::DropIn { to: Some(text), .. } = act else { return };
        assert!(!text.contains("MemoryLimit"), "{name}: {text}");
        if text.contains("MemoryMax=") {
            assert!(text.contains("MemoryHigh="), "{name}: slowed down before it is killed: {text}");
        }
    });
}

/// A database that is well, and a pool that is full: `database_status` says "disconnected" (errata 8).
#[test]
fn errata_8_a_full_pool_restarts_no_database() {
    let full = Stack::healthy().health(crate::stack::A, crate::payload::a_full(10));
    for plan in plans(&full.now) {
        for step in &plan.steps {
            assert!(!step.command.contains("postgresql"), "{}", step.command);
        }
    }
}

/// `docker-compose down`, and `up -d --env`, which is no such option: the stack is many services.
#[test]
fn errata_36_no_plan_takes_a_stack_of_containers_down() {
    every(|name, _, act, command| {
        assert!(!command.contains("docker"), "{name}: {act:?}: {command}");
    });
}

/// A loop that falls through, and "Recovery complete!": by the look that found it nothing is recovered.
#[test]
fn errata_6_and_54_what_was_found_is_not_called_recovered_by_the_same_look() {
    let mut checked = 0;
    for (name, now) in all() {
        let looks = Looks { now: now.clone(), before: None };
        for plan in plans(&now).iter().filter(|p| !p.findings.is_empty()) {
            checked += 1;
            if let Recovered::Yes(says) = as_planned(&looks, plan) {
                panic!("{name}: {:?}: {says}", plan.findings);
            }
        }
    }
    assert!(checked > 30, "{checked}: the recorded faults have remedies");
}
