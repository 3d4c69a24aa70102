//! The sessions as a table, and who waits for whom as a tree, roots first.

use super::out::Out;
use super::style::Paint;
use super::table::plain;
use super::text::{self, count};
use crate::snapshot::postgres::Session;
use crate::snapshot::who::Who;

/// One server's sessions. `shown` are those that pass the filters.
pub fn sessions(name: &str, endpoint: &str, who: &Who, shown: &[&Session], out: &Out) -> String {
    let paint = Paint(out.colors);
    let head = format!("{name}  {endpoint}");
    let mut tail = count(who.count as usize, "client session");
    if shown.len() != who.count as usize {
        tail.push_str(&format!(", {} shown", shown.len()));
    }
    if !who.sees_all {
        tail.push_str(", partial: without pg_monitor other roles' states are not shown");
    }
    let mut page = format!("{} · {}\n\n", paint.strong(&text::line(&head)), paint.faint(&tail));
    let rows: Vec<Vec<String>> = shown.iter().map(|s| row(who, s)).collect();
    if !rows.is_empty() {
        let heads = ["PID", "APPLICATION", "CLIENT", "USER", "STATE", "AGE", "LOCKS", "QUERY"];
        let mut table = vec![heads.map(str::to_owned).to_vec()];
        table.extend(rows);
        one_line(&mut table, out.width.saturating_sub(2));
        page.push_str(&plain(&table, 2, out.width, COLUMN));
    }
    page.push_str(&tree(who, out, paint));
    page
}

/// A server that could not be asked.
pub fn not_seen(name: &str, endpoint: &str, why: &str, out: &Out) -> String {
    let paint = Paint(out.colors);
    let head = text::line(&format!("{name}  {endpoint}")).into_owned();
    format!("{} · could not be asked: {}\n", paint.strong(&head), text::line(why))
}

/// How wide a column other than the last may be.
const COLUMN: usize = 19;

/// Cuts the statements to what is left of the line: a session is one line.
fn one_line(table: &mut [Vec<String>], width: usize) {
    let columns = table.first().map_or(0, Vec::len);
    let widest =
        |i: usize| table.iter().map(|r| text::width(&text::line(&r[i])).min(COLUMN) + 2).max().unwrap_or(0);
    let used: usize = (0..columns.saturating_sub(1)).map(widest).sum();
    let room = width.saturating_sub(used);
    if room < 12 {
        // No room for statements: the tree below, or -o json, has them.
        table.iter_mut().for_each(|r| drop(r.pop()));
        return;
    }
    for query in table.iter_mut().filter_map(|r| r.last_mut()) {
        if text::width(query) > room {
            *query = query.chars().take(room.saturating_sub(1)).chain(['…']).collect();
        }
    }
}

fn row(who: &Who, s: &Session) -> Vec<String> {
    let victims = who.victims(s.pid);
    let locks = match (victims, s.blocked_by.len()) {
        (0, 0) => String::new(),
        (n, 0) => format!("blocks {n}"),
        (0, _) => "waits".into(),
        (n, _) => format!("waits, blocks {n}"),
    };
    let application = if s.application.is_empty() { "-" } else { &s.application };
    vec![
        s.pid.to_string(),
        application.to_owned(),
        s.client.clone(),
        s.user.clone(),
        short_state(&s.state).to_owned(),
        age(s.state_s),
        locks,
        s.query.clone(),
    ]
}

/// The states as PostgreSQL names them, the longest shortened.
fn short_state(state: &str) -> &str {
    match state {
        "idle in transaction" => "idle in tx",
        "idle in transaction (aborted)" => "aborted in tx",
        other => other,
    }
}

fn tree(who: &Who, out: &Out, paint: Paint) -> String {
    let roots = who.roots();
    if roots.is_empty() {
        return String::new();
    }
    let mut page = format!("\n  {}\n", paint.faint("who waits for whom"));
    for root in roots {
        branch(who, root, 0, &mut Vec::new(), &mut page, out, paint);
    }
    page
}

fn branch(
    who: &Who,
    pid: i32,
    depth: usize,
    path: &mut Vec<i32>,
    page: &mut String,
    out: &Out,
    paint: Paint,
) {
    // A circle of waits is PostgreSQL's to break (deadlock_timeout); here it only must not go on.
    if path.contains(&pid) || depth > 20 {
        return;
    }
    path.push(pid);
    let indent = "  ".repeat(depth + 1);
    let mark = if depth == 0 { "■" } else { "└" };
    let words = match who.sessions.iter().find(|s| s.pid == pid) {
        Some(s) => {
            format!("{pid} {} as {}, {} for {}: {}", name(s), s.user, s.state, age(s.state_s), s.query)
        }
        None if pid == 0 => prepared(who),
        None => format!("{pid} (not shown to us)"),
    };
    let room = out.width.saturating_sub(indent.len() + 4).max(20);
    let words: String = text::line(&words).chars().take(room).collect();
    let words = if depth == 0 { paint.strong(&words) } else { words };
    page.push_str(&format!("{indent}{mark} {words}\n"));
    for s in who.waiting_for(pid) {
        branch(who, s.pid, depth + 1, path, page, out, paint);
    }
    path.pop();
}

fn name(s: &Session) -> &str {
    if s.application.is_empty() { "(no application name)" } else { &s.application }
}

fn prepared(who: &Who) -> String {
    let all: Vec<String> =
        who.prepared.iter().map(|p| format!("'{}' of {} for {}", p.gid, p.owner, age(p.age_s))).collect();
    format!(
        "prepared transaction {}",
        if all.is_empty() { "(not shown to us)".into() } else { all.join(", ") }
    )
}

/// `3s`, `12m`, `5h`, `2d`: narrow, for a column.
pub fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86400.0),
    }
}
