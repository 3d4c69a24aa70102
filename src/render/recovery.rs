//! A recovery as people read it: the plan before it is agreed to, a line a step while it goes on, and what
//! it came to, with the way back.

use super::out::Out;
use super::style::Paint;
use super::text::{self, count};
use crate::engine::recover::{Recovery, StepRow, StepStatus, Taken, Told};
use crate::incident::Outcome;
use crate::plan::{Plan, Undo};

/// Each step with its risk, the command an engineer would type, and its undo.
pub fn plan(plan: &Plan, out: &Out) -> String {
    let paint = Paint(out.colors);
    let mut text = String::new();
    if !plan.steps.is_empty() {
        let head = format!("{}, {}", count(plan.steps.len(), "step"), plan.risk().word());
        text.push_str(&format!("{}   {head}\n", paint.strong("plan")));
    }
    for s in &plan.steps {
        let risk = format!("({})", s.risk.word());
        text.push_str(&paragraph(&format!("{}. {} {risk}", s.n, s.describe), 2, out));
        // On one line however long it is: it is there to be copied.
        text.push_str(&format!("     {}\n", paint.command(&text::line(&s.command))));
        let undo = match (&s.undo, &s.undo_reason) {
            (Some(undo), None) => format!("undo: {}", Undo::describe(undo)),
            (Some(undo), Some(cost)) => format!("undo: {} ({cost})", Undo::describe(undo)),
            (None, why) => format!("no undo: {}", why.as_deref().unwrap_or("not known")),
        };
        text.push_str(&paragraph(&undo, 5, out));
    }
    for note in &plan.notes {
        text.push_str(&paragraph(&format!("note: {note}"), 2, out));
    }
    text
}

/// A line while it goes on; `None` where there is nothing to say on this output.
pub fn told(told: &Told, out: &Out) -> Option<String> {
    // The progress line may stand there.
    let clear = if std::io::IsTerminal::is_terminal(&std::io::stdout()) { "\r\x1b[2K" } else { "" };
    let text = match told {
        Told::Incident(id) => format!("{}\n", Paint(out.colors).strong(id)),
        Told::End(row) => step(row, out),
        Told::Back(describe) => paragraph(&format!("rolling back: {describe}"), 2, out),
        Told::Warning(why) => paragraph(&format!("warning: {why}"), 0, out),
        Told::Begin(_) | Told::Verifying => return None,
    };
    Some(format!("{clear}{text}"))
}

fn step(row: &StepRow, out: &Out) -> String {
    let good = match row.status {
        StepStatus::Done | StepStatus::Already => Some(true),
        StepStatus::Failed => Some(false),
        StepStatus::Planned | StepStatus::Changed | StepStatus::Unseen | StepStatus::Undone => None,
    };
    let took = row.elapsed_ms.map(|ms| format!(" · {}", super::human_duration(ms))).unwrap_or_default();
    let detail = row.detail.as_deref().unwrap_or_else(|| row.status.word());
    marked(good, &format!("{}. {}: {detail}{took}", row.n, row.describe), out)
}

/// Its further lines stand below the first one's words.
fn marked(good: Option<bool>, line: &str, out: &Out) -> String {
    let paint = Paint(out.colors);
    let lines = text::wrap(&text::line(line), out.width.saturating_sub(4));
    let mut text = String::new();
    for (i, l) in lines.iter().enumerate() {
        let mark = if i == 0 { paint.mark(good) } else { " ".into() };
        text.push_str(&format!("  {mark} {l}\n"));
    }
    text
}

pub fn ending(r: &Recovery, out: &Out) -> String {
    let paint = Paint(out.colors);
    let good = match r.outcome {
        Outcome::Recovered | Outcome::NothingToDo => Some(true),
        Outcome::NotRecovered | Outcome::Failed => Some(false),
        Outcome::Planned | Outcome::Advice | Outcome::Refused => None,
    };
    let looks = match &r.verification {
        Some(v) if v.verified => {
            format!(" ({} looks in a row, {})", v.looks, super::human_duration(v.elapsed_ms))
        }
        _ => String::new(),
    };
    let word = r.outcome.word().replace('-', " ");
    let mut text = format!("{} {}\n", paint.mark(good), paint.strong(&word));
    text.push_str(&paragraph(&format!("{}{looks}", r.reason), 2, out));
    for hint in &r.hints {
        text.push_str(&format!("  {} {}\n", paint.faint("try:"), text::line(hint)));
    }
    if let Some(id) = &r.incident {
        // A step that failed may stand all the same: its journal knows.
        let stands = |s: &StepRow| matches!(s.status, StepStatus::Done | StepStatus::Failed);
        let back = r.steps.iter().any(|s| s.undo.is_some() && stands(s));
        text.push_str(&format!("  {} mcp-ir incident show {id}\n", paint.faint("more:")));
        if back {
            text.push_str(&format!("  {} mcp-ir undo {id}\n", paint.faint("back:")));
        }
    }
    text
}

/// What an undo came to.
pub fn undone(id: &str, outcome: &str, reason: &str, taken: &[Taken], out: &Out) -> String {
    let paint = Paint(out.colors);
    let mut text = String::new();
    for t in taken {
        let (good, n, words) = match t {
            Taken::Back { n, detail, .. } => (Some(true), n, detail),
            Taken::Refused { n, why } => (None, n, why),
            Taken::Failed { n, why } => (Some(false), n, why),
        };
        text.push_str(&marked(good, &format!("step {n}: {words}"), out));
    }
    let good = match outcome {
        "undone" | "nothing-to-do" => Some(true),
        "failed" => Some(false),
        _ => None,
    };
    text.push_str(&format!("{} {} {id}\n", paint.mark(good), paint.strong(&outcome.replace('-', " "))));
    text.push_str(&paragraph(reason, 2, out));
    text
}

fn paragraph(words: &str, indent: usize, out: &Out) -> String {
    let pad = " ".repeat(indent);
    text::wrap(&text::line(words), out.width.saturating_sub(indent))
        .iter()
        .map(|l| format!("{pad}{l}\n"))
        .collect()
}
