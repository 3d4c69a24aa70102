//! Limits that were reached: raised by our drop-in, in effect, and put back.

use crate::bench::{A, A_UNIT, Bench};

/// What a recovery could leave behind.
fn left(b: &Bench, key: &str) -> Vec<String> {
    let folder = b.stack.dir().join("units").join(format!("{A_UNIT}.d"));
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<String> = files.map(|f| std::fs::read_to_string(f.path()).unwrap()).collect();
    all.sort();
    all.extend([b.property(A_UNIT, "DropInPaths"), b.property(A_UNIT, key)]);
    all
}

#[test]
fn a_limit_that_was_reached_is_raised_and_put_back() {
    let Some(mut b) = Bench::start() else { return };
    for (fault, key, before, after) in
        [("oom-killed/limit", "MemoryMax", 64 << 20, 128 << 20), ("tasks-limit/threads", "TasksMax", 24, 48)]
    {
        b.inject(fault);
        let former = left(&b, key);
        assert_eq!(b.property(A_UNIT, key), before.to_string(), "{fault}");
        let done = b.json(&["recover", "server", "--yes"], 0);
        assert_eq!(done["outcome"], "recovered", "{fault}: {done}");
        assert_eq!(b.property(A_UNIT, key), after.to_string(), "{fault}");
        assert!(b.is_healthy(A), "{fault}");
        b.undo(&done);
        assert_eq!(left(&b, key), former, "{fault}");
        b.heal();
    }
    b.inject("fd-exhaustion/none-left");
    let main = b.property(A_UNIT, "MainPID");
    let done = b.json(&["recover", "memory", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_ne!(b.property(A_UNIT, "MainPID"), main);
    assert!(b.events().contains(&"captured".to_owned()), "rule 5: what it held was kept before");
    b.heal();
}
