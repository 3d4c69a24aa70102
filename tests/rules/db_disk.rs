//! The file systems of data and WAL: full, low, read-only. What is large enough, another's, or of
//! before, is none.

use mcp_ir::diagnosis::{Certainty, Severity};

use crate::payload;
use crate::stack::{A, PG_UNIT, Stack, refused, says};

const FULL: &str = "db-down/disk-full@postgres";
const LOW: &str = "db-down/disk-low@postgres";
const READ_ONLY: &str = "db-down/read-only-filesystem@postgres";
const STOPPED: &str = "db-down/postgres-stopped@postgres";
const ENOSPC: &str = "could not write to file \"pg_wal/xlogtemp.1\": No space left on device";

#[test]
fn a_full_file_system_of_data_or_wal_is_a_root_though_everybody_is_still_served() {
    for what in ["data", "WAL", "tablespace"] {
        let told = Stack::healthy().disk(what, 100_000, 100, |_| {}).told().case(what);
        told.expect_root(FULL, Certainty::Proven).evidence(FULL, what);
    }
}

#[test]
fn full_is_under_one_percent_and_under_256_mib_and_low_under_ten_and_under_10_gib() {
    // Total and available in MiB.
    for (total, available, want) in [
        (192, 0, Some(FULL)),
        (192, 1, Some(FULL)),
        (10_000, 99, Some(FULL)),
        (10_000, 101, Some(LOW)),
        (100_000, 255, Some(FULL)),
        (100_000, 256, Some(LOW)),
        (100_000, 9_999, Some(LOW)),
        (100_000, 10_000, None),
        (400 << 10, 10 << 10, None),
        (10 << 20, 512 << 10, None),
        (10, 10, None),
        (0, 0, None),
    ] {
        let told = Stack::healthy().disk("data", total, available, |_| {}).told();
        let told = told.case(format!("{available} of {total}"));
        match want {
            Some(id) => _ = told.expect_root(id, Certainty::Proven),
            None => _ = told.healthy(),
        }
    }
    let low = Stack::healthy().disk("data", 10_000, 500, |_| {}).told();
    assert_eq!(low.find(LOW).severity, Severity::P3);
}

#[test]
fn no_inode_left_is_full_and_a_file_system_without_inodes_is_not() {
    let none = Stack::healthy().disk("data", 10_000, 5_000, |f| f.inodes_available = 0).told();
    none.expect_root(FULL, Certainty::Proven).evidence(FULL, "no inode left");
    Stack::healthy()
        .disk("data", 10_000, 5_000, |f| (f.inodes, f.inodes_available) = (0, 0))
        .told()
        .healthy();
}

#[test]
fn a_disk_of_another_server_or_of_another_host_says_nothing() {
    let mut s = Stack::healthy().disk("data", 100, 0, |_| {});
    s.now.host.places[0].subject = "reports".into();
    s.told().healthy();
    let told = Stack::outage().here(Some(false)).disk("data", 100, 0, |f| f.read_only = true).told();
    told.never("db-down/disk").never("db-down/read-only-filesystem");
}

#[test]
fn a_server_that_died_of_a_full_disk_is_explained_by_it() {
    let s = Stack::outage().unit(PG_UNIT, "failed", "failed").line(
        PG_UNIT,
        20.0,
        6,
        &format!("PANIC:  {ENOSPC}"),
    );
    // 2 %: only the log says that this is not enough.
    let told = s.disk("WAL", 21, 0, |f| f.available = 445 << 10).told();
    told.expect_root(FULL, Certainty::Proven).explained(STOPPED, &[FULL]).evidence(FULL, "xlogtemp");
}

#[test]
fn words_of_a_full_disk_count_only_while_there_is_no_room_and_of_now() {
    let said = |ago, text: &str| Stack::healthy().no_disks().line(PG_UNIT, ago, 6, text);
    let error = format!("mcp_user@codebase_mcp ERROR:  {ENOSPC}");
    // No file system is seen, and the server takes logins: there may be room again.
    said(20.0, &error).told().expect_root(FULL, Certainty::Likely);
    said(20.0, &error).disk("data", 1000, 400, |_| {}).told().healthy();
    said(3000.0, &error).told().healthy();
}

#[test]
fn space_that_another_file_system_lacks_is_not_this_servers() {
    for text in [
        "ERROR:  could not resize shared memory segment \"/PostgreSQL.1\" to 8388608 bytes: No space left on device",
        "cp: error writing '/mnt/archive/0001': No space left on device",
        "LOG:  could not write temporary statistics file: No space left on device",
        "FATAL:  could not create semaphores: No space left on device",
        "ERROR:  could not write to COPY file: No space left on device",
    ] {
        Stack::healthy().no_disks().line(PG_UNIT, 20.0, 6, text).told().case(text).healthy();
    }
}

#[test]
fn a_login_that_is_refused_for_space_is_a_full_disk() {
    let told =
        Stack::healthy().login(says("53100", &format!("could not extend file: {}", &ENOSPC[40..]))).told();
    told.expect_root(FULL, Certainty::Proven);
}

#[test]
fn a_read_only_mount_is_told_by_the_mount_whoever_is_still_served() {
    let told = Stack::healthy()
        .disk("data", 1000, 500, |f| {
            f.read_only = true;
            f.options = "rw,relatime,rw,emergency_ro".into();
        })
        .told();
    told.expect_root(READ_ONLY, Certainty::Proven).evidence(READ_ONLY, "emergency_ro");
}

#[test]
fn a_server_that_can_not_start_on_a_read_only_mount_is_explained_by_it() {
    let s = Stack::outage().unit(PG_UNIT, "failed", "failed").disk("data", 1000, 500, |f| f.read_only = true);
    s.told().expect_root(READ_ONLY, Certainty::Proven).explained(STOPPED, &[READ_ONLY]);
}

#[test]
fn our_login_that_meets_a_read_only_file_system_tells_it() {
    let words = "could not open file \"base/5/2601\": Read-only file system";
    Stack::healthy().login(says("42501", words)).told().expect_root(READ_ONLY, Certainty::Proven);
}

#[test]
fn permissions_are_no_read_only_file_system() {
    for words in
        ["permission denied for database \"x\"", "could not open file \"base/5/2601\": Permission denied"]
    {
        let told = Stack::healthy().login(says("42501", words)).told();
        told.case(words).never("db-down");
    }
}

#[test]
fn words_of_a_mount_that_was_mended_are_of_before() {
    let text = "FATAL:  could not create lock file \"postmaster.pid\": Read-only file system";
    let s =
        Stack::outage().unit(PG_UNIT, "failed", "failed").line(PG_UNIT, 60.0, 6, text).postmasters(vec![]);
    s.disk("data", 1000, 500, |_| {}).told().never("db-down/read-only-filesystem");
}

#[test]
fn a_file_system_that_was_not_seen_is_not_full() {
    let mut s = Stack::healthy().disk("data", 100, 0, |_| {});
    s.now.host.places[0].file_system = mcp_ir::snapshot::Reading::Failed(refused());
    s.told().healthy();
}

#[test]
fn a_service_without_space_of_its_own_says_nothing_of_the_server() {
    let said = |text: &str| Stack::healthy().no_disks().health(A, payload::a_down(text)).told();
    for text in
        ["[Errno 28] No space left on device: '/var/cache/mcp/x'", "No space left on device (os error 28)"]
    {
        said(text).case(text).never("db-down/disk-full");
    }
    // The server's own words, by a service: nobody has seen its file system.
    said(&format!("{ENOSPC} (SQLSTATE 53100)")).expect_root(FULL, Certainty::Likely);
}
