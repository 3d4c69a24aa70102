//! `--why-not` for people: at each subject whether the cause was found, or what rules it out.

use super::out::Out;
use super::style::Paint;
use super::table::plain;
use super::text;
use crate::diagnosis::{Answer, Outcome, WhyNot};

pub fn why_not(w: &WhyNot, out: &Out) -> String {
    let paint = Paint(out.colors);
    let mut page = String::new();
    for asked in &w.causes {
        page.push_str(&format!("{}  {}\n", paint.strong(&asked.cause), paint.faint(&asked.title)));
        if asked.subjects.is_empty() {
            page.push_str("  nothing under care that it could concern\n");
        }
        for a in &asked.subjects {
            page.push_str(&answer(a, out, paint));
        }
        page.push('\n');
    }
    page
}

fn answer(a: &Answer, out: &Out, paint: Paint) -> String {
    let (mark, words) = match a.outcome {
        Outcome::Found => (Some(false), "found".to_owned()),
        Outcome::Explained => (Some(false), format!("found, explained by {}", a.explained_by.join(", "))),
        Outcome::RuledOut => (Some(true), "ruled out".to_owned()),
        Outcome::Unknown => (None, "unknown: what it needs was not seen".to_owned()),
    };
    let words = match &a.summary {
        Some(summary) => format!("{words}: {summary}"),
        None => words,
    };
    let head = format!("{}: {words}", a.subject);
    let mut lines = text::wrap(&text::line(&head), out.width.saturating_sub(4)).into_iter();
    let mut page = format!("  {} {}\n", paint.mark(mark), lines.next().unwrap_or_default());
    lines.for_each(|l| page.push_str(&format!("    {l}\n")));
    let rows: Vec<Vec<String>> = a
        .facts
        .iter()
        .map(|f| vec![f.seen.probe.clone(), f.seen.fact.clone(), f.seen.value.clone()])
        .collect();
    page.push_str(&plain(&rows, 6, out.width, 30));
    let mut needs: Vec<&str> = a.facts.iter().map(|f| f.needs.as_str()).collect();
    needs.dedup();
    for (i, line) in text::wrap(&needs.join("; or "), out.width.saturating_sub(13)).iter().enumerate() {
        if !needs.is_empty() {
            let head = if i == 0 { "needs: " } else { "       " };
            page.push_str(&format!("      {}{line}\n", paint.faint(head)));
        }
    }
    page
}
