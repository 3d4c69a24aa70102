//! What was done to containers of late, by their engine's events: made anew, given other limits, started,
//! stopped, paused by somebody; and what became of them by themselves. For who reads, never as a cause.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::read::{ENDING, ENDS_S, Raw, raw};
use crate::probe::said;
use crate::snapshot::changes::{Change, ChangeKind};

/// What an engine is asked for.
pub const KINDS: [&str; 11] =
    ["create", "start", "restart", "die", "kill", "stop", "oom", "pause", "unpause", "update", "destroy"];
/// An engine waits so long at most before it starts again what has ended.
pub const DELAY_S: i64 = 65;

/// Of these, by the name that it is configured with and what it is configured for, in the order of time.
pub fn acts(text: &str, names: &[(String, String)]) -> Vec<Change> {
    let mut by_name: BTreeMap<usize, Vec<Raw>> = BTreeMap::new();
    for event in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let Some(raw) = raw(&event) else { continue };
        let of = |(i, (_, name)): (usize, &(String, String))| raw.is_of(name).then_some(i);
        if let Some(i) = names.iter().enumerate().find_map(of) {
            by_name.entry(i).or_default().push(raw);
        }
    }
    let mut out: Vec<Change> =
        by_name.into_iter().flat_map(|(i, all)| of_one(&names[i].0, &names[i].1, &all)).collect();
    out.sort_by_key(|c| c.at);
    out
}

/// The newest of each kind.
fn of_one(subject: &str, name: &str, all: &[Raw]) -> Vec<Change> {
    let change = |at: Timestamp, kind: ChangeKind, what: String| Change {
        at,
        kind,
        subject: Some(subject.into()),
        what,
        path: None,
    };
    let (mut made, mut limits, mut act) = (None, None, None::<(Timestamp, &str)>);
    // What came before its oldest start may be forgotten: it is somebody's, if none of the next ones is its own.
    let mut doubtful = false;
    let mut ended: Vec<&Raw> = Vec::new();
    let mut memory = None;
    for (i, e) in all.iter().enumerate() {
        match e.action.as_str() {
            "create" => {
                let image = e.image.as_deref().map_or_else(String::new, |i| format!(" from {}", said(i, 80)));
                made = Some((e.at, image));
                // What was done to the one before it is over.
                (act, memory) = (None, None);
                ended.clear();
            }
            "update" => limits = Some(e.at),
            "destroy" => (act, made) = (Some((e.at, "removed")), None),
            "pause" => act = Some((e.at, "paused")),
            "unpause" => act = Some((e.at, "unpaused")),
            "restart" => act = Some((e.at, "restarted")),
            "oom" => memory = Some(e.at),
            "kill" if ends(e, &all[i + 1..]) => act = Some((e.at, "stopped")),
            "start" => match started(e, &all[..i]) {
                By::Somebody => (act, doubtful) = (Some((e.at, "started")), i == 0),
                By::Itself(death) => {
                    ended.push(death);
                    act = act.filter(|_| !doubtful);
                    doubtful = false;
                }
                By::Nobody => {}
            },
            _ => {}
        }
    }
    let mut out = Vec::new();
    out.extend(made.map(|(at, image)| {
        change(at, ChangeKind::Deployment, format!("container {name} was created{image}"))
    }));
    out.extend(limits.map(|at| change(at, ChangeKind::Settings, format!("limits of container {name}"))));
    out.extend(act.map(|(at, how)| change(at, ChangeKind::Restart, format!("container {name} was {how}"))));
    let times = |n: usize| if n > 1 { format!(", {n} times") } else { String::new() };
    if let Some(last) = ended.last() {
        let why = if memory.is_some() { "was killed for memory" } else { "ended by itself" };
        let what = format!("container {name} {why} and was brought back{}", times(ended.len()));
        out.push(change(last.at, ChangeKind::End, what));
    } else if let Some(at) = memory {
        out.push(change(at, ChangeKind::End, format!("a process of container {name} was killed for memory")));
    }
    out
}

enum By<'a> {
    Somebody,
    /// Its policy, after this end.
    Itself(&'a Raw),
    /// As part of another act, or it is not known: what came before it may be forgotten.
    Nobody,
}

/// Whose start it is, by what came before it.
fn started<'a>(start: &Raw, before: &'a [Raw]) -> By<'a> {
    let last = |action: &str| before.iter().rposition(|e| e.action == action);
    // Its first start is of its making.
    if last("create").is_some_and(|made| last("start").is_none_or(|s| s < made)) {
        return By::Nobody;
    }
    let run = &before[last("start").map_or(0, |i| i + 1)..];
    let Some(death) = run.iter().rfind(|e| e.action == "die") else { return By::Somebody };
    let told = run
        .iter()
        .enumerate()
        .any(|(i, e)| e.action == "stop" || e.action == "kill" && ends(e, &run[i + 1..]));
    let late = start.at.duration_since(death.at).as_secs() > DELAY_S;
    // Where it is the other half of a restart, that is said once it is done.
    if told || late { By::Somebody } else { By::Itself(death) }
}

/// A signal that ended it.
fn ends(kill: &Raw, after: &[Raw]) -> bool {
    let rest = || after.iter().take_while(|r| r.action != "start");
    let died = rest().any(|r| r.action == "die" && r.seconds_after(kill) <= ENDS_S);
    let ending = kill.signal.as_deref().is_none_or(|s| ENDING.contains(&s));
    ending && died || rest().any(|r| r.action == "stop")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "95482ab4437c062b05c6bc731f8b2134e4d4ba75805c3e42d10ec1d615085311";

    fn of(name: &str, at_s: i64, action: &str, more: &Value) -> String {
        let mut attributes = json!({"name": name, "image": "redis:7"});
        attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let actor = json!({"ID": ID, "Attributes": attributes});
        json!({"Type": "container", "Action": action, "Actor": actor, "timeNano": at_s * 1_000_000_000})
            .to_string()
            + "\n"
    }

    fn told(events: &[(i64, &str)]) -> Vec<(i64, String)> {
        let text: String = events
            .iter()
            .map(|(at, action)| match action.split_once(' ') {
                Some(("kill", signal)) => of("cache", *at, "kill", &json!({"signal": signal})),
                Some((action, code)) => of("cache", *at, action, &json!({"exitCode": code})),
                None => of("cache", *at, action, &json!({})),
            })
            .collect();
        let all = acts(&text, &[("redis".into(), "cache".into())]);
        assert!(all.iter().all(|c| c.subject.as_deref() == Some("redis")));
        all.into_iter().map(|c| (c.at.as_second(), c.what)).collect()
    }

    fn one(events: &[(i64, &str)], at: i64, what: &str) {
        assert_eq!(told(events), [(at, what.to_owned())], "{events:?}");
    }

    #[test]
    fn what_somebody_did_is_told_by_its_newest_act() {
        one(&[(100, "start")], 100, "container cache was started");
        one(&[(100, "kill 15"), (101, "die 0"), (101, "stop")], 100, "container cache was stopped");
        one(&[(100, "kill 9"), (101, "die 137")], 100, "container cache was stopped");
        let restart = [(100, "kill 15"), (101, "die 0"), (101, "stop"), (102, "start"), (102, "restart")];
        one(&restart, 102, "container cache was restarted");
        // It died by itself, and nobody brought it back until somebody came.
        one(&[(100, "die 1"), (900, "start")], 900, "container cache was started");
        one(&[(100, "pause")], 100, "container cache was paused");
        one(&[(100, "pause"), (160, "unpause")], 160, "container cache was unpaused");
        one(&[(100, "update")], 100, "limits of container cache");
        one(&[(100, "kill 9"), (100, "die 137"), (101, "destroy")], 101, "container cache was removed");
        // To read its settings anew, or its log; or to hang.
        assert_eq!(told(&[(100, "kill 1")]), []);
        assert_eq!(told(&[(100, "kill 1"), (101, "die 1")]), []);
        assert_eq!(told(&[(100, "kill 19")]), []);
    }

    #[test]
    fn one_that_was_made_anew_has_another_story() {
        let anew = [(100, "kill 9"), (100, "die 137"), (101, "destroy"), (102, "create"), (103, "start")];
        one(&anew, 102, "container cache was created from redis:7");
        let then = [(102, "create"), (103, "start"), (200, "kill 15"), (201, "die 0"), (201, "stop")];
        let all = told(&then);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[1], (200, "container cache was stopped".into()));
        // As `docker create`, and started later.
        assert_eq!(told(&[(102, "create"), (900, "start")]).len(), 1);
    }

    #[test]
    fn what_came_back_by_itself_is_nobodys_act() {
        let again = [(100, "start"), (500, "die 1"), (501, "start"), (502, "die 1"), (504, "start")];
        let all = told(&again);
        assert_eq!(all, [(502, "container cache ended by itself and was brought back, 2 times".to_owned())]);
        let memory = [(500, "oom"), (500, "die 137"), (501, "start")];
        one(&memory, 500, "container cache was killed for memory and was brought back");
        one(&[(500, "oom")], 500, "a process of container cache was killed for memory");
        // It ended, and stays so: that is what its finding says.
        assert_eq!(told(&[(500, "die 1")]), []);
        // What is old is somebody's, where what came before it is known.
        let known =
            [(90, "kill 15"), (91, "die 0"), (91, "stop"), (100, "start"), (500, "die 1"), (501, "start")];
        assert_eq!(told(&known).len(), 2);
    }

    #[test]
    fn others_are_left_out_whatever_they_are_called() {
        let named = |name: &str| [("redis".to_owned(), name.to_owned())];
        let text = of("cache-2", 100, "start", &json!({}));
        assert!(acts(&text, &named("cache")).is_empty());
        assert_eq!(acts(&text, &named("cache-2")).len(), 1);
        assert_eq!(acts(&text, &named(&ID[..12])).len(), 1);
        assert!(acts(&text, &named(&ID[..4])).is_empty());
        assert!(acts("", &named("cache")).is_empty());
        assert!(acts("{}\nnonsense\n[]\n", &named("cache")).is_empty());
    }
}
