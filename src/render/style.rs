//! The few colours there are, by what they mean. Without colours the words say the same.

use owo_colors::{OwoColorize, Style};

use crate::diagnosis::{Severity, Verdict};

#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, text: &str, style: Style) -> String {
        if self.0 { text.style(style).to_string() } else { text.to_owned() }
    }

    pub fn verdict(self, v: Verdict, text: &str) -> String {
        let style = match v {
            Verdict::Healthy => Style::new().green(),
            Verdict::Problem => Style::new().red(),
            Verdict::Unknown => Style::new().yellow(),
        };
        self.with(text, style.bold())
    }

    pub fn severity(self, s: Severity) -> String {
        let style = match s {
            Severity::P1 => Style::new().red().bold(),
            Severity::P2 => Style::new().yellow().bold(),
            Severity::P3 => Style::new().yellow(),
            Severity::P4 => Style::new().cyan(),
        };
        self.with(s.word(), style)
    }

    pub fn strong(self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }

    pub fn faint(self, text: &str) -> String {
        self.with(text, Style::new().dimmed())
    }

    pub fn command(self, text: &str) -> String {
        self.with(text, Style::new().cyan().bold())
    }

    pub fn mark(self, good: Option<bool>) -> String {
        match good {
            Some(true) => self.with("✓", Style::new().green()),
            Some(false) => self.with("✗", Style::new().red()),
            None => self.with("?", Style::new().yellow()),
        }
    }
}
