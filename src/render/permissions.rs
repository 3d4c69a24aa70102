//! The preflight as a table: what is missing first, each with the line that grants it.

use super::out::Out;
use super::style::Paint;
use super::text::{self, count};
use crate::diagnosis::{Permission, Permit};

pub fn permissions(all: &[Permission], out: &Out) -> String {
    let paint = Paint(out.colors);
    let missing = all.iter().filter(|p| p.state == Permit::Missing).count();
    let untried = all.iter().filter(|p| p.state == Permit::Untried).count();
    let mut page = match (missing, untried) {
        (0, 0) => format!("{} of {} looks are permitted\n\n", all.len(), all.len()),
        (0, n) => format!("nothing is missing; {} could not be tried\n\n", count(n, "look")),
        (n, _) => format!("{} missing of {}\n\n", count(n, "permission"), all.len()),
    };
    let wide = |f: fn(&Permission) -> &str| {
        all.iter().map(|p| text::width(&text::line(f(p)))).max().unwrap_or(0).min(28)
    };
    let (what, subject) = (wide(|p| &p.what), wide(|p| &p.subject));
    for p in all {
        let mark = paint.mark(match p.state {
            Permit::Granted => Some(true),
            Permit::Missing => Some(false),
            Permit::Untried => None,
        });
        let pad = |t: &str, w: usize| {
            let t = text::line(t).into_owned();
            let fill = w.saturating_sub(text::width(&t));
            format!("{t}{}", " ".repeat(fill))
        };
        let head = format!("{}  {}", pad(&p.what, what), pad(&p.subject, subject));
        let room = out.width.saturating_sub(what + subject + 8).max(20);
        for (i, line) in text::wrap(&text::line(&p.says), room).iter().enumerate() {
            if i == 0 {
                page.push_str(&format!("  {mark} {head}  {line}\n"));
            } else {
                page.push_str(&format!("{}{line}\n", " ".repeat(what + subject + 8)));
            }
        }
        if let Some(grant) = &p.grant {
            page.push_str(&format!("      {}\n", paint.command(&text::line(grant))));
        }
    }
    page
}
