//! The ring against a folder of its own: bounded, tolerant, only its owner's.

use std::os::unix::fs::PermissionsExt;

use super::*;

const LOOK: &str = include_str!("../../../tests/snapshots/healthy-idle.json");

fn look(second: i64) -> Snapshot {
    Snapshot { taken_at: at(second), ..Snapshot::from_json(LOOK).unwrap() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn ring(folder: &Path) -> Ring {
    Ring { folder: folder.join("looks"), key: "a".into() }
}

fn since(ring: &Ring, age: u64, now: i64) -> Option<i64> {
    let found = ring.since(Duration::from_secs(age), at(now)).unwrap()?;
    Some(found.taken_at.as_second() - at(0).as_second())
}

#[test]
fn the_newest_that_is_old_enough_is_given_else_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path());
    assert_eq!(since(&ring, 60, 0), None);
    for second in [0, 60, 120, 180] {
        ring.keep(&look(second)).unwrap();
    }
    assert_eq!(since(&ring, 100, 200), Some(60));
    assert_eq!(since(&ring, 80, 200), Some(120));
    assert_eq!(since(&ring, 3600, 200), Some(0));
    assert_eq!(since(&ring, 1, 30), Some(0), "what is later than now is none");
    let other = Ring { key: "b".into(), ..ring };
    assert_eq!(since(&other, 100, 200), None, "another configuration's");
}

#[test]
fn it_is_bounded_and_its_owners_only() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path());
    for n in 0..60 {
        ring.keep(&look(n * 20)).unwrap();
    }
    let all = ring.all();
    assert_eq!(all.len(), MOST);
    assert_eq!(since(&ring, 100_000, 1300), Some((60 - MOST as i64) * 20), "the oldest went");
    assert!(all.iter().map(|k| k.bytes).sum::<u64>() <= BYTES);
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert!(all.iter().all(|k| mode(&k.path) == 0o600));
    assert_eq!(mode(&ring.folder), 0o700);
    assert_eq!(fs::read_dir(&ring.folder).unwrap().count(), MOST, "nothing else is left there");
}

#[test]
fn who_looks_every_second_pushes_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path());
    for second in 0..30 {
        ring.keep(&look(second)).unwrap();
    }
    assert_eq!(ring.all().len(), 2);
}

#[test]
fn what_is_broken_or_of_another_version_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path());
    ring.keep(&look(0)).unwrap();
    let write = |second: i64, text: &str| {
        let name = format!("look-a-{}.json", at(second).as_millisecond());
        fs::write(ring.folder.join(name), text).unwrap();
    };
    write(50, "{\"schema\": \"mcp-ir/snapshot/1\", ");
    write(60, &LOOK.replace("mcp-ir/snapshot/1", "mcp-ir/snapshot/0"));
    fs::write(ring.folder.join("look-a-x.json"), "").unwrap();
    fs::create_dir(ring.folder.join(format!("look-a-{}.json", at(70).as_millisecond()))).unwrap();
    assert_eq!(since(&ring, 10, 100), Some(0));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("looks"), "a file").unwrap();
    let e = ring(dir.path()).keep(&look(0)).unwrap_err();
    assert!(e.message.contains("looks can't be written to"), "{}", e.message);
}
