//! Incidents for people: the list, and the timeline of one.

use jiff::tz::TimeZone;

use super::out::Out;
use super::style::Paint;
use super::table::plain;
use super::text;
use crate::incident::{Entry, Event, Hold, Incident};

pub fn list(all: &[Incident], out: &Out) -> String {
    if all.is_empty() {
        return "no incident is kept\n".into();
    }
    let row = |i: &Incident| {
        let at = i.opened_at.to_zoned_datetime(TimeZone::system()).strftime("%F %T").to_string();
        vec![i.id.clone(), at, i.status().word().into(), i.about.clone()]
    };
    plain(&all.iter().map(row).collect::<Vec<_>>(), 0, out.width, 30)
}

/// A hold, or that there is none.
pub fn hold(hold: Option<&Hold>, words: &str, out: &Out) -> String {
    let Some(hold) = hold else { return format!("{words}\n") };
    let at = |t: jiff::Timestamp| t.to_zoned_datetime(TimeZone::system()).strftime("%F %T").to_string();
    let until = hold.until.map_or_else(String::new, |until| format!(", until {}", at(until)));
    let line = format!("{words} by {} since {}{until}: {}", hold.by, at(hold.since), hold.reason);
    text::wrap(&text::line(&line), out.width).iter().map(|l| format!("{l}\n")).collect()
}

pub fn timeline(i: &Incident, out: &Out) -> String {
    let paint = Paint(out.colors);
    let mut out_text =
        format!("{}   {} · {}\n", paint.strong(&i.id), i.status().word(), text::line(&i.about));
    for line in text::wrap(&text::line(&i.summary), out.width.saturating_sub(2)) {
        out_text.push_str(&format!("  {line}\n"));
    }
    out_text.push('\n');
    let row = |e: &Entry| {
        let at = e.at.to_zoned_datetime(TimeZone::system()).strftime("%F %T%.3f").to_string();
        vec![at, words(&e.event)]
    };
    out_text.push_str(&plain(&i.entries.iter().map(row).collect::<Vec<_>>(), 2, out.width, 30));
    if i.torn {
        out_text.push_str("  its last line is being written, or was cut off\n");
    }
    if i.unread > 0 {
        out_text.push_str(&format!("  {} that this version can't read\n", text::count(i.unread, "line")));
    }
    let back = i.standing().iter().any(|o| o.undo.is_some());
    if back {
        out_text.push_str(&format!("\n  {} mcp-ir undo {}\n", paint.faint("back:"), i.id));
    }
    out_text
}

fn words(e: &Event) -> String {
    match e {
        Event::Opened { user, host, program, .. } => format!("opened by {user} on {host} ({program})"),
        Event::Planned { run, plan, .. } => {
            format!(
                "recovery {run}: a plan of {}, {}",
                text::count(plan.steps.len(), "step"),
                plan.risk().word()
            )
        }
        Event::Consented { how, reason, .. } => {
            let reason = reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            format!("agreed to ({how}){reason}")
        }
        Event::Captured { file: Some(file), .. } => format!("kept before it is ended: {file}"),
        Event::Captured { why_not, .. } => {
            format!("the look of before is not kept: {}", why_not.as_deref().unwrap_or_default())
        }
        Event::Intent { n, describe, .. } => format!("step {n} begins: {describe}"),
        Event::Done { n, detail, already, .. } => {
            format!("step {n} {}: {detail}", if *already { "was so already" } else { "is done" })
        }
        Event::StepFailed { n, why, touched, .. } => {
            let what = if *touched { "failed" } else { "was not done" };
            format!("step {n} {what}: {why}")
        }
        Event::Verified { looks, says, .. } => format!("verified by {looks} looks in a row: {says}"),
        Event::Unverified { why, .. } => format!("not verified: {why}"),
        Event::Left { n, .. } => match n {
            Some(n) => format!("left by the second signal during step {n}: what it came to is not known"),
            None => "left by the second signal".into(),
        },
        Event::Ended { outcome, reason, .. } => format!("{}: {reason}", outcome.word()),
        Event::UndoIntent { n, describe, by, .. } => format!("step {n} is taken back ({by}): {describe}"),
        Event::Undone { n, detail, .. } => format!("step {n} is taken back: {detail}"),
        Event::UndoFailed { n, why, .. } => format!("step {n} is not taken back: {why}"),
        Event::Unknown => "an event that this version does not know".into(),
    }
}
