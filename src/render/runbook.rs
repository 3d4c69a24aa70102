//! A runbook on a terminal: its Markdown, with headings and commands marked.

use super::style::Paint;

pub fn markdown(text: &str, colors: bool) -> String {
    let paint = Paint(colors);
    if !colors {
        return text.to_owned();
    }
    let mut code = false;
    let mut out = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if fence {
            code = !code;
            out.push_str(&paint.faint(line));
        } else if code {
            out.push_str(&paint.command(line));
        } else if line.starts_with('#') {
            out.push_str(&paint.strong(line));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
