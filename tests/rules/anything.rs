//! Any mixture of faults: no panic, no broken promise of the report, the same answer every time.

use std::collections::BTreeSet;

use mcp_ir::diagnosis::{Diagnosis, Severity, SymptomState, Verdict};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::snapshot::postgres::Session;
use mcp_ir::snapshot::service::Health;
use mcp_ir::snapshot::units::Event;
use mcp_ir::snapshot::{FailKind, Failure, Look, Looks, Snapshot, Stage};
use proptest::prelude::*;

use crate::any_server::{Inside, inside};
use crate::mcp;
use crate::payload;
use crate::stack::{A, A_UNIT, C, C_UNIT, FOLDER, PG_UNIT, Stack, UMBRELLA, fail, postmaster, says, session};

const KINDS: [FailKind; 10] = [
    FailKind::Refused,
    FailKind::TimedOut,
    FailKind::Denied,
    FailKind::Missing,
    FailKind::Malformed,
    FailKind::Unsupported,
    FailKind::Unresolved,
    FailKind::Unreachable,
    FailKind::Closed,
    FailKind::Tls,
];
const STAGES: [Stage; 6] =
    [Stage::Resolve, Stage::Connect, Stage::Tls, Stage::Answer, Stage::Body, Stage::Query];

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        (prop::sample::select(&KINDS[..]), prop::sample::select(&STAGES[..])).prop_map(|(k, s)| fail(k, s)),
        prop::sample::select(&KINDS[..]).prop_map(|k| Failure::new(k, "no stage")),
        (
            prop::sample::select(vec![
                "53300", "57P03", "28P01", "28000", "3D000", "42501", "57014", "XX000", "XX001", ""
            ]),
            prop::sample::select(vec![
                "the database system is starting up",
                "the database system is shutting down",
                "the database system is in recovery mode",
                "too many connections for role \"x\"",
                "too many connections for database \"x\"",
                "sorry, too many clients already",
                "",
            ])
        )
            .prop_map(|(s, m)| says(s, m)),
    ]
}

fn health() -> impl Strategy<Value = Look<Health>> {
    let status = prop::sample::select(vec!["healthy", "degraded", "unhealthy", "starting"]);
    let database = prop::sample::select(vec!["connected", "disconnected", "degraded"]);
    let error = prop::sample::select(vec![
        "lost",
        "password authentication failed for user \"x\"",
        "28000 ms",
        "too many connections for role \"x\"",
        "database \"x\" does not exist",
        "error performing TLS handshake: UnknownIssuer",
        "invalid page in block 0 of relation base/5/2601",
        "not accepting commands to avoid wraparound data loss",
    ]);
    prop_oneof![
        3 => (status.clone(), database.clone(), 0..25u64, 0..25u64, 0..25u64, error.clone()).prop_map(
            |(s, d, size, free, max, e)| payload::a(s, d, size, free, max, &format!(r#"{{"error":{e:?}}}"#))),
        3 => (status, database, 0..25u64, 0..25u64, 0..5u64, error).prop_map(
            |(s, d, total, active, waiting, e)| payload::c(s, d, total.max(active), active, waiting, e)),
        2 => failure().prop_map(payload::no_answer),
        1 => (100..600u16, prop::sample::select(vec!["", "{}", "<html>", "[1]", r#"{"status":"unhealthy","error":"x"}"#]))
            .prop_map(|(status, body)| payload::json(status, body)),
        1 => Just(Look::not_asked("left out")),
    ]
}

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let one = (
        prop::sample::select(vec![A, C, "", "psql"]),
        prop::sample::select(vec!["active", "idle in transaction", "idle in transaction (aborted)", "idle"]),
        0..1000u32,
        prop::option::of(0..1000u32),
        prop::collection::vec(0..12i32, 0..4),
    );
    let one = one.prop_map(|(application, state, age, transaction, blocked_by)| Session {
        state: state.into(),
        transaction_s: transaction.map(f64::from),
        blocked_by,
        ..session(0, application, f64::from(age))
    });
    prop::collection::vec(one, 0..12).prop_map(|mut all| {
        for (pid, s) in (1..).zip(&mut all) {
            s.pid = pid;
        }
        all
    })
}

fn events() -> impl Strategy<Value = Vec<(f64, Event)>> {
    let result = || "exit-code".to_owned();
    let what = prop_oneof![
        Just(Event::Starting),
        Just(Event::Started),
        Just(Event::Stopping),
        Just(Event::Stopped),
        Just(Event::Succeeded),
        Just(Event::OomKilled),
        Just(Event::StartFailed { result: result() }),
        Just(Event::Failed { result: result() }),
        (0..5u32).prop_map(|restarts| Event::RestartScheduled { restarts }),
        (
            prop::sample::select(vec!["exited", "killed", "dumped", ""]),
            prop::sample::select(vec!["0", "1", "9", "203", "x"])
        )
            .prop_map(|(c, s)| Event::ProcessExited { code: c.into(), status: s.into() }),
    ];
    // The oldest first, some of them a little after the look.
    prop::collection::vec((0..1500u32, what), 0..8).prop_map(|mut all| {
        all.sort_by_key(|(s, _)| std::cmp::Reverse(*s));
        all.into_iter().map(|(s, e)| (f64::from(s) - 2.0, e)).collect()
    })
}

#[derive(Debug, Clone)]
enum Bend {
    Login(Failure),
    Here(Option<bool>),
    Postmasters(Vec<(u8, Option<u16>, bool)>),
    Used(u32, bool),
    Sessions(Vec<Session>),
    Inside(Inside),
    Health(bool, Look<Health>),
    PoolMax(bool, u64),
    Mcp(bool, Failure, u8, u64),
    Unit(u8, u8, u8),
    Detail(u8, u8, i32, i32, u32),
    Events(u8, Vec<(f64, Event)>),
    Line(u8, u32, bool),
    Process(u8, u8),
    NoBus,
    NoPgUnit(bool),
    Needs(bool, u8),
    NoUrl(bool),
    SecondServer(bool),
    Memory(crate::stack::memory::Short),
}

fn bend() -> impl Strategy<Value = Bend> {
    prop_oneof![
        failure().prop_map(Bend::Login),
        prop::option::of(any::<bool>()).prop_map(Bend::Here),
        prop::collection::vec((0..5u8, prop::option::of(5431..5434u16), any::<bool>()), 0..3)
            .prop_map(Bend::Postmasters),
        (0..60u32, any::<bool>()).prop_map(|(n, all)| Bend::Used(n, all)),
        sessions().prop_map(Bend::Sessions),
        inside().prop_map(Bend::Inside),
        inside().prop_map(Bend::Inside),
        (any::<bool>(), health()).prop_map(|(w, h)| Bend::Health(w, h)),
        (any::<bool>(), health()).prop_map(|(w, h)| Bend::Health(w, h)),
        (any::<bool>(), 0..25u64).prop_map(|(w, n)| Bend::PoolMax(w, n)),
        (any::<bool>(), failure(), any::<u8>(), 0..3u64).prop_map(|(w, f, n, t)| Bend::Mcp(w, f, n, t)),
        (0..5u8, 0..4u8, 0..7u8).prop_map(|(n, l, a)| Bend::Unit(n, l, a)),
        (0..5u8, 0..4u8, 0..7u8).prop_map(|(n, l, a)| Bend::Unit(n, l, a)),
        (0..5u8, 0..6u8, 0..4i32, 0..256i32, 0..2000u32)
            .prop_map(|(n, r, c, s, t)| Bend::Detail(n, r, c, s, t)),
        (0..5u8, events()).prop_map(|(n, e)| Bend::Events(n, e)),
        (0..5u8, 0..100u32, any::<bool>()).prop_map(|(n, s, r)| Bend::Line(n, s, r)),
        (0..5u8, 0..5u8).prop_map(|(n, s)| Bend::Process(n, s)),
        Just(Bend::NoBus),
        any::<bool>().prop_map(Bend::NoPgUnit),
        (any::<bool>(), 0..4u8).prop_map(|(w, n)| Bend::Needs(w, n)),
        any::<bool>().prop_map(Bend::NoUrl),
        any::<bool>().prop_map(Bend::SecondServer),
        crate::stack::memory::short().prop_map(Bend::Memory),
    ]
}

fn pick<'a>(all: &[&'a str], n: u8) -> &'a str {
    all[usize::from(n) % all.len()]
}

fn unit(n: u8) -> &'static str {
    pick(&[A_UNIT, C_UNIT, PG_UNIT, UMBRELLA, "postgresql@14-old.service"], n)
}

fn service(codebase: bool) -> &'static str {
    if codebase { A } else { C }
}

fn bent(s: Stack, bend: Bend) -> Stack {
    let state = |n: u8| pick(&["S", "T", "D", "R", "Z"], n);
    match bend {
        Bend::Login(f) => s.login(f),
        Bend::Memory(short) => s.short(&short),
        Bend::Here(h) => s.here(h),
        Bend::Postmasters(all) => s.postmasters(
            all.into_iter()
                .map(|(n, port, folder)| postmaster(state(n), folder.then_some(FOLDER), port))
                .collect(),
        ),
        Bend::Used(used, sees_all) => server(s, |x| (x.used, x.sees_all) = (used, sees_all)),
        Bend::Sessions(all) => server(s, |x| x.sessions = all),
        Bend::Inside(bend) => {
            let (expect, s) = (bend.expect(), server(s, |x| bend.apply(x)));
            s.postgres(|p| p.expect = expect.unwrap_or(p.expect))
        }
        Bend::Health(which, h) => s.health(service(which), h),
        Bend::PoolMax(which, n) => s.pool_max(service(which), n),
        Bend::Mcp(which, f, n, tools) => s.mcp(service(which), mcp::any(f, n, tools)),
        Bend::Unit(n, load, active) => {
            let load = pick(&["loaded", "not-found", "masked", "bad-setting"], load);
            let (active, sub) = [
                ("active", "running"),
                ("inactive", "dead"),
                ("failed", "failed"),
                ("activating", "start"),
                ("activating", "auto-restart"),
                ("deactivating", "stop"),
                ("active", "exited"),
            ][usize::from(active) % 7];
            s.loaded(unit(n), load, active, sub)
        }
        Bend::Detail(n, r, code, status, t) => {
            let result =
                pick(&["success", "exit-code", "signal", "oom-kill", "start-limit-hit", "timeout"], r);
            s.detail(unit(n), result, code, status, f64::from(t))
        }
        Bend::Events(n, all) => s.events(unit(n), &all),
        Bend::Line(n, at, refusal) => s.line(
            unit(n),
            f64::from(at),
            if refusal { 3 } else { 6 },
            if refusal { "FATAL 28P01" } else { "hello" },
        ),
        Bend::Process(n, st) => s.process(unit(n), state(st)),
        Bend::NoBus => s.no_bus(),
        Bend::NoPgUnit(umbrella) => s.postgres(|p| p.unit = umbrella.then(|| UMBRELLA.into())),
        Bend::Needs(which, n) => s.service(service(which), |x| {
            x.needs = match n {
                0 => vec![],
                1 => vec![service(!which).into()],
                2 => vec!["postgres".into(), "reports".into()],
                _ => vec!["postgres".into(), "nobody".into()],
            }
        }),
        Bend::NoUrl(which) => s.service(service(which), |x| (x.url, x.health) = (None, None)),
        Bend::SecondServer(down) => {
            let mut s = if s.now.postgres.contains_key("reports") { s } else { s.second_postgres("reports") };
            if down {
                s.now.postgres.get_mut("reports").unwrap().login =
                    crate::stack::failed(crate::stack::silent());
            }
            s
        }
    }
}

fn server(s: Stack, bend: impl FnOnce(&mut mcp_ir::snapshot::postgres::Server)) -> Stack {
    if s.now.postgres["postgres"].server.seen().is_some() { s.server(bend) } else { s }
}

fn told(now: &Snapshot) -> Diagnosis {
    let d = diagnose(&Looks { now: now.clone(), before: None }, &Filter::default());
    crate::why_not::agrees(now, &d);
    d
}

/// Whether explanations, followed upwards, come back to where they began.
fn circle(d: &Diagnosis, id: &str) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![id]);
    while let Some(at) = todo.pop() {
        for f in d.findings.iter().filter(|f| f.id == at) {
            for by in &f.explained_by {
                if by == id {
                    return true;
                }
                if seen.insert(by.as_str()) {
                    todo.push(by);
                }
            }
        }
    }
    false
}

proptest! {
    // More by PROPTEST_CASES.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(512), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_mixed_the_report_keeps_its_promises(bends in prop::collection::vec(bend(), 0..14)) {
        let s = bends.into_iter().fold(Stack::healthy(), bent);
        let d = told(&s.now);

        let ids: BTreeSet<&str> = d.findings.iter().map(|f| f.id.as_str()).collect();
        prop_assert_eq!(ids.len(), d.findings.len(), "an id twice");
        for f in &d.findings {
            prop_assert_eq!(&f.id, &format!("{}@{}", f.cause, f.subject));
            prop_assert!(f.explained_by.iter().all(|by| ids.contains(by.as_str())), "{:?}", f);
            prop_assert!(!circle(&d, &f.id), "{} goes in a circle", f.id);
            prop_assert!(!f.summary.is_empty() && !f.evidence.is_empty(), "{:?}", f);
            prop_assert!(!f.remedy.command.is_empty() && !f.remedy.summary.is_empty(), "{:?}", f);
            prop_assert!(f.severity == Severity::P4 || d.findings.iter().all(
                |by| by.severity < Severity::P4 || !f.explained_by.contains(&by.id)), "a note explains {}", f.id);
        }
        let roots_first = d.findings.iter().map(|f| (!f.is_root(), f.severity, f.certainty));
        prop_assert!(roots_first.is_sorted());
        let problem = d.findings.iter().any(|f| f.severity < Severity::P4);
        match d.verdict {
            Verdict::Healthy => {
                prop_assert!(!problem);
                prop_assert!(d.symptoms.iter().all(|s| s.state == SymptomState::Good), "{:?}", d.symptoms);
            }
            Verdict::Problem => prop_assert!(problem),
            Verdict::Unknown => prop_assert!(!problem && !d.unknown.is_empty()),
        }
        // A problem has a root: nothing is explained away altogether.
        prop_assert!(!problem || d.findings.iter().any(|f| f.is_root() && f.severity < Severity::P4));

        prop_assert_eq!(&told(&s.now), &d, "the same look, another answer");
        let saved = s.now.to_json().unwrap();
        let read = Snapshot::from_json(&saved).unwrap();
        prop_assert_eq!(&read, &s.now, "a saved look is the look");
        prop_assert_eq!(told(&read), d);
    }

    #[test]
    fn a_database_that_lets_us_in_is_never_called_dead(bends in prop::collection::vec(bend(), 0..14)) {
        let dead = ["postgres-stopped", "starting-up", "shutting-down", "hung", "unreachable", "refused-remote", "dns-failure"];
        let keeps = bends.into_iter().filter(|b| !matches!(b, Bend::Login(_)));
        let d = told(&keeps.fold(Stack::healthy(), bent).now);
        for f in d.findings.iter().filter(|f| f.subject == "postgres") {
            prop_assert!(!dead.iter().any(|c| f.cause == format!("db-down/{c}")), "{:?}", f);
        }
    }

    #[test]
    fn a_service_that_says_it_is_healthy_is_never_called_crashed(bends in prop::collection::vec(bend(), 0..14)) {
        let about = |b: &Bend| matches!(b, Bend::Health(true, _) | Bend::NoUrl(true) | Bend::Mcp(true, ..));
        let keeps = bends.into_iter().filter(|b| !about(b));
        let d = told(&keeps.fold(Stack::healthy(), bent).now);
        let crashed = d.findings.iter().any(|f| f.subject == A && f.scenario == "server-crash");
        prop_assert!(!crashed, "{:?}", d.findings);
    }
}
