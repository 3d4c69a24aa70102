//! Every seed, and every input that once broke a promise, through its target: in each run of the tests.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

#[test]
fn every_seed_keeps_the_promises() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in fuzz::TARGETS {
        let mut n = 0;
        for file in std::fs::read_dir(corpus.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let kept = std::panic::catch_unwind(|| target(&data)).is_ok();
            assert!(kept, "{} breaks a promise", path.display());
            n += 1;
        }
        assert!(n > 2, "{name} has {n} seeds");
    }
}

#[test]
fn every_recorded_look_keeps_the_promises() {
    let (_, target) = fuzz::TARGETS.iter().find(|(n, _)| *n == "snapshot").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    for file in std::fs::read_dir(folder).unwrap() {
        target(&std::fs::read(file.unwrap().path()).unwrap());
    }
}
