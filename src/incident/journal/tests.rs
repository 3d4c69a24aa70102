//! Lines are whole or known for torn; a program killed at any byte leaves what can be gone on with.

use std::path::PathBuf;

use super::*;
use crate::incident::read::{Status, read};
use crate::plan::Risk;
use crate::plan::{Act, Undo};

fn store(dir: &tempfile::TempDir) -> Store {
    let store = Store {
        folder: dir.path().join("state/incidents"),
        ballast: dir.path().join("state/ballast"),
        spare: dir.path().join("run/incidents"),
    };
    fs::create_dir_all(&store.folder).unwrap();
    store
}

fn opened(id: &str) -> Event {
    Event::Opened {
        incident: id.into(),
        id: "server-crash/stopped@api".into(),
        subject: "api".into(),
        severity: None,
        summary: "api ended".into(),
        host: "h".into(),
        user: "u".into(),
        program: "mcp-ir".into(),
    }
}

fn intent(n: usize) -> Event {
    let unit = || "api.service".to_owned();
    Event::Intent {
        run: 1,
        n,
        describe: "start".into(),
        act: Act::StartUnit { unit: unit() },
        undo: Some(Undo { acts: vec![Act::StopUnit { unit: unit() }], risk: Risk::Disruptive }),
        undo_reason: None,
    }
}

fn done(n: usize) -> Event {
    Event::Done {
        run: 1,
        n,
        detail: String::new(),
        elapsed_ms: 1.0,
        made: Some("abc".into()),
        already: false,
    }
}

async fn written(store: &Store, events: Vec<Event>) -> PathBuf {
    let mut journal = store.begin().unwrap();
    let id = journal.id.clone();
    journal.write(opened(&id)).await.unwrap();
    for e in events {
        journal.write(e).await.unwrap();
    }
    journal.path.clone()
}

#[tokio::test]
async fn ids_go_up_and_two_never_share_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let one = store.begin().unwrap();
    let two = store.begin().unwrap();
    assert!(one.id.starts_with("INC-20") && one.id.ends_with("-001"), "{}", one.id);
    assert!(two.id.ends_with("-002"), "{}", two.id);
    assert!(store.all().is_empty(), "an empty file is no incident yet");
}

#[tokio::test]
async fn rule_2_cut_at_any_byte_an_intent_is_never_lost_nor_half_a_line_believed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let path = written(&store, vec![intent(1), done(1), intent(2)]).await;
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> =
        whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    for cut in ends[0]..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let incident = read(&path).unwrap();
        let lines = ends.iter().filter(|e| **e <= cut).count();
        assert_eq!((incident.entries.len(), incident.unread), (lines, 0), "cut at {cut}");
        assert_eq!(incident.torn, !ends.contains(&cut), "cut at {cut}");
        let standing = incident.standing();
        let begun: Vec<(usize, bool)> = standing.iter().map(|o| (o.n, o.cut_off)).collect();
        let expected: &[(usize, bool)] = match lines {
            1 => &[],
            2 => &[(1, true)],
            3 => &[(1, false)],
            _ => &[(1, false), (2, true)],
        };
        assert_eq!(begun, expected, "cut at {cut}");
        // The next run goes on behind the last whole line, and what was torn is kept aside.
        let mut journal = Journal::go_on(&store, &incident).unwrap();
        journal.write(done(9)).await.unwrap();
        drop(journal);
        let after = read(&path).unwrap();
        assert!(!after.torn && after.entries.len() == lines + 1, "cut at {cut}");
        let kept = fs::read_dir(&store.folder).unwrap().flatten().map(|e| e.path());
        let kept: Vec<PathBuf> = kept.filter(|p| p.to_string_lossy().contains("torn")).collect();
        assert_eq!(kept.len(), usize::from(incident.torn), "cut at {cut}");
        for k in kept {
            assert_eq!(fs::read(&k).unwrap(), &whole[ends[lines - 1]..cut]);
            fs::remove_file(k).unwrap();
        }
    }
}

#[tokio::test]
async fn it_is_read_while_it_is_written_and_written_by_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let mut journal = store.begin().unwrap();
    let id = journal.id.clone();
    journal.write(opened(&id)).await.unwrap();
    let seen = store.one(&id.to_lowercase()).unwrap();
    assert_eq!((seen.status(), seen.entries.len()), (Status::Open, 1));
    let e = Journal::go_on(&store, &seen).unwrap_err();
    assert!(e.message.contains("another run"), "{e}");
    journal.write(intent(1)).await.unwrap();
    assert_eq!(store.one(&id).unwrap().status(), Status::CutOff);
    drop(journal);
    assert!(Journal::go_on(&store, &seen).is_ok());
}

#[tokio::test]
async fn rule_2_a_full_disk_does_not_stop_its_own_cure() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    fs::write(&store.ballast, "ballast").unwrap();
    let mut journal = store.begin().unwrap();
    let id = journal.id.clone();
    journal.write(opened(&id)).await.unwrap();
    // Every write there says that no space is left.
    journal.file = Arc::new(OpenOptions::new().append(true).open("/dev/full").unwrap());
    journal.write(intent(1)).await.unwrap();
    assert!(!store.ballast.exists(), "the ballast was given up first");
    assert!(journal.warning.as_ref().unwrap().contains("run/incidents"), "{:?}", journal.warning);
    journal.write(done(1)).await.unwrap();
    drop(journal);
    let seen = store.one(&id).unwrap();
    assert_eq!(seen.entries.len(), 3, "what stood there before is in it");
    assert!(seen.path.starts_with(&store.spare));
    assert!(store.begin().unwrap().id.ends_with("-002"), "its number is taken");
}

#[tokio::test]
async fn a_line_of_a_later_version_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let path = written(&store, vec![intent(1)]).await;
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"v\":2,\"at\":\"2026-01-01T00:00:00Z\",\"event\":\"done\"}\nrubbish\n");
    text.push_str("{\"v\":1,\"at\":\"2026-01-01T00:00:00Z\",\"event\":\"of-tomorrow\",\"x\":1}\n");
    fs::write(&path, text).unwrap();
    let seen = read(&path).unwrap();
    assert_eq!((seen.entries.len(), seen.unread), (3, 2));
    assert_eq!(seen.standing().len(), 1);
}

#[tokio::test]
async fn what_was_so_already_or_not_begun_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let already =
        Event::Done { run: 1, n: 1, detail: String::new(), elapsed_ms: 0.0, made: None, already: true };
    let refused = |n, touched| Event::StepFailed { run: 1, n, why: String::new(), touched };
    let path =
        written(&store, vec![intent(1), already, intent(2), refused(2, false), intent(3), refused(3, true)]);
    let standing = read(&path.await).unwrap().standing();
    assert_eq!(standing.iter().map(|o| o.n).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn rule_2_a_way_back_that_was_cut_off_is_said_and_one_step_is_not_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let begun = |n| Event::UndoIntent { run: 1, n, describe: "stop".into(), by: "undo".into() };
    let undone = |n| Event::Undone { run: 1, n, detail: String::new() };
    let ended = Event::Ended { run: 1, outcome: crate::incident::Outcome::Recovered, reason: String::new() };
    let both = vec![intent(1), done(1), intent(2), done(2), ended];
    let also = |more: Vec<Event>| [both.clone(), more].concat();
    for (more, status, standing) in [
        (Vec::new(), Status::Recovered, 2),
        (vec![begun(2)], Status::CutOff, 2),
        (vec![begun(2), undone(2)], Status::Recovered, 1),
        (vec![begun(2), undone(2), begun(1)], Status::CutOff, 1),
        (vec![begun(2), undone(2), begun(1), undone(1)], Status::Undone, 0),
    ] {
        let seen = read(&written(&store, also(more.clone())).await).unwrap();
        assert_eq!((seen.status(), seen.standing().len()), (status, standing), "{more:?}");
    }
}

#[tokio::test]
async fn what_a_journal_says_so_far_needs_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let mut journal = store.begin().unwrap();
    let id = journal.id.clone();
    journal.write(opened(&id)).await.unwrap();
    journal.write(intent(1)).await.unwrap();
    fs::remove_file(&journal.path).unwrap();
    let seen = journal.so_far().unwrap();
    assert_eq!((seen.id.as_str(), seen.standing().len()), (id.as_str(), 1));
}

#[tokio::test]
async fn where_the_folder_does_not_answer_the_number_is_none_of_those_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let mut one = store.begin_in_spare().unwrap();
    assert!(one.id.ends_with("-S001") && one.warning.is_some(), "{}", one.id);
    let id = one.id.clone();
    one.write(opened(&id)).await.unwrap();
    assert_eq!(store.one(&id).unwrap().entries.len(), 1, "and it is found again");
    assert!(store.begin().unwrap().id.ends_with("-001"));
}

#[tokio::test]
async fn a_folder_that_is_closed_to_its_user_is_no_reason_for_a_journal_that_nobody_sees() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(&dir);
    // As EACCES would be, where a test runs as root: it is not full, and takes no file.
    store.folder = dir.path().join("state/ballast/incidents");
    fs::write(&store.ballast, "a file").unwrap();
    let e = store.begin().unwrap_err();
    assert!(e.message.contains("no journal can be begun"), "{e}");
    assert!(!store.spare.exists());
}

#[tokio::test]
async fn a_journal_is_for_its_owner_to_write_and_for_the_group_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let journal = store.begin().unwrap();
    assert_eq!(fs::metadata(&journal.path).unwrap().permissions().mode() & 0o777, 0o640);
}
