//! A cache that can't be read: set aside whole, and put back.

use std::fs;

use crate::bench::{A, A_UNIT, Bench, C_UNIT};

#[test]
fn errata_45_a_broken_cache_is_set_aside_and_put_back() {
    let Some(mut b) = Bench::start() else { return };
    b.stack.forget().unwrap();
    b.inject("corrupted-state/truncated");
    let cache = b.stack.cache();
    let index = cache.join("index.json");
    let (broken, inode) = (fs::read(&index).unwrap(), inode_of(&cache));
    let done = b.json(&["recover", "server", "--yes", "--wait", "30s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(b.is_healthy(A));
    let aside = cache.with_file_name("cache.aside-1");
    assert_eq!(fs::read(aside.join("index.json")).unwrap(), broken, "it is kept");
    assert_ne!(inode_of(&cache), inode, "an empty one was in its place");
    assert!(!fs::read(&index).is_ok_and(|now| now == broken), "it made its own anew");
    b.undo(&done);
    assert_eq!((fs::read(&index).unwrap(), inode_of(&cache)), (broken, inode), "the former folder");
    assert!(["inactive", "failed"].contains(&b.property(A_UNIT, "ActiveState").as_str()));
    let _ = fs::remove_dir_all(aside);
    b.heal();
}

fn inode_of(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

#[test]
fn a_state_that_is_to_be_reset_is_kept_whole_and_comes_back_under_a_service_that_runs_again() {
    let Some(mut b) = Bench::start() else { return };
    let cache = b.stack.cache();
    let mut settings = b.stack.settings().clone();
    settings.cache = true;
    b.stack.configure(&settings).unwrap();
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("mine"), "kept").unwrap();
    let (inode, innocent) = (inode_of(&cache), b.property(C_UNIT, "MainPID"));
    let ask = ["recover", "server", "--service", A, "--reset-state"];
    assert_eq!(b.json(&[&ask[..], &["--plan"]].concat(), 0)["outcome"], "planned");
    assert_eq!(inode_of(&cache), inode, "a plan moves nothing");
    let done = b.json(&[&ask[..], &["--yes"]].concat(), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let aside = cache.with_file_name("cache.aside-1");
    assert!(!cache.join("mine").exists() && fs::read_to_string(aside.join("mine")).unwrap() == "kept");
    assert!(b.is_healthy(A));
    b.undo(&done);
    assert_eq!((inode_of(&cache), fs::read_to_string(cache.join("mine")).unwrap()), (inode, "kept".into()));
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.property(C_UNIT, "MainPID"), innocent, "the other one was not touched");
    fs::remove_file(cache.join("mine")).unwrap();
    b.heal();
}
