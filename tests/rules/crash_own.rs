//! What is the service's own: threads that its unit does not allow, a disk, a cache that is broken.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::host::{FileSystem, Place};
use mcp_ir::snapshot::units::{Event, Kernel};

use crate::payload;
use crate::stack::{A, A_UNIT, PG_UNIT, Stack, refused, silent};

const TASKS: &str = "server-crash/tasks-limit@codebase-mcp";
const DISK: &str = "server-crash/disk-full@codebase-mcp";
const STATE: &str = "server-crash/corrupted-state@codebase-mcp";
const FAILED: &str = "server-crash/failed@codebase-mcp";
const UNHEALTHY: &str = "server-crash/unhealthy@codebase-mcp";
const GROUP: &str = "/system.slice/codebase-mcp.service";
const CACHE: &str = "/var/cache/codebase-mcp";

fn exited(status: &str) -> Event {
    Event::ProcessExited { code: "exited".into(), status: status.into() }
}

impl Stack {
    fn tasks(mut self, tasks: u64, max: Option<u64>) -> Self {
        let Reading::Seen { value } = &mut self.now.units.details.get_mut(A_UNIT).unwrap().reading else {
            panic!("not seen")
        };
        (value.tasks, value.tasks_max) = (Some(tasks), max);
        self
    }

    /// A file system of the service's cache, with so many of 100 MiB left.
    fn cache(self, left: u64) -> Self {
        let mut s = self.service(A, |s| s.caches = vec![CACHE.into()]);
        let f = FileSystem {
            device: "/dev/sdc1".into(),
            mounted_at: "/var/cache".into(),
            kind: "ext4".into(),
            options: "rw,rw".into(),
            read_only: false,
            total: 100 << 20,
            available: left << 20,
            inodes: 1000,
            inodes_available: 900,
        };
        s.now.host.places.push(Place {
            subject: A.into(),
            what: "cache".into(),
            path: CACHE.into(),
            file_system: Reading::Seen { value: f },
        });
        s
    }
}

fn unwell() -> Stack {
    let s = Stack::healthy().health(A, payload::a_own());
    s.detail(A_UNIT, "success", 0, 0, 900.0).events(A_UNIT, &[(900.0, Event::Started)])
}

/// Dies a second after its start, with these last words.
fn dies_saying(lines: &[&str]) -> Stack {
    let events = [(11.0, Event::Started), (10.0, exited("1"))];
    let mut s = Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    s = s.events(A_UNIT, &events).detail(A_UNIT, "exit-code", 1, 1, 10.0);
    for line in lines {
        s = s.line(A_UNIT, 10.1, 6, line);
    }
    s
}

#[test]
fn at_its_limit_of_threads_and_refused_one() {
    let says = "codebase-mcp: ERROR can't start new thread: Resource temporarily unavailable (os error 11)";
    let by_itself = unwell().tasks(20, Some(20)).line(A_UNIT, 5.0, 6, says).told();
    by_itself.expect_root(TASKS, Certainty::Proven).evidence(TASKS, "can't start new thread");
    let by_kernel = unwell().tasks(20, Some(20)).kernel(&[(600.0, GROUP, Kernel::ForkRefused)]).told();
    by_kernel.expect_root(TASKS, Certainty::Proven);
    assert!(by_kernel.find(TASKS).remedy.command.contains("TasksMax=40"));
    // That it is at its limit is no trouble by itself.
    unwell().tasks(20, Some(20)).told().expect_roots(&[UNHEALTHY]);
    // Silent for the same reason; a stopped process is silent for its own.
    let s = unwell().no_answer(A, silent()).tasks(20, Some(20)).line(A_UNIT, 5.0, 6, says);
    s.told().expect_root(TASKS, Certainty::Proven);
    s.process(A_UNIT, "T").told().never("server-crash/tasks-limit");
}

/// They wait for a database that is gone: that is the one root.
#[test]
fn threads_that_pile_up_for_a_dead_database_are_its_consequence() {
    let says = "RuntimeError: can't start new thread";
    let s = Stack::outage().detail(A_UNIT, "success", 0, 0, 900.0).tasks(20, Some(20));
    let told = s.line(A_UNIT, 5.0, 3, says).told();
    told.expect_roots(&["db-down/postgres-stopped@postgres"]);
    told.explained(TASKS, &["db-down/postgres-stopped@postgres"]);
}

#[test]
fn below_its_limit_the_words_are_of_another_one() {
    let says = "RuntimeError: can't start new thread";
    unwell().tasks(19, Some(20)).line(A_UNIT, 5.0, 3, says).told().expect_roots(&[UNHEALTHY]);
    unwell().tasks(19, None).line(A_UNIT, 5.0, 3, says).told().expect_roots(&[UNHEALTHY]);
    // Healthy at its limit: many a server is made so.
    let s = Stack::healthy().detail(A_UNIT, "success", 0, 0, 900.0).tasks(20, Some(20));
    s.told().healthy();
}

#[test]
fn who_ended_for_want_of_a_thread_was_refused_one_in_that_run() {
    let says = "RuntimeError: can't start new thread";
    let refused = |at| dies_saying(&[says]).kernel(&[(at, GROUP, Kernel::ForkRefused)]).told();
    refused(10.4).expect_root(TASKS, Certainty::Proven);
    refused(400.0).expect_root(FAILED, Certainty::Proven);
    dies_saying(&[says]).told().expect_root(FAILED, Certainty::Proven);
    let other = dies_saying(&["giving up"]).kernel(&[(10.4, GROUP, Kernel::ForkRefused)]);
    other.told().expect_root(FAILED, Certainty::Proven);
}

const WRITES: [&str; 3] = [
    "Error: cannot write /var/cache/codebase-mcp/index.json",
    "Caused by:",
    "    No space left on device (os error 28)",
];

#[test]
fn its_own_write_found_no_space() {
    let told = dies_saying(&WRITES).cache(0).told();
    told.expect_root(DISK, Certainty::Proven).evidence(DISK, "0 of 100 MiB left");
    assert!(told.find(DISK).remedy.command.contains("/var/cache"), "{}", told.find(DISK).remedy.command);
    // Nobody named its folders; or room was made since: it died of it all the same.
    dies_saying(&WRITES).told().expect_root(DISK, Certainty::Likely);
    dies_saying(&WRITES).cache(90).told().expect_root(DISK, Certainty::Likely);
    let alive = |left| WRITES.iter().fold(unwell().cache(left), |s, l| s.line(A_UNIT, 30.0, 3, l)).told();
    alive(0).expect_root(DISK, Certainty::Proven);
    // It goes on, and there is room: that line is of before.
    alive(90).expect_roots(&[UNHEALTHY]);
    let unknown = WRITES.iter().fold(unwell(), |s, l| s.line(A_UNIT, 30.0, 3, l));
    unknown.told().expect_roots(&[UNHEALTHY]);
    let old = WRITES.iter().fold(unwell().cache(0), |s, l| s.line(A_UNIT, 3600.0, 3, l));
    old.told().expect_roots(&[UNHEALTHY]);
}

/// The first run could not write its cache, the next can't read what is left of that.
#[test]
fn a_full_disk_comes_before_what_it_left_broken() {
    let runs = [(20.0, Event::Started), (19.0, exited("1")), (18.9, Event::RestartScheduled { restarts: 1 })];
    let all = [(18.8, Event::Started), (18.0, exited("1"))];
    let s = Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    let s = s.events(A_UNIT, &runs).events(A_UNIT, &all).detail(A_UNIT, "exit-code", 1, 1, 18.0);
    let s = |left| {
        let s = WRITES.iter().fold(s.clone().cache(left), |s, l| s.line(A_UNIT, 19.1, 6, l));
        BROKEN.iter().fold(s, |s, l| s.line(A_UNIT, 18.1, 6, l)).told()
    };
    s(0).expect_root(DISK, Certainty::Proven);
    // There is room again: what is broken is what keeps it down.
    s(90).expect_root(STATE, Certainty::Proven);
}

#[test]
fn a_servers_full_disk_is_not_the_services() {
    for lines in [
        &["ERROR: could not extend file \"base/16384/16400\": No space left on device"][..],
        &["error returned from database:", "  No space left on device"],
        &["redis.exceptions.ResponseError: MISCONF Redis: No space left on device"],
        &["could not resize shared memory segment: No space left on device"],
    ] {
        dies_saying(lines).cache(0).told().case(lines[0]).never("server-crash/disk-full");
    }
    // A full disk and another reason.
    dies_saying(&["giving up"]).cache(0).told().expect_root(FAILED, Certainty::Proven);
}

/// The database and the service write to one file system: one fault.
#[test]
fn a_disk_that_both_fill_is_one_root() {
    let both = |at: &str| {
        let s = dies_saying(&WRITES).cache(0).unit(PG_UNIT, "active", "running");
        s.disk("data", 100, 0, |f| f.mounted_at = at.into()).told()
    };
    both("/var/cache").expect_roots(&["db-down/disk-full@postgres"]);
    both("/srv/data").expect_roots(&[DISK, "db-down/disk-full@postgres"]);
}

const BROKEN: [&str; 3] = [
    "Error: cannot load cache /var/cache/codebase-mcp/index.json: corrupted",
    "Caused by:",
    "    EOF while parsing a string at line 1 column 2048",
];

/// Its cache can't be read, and is configured as one.
pub fn broken_cache() -> Stack {
    with_caches(dies_saying(&BROKEN))
}

fn with_caches(s: Stack) -> Stack {
    s.service(A, |s| s.caches = vec!["/srv/x".into(), format!("{CACHE}/")])
}

#[test]
fn a_broken_file_of_its_cache_is_named_and_moved_aside() {
    let told = with_caches(dies_saying(&BROKEN)).told();
    told.expect_root(STATE, Certainty::Proven).evidence(STATE, "EOF while parsing");
    let command = &told.find(STATE).remedy.command;
    assert!(command.contains("mv -T --backup=numbered /var/cache/codebase-mcp/index.json "), "{command}");
    // A folder that nobody named: its own word alone.
    dies_saying(&BROKEN).told().expect_root(STATE, Certainty::Likely);
}

#[test]
fn a_path_that_leaves_the_folder_is_not_in_it() {
    for path in ["/var/cache/codebase-mcp/../../../etc/passwd", "/var/cache/codebase-mcp2/x", "/etc/passwd"] {
        let line = format!("Error: cannot load cache {path}: corrupted");
        let told = with_caches(dies_saying(&[&line])).told();
        told.expect_root(STATE, Certainty::Likely);
        assert!(!told.find(STATE).remedy.command.contains("mv "), "{path}");
    }
}

#[test]
fn what_only_sounds_like_a_broken_cache_is_none() {
    for lines in [
        &["WARN cache /var/cache/codebase-mcp/index.json corrupted, rebuilding", "ERROR giving up"][..],
        &["cannot load cache /var/cache/codebase-mcp/index.json", "Permission denied (os error 13)"],
        &["cannot read /var/cache/codebase-mcp/index.json: No such file or directory"],
        &["ERROR: invalid page in block 3: corrupted, says postgres", "cache not warmed"],
        &["loading cache /var/cache/codebase-mcp/index.json", "ERROR unhandled exception"],
        // It is its settings that are cut off.
        &[
            "cache /var/cache/codebase-mcp/emb.bin opened",
            "fatal: config /etc/mcp/settings.json: unexpected end of JSON input",
        ],
    ] {
        with_caches(dies_saying(lines)).told().case(lines[0]).never("server-crash/corrupted-state");
    }
    // Long after its start it is no start that fails.
    let mut s = dies_saying(&BROKEN);
    if let Reading::Seen { value } = &mut s.now.units.journal.get_mut(A_UNIT).unwrap().reading {
        value.events[0].at = crate::stack::ago(900.0);
    }
    s.told().expect_root(FAILED, Certainty::Proven);
}

/// At most three of its own last lines; what was a warning or worse before them has its place.
#[test]
fn a_finding_shows_the_services_last_lines() {
    let words = |lines: &[(u8, &str)]| {
        let mut s = dies_saying(&[]);
        for (priority, text) in lines {
            s = s.line(A_UNIT, 10.1, *priority, text);
        }
        let told = s.told();
        let own = told.find(FAILED).evidence.iter().filter(|e| e.fact == "last words");
        own.map(|e| e.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(words(&[]), [""; 0]);
    assert_eq!(words(&[(6, "a"), (6, "  "), (6, "b")]), ["a", "b"]);
    assert_eq!(words(&[(6, "a"), (6, "b"), (6, "c"), (6, "d")]), ["b", "c", "d"]);
    assert_eq!(words(&[(3, "worst"), (6, "a"), (6, "b"), (6, "c"), (6, "d")]), ["worst", "c", "d"]);
    assert_eq!(words(&[(6, "a"), (3, "worst"), (6, "b")]), ["a", "worst", "b"]);
}
