//! The report that people read at 03:12: the verdict, the root, why, and what to type next.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::groups::{self, Group, groups};
use super::out::Out;
use super::style::Paint;
use super::table::plain;
use super::text::{self, count};
use crate::diagnosis::{
    Certainty, Diagnosis, Finding, Severity, Symptom, SymptomState, Verdict, changed_line,
};

/// So many targets are still shown one by one; of more only those that are not well, and so many.
const TARGETS: usize = 20;
const UNWELL: usize = 10;

pub fn diagnosis(d: &Diagnosis, out: &Out) -> String {
    let page = Page { d, width: out.width, paint: Paint(out.colors), all: out.all };
    let mut text = page.headline();
    if !out.quiet {
        text.push_str(&page.compared());
        text.push_str(&page.changed());
    }
    text.push('\n');
    let roots = || d.findings.iter().filter(|f| f.is_root());
    for root in groups(roots().filter(|f| f.severity < Severity::P4), out.all) {
        text.push_str(&page.root(&root));
    }
    text.push_str(&page.unknown());
    if !out.quiet {
        text.push_str(&page.symptoms());
        text.push_str(&page.notes(&groups(roots().filter(|f| f.severity == Severity::P4), out.all)));
        text.push_str(&page.unseen());
    }
    text
}

struct Page<'a> {
    d: &'a Diagnosis,
    width: usize,
    paint: Paint,
    all: bool,
}

impl Page<'_> {
    fn headline(&self) -> String {
        let d = self.d;
        let problems = |root: bool| {
            d.findings.iter().filter(|f| f.is_root() == root && f.severity < Severity::P4).count()
        };
        let (roots, rest) = (problems(true), problems(false));
        let (mark, about) = match d.verdict {
            Verdict::Healthy => ("✓", format!("{} looked at", count(d.symptoms.len(), "target"))),
            Verdict::Problem => ("✗", {
                let severity = d.severity.map_or("", Severity::word);
                let rest = if rest > 0 { format!(", {}", count(rest, "consequence")) } else { String::new() };
                format!("{severity} · {}{rest}", count(roots, "root cause"))
            }),
            Verdict::Unknown => ("?", format!("{} can't be judged", count(d.unknown.len(), "target"))),
        };
        let word = self.paint.verdict(d.verdict, &format!("{mark} {}", d.verdict.word()));
        let from = text::line(&d.vantage.host).into_owned();
        let tail = format!("{} from {from}", duration(d.elapsed_ms));
        let used = text::width(d.verdict.word()) + text::width(&about) + text::width(&tail) + 8;
        let (tail, faint) = (text::wrap(&tail, self.width.saturating_sub(2)), |t: &str| self.paint.faint(t));
        if used <= self.width {
            return format!("{word}   {about} · {}\n", faint(&tail.join(" ")));
        }
        // A long name of the host goes below.
        let tail: String = tail.iter().map(|l| format!("  {}\n", faint(l))).collect();
        format!("{word}   {about}\n{tail}")
    }

    fn compared(&self) -> String {
        let Some(before) = self.d.compared_with else { return String::new() };
        let seconds = self.d.taken_at.duration_since(before).as_secs_f64();
        let apart =
            if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) };
        self.paragraph(&format!("compared with the look of {apart} before"), 2)
    }

    /// Line two: what to think of before anything else. It is no cause, and stands under none.
    fn changed(&self) -> String {
        let room = self.width.saturating_sub(2);
        let fits = |t: &str| text::width(&text::line(t)) <= room;
        match changed_line(&self.d.changes, self.d.taken_at, fits) {
            Some(line) => self.paragraph(&line, 2),
            None => String::new(),
        }
    }

    fn root(&self, group: &Group) -> String {
        let f = group.first();
        let mut out = self.title(group);
        if let Some(who) = group.who(self.all) {
            out.push_str(&self.paragraph(&who, 4));
            out.push_str(&self.paragraph("the first of them:", 4));
        }
        out.push_str(&self.paragraph(&f.summary, 4));
        out.push('\n');
        let evidence: Vec<Vec<String>> =
            f.evidence.iter().map(|e| vec![e.probe.clone(), e.fact.clone(), e.value.clone()]).collect();
        out.push_str(&self.section("why", &plain(&evidence, 6, self.width, 30)));
        let explained: Vec<Vec<String>> =
            groups(self.d.findings.iter().filter(|c| group.explains(c)), self.all)
                .iter()
                .map(|g| {
                    let who = g.who(self.all).map(|w| format!(": {w}")).unwrap_or_default();
                    vec![g.first().severity.word().into(), format!("{}{who}", g.title())]
                })
                .collect();
        out.push_str(&self.section("explains", &plain(&explained, 6, self.width, 4)));
        out.push_str(&self.section("next", &self.next(f)));
        out.push('\n');
        out
    }

    /// `P1  db-down/postgres-stopped @ postgres      proven, since 03:09:41, 2 min ago`
    fn title(&self, group: &Group) -> String {
        let (f, left) = (group.first(), group.title());
        let mut right = group.certainty();
        if let Some(since) = f.since.filter(|_| group.is_one()) {
            right.push_str(&format!(", since {}", self.clock(since)));
        }
        let used = 4 + text::width(&left) + text::width(&right);
        let gap = " ".repeat(self.width.saturating_sub(used).max(2));
        let right = match f.certainty {
            Certainty::Proven => self.paint.strong(&right),
            Certainty::Likely => right,
        };
        if used + 2 > self.width {
            return format!(
                "{}  {}\n    {right}\n",
                self.paint.severity(f.severity),
                self.paint.strong(&left)
            );
        }
        format!("{}  {}{gap}{right}\n", self.paint.severity(f.severity), self.paint.strong(&left))
    }

    fn next(&self, f: &Finding) -> String {
        let r = &f.remedy;
        // The command stays on one line however long it is: it is there to be copied.
        let mut out = format!("      {}\n", self.paint.command(&text::line(&r.command)));
        out.push_str(&self.paragraph(&format!("{} ({})", r.summary, r.risk.word()), 6));
        let more = format!("mcp-ir runbook {}", r.runbook);
        if more != r.command {
            out.push_str(&format!("      {} {more}\n", self.paint.faint("more:")));
        }
        out
    }

    fn section(&self, name: &str, body: &str) -> String {
        if body.is_empty() { String::new() } else { format!("    {}\n{body}", self.paint.faint(name)) }
    }

    fn unknown(&self) -> String {
        if self.d.unknown.is_empty() {
            return String::new();
        }
        let all = &self.d.unknown;
        let shown = if self.all || all.len() <= TARGETS { all.len() } else { UNWELL };
        let mut rows: Vec<Vec<String>> =
            all[..shown].iter().map(|u| vec![u.subject.clone(), u.why.clone()]).collect();
        if shown < all.len() {
            rows.push(vec!["…".into(), format!("and {} more: -v names them", all.len() - shown)]);
        }
        format!("    {}\n{}\n", self.paint.faint("can't be judged"), plain(&rows, 6, self.width, 30))
    }

    /// Every target with how it stands: the good ones too, so that "healthy" can be checked.
    fn symptoms(&self) -> String {
        let mut out = String::new();
        let shown = self.shown();
        let widest = shown.iter().map(|s| text::width(&text::line(&s.subject))).max().unwrap_or(0).min(30);
        for s in &shown {
            let good = match s.state {
                SymptomState::Good => Some(true),
                SymptomState::Bad => Some(false),
                SymptomState::Unseen => None,
            };
            let says = match self.detail(&s.subject) {
                Some(detail) if good == Some(true) => format!("{} · {detail}", s.says),
                _ => s.says.clone(),
            };
            let name = text::line(&s.subject).into_owned();
            let pad = " ".repeat(widest.saturating_sub(text::width(&name)));
            let lines = text::wrap(&text::line(&says), self.width.saturating_sub(widest + 6).max(20));
            for (i, l) in lines.iter().enumerate() {
                if i == 0 {
                    out.push_str(&format!("  {} {name}{pad}  {l}\n", self.paint.mark(good)));
                } else {
                    out.push_str(&format!("    {}  {l}\n", " ".repeat(widest)));
                }
            }
        }
        if shown.len() < self.d.symptoms.len() {
            let rest = |state| {
                let of = |all: &mut dyn Iterator<Item = &Symptom>| all.filter(|s| s.state == state).count();
                of(&mut self.d.symptoms.iter()) - of(&mut shown.iter().copied())
            };
            let states = [
                (SymptomState::Bad, false, "not well"),
                (SymptomState::Unseen, false, "not seen"),
                (SymptomState::Good, true, "well"),
            ];
            for (state, good, word) in states {
                let n = rest(state);
                if n > 0 {
                    let more = if shown.is_empty() { "" } else { "more " };
                    let mark = self.paint.mark((state != SymptomState::Unseen).then_some(good));
                    out.push_str(&format!("  {mark} {} {more}{word}\n", text::count(n, "target")));
                }
            }
            out.push_str(&self.paint.faint(&self.paragraph("-v names all of them", 2)));
        }
        out
    }

    /// All targets or, of many, the first of those that are not well.
    fn shown(&self) -> Vec<&Symptom> {
        let all = &self.d.symptoms;
        if self.all || all.len() <= TARGETS {
            return all.iter().collect();
        }
        let mut unwell: Vec<_> = all.iter().filter(|s| s.state != SymptomState::Good).collect();
        unwell.sort_by_key(|s| s.state == SymptomState::Unseen);
        unwell.truncate(UNWELL);
        unwell
    }

    /// What the main reading of a target says: its slots, its pool.
    fn detail(&self, subject: &str) -> Option<&str> {
        self.d
            .readings
            .iter()
            .filter(|r| r.subject == subject && r.outcome == "seen")
            .find(|r| r.probe == "postgres sessions" || r.probe == "http health")
            .map(|r| r.detail.as_str())
    }

    fn notes(&self, notes: &[Group]) -> String {
        let mut out = String::new();
        for group in notes {
            let who = group.who(self.all).map(|w| format!(" ({w})")).unwrap_or_default();
            let line = format!("note: {}{who}: {}", group.title(), group.first().summary);
            out.push_str(&self.paragraph(&line, 2));
        }
        out
    }

    /// Looks that gave nothing and hold no verdict back; and what is not looked at at all.
    fn unseen(&self) -> String {
        let mut out = String::new();
        let denied = self.d.readings.iter().filter(|r| r.outcome == "denied").count();
        if denied > 0 {
            out.push_str(&self.paragraph(
                &format!(
                    "{} not permitted: `mcp-ir config check` shows how to grant them",
                    count(denied, "look")
                ),
                2,
            ));
        }
        let names: Vec<&str> = self
            .d
            .readings
            .iter()
            .filter(|r| r.outcome == "not-asked" && (r.probe == "redis" || r.probe == "ollama"))
            .map(|r| r.subject.as_str())
            .collect();
        if !names.is_empty() {
            out.push_str(&self.paint.faint(&self.paragraph(
                &format!("not looked at yet: {}", groups::names(names.iter().copied(), self.all)),
                2,
            )));
        }
        out
    }

    fn paragraph(&self, words: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let lines = text::wrap(&text::line(words), self.width.saturating_sub(indent));
        lines.iter().map(|l| format!("{pad}{l}\n")).collect()
    }

    /// In the reader's own time zone; the age by the snapshot's own time.
    fn clock(&self, at: Timestamp) -> String {
        let age = self.d.taken_at.duration_since(at).as_secs_f64().max(0.0);
        let day = if age > 43_200.0 { "%F %T" } else { "%T" };
        let clock = at.to_zoned_datetime(TimeZone::system()).strftime(day).to_string();
        let ago = match age {
            a if a < 120.0 => format!("{a:.0} s"),
            a if a < 7200.0 => format!("{:.0} min", a / 60.0),
            a if a < 172_800.0 => format!("{:.0} h", a / 3600.0),
            a => format!("{:.0} days", a / 86400.0),
        };
        format!("{clock}, {ago} ago")
    }
}

pub fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

/// Every reading as a row: `-v`.
pub fn readings(d: &Diagnosis, out: &Out) -> String {
    let rows: Vec<Vec<String>> = d
        .readings
        .iter()
        .map(|r| {
            let took = if r.elapsed_ms > 0.0 { format!("{:.1} ms", r.elapsed_ms) } else { String::new() };
            vec![r.probe.clone(), r.subject.clone(), r.outcome.clone(), took, r.detail.clone()]
        })
        .collect();
    format!("\n    {}\n{}", Paint(out.colors).faint("readings"), plain(&rows, 6, out.width, 26))
}
