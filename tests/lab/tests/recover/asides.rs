//! A cache that can't be read: set aside whole, and put back.

use std::fs;

use crate::bench::{A, A_UNIT, Bench};

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
