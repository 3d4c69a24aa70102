//! `latency`: who is slow by two readings, where the time goes, and what only looks so.

use mcp_ir::diagnosis::{Certainty, Outcome};
use mcp_ir::engine::{Filter, diagnose, why_not};
use mcp_ir::scenario;
use mcp_ir::snapshot::postgres::Session;
use mcp_ir::snapshot::service::LogLevel;
use mcp_ir::snapshot::work::{Standby, Waits, Work};
use mcp_ir::snapshot::{Again, FailKind, Failure, Looks, Reading};

use crate::payload;
use crate::stack::{A, C, Stack, session, waits};
use crate::two::{SEARCH, Two, evidence, histogram};

#[test]
fn quick_requests_are_healthy() {
    assert_eq!(Two::healthy().is(&[], &[]).verdict, mcp_ir::diagnosis::Verdict::Healthy);
}

#[test]
fn slow_for_no_reason_that_is_told_apart_says_what_was_looked_at() {
    let d = Two::slow().is(&["unattributed@codebase-mcp"], &[]);
    let said = evidence(&d);
    assert!(said.contains("p95 of codebase-mcp: between 0.5 and 1 s, of 10 requests in 1 s"), "{said}");
    assert!(said.contains("p95 of /search: between 0.5 and 1 s"), "{said}");
    assert!(said.contains("nobody waits"), "{said}");
}

#[test]
fn one_reading_tells_nothing_and_says_so() {
    let two = Two::slow();
    let looks = Looks { now: two.now.now.clone(), before: None };
    let d = diagnose(&looks, &Filter::default());
    assert!(d.findings.is_empty(), "{:?}", d.findings);
    let causes: Vec<_> =
        scenario::causes().into_iter().filter(|c| c.name == "latency/unattributed").collect();
    let said = why_not(&looks, &causes, &[A.to_owned()]);
    assert_eq!(said.causes[0].subjects[0].outcome, Outcome::Unknown);
}

/// Its health answer is quick and so says nothing of them.
#[test]
fn a_service_none_of_whose_requests_ended_is_not_plainly_healthy() {
    let mut two = Two::slow();
    let page = || Some(histogram([0.0, 0.0, 1.0, 6.0], 9.3));
    for look in [&mut two.before, &mut two.now] {
        look.now.services.get_mut(A).unwrap().metrics = page();
    }
    two = two.apart();
    let pool = |two: Two, in_use: u64| {
        let mut two = two;
        two.now = two.now.health(A, payload::a_healthy(3, 3 - in_use, 10));
        two
    };
    let two = pool(two, 3);
    let looks = two.looks();
    assert!(scenario::undecided(&looks, &looks.now.config), "it is watched for longer first");
    let d = two.is(&[], &[]);
    let said = &d.symptoms.iter().find(|s| s.subject == A).unwrap().says;
    assert_eq!(said, "healthy; slow so far, and no request ended in 1 s");
    // Nothing is under way: it is idle.
    let mut two = pool(two, 0);
    let looks = two.looks();
    assert!(!scenario::undecided(&looks, &looks.now.config));
    // By its pace so far one would have ended by now: all may hang where its pool does not show it.
    if let Some(Reading::Seen { value }) =
        two.now.now.services.get_mut(A).unwrap().metrics.as_mut().map(|m| &mut m.reading)
    {
        value.started = None;
    }
    for (up, watched) in [(5.0, true), (8.0, false)] {
        if let Reading::Seen { value } = &mut two.now.now.services.get_mut(A).unwrap().health.reading {
            value.uptime_s = Some(up);
        }
        let looks = two.looks();
        assert_eq!(scenario::undecided(&looks, &looks.now.config), watched, "{up} s");
    }
    assert_eq!(two.is(&[], &[]).symptoms.iter().find(|s| s.subject == A).unwrap().says, "healthy");
}

/// Requests that take seconds end seldom.
#[test]
fn one_slow_request_is_enough_with_those_that_are_under_way_for_longer() {
    let is_slow = |counts: [f64; 4], in_use: u64, running: &[Session]| {
        let mut two = Two::healthy().work(|w| w.running = running.to_vec());
        two.now = two.now.health(A, payload::a_healthy(6, 6 - in_use, 10));
        two.now.now.services.get_mut(A).unwrap().metrics = Some(histogram(counts, 4.8));
        let found = two.told().findings;
        assert!(found.iter().all(|f| f.scenario == "latency"), "{found:#?}");
        !found.is_empty()
    };
    let (one, quick) = ([400.0, 400.0, 401.0, 401.0], [401.0, 401.0, 402.0, 402.0]);
    let runs = [session(1, A, 1.6), session(2, A, 3.0), session(3, A, 0.2)];
    assert!(is_slow(one, 3, &runs));
    assert!(!is_slow(one, 3, &runs[1..]), "one of them is quick so far");
    assert!(!is_slow(one, 1, &runs), "these are another's, by its own word");
    assert!(!is_slow(quick, 3, &runs), "another one ended quickly");
    let all_of = |change: fn(&mut Session)| {
        let mut all = runs.clone();
        all.iter_mut().for_each(change);
        all
    };
    assert!(!is_slow(one, 3, &all_of(|s| s.application = "pg_dump".into())));
    assert!(!is_slow(one, 3, &all_of(|s| s.database = "warehouse".into())), "of nobody under care");
    assert!(!is_slow(one, 3, &all_of(|s| s.query = "CREATE INDEX ON a (b)".into())), "maintenance");
}

#[test]
fn a_job_that_takes_long_is_not_the_requests_that_are_quick() {
    let mut two = Two::healthy().work(|w| w.running = vec![session(1, A, 40.0), session(2, A, 300.0)]);
    two.now = two.now.health(A, payload::a_healthy(6, 3, 10));
    let job = |counts, sum| {
        let mut job = histogram(counts, sum);
        if let Reading::Seen { value } = &mut job.reading {
            value.durations.iter_mut().for_each(|h| h.name = "reindex_latency_seconds".into());
        }
        job
    };
    for (look, counts, of_job) in [
        (&mut two.before, [400.0, 400.0, 400.0, 400.0], job([0.0; 4], 0.0)),
        (&mut two.now, [800.0, 800.0, 800.0, 800.0], job([0.0, 0.0, 0.0, 1.0], 30.0)),
    ] {
        let mut page = histogram(counts, 4.0);
        if let (Reading::Seen { value }, Reading::Seen { value: job }) = (&mut page.reading, of_job.reading) {
            value.durations.extend(job.durations);
        }
        let place = look.now.services.get_mut(A).unwrap();
        let at = place.metrics.as_ref().and_then(|m| m.seen()).unwrap().at;
        if let Reading::Seen { value } = &mut page.reading {
            value.at = at;
        }
        place.metrics = Some(page);
    }
    two.is(&[], &[]);
}

#[test]
fn just_under_the_limit_and_a_spike_are_healthy() {
    let mut two = Two::healthy();
    let page = |two: &mut Two, counts, sum| {
        two.now.now.services.get_mut(A).unwrap().metrics = Some(histogram(counts, sum));
    };
    page(&mut two, [400.0, 496.0, 500.0, 500.0], 53.0);
    two.is(&[], &[]);
    // Two slow ones of ten.
    page(&mut two, [400.0, 408.0, 410.0, 410.0], 7.0);
    two.is(&[], &[]);
    // The service was restarted in between.
    page(&mut two, [0.0, 0.0, 410.0, 410.0], 300.0);
    two.is(&[], &[]);
}

#[test]
fn a_statement_that_takes_the_time_is_named_with_its_share() {
    let d = Two::slow().ran(10.0, 6000.0, SEARCH).is(&["slow-queries@postgres"], &[]);
    let f = &d.findings[0];
    assert_eq!(f.certainty, mcp_ir::diagnosis::Certainty::Proven);
    assert!(f.summary.contains("600 ms on average: 75 % of the requests' time"), "{}", f.summary);
    assert!(
        evidence(&d).contains("10 times, 600 ms each: SELECT file_path FROM code_chunks"),
        "{}",
        evidence(&d)
    );
    assert!(!evidence(&d).contains("one is missing"), "nothing proves it");
}

#[test]
fn quick_statements_and_a_small_share_are_not_slow_queries() {
    Two::slow().ran(100.0, 6000.0, SEARCH).is(&["unattributed@codebase-mcp"], &[]);
    Two::slow().ran(2.0, 400.0, SEARCH).is(&["unattributed@codebase-mcp"], &[]);
    // Our own, and others' monitoring.
    Two::slow().ran(1.0, 6000.0, "SELECT * FROM pg_stat_activity").is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn statements_that_were_reset_or_of_a_restarted_server_are_no_difference() {
    let two = Two::slow().ran(10.0, 6000.0, SEARCH).work(|w| w.started += 60.0);
    two.is(&["unattributed@codebase-mcp"], &[]);
    let two = Two::slow().ran(10.0, 6000.0, SEARCH).work(|w| match &mut w.statements {
        Reading::Seen { value } => value.reset = Some(9.0),
        _ => panic!("not seen"),
    });
    two.is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn without_totals_a_statement_that_runs_for_long_is_likely() {
    let mut two = Two::slow().both(|w| {
        w.statements = Reading::Failed(Failure::new(FailKind::Missing, "no pg_stat_statements"));
    });
    two.now = two.now.sessions((1..=6).map(|pid| session(pid, A, 4.0)));
    let d = two.is(&["slow-queries@postgres"], &[]);
    assert_eq!(d.findings[0].certainty, mcp_ir::diagnosis::Certainty::Likely);
    assert!(d.findings[0].summary.contains("6 statements run, one for 4 s"), "{}", d.findings[0].summary);
}

#[test]
fn a_statement_that_only_waits_for_its_commit_does_not_run() {
    let of = |wait: &str| {
        let mut two = Two::slow();
        let commits = |pid| Session { wait: Some(wait.into()), ..session(pid, A, 4.0) };
        two.now = two.now.sessions((1..=6).map(commits));
        two
    };
    of("IO/WALSync").is(&["unattributed@codebase-mcp"], &[]);
    of("LWLock/WALWrite").is(&["unattributed@codebase-mcp"], &[]);
    // Who reads does run.
    of("IO/DataFileRead").is(&["slow-queries@postgres"], &[]);
}

#[test]
fn locks_that_all_want_are_told_and_explain_the_statements_that_wait() {
    let wait = |w: &mut Work| {
        w.waits.push(Waits { event: "Lock/transactionid".into(), count: 6, longest_s: 0.7 });
    };
    let d = Two::slow()
        .both(wait)
        .ran(10.0, 6000.0, "UPDATE counters SET n = n + $1")
        .is(&["lock-waits@postgres"], &["slow-queries@postgres"]);
    assert!(d.findings[0].summary.contains("75 % of the requests' time"), "{}", d.findings[0].summary);
    // In one reading alone it passes by.
    Two::slow().work(wait).is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn a_chain_explains_the_waits() {
    let wait = |w: &mut Work| w.waits.push(Waits { event: "Lock/relation".into(), count: 6, longest_s: 9.0 });
    let mut two = Two::slow().both(wait);
    let head = crate::stack::idle_tx(1, "migration", 60.0);
    two.now = two.now.sessions([head, waits(2, A, 9.0, &[1]), waits(3, A, 9.0, &[1])]);
    two.is(&["pool-exhausted/blocking-chain@postgres"], &["lock-waits@postgres"]);
}

#[test]
fn commits_that_wait_for_a_standby_that_is_gone() {
    let wait = |w: &mut Work| {
        w.waits.push(Waits { event: "IPC/SyncRep".into(), count: 7, longest_s: 3.0 });
        w.synchronous = "standby1".into();
    };
    let d = Two::slow().both(wait).is(&["sync-replication-wait@postgres"], &[]);
    assert_eq!(d.findings[0].certainty, mcp_ir::diagnosis::Certainty::Proven);
    // It is there, and hardly anybody waits.
    let standby = Standby {
        name: "standby1".into(),
        state: "streaming".into(),
        sync_state: "sync".into(),
        replay_s: Some(0.01),
        behind: Some(0.0),
    };
    let two = Two::slow().both(wait).both(|w| {
        w.standbys.push(standby.clone());
        w.waits[0].count = 1;
    });
    two.is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn a_late_standby_is_told_only_where_there_is_one() {
    let standby = |replay_s, behind| Standby {
        name: "standby1".into(),
        state: "streaming".into(),
        sync_state: "async".into(),
        replay_s: Some(replay_s),
        behind: Some(behind),
    };
    Two::slow()
        .both(|w| w.standbys.push(standby(42.0, 9e6)))
        // It may be meant to lag: that makes no request slow.
        .is(&["unattributed@codebase-mcp", "replication-lag@postgres"], &[]);
    Two::slow().both(|w| w.standbys.push(standby(42.0, 0.0))).is(&["unattributed@codebase-mcp"], &[]);
    Two::slow().both(|w| w.standbys.push(standby(1.0, 9e6))).is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn callers_that_wait_for_the_pool_while_statements_are_quick() {
    let mut two = Two::slow();
    for look in [&mut two.before, &mut two.now] {
        *look = look.clone().health(A, payload::a_healthy(10, 1, 10));
    }
    let d = two.is(&["pool-wait@codebase-mcp"], &[]);
    assert_eq!(d.findings[0].certainty, mcp_ir::diagnosis::Certainty::Proven);
    // Slow statements hold the connections: then they are the reason.
    let two = two.ran(10.0, 6000.0, SEARCH);
    two.is(&["slow-queries@postgres"], &["pool-wait@codebase-mcp"]);
}

#[test]
fn a_service_that_is_told_to_log_everything() {
    let level = |value: &str| Reading::Seen {
        value: LogLevel { value: value.into(), source: "LOG_LEVEL of process 103".into() },
    };
    let mut two = Two::slow();
    two.now.now.services.get_mut(A).unwrap().log_level = Some(level("DEBUG"));
    two.is(&["debug-logging@codebase-mcp"], &[]);
    two.now.now.services.get_mut(A).unwrap().log_level = Some(level("INFO"));
    two.is(&["unattributed@codebase-mcp"], &[]);
    let mut quick = Two::healthy();
    quick.now.now.services.get_mut(A).unwrap().log_level = Some(level("DEBUG"));
    quick.is(&[], &[]);
}

#[test]
fn without_a_histogram_the_health_answer_is_timed_both_times() {
    let at = |two: &mut Two, ms: [f64; 2]| {
        for (look, ms) in [&mut two.before, &mut two.now].into_iter().zip(ms) {
            look.now.services.get_mut(C).unwrap().health.elapsed_ms = ms;
        }
    };
    let mut two = Two::healthy();
    at(&mut two, [800.0, 700.0]);
    let d = two.is(&["unattributed@workflow-mcp"], &[]);
    assert!(evidence(&d).contains("answered in 800 ms, and in 700 ms"), "{}", evidence(&d));
    at(&mut two, [800.0, 20.0]);
    two.is(&[], &[]);
}

#[test]
fn who_is_not_well_is_another_scenarios() {
    let mut two = Two::slow();
    two.now = two.now.health(A, payload::a_down("connection refused"));
    let d = two.told();
    assert!(d.findings.iter().all(|f| f.scenario != "latency"), "{:?}", d.findings);
}

#[test]
fn a_second_reading_is_taken_only_where_something_looks_slow_or_it_was_asked_for() {
    let again = |look: &Stack, asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|a| (*a).to_owned()).collect();
        scenario::again(&Looks { now: look.now.clone(), before: None }, &look.now.config, &asked)
    };
    let healthy = Two::healthy().now;
    assert_eq!(again(&healthy, &[]), []);
    assert_eq!(again(&healthy, &["db-down"]), []);
    let asked = again(&healthy, &["latency"]);
    assert!(asked.contains(&Again::Metrics(A.into())) && asked.contains(&Again::Work("postgres".into())));
    assert!(!asked.contains(&Again::Metrics(C.into())), "none is configured");
    let mut late = healthy.clone();
    late.now.services.get_mut(C).unwrap().health.elapsed_ms = 900.0;
    assert!(again(&late, &[]).contains(&Again::Health(C.into())));
    let mut slow_for_long = healthy.clone();
    slow_for_long.now.services.get_mut(A).unwrap().metrics = Some(histogram([0.0, 10.0, 20.0, 20.0], 9.0));
    assert!(again(&slow_for_long, &[]).contains(&Again::Metrics(A.into())));
    for (in_use, short) in [(7, false), (8, true)] {
        let pool = healthy.clone().health(A, payload::a_healthy(10, 10 - in_use, 10));
        assert_eq!(again(&pool, &[]).contains(&Again::Metrics(A.into())), short, "{in_use} of 10");
    }
    let busy = healthy.clone().sessions([session(1, A, 3.0)]);
    assert!(again(&busy, &[]).contains(&Again::Work("postgres".into())));
    let mut backup = session(1, "pg_dump", 300.0);
    backup.query = "COPY public.code_chunks TO stdout".into();
    assert_eq!(again(&healthy.sessions([backup]), &[]), [], "a backup is no reason");
}

/// A server is shared: what a report in another database takes is no part of these requests.
#[test]
fn statements_of_a_database_that_is_not_under_care_are_no_reason() {
    let elsewhere = |two: Two| {
        two.both(|w| match &mut w.statements {
            Reading::Seen { value } => value.all.iter_mut().for_each(|s| s.database = "warehouse".into()),
            _ => panic!("not seen"),
        })
    };
    elsewhere(Two::slow().ran(10.0, 6000.0, SEARCH)).is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn what_is_meant_to_take_long_is_no_part_of_a_request() {
    for query in ["CREATE INDEX CONCURRENTLY i ON t (a)", "copy t TO STDOUT", "VACUUM (ANALYZE) t"] {
        Two::slow().ran(1.0, 9000.0, query).is(&["unattributed@codebase-mcp"], &[]);
    }
}

/// Ten seconds of statements in eight of requests: not all of them are of these.
#[test]
fn statements_that_take_longer_than_all_requests_are_likely_not_proven() {
    let certain =
        |ms| Two::slow().ran(10.0, ms, SEARCH).is(&["slow-queries@postgres"], &[]).findings[0].certainty;
    assert_eq!(certain(6000.0), Certainty::Proven);
    assert_eq!(certain(12_000.0), Certainty::Likely);
}
