//! Recorded answers of dockerd 20.10, and what else may answer there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::read::{container, events, is_named, lines, variable};
use super::*;
use crate::snapshot::units::Event;

fn recorded() -> Value {
    json!({
        "Id": "95482ab4437c062b05c6bc731f8b2134e4d4ba75805c3e42d10ec1d615085311",
        "State": {"Status": "exited", "Running": false, "Paused": false, "Restarting": false,
            "OOMKilled": true, "Dead": false, "Pid": 0, "ExitCode": 137, "Error": "",
            "StartedAt": "2026-11-26T20:50:18.031031477Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "unhealthy", "FailingStreak": 2, "Log": [
                {"ExitCode": 1, "Output": "first\n"}, {"ExitCode": 1, "Output": "curl:\n (7) refused\n"}]}},
        "RestartCount": 5,
        "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 6},
            "Memory": 16777216, "MemorySwap": -1}
    })
}

#[test]
fn an_inspection_is_read_as_it_is_written() {
    let c = container(&recorded()).unwrap();
    assert_eq!((c.state.as_str(), c.exit_code, c.oom_killed, c.pid), ("exited", 137, true, 0));
    assert_eq!(c.started_at.unwrap().to_string(), "2026-11-26T20:50:18.031031477Z");
    assert_eq!(c.finished_at, None, "the year 1 is never");
    assert_eq!((c.restarts, c.policy.as_str(), c.policy_max), (5, "on-failure", 6));
    assert_eq!((c.memory_max, c.memory_swap), (Some(16 << 20), Some(-1)));
    let check = c.health.unwrap();
    assert_eq!((check.failed, check.says.as_deref()), (2, Some("curl: (7) refused")));
}

#[test]
fn one_variable_is_read_of_all_that_a_container_was_made_with() {
    let v =
        json!({"Config": {"Env": ["PATH=/bin", "POOL_MAX_SIZE=20", "POOL_MAX_SIZE=30", "EMPTY=", 7, "x"]}});
    assert_eq!(variable(&v, "POOL_MAX_SIZE").as_deref(), Some("20"));
    assert_eq!(variable(&v, "EMPTY").as_deref(), Some(""));
    for (v, name) in
        [(&v, "POOL"), (&v, "x"), (&json!({"Config": {"Env": null}}), "PATH"), (&json!(7), "PATH")]
    {
        assert_eq!(variable(v, name), None, "{v}");
    }
}

#[test]
fn what_is_missing_or_of_another_type_is_not_guessed() {
    let bare =
        json!({"Id": "ab", "State": {"Status": "sleeping", "Pid": -1, "ExitCode": "x", "StartedAt": 7}});
    let c = container(&bare).unwrap();
    assert_eq!((c.state.as_str(), c.pid, c.exit_code, c.policy.as_str()), ("sleeping", 0, 0, "no"));
    assert_eq!((c.started_at, c.health, c.memory_max), (None, None, None));
    for none in [json!({}), json!([]), json!({"Id": "ab"}), json!({"Id": "../a", "State": {"Status": "x"}})] {
        assert_eq!(container(&none), None, "{none}");
    }
}

fn event(action: &str, at_s: i64, attributes: Value) -> String {
    let line =
        json!({"Action": action, "timeNano": at_s * 1_000_000_000, "Actor": {"Attributes": attributes}});
    line.to_string() + "\n"
}

fn kinds(text: &str, now_s: f64) -> Vec<&'static str> {
    let word = |e: &Event| match e {
        Event::Started => "started",
        Event::Stopping => "stopping",
        Event::Stopped => "stopped",
        Event::ProcessExited { .. } => "exited",
        Event::OomKilled => "oom",
        _ => "?",
    };
    events(text, now_s).iter().map(|e| word(&e.what)).collect()
}

#[test]
fn a_signal_that_ends_it_is_a_stop_and_another_is_nothing() {
    let started = event("start", 100, json!({}));
    let kill = |at, signal: &str| event("kill", at, json!({"signal": signal}));
    let die = |at, code: &str| event("die", at, json!({"exitCode": code}));
    let stopped = started.clone() + &kill(200, "15") + &die(203, "0") + &event("stop", 203, json!({}));
    assert_eq!(kinds(&stopped, 900.0), ["started", "stopping", "exited", "stopped"]);
    assert_eq!(
        kinds(&(started.clone() + &kill(200, "9") + &die(200, "137")), 900.0),
        ["started", "stopping", "exited"]
    );
    // It reloaded its settings by the one, and died an hour later by itself.
    assert_eq!(kinds(&(started.clone() + &kill(200, "1") + &die(3800, "1")), 3900.0), ["started", "exited"]);
    // A stop with a long patience is one all the same.
    let patient = started.clone() + &kill(200, "15") + &die(500, "137") + &event("stop", 500, json!({}));
    assert_eq!(kinds(&patient, 900.0), ["started", "stopping", "exited", "stopped"]);
    // It goes on; or it did not end by it.
    assert_eq!(kinds(&(started.clone() + &kill(200, "15")), 203.0), ["started", "stopping"]);
    assert_eq!(kinds(&(started.clone() + &kill(200, "15")), 300.0), ["started"]);
    assert_eq!(kinds(&(started.clone() + &kill(200, "19")), 203.0), ["started"], "SIGSTOP");
    // The next run is another story.
    let again = started.clone() + &kill(200, "1") + &started + &die(201, "1");
    assert_eq!(kinds(&again, 900.0), ["started", "started", "exited"]);
    // A child was killed for memory, then the container.
    let oom = |at| event("oom", at, json!({}));
    assert_eq!(kinds(&(started.clone() + &oom(200) + &die(300, "1")), 900.0), ["started", "exited"]);
    assert_eq!(kinds(&(started + &oom(300) + &die(300, "137")), 900.0), ["started", "oom", "exited"]);
    assert!(kinds("{}\nnonsense\n{\"timeNano\":1}\n[]\n", 1.0).is_empty());
}

#[test]
fn a_log_is_read_with_and_without_frames() {
    let frame = |stream: u8, text: &str| {
        let mut out = vec![stream, 0, 0, 0];
        out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        out.extend(text.as_bytes());
        out
    };
    let one = "2026-11-26T20:49:56.004820767Z password=hunter2 was refused\n";
    let two = "2026-11-26T20:49:57Z second\n";
    let framed: Vec<u8> = [frame(2, one), frame(1, two)].concat();
    for body in [framed.clone(), format!("{one}{two}").into_bytes()] {
        let all = lines(&body);
        let texts: Vec<&str> = all.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(!texts[0].contains("hunter2"), "{texts:?}");
        assert_eq!(texts[1], "second");
    }
    let at = "2026-11-26T20:49:57Z";
    let log = format!("{at} STATEMENT:  SELECT 'ann\n{at} \tbell'::int\n{at} next\n{at} \tat Main\n");
    let texts: Vec<String> = lines(log.as_bytes()).into_iter().map(|l| l.text).collect();
    assert_eq!(texts, ["STATEMENT:  SELECT ?", "next", "at Main"]);
    // Cut off in any place, and what is none.
    for end in 0..framed.len() {
        let _ = lines(&framed[..end]);
    }
    assert!(lines(b"\x01\x00\x00\x00\xff\xff\xff\xff").is_empty());
    assert!(lines(b"no time\n\n \n2026-11-26T20:49:57Z \n").is_empty());
}

#[test]
fn an_engines_address_is_of_a_kind_that_can_be_asked() {
    assert!(Engine::at("unix:///var/run/docker.sock").unwrap().is_here());
    assert!(!Engine::at("tcp://10.0.0.5:2375").unwrap().is_here());
    assert_eq!(Engine::at("ssh://root@host").err().unwrap().kind, FailKind::Unsupported);
}

/// Answers each connection so.
fn answers(folder: &tempfile::TempDir, answer: &'static str) -> Engine {
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            if answer.is_empty() {
                std::mem::forget(stream);
            }
        }
    });
    Engine::at(&format!("unix://{}", path.display())).unwrap()
}

#[tokio::test]
async fn no_engine_no_container_and_no_answer_are_three_facts() {
    let soon = || Instant::now() + Duration::from_millis(300);
    let folder = tempfile::tempdir().unwrap();
    let none = Engine::at(&format!("unix://{}/none.sock", folder.path().display())).unwrap();
    let f = none.inspect("a", soon()).await.unwrap_err();
    assert_eq!((f.kind, f.stage), (FailKind::Missing, Some(Stage::Connect)));
    for (answer, kind, stage) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", FailKind::Missing, Stage::Body),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", FailKind::Denied, Stage::Body),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}", FailKind::Unsupported, Stage::Body),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", FailKind::Malformed, Stage::Body),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", FailKind::Closed, Stage::Body),
        ("nonsense\r\n\r\n", FailKind::Malformed, Stage::Answer),
        ("", FailKind::TimedOut, Stage::Answer),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = answers(&folder, answer);
        let f = engine.inspect("a", soon()).await.unwrap_err();
        assert_eq!((f.kind, f.stage), (kind, Some(stage)), "{answer:?}: {}", f.detail);
    }
}

#[test]
fn who_is_only_called_alike_is_another() {
    let id = "95482ab4437c062b05c6bc731f8b2134e4d4ba75805c3e42d10ec1d615085311";
    let v = json!({"Id": id, "Name": "/postgres"});
    assert!(is_named(&v, id, "postgres"));
    assert!(is_named(&v, id, "95482ab4437c"));
    // The engine takes the beginning of an id for a name.
    assert!(!is_named(&v, id, "95"));
    assert!(!is_named(&v, id, "db"));
}

#[test]
fn a_signal_to_read_the_settings_anew_is_no_stop() {
    let event = |at: i64, action: &str, more: serde_json::Value| {
        json!({"Action": action, "timeNano": at * 1_000_000_000, "Actor": {"Attributes": more}}).to_string()
    };
    let start = event(100, "start", json!({}));
    let hup = event(200, "kill", json!({"signal": "1"}));
    let died = event(202, "die", json!({"exitCode": "1"}));
    let stops = |lines: &[&String]| {
        let text = lines.iter().map(|l| l.as_str()).collect::<Vec<_>>().join("\n");
        events(&text, 210.0).iter().filter(|e| e.what == Event::Stopping).count()
    };
    assert_eq!(stops(&[&start, &hup, &died]), 0, "it died of what it read");
    assert_eq!(stops(&[&start, &hup]), 0, "it goes on");
    // An image may have a signal of its own to stop by.
    let stop = event(202, "stop", json!({}));
    assert_eq!(stops(&[&start, &hup, &died, &stop]), 1);
    let term = event(200, "kill", json!({"signal": "15"}));
    assert_eq!(stops(&[&start, &term, &died]), 1);
}

/// An engine whose clock is not ours: it dates all by its own, and says so or not. Gives what it is asked.
async fn of_another_clock(ahead_s: i64, dated: bool) -> (Engine, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Engine::at(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned();
            let now = clock::now().checked_add(SignedDuration::from_secs(ahead_s)).unwrap();
            let past = |s| now.checked_sub(SignedDuration::from_secs(s)).unwrap();
            let body = if line.contains("/json") {
                let mut v = recorded();
                v["Name"] = json!("/cache");
                v["State"]["StartedAt"] = json!(past(3690).to_string());
                v["State"]["FinishedAt"] = json!(past(3).to_string());
                v.to_string()
            } else if line.contains("/events") {
                let of = json!({"name": "cache", "signal": "15", "exitCode": "0"});
                [(3690, "start"), (4, "kill"), (3, "die"), (3, "stop")]
                    .map(|(s, action)| {
                        let nanos = i64::try_from(past(s).as_nanosecond()).unwrap();
                        json!({"Action": action, "timeNano": nanos, "Actor": {"Attributes": of}}).to_string()
                            + "\n"
                    })
                    .concat()
            } else {
                format!("{} it ends\n", past(3))
            };
            heard.lock().unwrap().push(line);
            let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT");
            let date = if dated { format!("Date: {date}\r\n") } else { String::new() };
            let head = format!("HTTP/1.1 200 OK\r\n{date}Content-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (engine, asked)
}

fn age(at: Timestamp) -> f64 {
    clock::now().duration_since(at).as_secs_f64()
}

#[tokio::test]
async fn what_an_engine_dates_is_brought_to_our_clock() {
    for ahead_s in [-300, 0, 300] {
        let (engine, asked) = of_another_clock(ahead_s, true).await;
        let soon = || Instant::now() + Duration::from_secs(5);
        let near =
            |at: Timestamp, s: f64| assert!((age(at) - s).abs() < 3.0, "{ahead_s}: {} is not {s}", age(at));
        let c = engine.inspect("cache", soon()).await.unwrap();
        assert!((c.clock_ahead_s.unwrap_or(0.0) - ahead_s as f64).abs() < 3.0, "{:?}", c.clock_ahead_s);
        assert_eq!(c.clock_ahead_s.is_none(), ahead_s == 0);
        near(c.started_at.unwrap(), 3690.0);
        near(c.finished_at.unwrap(), 3.0);
        let events = engine.events(&c, soon()).await.unwrap();
        let kinds: Vec<bool> = events.iter().map(|e| e.what == Event::Stopping).collect();
        assert_eq!(kinds, [false, true, false, false], "{events:?}");
        near(events[1].at, 4.0);
        near(engine.lines(&c.id, soon()).await.unwrap()[0].at, 3.0);
        let since = clock::now().checked_sub(SignedDuration::from_secs(3600)).unwrap();
        let ahead = engine.ahead_s(soon()).await.unwrap();
        let names = [("redis".to_owned(), "cache".to_owned())];
        let acts = engine.acts(&names, since, ahead, soon()).await.unwrap();
        assert_eq!(acts.len(), 1, "{acts:?}");
        near(acts[0].at, 4.0);
        // What lies in its future would be waited for.
        let asked = asked.lock().unwrap();
        let until =
            asked.iter().filter_map(|l| l.split_once("until=")?.1.split(['.', '&']).next()?.parse().ok());
        let all: Vec<i64> = until.collect();
        assert_eq!(all.len(), 2, "{asked:?}");
        for until in all {
            let left = clock::now().as_second() + ahead_s - until;
            assert!((0..5).contains(&left), "{ahead_s}: {left}");
        }
    }
}

#[tokio::test]
async fn of_an_engine_elsewhere_that_does_not_say_its_time_no_age_is_known() {
    let (engine, _) = of_another_clock(-300, false).await;
    let soon = || Instant::now() + Duration::from_secs(5);
    let c = engine.inspect("cache", soon()).await.unwrap();
    assert_eq!((c.started_at, c.finished_at, c.state.as_str()), (None, None, "exited"));
    for f in [
        engine.events(&c, soon()).await.unwrap_err(),
        engine.lines(&c.id, soon()).await.unwrap_err(),
        engine.ahead_s(soon()).await.unwrap_err(),
    ] {
        assert_eq!((f.kind, f.stage), (FailKind::Unsupported, Some(Stage::Body)), "{}", f.detail);
    }
}
