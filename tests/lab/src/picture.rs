//! A terminal's output as an SVG picture, for the README: what is shown is what was printed.
//! Knows the few colours that `mcp-ir` uses, and no other escape.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::fault;
use crate::stack::{Mode, Stack};
use crate::tool::Tool;

#[derive(Debug, Args)]
pub struct PictureArgs {
    /// Where to write it
    pub file: PathBuf,
    /// The tool; without it the one beside this program
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// The fault to show
    #[arg(long, default_value = "postgres-stopped/stopped")]
    pub fault: String,
}

/// A healthy look, the fault, and the look at it: as printed at 80 columns.
pub fn picture(args: &PictureArgs) -> Result<()> {
    let tool = Tool::new(args.binary.as_deref())?;
    let mut stack = Stack::start(Mode::Auto)?;
    let look = |stack: &Stack| -> Result<String> {
        let out = tool.command(stack, &["--color", "always", "diagnose"]).output();
        Ok(String::from_utf8_lossy(&out.context("mcp-ir does not run")?.stdout).into_owned())
    };
    look(&stack)?;
    let healthy = look(&stack)?;
    let fault = fault::find(&args.fault)?;
    fault.inject(&mut stack)?;
    let broken = look(&stack)?;
    fault.heal(&mut stack)?;
    let shown = [
        Shown { command: "mcp-ir diagnose", output: &healthy },
        Shown { command: "mcp-ir diagnose", output: &broken },
    ];
    std::fs::write(&args.file, svg("mcp-ir diagnose", &shown))
        .with_context(|| format!("{} can't be written", args.file.display()))
}

/// The size of a character cell, in pixels at the font size below.
const CELL: (f64, f64) = (8.43, 19.0);
const FONT: f64 = 14.0;
const EDGE: f64 = 18.0;
const BAR: f64 = 34.0;

/// A run of characters of one style.
struct Run {
    column: usize,
    text: String,
    style: Style,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Style {
    bold: bool,
    faint: bool,
    color: Option<u8>,
}

impl Style {
    fn apply(&mut self, codes: &str) {
        for code in codes.split(';') {
            match code {
                "" | "0" => *self = Self::default(),
                "1" => self.bold = true,
                "2" => self.faint = true,
                "22" => (self.bold, self.faint) = (false, false),
                "39" => self.color = None,
                _ => {
                    let n: u8 = code.parse().unwrap_or_default();
                    if (31..=36).contains(&n) {
                        self.color = Some(n);
                    }
                }
            }
        }
    }

    fn fill(self) -> &'static str {
        match self.color {
            Some(31) => "#ff6b68",
            Some(32) => "#6bd968",
            Some(33) => "#f5c451",
            Some(34) => "#6cb6ff",
            Some(35) => "#dcbdfb",
            Some(36) => "#56d4dd",
            _ if self.faint => "#8b949e",
            _ => "#e6edf3",
        }
    }
}

/// One command and what it printed.
pub struct Shown<'a> {
    pub command: &'a str,
    pub output: &'a str,
}

/// The picture of some commands, one below the other.
pub fn svg(title: &str, shown: &[Shown]) -> String {
    let mut lines: Vec<Vec<Run>> = Vec::new();
    for (i, s) in shown.iter().enumerate() {
        if i > 0 {
            lines.push(Vec::new());
        }
        lines.extend(runs(&format!("\x1b[2m$\x1b[0m \x1b[1m{}\x1b[0m", s.command)));
        lines.extend(runs(s.output.trim_end()));
    }
    let columns =
        lines.iter().flatten().map(|r| r.column + r.text.chars().count()).max().unwrap_or(0).max(80);
    let (width, height) =
        (columns as f64 * CELL.0 + 2.0 * EDGE, lines.len() as f64 * CELL.1 + BAR + 2.0 * EDGE);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1117\" stroke=\"#30363d\"/>\n",
        escape(title)
    );
    for (i, fill) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let _ = writeln!(out, "<circle cx=\"{}\" cy=\"18\" r=\"6\" fill=\"{fill}\"/>", 20 + 20 * i);
    }
    let _ = writeln!(
        out,
        "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" \
         font-size=\"{FONT}\" xml:space=\"preserve\">"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = BAR + EDGE + (row as f64 + 0.7) * CELL.1;
        for run in line.iter().filter(|r| !r.text.trim().is_empty()) {
            let lead = run.text.chars().take_while(|c| *c == ' ').count();
            // Viewers fold spaces within a line; these they keep.
            let text = run.text.trim().replace(' ', "\u{a0}");
            let x = EDGE + (run.column + lead) as f64 * CELL.0;
            let weight = if run.style.bold { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{}\"{weight} textLength=\"{:.1}\">{}</text>",
                run.style.fill(),
                text.chars().count() as f64 * CELL.0,
                escape(&text)
            );
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// Lines of styled runs; the style goes on over a line's end, as on a terminal.
fn runs(text: &str) -> Vec<Vec<Run>> {
    let mut style = Style::default();
    text.lines()
        .map(|line| {
            let mut out = Vec::new();
            let mut column = 0;
            for (i, piece) in line.split("\x1b[").enumerate() {
                let text = match piece.split_once('m').filter(|_| i > 0) {
                    Some((codes, rest)) => {
                        style.apply(codes);
                        rest
                    }
                    None => piece,
                };
                if !text.is_empty() {
                    out.push(Run { column, text: text.to_owned(), style });
                    column += text.chars().count();
                }
            }
            out
        })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_printed() {
        let svg = svg("t", &[Shown { command: "x", output: "\x1b[31;1mred <b>\x1b[0m  plain\n  next" }]);
        assert!(svg.contains("fill=\"#ff6b68\" font-weight=\"bold\""), "{svg}");
        assert!(
            svg.contains(">red\u{a0}&lt;b&gt;</text>")
                && svg.contains(">plain</text>")
                && !svg.contains("red <"),
            "{svg}"
        );
        assert!(!svg.contains('\x1b'), "{svg}");
    }
}
