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
    more_descriptors_are_what_its_process_has_and_their_undo_is_the_former_limit(&mut b);
    errata_42_memory_that_is_asked_for_is_in_effect_and_put_back(&mut b);
}

/// By the kernel's word for its process.
fn descriptors(b: &Bench) -> u64 {
    let pid = b.property(A_UNIT, "MainPID");
    let limits = b.stack.systemd().unwrap().exec(&["cat", &format!("/proc/{pid}/limits")]).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

fn more_descriptors_are_what_its_process_has_and_their_undo_is_the_former_limit(b: &mut Bench) {
    b.inject("fd-exhaustion/none-left");
    let (main, former) = (b.property(A_UNIT, "MainPID"), left(b, "LimitNOFILE"));
    assert_eq!(descriptors(b), 256);
    let done = b.json(&["recover", "memory", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(descriptors(b), 512);
    assert_ne!(b.property(A_UNIT, "MainPID"), main);
    assert!(b.events().contains(&"captured".to_owned()), "rule 5: what it held was kept before");
    b.undo(&done);
    assert_eq!(left(b, "LimitNOFILE"), former);
    assert_eq!(descriptors(b), 256);
    b.heal();
}

fn errata_42_memory_that_is_asked_for_is_in_effect_and_put_back(b: &mut Bench) {
    let (former, main) = (left(b, "MemoryMax"), b.property(A_UNIT, "MainPID"));
    let ask = |size| ["recover", "memory", "--service", A, "--memory-max", size, "--yes"];
    let refused = b.json(&ask("900T"), 4);
    assert!(refused["reason"].as_str().unwrap().contains("it does not fit"), "{refused}");
    assert!(refused["hints"][0].as_str().unwrap().contains("--memory-max "), "{refused}");
    let done = b.json(&ask("300M"), 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let group = b.property(A_UNIT, "ControlGroup");
    assert_eq!(b.property(A_UNIT, "MemoryMax"), (300 << 20).to_string(), "{group}");
    assert_eq!(b.property(A_UNIT, "MemoryHigh"), (270 << 20).to_string());
    assert_eq!(b.property(A_UNIT, "MainPID"), main, "nothing was restarted for it");
    assert_eq!(b.json(&ask("300M"), 0)["outcome"], "nothing-to-do");
    b.undo(&done);
    assert_eq!(left(b, "MemoryMax"), former);
    b.heal();
}
