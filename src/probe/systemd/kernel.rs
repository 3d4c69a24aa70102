//! What the kernel says that it did to control groups: by the journal, else by its own log.
//! On cgroup v1 nothing else tells that a unit was killed for memory.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::journal;
use crate::probe::{blocking, io_failure};
use crate::snapshot::Failure;
use crate::snapshot::units::{Kernel, KernelAct};

const LOG: &str = "/dev/kmsg";
/// The ring of the kernel is smaller than this.
const MAX_RECORDS: usize = 50_000;
/// How many acts are kept, the newest.
const ACTS: usize = 100;

/// The journal first: it noted the time by the wall clock. A journal without any line of the kernel
/// is that of a container, or of a system inside another: then the log itself is read.
pub async fn read(folder: Option<&str>, deadline: Instant) -> Result<Vec<KernelAct>, Failure> {
    if let Ok(text) = journal::entries(&["_TRANSPORT=kernel"], folder, deadline).await
        && !text.is_empty()
    {
        return Ok(from_journal(&text));
    }
    blocking(deadline, LOG, || from_log(Path::new(LOG))).await
}

fn from_journal(text: &str) -> Vec<KernelAct> {
    let acts = text.lines().filter_map(|line| {
        let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(line) else { return None };
        act(journal::time(&entry)?, &journal::field(&entry, "MESSAGE")?)
    });
    acts.collect()
}

/// Each read gives one record: `priority,number,microseconds,flags;text`.
fn from_log(path: &Path) -> Result<Vec<KernelAct>, Failure> {
    let mut options = std::fs::OpenOptions::new();
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = options.read(true).custom_flags(flags).open(path).map_err(|e| io_failure(&e, LOG))?;
    let booted = booted_at();
    let mut acts = Vec::new();
    let mut record = [0_u8; 8192];
    for _ in 0..MAX_RECORDS {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(n) => acts.extend(from_record(&String::from_utf8_lossy(&record[..n]), booted)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            // Overwritten while it was read: the next read goes on behind the gap.
            Err(e) if e.kind() == ErrorKind::BrokenPipe || e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(io_failure(&e, LOG)),
        }
    }
    let surplus = acts.len().saturating_sub(ACTS);
    acts.drain(..surplus);
    Ok(acts)
}

fn from_record(record: &str, booted: Timestamp) -> Option<KernelAct> {
    let (head, text) = record.lines().next()?.split_once(';')?;
    let micros: i64 = head.split(',').nth(2)?.parse().ok()?;
    act(booted.checked_add(SignedDuration::from_micros(micros)).ok()?, text)
}

/// The wall clock's time at which the kernel's own clock began.
fn booted_at() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "to say by the wall clock what the kernel says by its own")]
    let now = Timestamp::now();
    let since = clock_gettime(ClockId::Monotonic);
    let nanos = i32::try_from(since.tv_nsec).unwrap_or_default();
    now.checked_sub(SignedDuration::new(since.tv_sec, nanos)).unwrap_or(now)
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a,task_memcg=/a/b.service,task=…` or
/// `cgroup: fork rejected by pids controller in /a/b.service`.
fn act(at: Timestamp, text: &str) -> Option<KernelAct> {
    let (control_group, what) = if let Some(facts) = text.strip_prefix("oom-kill:") {
        let group = facts.split(',').find_map(|f| f.strip_prefix("task_memcg="))?;
        let limit = facts.contains("constraint=CONSTRAINT_MEMCG");
        (group, if limit { Kernel::OomLimit } else { Kernel::OomHost })
    } else {
        (text.strip_prefix("cgroup: fork rejected by pids controller in ")?, Kernel::ForkRefused)
    };
    Some(KernelAct { at, control_group: control_group.trim().to_owned(), what })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OOM: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=lab,mems_allowed=0,\
        oom_memcg=/lab/system.slice/a.service,task_memcg=/lab/system.slice/a.service,task=lab,pid=77,uid=0";

    fn booted() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_record_of_the_kernel_names_the_group_and_its_time() {
        let seen = from_record(&format!("6,1234,2500000,-;{OOM}\n SUBSYSTEM=memory\n"), booted()).unwrap();
        assert_eq!(seen.at, "2026-11-24T12:00:02.5Z".parse().unwrap());
        assert_eq!(
            (seen.control_group.as_str(), seen.what),
            ("/lab/system.slice/a.service", Kernel::OomLimit)
        );
    }

    #[test]
    fn out_of_memory_on_the_whole_machine_is_told_from_a_groups_limit() {
        let text = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
            task_memcg=/system.slice/a.service,task=python3,pid=7,uid=33";
        assert_eq!(act(booted(), text).unwrap().what, Kernel::OomHost);
    }

    #[test]
    fn a_refused_fork_names_the_group() {
        let seen =
            act(booted(), "cgroup: fork rejected by pids controller in /system.slice/a.service").unwrap();
        assert_eq!(
            (seen.control_group.as_str(), seen.what),
            ("/system.slice/a.service", Kernel::ForkRefused)
        );
    }

    #[test]
    fn other_lines_are_nothing() {
        for record in [
            "",
            "6,1,2",
            "6,1,x,-;oom-kill:task_memcg=/a",
            "6,1,2,-;a.service: oom-kill",
            "6,1,2,-;oom-kill:pid=3",
        ] {
            assert_eq!(from_record(record, booted()), None, "{record}");
        }
    }

    #[test]
    fn the_journal_gives_the_same_by_the_wall_clock() {
        let line =
            serde_json::json!({"__REALTIME_TIMESTAMP": "1795521602500000", "MESSAGE": OOM}).to_string();
        let acts = from_journal(&format!("{line}\nno json\n"));
        assert_eq!(acts.len(), 1);
        assert_eq!(acts[0].at.as_microsecond(), 1_795_521_602_500_000);
    }

    #[test]
    fn a_log_that_may_not_be_read_is_a_failure() {
        assert!(from_log(Path::new("/nonexistent/kmsg")).is_err());
    }
}
