//! Variables of a service: in its process, with an effect or rolled back, and taken back.

use crate::bench::{A, A_UNIT, Bench, C_UNIT, until};

/// Of its process, by the kernel.
fn level(b: &Bench) -> Option<String> {
    let pid = b.property(A_UNIT, "MainPID");
    let environment = b.stack.systemd().unwrap().exec(&["cat", &format!("/proc/{pid}/environ")]).unwrap();
    environment.split('\0').find_map(|v| v.strip_prefix("LOG_LEVEL=")).map(str::to_owned)
}

#[test]
fn errata_31_and_52_a_level_is_in_its_process_and_what_does_not_heed_it_is_rolled_back() {
    let Some(mut b) = Bench::start() else { return };
    let (former, innocent) = (b.settings(), b.property(C_UNIT, "MainPID"));
    let ask = ["recover", "latency", "--service", A, "--log-level", "warning", "--yes"];
    let before = level(&b);
    assert_ne!(before.as_deref(), Some("WARNING"));
    let done = b.json(&ask, 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(level(&b).as_deref(), Some("WARNING"));
    assert_eq!(b.json(&ask, 0)["outcome"], "nothing-to-do", "it is so already");
    b.undo(&done);
    assert_eq!((level(&b), b.settings()), (before.clone(), former.clone()));
    assert_eq!(b.property(C_UNIT, "MainPID"), innocent);
    b.heal();

    // It says what it likes, whatever it is told.
    let booted = b.stack.systemd().unwrap();
    let says = "ExecStartPre=/usr/bin/printf 'DEBUG here is %%s\\n' one two three four five six seven\n";
    booted.drop_in(A_UNIT, &format!("[Service]\n{says}")).unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let former = b.settings();
    let failed = b.json(&ask, 6);
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("does not heed") && reason.contains("rolled back"), "{reason}");
    b.stack.wait_until_healthy().unwrap();
    assert_eq!((level(&b), b.settings()), (before, former));
    b.heal();
}

/// A release of the service takes fewer connections than we had given it; it is restarted, and dies of our size.
#[test]
fn what_a_drop_in_of_ours_began_ends_with_it() {
    let Some(mut b) = Bench::start() else { return };
    let former = b.settings();
    let done = b.json(&["recover", "pool", "--service", A, "--max-size", "20", "--yes"], 0);
    assert_eq!((&done["outcome"], b.max_size()), (&"recovered".into(), 20), "{done}");
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_POOL_LARGEST=15\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).ok();
    until("it has died of it", || b.property(A_UNIT, "ActiveState") == "failed");
    let plan = b.json(&["recover", "server", "--plan"], 0);
    assert!(plan["diagnosis"].to_string().contains("bad-configuration@codebase-mcp"), "{plan}");
    let done = b.json(&["recover", "server", "--yes"], 0);
    assert_eq!((&done["outcome"], b.max_size()), (&"recovered".into(), 10), "{done}");
    assert!(b.is_healthy(A));
    // What somebody else has written is his.
    assert!(b.property(A_UNIT, "Environment").contains("LAB_POOL_LARGEST=15"));
    b.stack.systemd().unwrap().remove_drop_in(A_UNIT).unwrap();
    b.stack.systemd().unwrap().systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former);
    b.heal();
}
