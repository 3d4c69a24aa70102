//! A thousand services: what is said of them stays readable, whole where it must be, and linear.

use std::time::Duration;

use mcp_ir::diagnosis::SymptomState;
use mcp_ir::render::out::{Color, Out};
use mcp_ir::render::{document, human_diagnosis, nagios_line};
use mcp_ir::snapshot::{FailKind, Looks, Stage};

use crate::payload;
use crate::stack::{A, Stack, fail, failed, refused};

/// A stack with so many more services that need its database; `bad` of them, the first, say that
/// they are unhealthy.
fn many(stack: Stack, services: usize, bad: usize) -> Stack {
    let mut stack = stack;
    let like = stack.now.config.service[0].clone();
    let well = stack.now.services[A].clone();
    for i in 0..services {
        let name = format!("svc-{i:04}");
        let mut look = well.clone();
        if i < bad {
            look.health = payload::a_down("error connecting to server: Connection refused (os error 111)");
        }
        stack.now.services.insert(name.clone(), look);
        stack.now.config.service.push(mcp_ir::config::Service { name, unit: None, ..like.clone() });
    }
    stack
}

fn page(stack: &Stack, all: bool) -> String {
    human_diagnosis(&stack.told().d, &Out { all, ..Out::new(Color::Never, false) })
}

#[test]
fn one_cause_with_a_thousand_consequences_is_one_page() {
    let stack = many(Stack::outage(), 1000, 1000);
    let told = stack.told();
    told.expect_roots(&["db-down/postgres-stopped@postgres"]);
    let page = page(&stack, false);
    assert!(page.lines().count() < 60, "{} lines:\n{page}", page.lines().count());
    assert!(page.contains("1 root cause, 1002 consequences"), "{page}");
    assert!(page.contains("server-crash/unhealthy @ 1002 targets: codebase-mcp, svc-0000"), "{page}");
    assert!(page.contains("… and 994"), "{page}");
}

#[test]
fn many_of_one_cause_are_named_once_and_counted() {
    let stack = many(Stack::healthy(), 1000, 0);
    let mut stack = stack;
    for i in 0..98 {
        let look = stack.now.services.get_mut(&format!("svc-{i:04}")).unwrap();
        look.health = payload::json(500, r#"{"status":"unhealthy","database_status":"connected"}"#);
    }
    let page = page(&stack, false);
    assert!(page.contains("P1  server-crash/unhealthy @ 98 targets"), "{page}");
    assert!(page.contains("… and 90\n    more") || page.contains("… and 90 more"), "{page}");
    assert!(page.contains("✓ 905 targets more well"), "{page}");
    assert!(page.contains("✗ 88 targets more not well"), "{page}");
    assert!(page.lines().count() < 60, "{} lines:\n{page}", page.lines().count());
}

#[test]
fn asked_for_all_every_one_is_shown() {
    let stack = many(Stack::outage(), 100, 100);
    let page = page(&stack, true);
    for i in 0..100 {
        assert!(page.contains(&format!("server-crash/unhealthy @ svc-{i:04}")), "{i}:\n{page}");
    }
    assert!(!page.contains('…') && !page.contains("-v"), "{page}");
}

#[test]
fn three_of_one_cause_are_still_three() {
    let page = page(&many(Stack::outage(), 1, 1), false);
    for name in [A, "workflow-mcp", "svc-0000"] {
        assert!(page.contains(&format!("server-crash/unhealthy @ {name}\n")), "{page}");
    }
}

#[test]
fn who_could_not_be_seen_is_counted_not_hidden() {
    let mut stack = many(Stack::healthy(), 1000, 0);
    for i in 0..500 {
        let look = stack.now.services.get_mut(&format!("svc-{i:04}")).unwrap();
        look.health = failed(fail(FailKind::TimedOut, Stage::Connect));
    }
    let page = page(&stack, false);
    assert!(page.contains("500 targets can't be judged"), "{page}");
    assert!(page.contains("and 490 more"), "{page}");
    assert!(page.lines().count() < 60, "{page}");
}

#[test]
fn a_monitors_line_is_bounded_and_the_document_is_whole() {
    let stack = many(Stack::outage(), 1000, 1000);
    let told = stack.told();
    let line = nagios_line(&told.d, &stack.now);
    assert!(line.len() < 1024 && line.lines().count() == 1, "{} bytes: {line}", line.len());
    assert!(line.contains("'postgres slots'="), "{line}");
    let document = document(&told.d).unwrap();
    assert_eq!(told.d.findings.len(), 1003);
    assert_eq!(document.matches("\"id\": \"server-crash/unhealthy@").count(), 1002);
}

/// This thread's processor time: a busy machine has no part in it.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.try_into().unwrap(), t.tv_nsec.try_into().unwrap())
}

/// The least of a few runs.
fn takes(stack: &Stack, runs: usize) -> Duration {
    let looks = Looks { now: stack.now.clone(), before: None };
    let out = Out::new(Color::Never, false);
    let one = || {
        let start = cpu();
        let d = mcp_ir::engine::diagnose(&looks, &mcp_ir::engine::Filter::default());
        assert!(!human_diagnosis(&d, &out).is_empty() && !document(&d).unwrap().is_empty());
        cpu() - start
    };
    (0..runs).map(|_| one()).min().unwrap()
}

#[test]
fn four_times_as_many_take_four_times_as_long() {
    let unwell = |stack: fn() -> Stack, n: usize| many(stack(), n, n);
    let refused_all = |n: usize| {
        let mut stack = many(Stack::healthy(), n, 0);
        for look in stack.now.services.values_mut() {
            look.health = failed(refused());
        }
        stack
    };
    let cases: [(&str, &dyn Fn(usize) -> Stack); 4] = [
        ("well", &|n| many(Stack::healthy(), n, 0)),
        ("down with their database", &|n| unwell(Stack::outage, n)),
        ("unwell by themselves", &|n| unwell(Stack::healthy, n)),
        ("refused", &refused_all),
    ];
    for (case, make) in cases {
        let (one, four) = (takes(&make(500), 3), takes(&make(2000), 3));
        // Half of what a quadratic cost would be.
        assert!(four < one * 8, "{case}: {one:?} for 500, {four:?} for 2000");
    }
}

#[test]
fn of_many_refused_none_is_called_well() {
    let mut stack = many(Stack::healthy(), 100, 0);
    for look in stack.now.services.values_mut() {
        look.health = failed(refused());
    }
    let told = stack.told();
    assert!(told.d.symptoms.iter().all(|s| s.subject == "postgres" || s.state == SymptomState::Bad));
}
