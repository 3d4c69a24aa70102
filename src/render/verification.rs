//! What was verified, a line a check.

use super::out::Out;
use super::style::Paint;
use super::text::{self, count};
use crate::engine::verify::{State, Verified};

pub fn verification(v: &Verified, out: &Out) -> String {
    let paint = Paint(out.colors);
    let failed = v.checks.iter().filter(|c| c.state == State::Failed).count();
    let unknown = v.checks.iter().filter(|c| c.state == State::Unknown).count();
    let mut head = count(v.checks.len(), "check");
    for (n, word) in [(failed, "failed"), (unknown, "not seen")] {
        if n > 0 {
            head.push_str(&format!(", {n} {word}"));
        }
    }
    let mut page = format!(
        "{} · {head} in {}\n",
        paint.verdict(v.verdict, v.verdict.word()),
        super::human_duration(v.elapsed_ms)
    );
    for c in &v.checks {
        let mark = paint.mark(match c.state {
            State::Passed => Some(true),
            State::Failed => Some(false),
            State::Unknown => None,
        });
        let line = text::line(&format!("{:<8}{}: {}", c.what.word(), c.subject, c.says)).into_owned();
        for (i, l) in text::wrap(&line, out.width.saturating_sub(4).max(20)).iter().enumerate() {
            let mark = if i == 0 { mark.as_str() } else { " " };
            page.push_str(&format!("  {mark} {l}\n"));
        }
    }
    page
}
