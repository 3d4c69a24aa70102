//! The readings of a snapshot as rows: what was asked, how it came out, how long it took.

use crate::diagnosis::ReadingRow;
use crate::snapshot::containers::Container;
use crate::snapshot::units::Journal;
use crate::snapshot::{FailKind, Look, Reading, Snapshot};

pub fn all(now: &Snapshot) -> Vec<ReadingRow> {
    let mut rows = Vec::new();
    for (name, p) in &now.postgres {
        rows.push(row("postgres login", name, &p.login, |_| p.endpoint.clone()));
        rows.push(row("postgres sessions", name, &p.server, |s| {
            let partial = if s.sees_all { "" } else { ", partial: no pg_monitor" };
            let version = s.version.split(' ').next().unwrap_or_default();
            format!("PostgreSQL {version}, {} of {} slots used{partial}", s.used, s.slots())
        }));
        if let Some(w) = &p.work {
            rows.push(row("postgres work", name, w, |w| {
                let statements = w.statements.seen().map_or_else(
                    || "no pg_stat_statements".to_owned(),
                    |s| format!("{} statements", s.all.len()),
                );
                let waits: u32 = w.waits.iter().map(|x| x.count).sum();
                format!("{statements}, {waits} sessions active, {} tables", w.tables.len())
            }));
        }
        rows.extend(reading("postmaster.pid", name, &p.pid_file, |f| {
            format!("process {}, {}", f.pid, f.status)
        }));
        rows.extend(reading("/proc backends", name, &p.slots, |s| format!("{} client backends", s.backends)));
        rows.extend(reading("/proc", name, &p.postmasters, |all| format!("{} postmasters", all.len())));
    }
    for (name, p) in &now.poolers {
        rows.push(row("pgbouncer", name, &p.pools, |all| {
            let waiting: u64 = all.all.iter().map(|p| p.waiting).sum();
            format!("{} pools, {waiting} clients waiting", all.all.len())
        }));
    }
    for (name, s) in &now.services {
        rows.push(row("http health", name, &s.health, |h| {
            let named = s.pool_max.seen().map(|m| m.value);
            let pool = h.pool.as_ref().and_then(|p| match (p.in_use?, p.max.or(named), p.open) {
                (used, Some(max), _) => Some(format!(", pool {used} of {max}")),
                // Of what is open, which is another number than of what may be opened.
                (used, None, Some(open)) => Some(format!(", pool {used} of {open} open")),
                _ => None,
            });
            let says: String = h.messages.iter().map(|m| format!("; says: {m}")).collect();
            format!("HTTP {}{}{says}", h.http_status, pool.unwrap_or_default())
        }));
        if let Some(m) = &s.mcp {
            rows.push(row("mcp initialize", name, &m.initialize, |h| {
                let server = h.server.as_deref().unwrap_or("a server without a name");
                let how = if h.events { ", by events" } else { "" };
                let session = if h.session { ", in a session" } else { "" };
                format!("{server}, protocol {}{session}{how}", h.protocol)
            }));
            rows.extend(reading("mcp ping", name, &m.ping, |()| "answered".into()));
            if !matches!(m.tools.reading, Reading::NotAsked { .. }) {
                rows.push(row("mcp tools/list", name, &m.tools, |n| {
                    format!("{n} {}", if *n == 1 { "tool" } else { "tools" })
                }));
            }
        }
        if let Some(m) = &s.metrics {
            rows.push(row("http metrics", name, m, |m| {
                let routes = m.durations.iter().filter(|h| !h.whole).count();
                let requests: f64 =
                    m.durations.iter().filter(|h| h.whole).map(|h| h.count).fold(0.0, |a, b| a + b);
                format!("{requests} requests timed, {routes} routes")
            }));
        }
        rows.extend(reading("environment", name, &s.targets, |all| {
            all.iter().map(|t| format!("{}: {t}", t.source)).collect::<Vec<_>>().join("; ")
        }));
        rows.extend(reading("pool size", name, &s.pool_max, |m| format!("{} by {}", m.value, m.source)));
    }
    if !matches!(now.units.listed.reading, Reading::NotAsked { .. }) {
        rows.push(row("systemd", "units", &now.units.listed, |l| {
            let there = l.values().filter(|u| u.load != "not-found").count();
            format!("{there} of {} units are there", l.len())
        }));
    }
    rows.extend(reading("memory", "host", &now.host.memory, |m| {
        format!("{} of {} MiB available", m.available >> 20, m.total >> 20)
    }));
    for (name, t) in &now.host.taken {
        rows.extend(reading("/proc", name, &t.process, |p| {
            let max = p.descriptors_max.map_or_else(String::new, |m| format!(" of {m}"));
            let open = p.descriptors.seen().map(|n| format!(", {n}{max} descriptors"));
            format!("process {} has {} MiB{}", p.pid, p.resident >> 20, open.unwrap_or_default())
        }));
        rows.extend(reading("cgroup", name, &t.group, |g| match g.limit {
            Some(limit) => format!("{} of {} MiB in {}", g.current >> 20, limit >> 20, g.of),
            None => format!("{} MiB in {}, without a limit", g.current >> 20, g.of),
        }));
    }
    rows.extend(reading("load", "host", &now.host.load, |l| {
        format!("{:.1} on {} processors", l.load, l.cores)
    }));
    for (name, own) in &now.host.own {
        rows.extend(reading("network", name, &own.network, |n| {
            let full = n.queues.iter().map(|q| q.queued).max();
            full.map_or_else(|| "no listener".to_owned(), |n| format!("{n} connections wait"))
        }));
    }
    for d in &now.host.places {
        rows.extend(reading("file system", &d.subject, &d.file_system, |f| {
            format!("{} at {}: {:.1} % of {} left", d.what, f.mounted_at, f.share() * 100.0, f.kind)
        }));
    }
    for (name, log) in &now.host.logs {
        // Where it is not known, its unit's journal is read.
        if log.failure().is_none_or(|f| f.kind != FailKind::Missing) {
            rows.extend(reading("log", name, log, |l| format!("{} lines of {}", l.lines.len(), l.path)));
        }
    }
    rows.extend(reading("nft", "packet filter", &now.network.rules, |all| {
        format!("{} rules that drop or reject", all.len())
    }));
    for (unit, d) in &now.units.details {
        rows.push(row("systemd", unit, d, |d| format!("result {}", d.result)));
    }
    for (unit, j) in &now.units.journal {
        rows.push(row("journal", unit, j, |j| format!("{} events, {} lines", j.events.len(), j.lines.len())));
    }
    for (name, c) in &now.containers {
        rows.push(row("docker", name, &c.inspected, |c| format!("{}{}", c.words(), other_clock(c))));
        let events = |j: &Journal| format!("{} events remembered", j.events.len());
        rows.extend(reading("docker events", name, &c.journal.reading, events));
        rows.extend(reading("docker logs", name, &c.log, |n| format!("{n} lines")));
        rows.extend(reading("/proc", name, &c.process.reading, |p| {
            format!("process {} in state {}", p.pid, p.state)
        }));
    }
    for (unit, p) in &now.units.process {
        rows.push(row("/proc", unit, p, |p| format!("process {} in state {}", p.pid, p.state)));
    }
    for (name, r) in &now.redis {
        rows.push(row("redis", name, &r.ping, |()| format!("{} answers PING", r.endpoint)));
        rows.extend(reading("redis info", name, &r.server, |s| {
            let memory = s.used_memory.map(|used| match s.maxmemory {
                Some(max) if max > 0 => format!(", {} of {} MiB", used >> 20, max >> 20),
                _ => format!(", {} MiB", used >> 20),
            });
            format!("Redis {}, {}{}", s.version, s.role, memory.unwrap_or_default())
        }));
    }
    for (name, o) in &now.ollama {
        rows.push(row("http ollama", name, &o.models, |all| {
            let models = if all.len() == 1 { "model" } else { "models" };
            format!("{} has {} {models}", o.endpoint, all.len())
        }));
    }
    if !matches!(now.changes.reading, Reading::NotAsked { .. }) {
        rows.push(row("files", "changes", &now.changes, |c| {
            let missed: String = c.missed.iter().map(|m| format!("; not seen: {m}")).collect();
            format!("{} of late{missed}", c.all.len())
        }));
    }
    // Configured, and not looked at by this version: said, so that nobody takes it for healthy.
    for (kind, name) in now.config.names() {
        let looked_at = match kind {
            "redis" => now.redis.contains_key(name),
            "ollama" => now.ollama.contains_key(name),
            _ => true,
        };
        if !looked_at {
            rows.push(ReadingRow {
                probe: kind.into(),
                subject: name.into(),
                outcome: "not-asked".into(),
                elapsed_ms: 0.0,
                detail: "not looked at by this version".into(),
            });
        }
    }
    rows
}

fn row<T>(probe: &str, subject: &str, look: &Look<T>, says: impl Fn(&T) -> String) -> ReadingRow {
    ReadingRow {
        probe: probe.into(),
        subject: subject.into(),
        outcome: look.reading.word().into(),
        elapsed_ms: look.elapsed_ms,
        detail: detail(&look.reading, says),
    }
}

/// A reading without a time of its own; left out where it was not asked.
fn reading<T>(probe: &str, subject: &str, r: &Reading<T>, says: impl Fn(&T) -> String) -> Option<ReadingRow> {
    (!matches!(r, Reading::NotAsked { .. })).then(|| ReadingRow {
        probe: probe.into(),
        subject: subject.into(),
        outcome: r.word().into(),
        elapsed_ms: 0.0,
        detail: detail(r, says),
    })
}

fn detail<T>(r: &Reading<T>, says: impl Fn(&T) -> String) -> String {
    match r {
        Reading::Seen { value } => says(value),
        Reading::Failed(f) => f.detail.clone(),
        Reading::NotAsked { why } => why.clone(),
    }
}

/// `; the engine's clock is 300 s ahead of ours`
fn other_clock(c: &Container) -> String {
    let says = |s: f64| {
        let how = if s > 0.0 { "ahead of" } else { "behind" };
        format!("; the engine's clock is {:.0} s {how} ours", s.abs())
    };
    c.clock_ahead_s.map_or_else(String::new, says)
}
