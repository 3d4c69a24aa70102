//! Two faults at once that have nothing to do with one another: two roots, and none explains the other.

use super::Fault;

pub const FAULTS: &[Fault] = &[
    Fault::pair(
        "pairs/stopped-and-failed",
        "one service exits by itself, the other aborts",
        &["stopped/exit-0", "failed/abort"],
    ),
    Fault::pair(
        "pairs/pool-and-abort",
        "one service's pool is full, the other aborts",
        &["client-pool-saturated/shape-a", "failed/abort"],
    ),
    Fault::pair(
        "pairs/pool-and-stop",
        "one service's pool is full, the other exits by itself",
        &["stopped/exit-0", "client-pool-saturated/shape-c"],
    ),
    Fault::pair(
        "pairs/oom-and-unhealthy",
        "one service is killed for memory, the other says unhealthy",
        &["oom-killed/limit", "unhealthy/shape-c"],
    ),
    Fault::pair(
        "pairs/configuration-and-leak",
        "one service's setting is refused, the other leaks its connections",
        &["bad-configuration/pool-size", "pool-leak/shape-c"],
    ),
    Fault::pair(
        "pairs/hung-and-abort",
        "one service is stopped by a signal, the other aborts",
        &["hung/stopped", "failed/abort"],
    ),
    Fault::pair(
        "pairs/frozen-and-unhealthy",
        "one service is frozen, the other says unhealthy",
        &["paused/frozen", "unhealthy/shape-c"],
    ),
    Fault::pair(
        "pairs/port-and-abort",
        "one service's port is taken, the other aborts",
        &["port-conflict/another-program", "failed/abort"],
    ),
    Fault::pair(
        "pairs/slot-and-abort",
        "an inactive slot keeps WAL, and a service aborts",
        &["wal-retained/slot", "failed/abort"],
    ),
    Fault::pair(
        "pairs/wraparound-and-stop",
        "a database is near its wraparound, and a service exits by itself",
        &["wraparound/age", "stopped/exit-0"],
    ),
    Fault::pair(
        "pairs/way-and-abort",
        "a rule drops what goes to one service's port, the other aborts",
        &["service-unreachable/dropped-here", "failed/abort"],
    ),
    Fault::pair(
        "pairs/loop-and-unhealthy",
        "one service dies over and over, the other says unhealthy",
        &["crash-loop/limit", "unhealthy/shape-c"],
    ),
];
