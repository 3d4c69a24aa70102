//! `diagnose --evidence`: a folder or an archive for those who ask afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::desk::{Desk, Ran};
use crate::diagnose::{HEALTHY, HOSTILE, one_service, serve};
use crate::schemas::keeps;

fn desk(answer: &'static str) -> Desk {
    let desk = Desk::new();
    desk.file("c.toml", &one_service(serve(answer)));
    desk
}

fn run(desk: &Desk, args: &[&str]) -> Ran {
    desk.run(&[&["--config", "c.toml", "diagnose"], args].concat())
}

/// Every file below a folder, by its path in it; each with mode 0600, each folder with 0700.
fn files(root: &Path) -> BTreeMap<String, String> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        let mode = |p: &Path| fs::symlink_metadata(p).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    all
}

fn index(files: &BTreeMap<String, String>) -> Value {
    keeps("evidence", &files["index.json"])
}

#[test]
fn the_folder_holds_the_look_and_the_host_and_says_what_each_is() {
    for (answer, code) in [(HEALTHY, 0), (HOSTILE, 1)] {
        let desk = desk(answer);
        let ran = run(&desk, &["--evidence", "kept"]);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("evidence: "), "{}", ran.stderr);
        assert!(ran.stderr.contains(" in kept; INDEX.md says what each is"), "{}", ran.stderr);
        let files = files(&desk.dir.path().join("kept"));
        let index = index(&files);
        let listed: Vec<&str> =
            index["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
        let mut there: Vec<&str> = files.keys().map(String::as_str).collect();
        there.retain(|p| !p.contains("index.json") && !p.contains("INDEX.md"));
        assert_eq!(
            listed.iter().copied().collect::<std::collections::BTreeSet<_>>(),
            there.into_iter().collect()
        );
        for f in index["files"].as_array().unwrap() {
            let path = f["path"].as_str().unwrap();
            assert_eq!(f["bytes"].as_u64().unwrap() as usize, files[path].len(), "{path}");
            assert!(files["INDEX.md"].contains(&format!("| {path} | ")), "{path}");
        }
        for path in [
            "host/top.txt",
            "host/sockets.txt",
            "host/memory.txt",
            "host/load.txt",
            "services/api/threads.txt",
        ] {
            assert!(listed.contains(&path), "{path}: {listed:?}");
        }
        assert_eq!(index["verdict"], keeps("diagnosis", &files["diagnosis.json"])["verdict"]);
        // What others said can't command a terminal, and holds no password.
        for (path, text) in &files {
            assert!(!text.contains(['\x1b', '\u{9b}']) && !text.contains("hunter2"), "{path}");
        }
        // The same as --save keeps: judged again it comes to the same.
        let again = desk.run(&["diagnose", "--from", "kept/snapshot.json", "-o", "json"]);
        assert_eq!(again.code, Some(code));
        assert_eq!(
            keeps("diagnosis", &again.stdout)["findings"],
            index_of(&files, "diagnosis.json")["findings"]
        );
    }
}

fn index_of(files: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&files[name]).unwrap()
}

#[test]
fn what_is_there_is_never_written_over_and_no_link_is_followed() {
    let desk = desk(HEALTHY);
    let root = desk.dir.path();
    fs::create_dir(root.join("full")).unwrap();
    desk.file("full/mine", "kept");
    desk.file("file", "kept");
    desk.file("old.tar.zst", "kept");
    fs::create_dir(root.join("empty")).unwrap();
    symlink("empty", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("nowhere", root.join("dangling.tar.zst")).unwrap();
    for (place, why, next) in [
        ("full", "it is not empty, and nothing is written over", "try: --evidence full-2"),
        ("file", "it is no folder", "try: --evidence file-2"),
        ("old.tar.zst", "it exists", "try: --evidence old-2.tar.zst"),
        ("link", "it is a link, and none is followed", "--evidence DIR/empty"),
        ("link/", "it is a link, and none is followed", "--evidence DIR/empty"),
        ("dangling", "it is a link, and none is followed", "--evidence dangling-2"),
        ("dangling.tar.zst", "it exists", "--evidence dangling-2.tar.zst"),
        ("no/such/place", "No such file", "try: mkdir -p no/such"),
        ("no/such.tar.zst", "No such file", "try: mkdir -p no"),
    ] {
        let ran = run(&desk, &["--evidence", place]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{place}");
        assert!(ran.stderr.contains(why) && ran.stderr.contains(next), "{place}: {}", ran.stderr);
    }
    for kept in ["full/mine", "file", "old.tar.zst"] {
        assert_eq!(fs::read_to_string(root.join(kept)).unwrap(), "kept");
    }
    assert!(!root.join("nowhere").exists() && fs::read_dir(root.join("empty")).unwrap().next().is_none());
    // One that is there and empty is taken, and closed to others.
    assert_eq!(run(&desk, &["--evidence", "empty/"]).code, Some(0));
    assert!(files(&root.join("empty")).contains_key("INDEX.md"));
}

#[test]
fn one_archive_holds_the_same_below_one_folder() {
    let desk = desk(HEALTHY);
    let ran = run(&desk, &["-o", "json", "--evidence", "inc-7.tar.zst"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    keeps("diagnosis", &ran.stdout);
    let path = desk.dir.path().join("inc-7.tar.zst");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let packed = fs::File::open(&path).unwrap();
    let mut tar = tar::Archive::new(ruzstd::decoding::StreamingDecoder::new(packed).unwrap());
    let mut seen = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let name = path.strip_prefix("inc-7/").unwrap_or_else(|| panic!("{path} is outside"));
        let mode = entry.header().mode().unwrap();
        assert_eq!(mode, if path.ends_with('/') { 0o700 } else { 0o600 }, "{path}");
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        seen.insert(name.to_owned(), text);
    }
    index(&seen);
    assert!(seen["diagnosis.txt"].starts_with("✓ healthy"), "{seen:?}");
    assert!(seen["host/top.txt"].contains("by resident memory"));
}

#[test]
fn more_than_the_limit_is_cut_and_the_index_says_what() {
    let desk = Desk::new();
    let many: String = (0..1500)
        .map(|n| {
            format!("[[service]]\nname = 'service-{n}'\nurl = 'http://127.0.0.1:1'\nhealth = '/health'\n")
        })
        .collect();
    desk.file("c.toml", &format!("postgres = []\nredis = []\nollama = []\n{many}"));
    let ran = run(&desk, &["--evidence", "kept", "--evidence-limit", "1M", "-q"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let files = files(&desk.dir.path().join("kept"));
    let bytes: usize = files.values().map(String::len).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    let index = index(&files);
    let missed = index["missed"].as_array().unwrap();
    let whole = missed.iter().find(|m| m["path"] == "snapshot.json").unwrap();
    assert!(whole["why"].as_str().unwrap().contains("beyond the limit"), "{whole}");
    assert!(!files.contains_key("snapshot.json") && files["diagnosis.txt"].starts_with("✗ problem"));
    assert_eq!(index["left_out_count"], 1500 - 32);
    assert!(files["INDEX.md"].contains(" and 1418 more"), "{}", files["INDEX.md"]);
    let whole = run(&desk, &["--evidence", "whole", "-q"]);
    assert_eq!(whole.code, Some(1), "{}", whole.stderr);
    assert!(self::files(&desk.dir.path().join("whole")).contains_key("snapshot.json"));
}

#[test]
fn what_asks_for_no_evidence_is_a_usage_error() {
    let desk = desk(HEALTHY);
    run(&desk, &["--save", "now.json"]);
    for args in [
        &["--from", "now.json", "--evidence", "kept"][..],
        &["--evidence-limit", "5M"],
        &["--evidence", "kept", "--evidence-limit", "5"],
        &["--evidence", "kept", "--evidence-limit", "many"],
        &["--evidence", "kept", "--service", "none"],
    ] {
        assert_eq!(run(&desk, args).code, Some(2), "{args:?}");
        assert!(!desk.dir.path().join("kept").exists(), "{args:?}");
    }
}

#[test]
fn a_known_password_is_in_no_file_however_it_was_logged() {
    let desk = Desk::new();
    desk.file("password", "tr0ub4dor-3\n");
    desk.file(
        "server.log",
        "2026-11-24 18:19:49.368 UTC [7] LOG:  dialled with tr0ub4dor-3\n\
         2026-11-24 18:19:49.369 UTC [7] ERROR:  duplicate key\n\
         2026-11-24 18:19:49.369 UTC [7] DETAIL:  Key (email)=(ann@example.org) already exists.\n\
         2026-11-24 18:19:49.369 UTC [7] STATEMENT:  INSERT INTO t\n\tVALUES ('ann\n\tbell', 'x')\n",
    );
    desk.file(
        "c.toml",
        "redis = []\nollama = []\nservice = []\n[[postgres]]\nname = 'pg'\nlog = 'DIR/server.log'\n\
         url = 'postgresql://m@127.0.0.1:1/app'\npassword_file = 'DIR/password'\n",
    );
    let ran = run(&desk, &["--evidence", "kept"]);
    // A server of somebody else that starts on this host right now may be this one: then nothing is proven.
    assert!(matches!(ran.code, Some(1 | 3)), "{:?}: {}{}", ran.code, ran.stdout, ran.stderr);
    let files = files(&desk.dir.path().join("kept"));
    let log = &files["servers/pg/server-log.txt"];
    assert!(log.contains("dialled with ****\n"), "{log}");
    assert!(
        log.contains("Key (email)=(?) already") && log.ends_with("INSERT INTO t VALUES (?, ?)\n"),
        "{log}"
    );
    for (path, text) in &files {
        assert!(!text.contains("tr0ub4dor") && !text.contains("bell"), "{path}");
    }
    assert!(files["sessions.txt"].contains("could not be asked"), "{}", files["sessions.txt"]);
    keeps("who", &files["sessions.json"]);
}
