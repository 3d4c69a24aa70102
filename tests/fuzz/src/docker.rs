//! What a container engine answers: one container, what happened to it, what was done to it, its log.

use mcp_ir::probe::docker::{acts, read};
use mcp_ir::snapshot::changes::Change;
use mcp_ir::snapshot::containers::Container;
use mcp_ir::snapshot::units::Journal;

use crate::is_short;

/// The first byte says which of its answers these are.
pub fn docker(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    match first % 4 {
        0 => container(body),
        1 => events(body, f64::from(first)),
        2 => log(body),
        _ => done(body),
    }
}

fn container(body: &[u8]) {
    let Ok(value) = serde_json::from_slice(body) else { return };
    if let Some(value) = read::variable(&value, "POOL_MAX_SIZE") {
        assert!(value.len() <= body.len());
    }
    let Some(c) = read::container(&value) else { return };
    // It stands in the next questions' addresses.
    assert!(!c.id.is_empty() && c.id.chars().all(|c| c.is_ascii_alphanumeric()), "{:?}", c.id);
    assert!(c.id.len() < 12 || read::is_named(&value, &c.id, &c.id), "its id is its own");
    is_short(&c.state, 60);
    is_short(&c.error, 700);
    if let Some(check) = &c.health {
        is_short(&check.status, 60);
        check.says.iter().for_each(|s| is_short(s, 400));
    }
    is_short(&c.words(), 200);
    let _ = (c.ran_s(), c.comes_back(), c.is_unhealthy());
    let again: Container = serde_json::from_str(&serde_json::to_string(&c).unwrap()).unwrap();
    assert_eq!(again, c);
}

fn events(body: &[u8], now_s: f64) {
    let text = String::from_utf8_lossy(body);
    let events = read::events(&text, now_s);
    assert!(events.len() <= text.lines().count());
    same(&Journal { events, lines: Vec::new() });
}

fn log(body: &[u8]) {
    let lines = read::lines(body);
    lines.iter().for_each(|l| {
        is_short(&l.text, 400);
        assert!(!l.text.trim().is_empty());
    });
    same(&Journal { events: Vec::new(), lines });
}

fn same(journal: &Journal) {
    let again: Journal = serde_json::from_str(&serde_json::to_string(journal).unwrap()).unwrap();
    assert_eq!(again, *journal);
}

/// At most one of each kind is told of a container, and of no other than was asked for.
fn done(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let names = [("cache".to_owned(), "redis".to_owned()), ("database".to_owned(), "postgres".to_owned())];
    let all = acts::acts(&text, &names);
    assert!(all.windows(2).all(|w| w[0].at <= w[1].at), "{all:?}");
    for change in &all {
        is_short(&change.what, 300);
        assert!(names.iter().any(|(subject, name)| {
            change.subject.as_ref() == Some(subject) && change.what.contains(name.as_str())
        }));
        let alike = |c: &&Change| c.kind == change.kind && c.subject == change.subject;
        assert_eq!(all.iter().filter(alike).count(), 1, "{all:?}");
    }
    let again: Vec<_> = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
    assert_eq!(all, again);
}
