//! The ends of logs, whole: of a unit's journal, a container's log, PostgreSQL's own file, the kernel's lines.
//! Without secrets, and without what people stored.

use std::time::Instant;

use super::Excerpt;
use crate::config::Postgres;
use crate::probe::docker::Engine;
use crate::probe::postgres::{entry, is_entry};
use crate::probe::{blocking, log, said, systemd};
use crate::snapshot::{FailKind, Failure};

/// How many lines of each, and how long one may be.
const LINES: usize = 500;
const LINE_CHARS: usize = 2000;

/// What stands before a line, and the line.
pub type Line = (String, String);

/// systemd's own words about it, and its own, in their order.
pub async fn of_unit(unit: &str, folder: Option<&str>, deadline: Instant) -> Result<Excerpt, Failure> {
    let (about, own) = (format!("UNIT={unit}"), format!("_SYSTEMD_UNIT={unit}"));
    let matches = [about.as_str(), "_PID=1", "+", own.as_str()];
    full(
        systemd::lines(&matches, folder, LINES, deadline).await?,
        "it has no journal, or none that you may read",
    )
}

pub async fn of_kernel(folder: Option<&str>, deadline: Instant) -> Result<Excerpt, Failure> {
    let lines = systemd::lines(&["_TRANSPORT=kernel"], folder, LINES, deadline).await?;
    full(lines, "the journal has no line of the kernel, or none that you may read")
}

pub async fn of_container(engine: &Engine, id: &str, deadline: Instant) -> Result<Excerpt, Failure> {
    let lines = engine.last(id, LINES, deadline).await?;
    full(lines.into_iter().map(|l| (format!("{} ", l.at), l.text)).collect(), "its log is empty")
}

/// Of the file, and which that is.
pub async fn of_postgres(proc: &str, p: &Postgres, deadline: Instant) -> Result<(String, Excerpt), Failure> {
    let (proc, p) = (proc.to_owned(), p.clone());
    let read = move || log::end(&proc, &p);
    let (path, lines, cut) = blocking(deadline, "the server's log", read).await?;
    let mut out = full(lines.into_iter().map(|l| (String::new(), l)).collect(), "it is empty")?;
    out.cut |= cut;
    Ok((path, out))
}

fn full(lines: Vec<Line>, empty: &str) -> Result<Excerpt, Failure> {
    if lines.is_empty() {
        return Err(Failure::new(FailKind::Missing, empty.to_owned()));
    }
    let cut = lines.len() >= LINES;
    Ok(Excerpt { text: masked(&lines), missed: Vec::new(), cut })
}

/// A statement of several lines is one, or the end of a literal would be taken for its beginning.
fn masked(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut rest = lines;
    while let [(before, line), after @ ..] = rest {
        let more =
            if is_entry(line) { after.iter().take_while(|(_, l)| l.starts_with('\t')).count() } else { 0 };
        let whole = after[..more].iter().fold(line.clone(), |all, (_, l)| all + "\n" + l.trim_start());
        text.push_str(before);
        text.push_str(said(&entry(&whole), LINE_CHARS).trim_end());
        text.push('\n');
        rest = &after[more..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_over_several_lines_is_masked_whole() {
        let lines = [
            "STATEMENT:  INSERT INTO t",
            "\tVALUES ('ann",
            "\tbell', 'x')",
            "next password=hunter2",
            "\tat Main",
        ];
        let lines: Vec<Line> = lines.iter().map(|l| ("6 ".to_owned(), (*l).to_owned())).collect();
        assert_eq!(
            masked(&lines),
            "6 STATEMENT:  INSERT INTO t VALUES (?, ?)\n6 next password=****\n6 \tat Main\n"
        );
    }

    #[test]
    fn a_log_without_a_line_is_said_to_be_empty() {
        assert!(full(Vec::new(), "empty").is_err());
    }
}
