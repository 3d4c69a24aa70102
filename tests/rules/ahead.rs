//! When something is at its end, by two looks: a disk, the slots, the transaction ids. By one clock, and not
//! over a restart.

use mcp_ir::diagnosis::{Certainty, Severity};
use mcp_ir::snapshot::postgres::OldestXid;

use crate::stack::Stack;

const LOW: &str = "db-down/disk-low@postgres";
const WRAP: &str = "db-down/wraparound@postgres";

/// So many MiB of a terabyte are available.
fn disk(available: u64) -> Stack {
    Stack::healthy().disk("data", 1_000_000, available, |_| {})
}

#[test]
fn a_disk_that_is_full_within_four_hours_is_low_however_large_it_is() {
    // 100 GiB are left; what was there so many seconds before, and whether that is within four hours.
    for (seconds, more, low) in [
        (600.0, 102_400 / 24 + 5, true),
        (600.0, 102_400 / 24 - 5, false),
        (600.0, 0, false),
        // Too near: a sort, a checkpoint.
        (59.0, 10_000, false),
        (61.0, 10_000, true),
        // Too little, whatever is left.
        (600.0, 63, false),
    ] {
        let told = disk(102_400).after(&disk(102_400 + more).earlier(seconds));
        let told = told.case(format!("{more} MiB in {seconds} s"));
        if low {
            told.expect_root(LOW, Certainty::Likely).evidence(LOW, "less than");
            assert_eq!(told.find(LOW).severity, Severity::P3);
        } else {
            told.healthy();
        }
    }
    let told = disk(102_400).after(&disk(112_640).earlier(600.0));
    let said = &told.find(LOW).summary;
    assert_eq!(said, "the file system of its data fills: at 1.0 GiB a minute it is full in 100 min");
}

#[test]
fn what_is_low_already_says_how_long_it_lasts() {
    let told = Stack::healthy()
        .disk("data", 10_000, 600, |_| {})
        .after(&Stack::healthy().disk("data", 10_000, 1_200, |_| {}).earlier(600.0));
    told.expect_root(LOW, Certainty::Proven).evidence(LOW, "600.0 MiB less than 10 min before");
    assert!(
        told.find(LOW).summary.ends_with("; at 60.0 MiB a minute it is full in 10 min"),
        "{}",
        told.find(LOW).summary
    );
    // One that has more room than before says nothing of a time.
    let told = Stack::healthy()
        .disk("data", 10_000, 600, |_| {})
        .after(&Stack::healthy().disk("data", 10_000, 500, |_| {}).earlier(600.0));
    assert!(!told.find(LOW).summary.contains("full in"), "{}", told.find(LOW).summary);
}

#[test]
fn another_file_system_a_restarted_host_and_another_host_have_no_slope() {
    let now = disk(102_400);
    let bent: [(&str, Stack); 5] = [
        ("another device", disk(200_000).earlier(600.0).bend_disk(|f| f.device = "/dev/sdc1".into())),
        ("another place", disk(200_000).earlier(600.0).bend_disk(|f| f.mounted_at = "/srv/old".into())),
        ("another size", disk(200_000).earlier(600.0).bend_disk(|f| f.total += 1)),
        ("the host was restarted", disk(200_000).earlier(600.0).memory(|m| m.uptime_s = 9e9)),
        ("the host has no clock", disk(200_000).earlier(600.0).no_host()),
    ];
    for (case, before) in bent {
        now.after(&before).case(case).healthy();
    }
    disk(102_400).here(Some(false)).after(&disk(200_000).earlier(600.0)).never(LOW);
}

/// So many transactions old, on a server that has been up for so long.
fn xids(age: u64, uptime_s: f64) -> Stack {
    let oldest = Some(OldestXid { database: "app".into(), age });
    Stack::healthy().server(|s| (s.oldest_xid, s.uptime_s) = (oldest.clone(), uptime_s))
}

#[test]
fn transaction_ids_that_run_out_say_when() {
    let told = xids(1_600_000_000, 10_600.0).after(&xids(1_598_800_000, 10_000.0).earlier(600.0));
    // 547 million at 2,000 a second.
    let said = &told.find(WRAP).summary;
    assert!(said.ends_with("; at 2000 a second none is left in 3 days"), "{said}");
    told.evidence(WRAP, "1200000 in 10 min");
    // Its clock began anew; another database is the oldest now; vacuum went by.
    for before in [xids(1_598_800_000, 20_000.0), xids(1_700_000_000, 10_000.0)] {
        let told = xids(1_600_000_000, 10_600.0).after(&before.earlier(600.0));
        assert!(!told.find(WRAP).summary.contains("left in"), "{}", told.find(WRAP).summary);
    }
}

#[test]
fn a_server_that_is_well_says_what_goes_to_its_end() {
    let says = |now: Stack, before: Stack| {
        let told = now.after(&before.earlier(600.0));
        told.healthy();
        told.says("postgres")
    };
    let said = says(xids(1_200_000_000, 10_600.0), xids(1_198_800_000, 10_000.0));
    assert!(
        said.contains(
            "1200 million transaction ids are used up, and at 2000 a second none is left in 5 days"
        ),
        "{said}"
    );
    // What vacuum has not even begun to work on, and what would take for ever.
    for (now, before) in [(900_000_000, 1), (1_200_000_000, 1_199_999_999)] {
        let said = says(xids(now, 10_600.0), xids(before, 10_000.0));
        assert!(!said.contains("transaction ids"), "{said}");
    }
    let slots = |used: u32, uptime_s: f64| {
        Stack::healthy()
            .server(|s| (s.used, s.max_connections, s.reserved, s.uptime_s) = (used, 103, 3, uptime_s))
    };
    let said = says(slots(60, 10_600.0), slots(40, 10_000.0));
    assert!(
        said.contains("20 slots more are taken than 10 min before: at that none is left in 20 min"),
        "{said}"
    );
    for (now, before) in [
        (slots(60, 600.0), slots(40, 10_000.0)),
        (slots(60, 10_600.0), slots(58, 10_000.0)),
        (slots(20, 10_600.0), slots(10, 10_000.0)),
    ] {
        let said = says(now, before);
        assert!(!said.contains("slots more"), "{said}");
    }
}
