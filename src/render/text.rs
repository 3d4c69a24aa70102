//! Others' text, made safe to print: no escape, no bell, no reordering reaches a terminal.
//! What is replaced stays visible as `\x1b` or `\u{202e}`: nothing is hidden.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

/// Characters that command a terminal or reorder a line.
fn unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line, printable. A line break becomes a space, so that a table stays a table.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            '\r' => {}
            c if unsafe_char(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Several lines, printable: line breaks stay. A tab becomes a space, so that a mark beneath a column
/// stays beneath it.
pub fn block(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| unsafe_char(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if unsafe_char(c) && c != '\n' => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn escape(c: char) -> String {
    if c.is_ascii() { format!("\\x{:02x}", c as u32) } else { format!("\\u{{{:x}}}", c as u32) }
}

/// A JSON document whose strings hold no raw control character: JSON itself only forbids those
/// below U+0020, a terminal also obeys those from U+0080 to U+009F.
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if unsafe_char(c) && c != '\n' {
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Breaks a text into lines of at most `width` columns, at spaces where it can.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in text.split(' ') {
        let needed = self::width(&current) + usize::from(!current.is_empty()) + self::width(word);
        if needed <= width {
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
            continue;
        }
        if !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
        // A word longer than the line is cut.
        for c in word.chars() {
            if self::width(&current) + 1 > width.max(1) {
                lines.push(std::mem::take(&mut current));
            }
            current.push(c);
        }
    }
    if !current.is_empty() || lines.is_empty() {
        lines.push(current);
    }
    lines
}

/// `1 target`, `3 targets`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_text_cannot_command_the_terminal() {
        assert_eq!(line("a\x1b[31mred\x07\u{9b}2J"), "a\\x1b[31mred\\x07\\u{9b}2J");
        assert_eq!(line("two\nlines\r"), "two lines");
        assert_eq!(line("safe → ünïcode"), "safe → ünïcode");
        assert_eq!(line("evil\u{202e}txt"), "evil\\u{202e}txt");
        assert_eq!(block("a\n\tb\x1b"), "a\n b\\x1b");
        let doc = serde_json::to_string(&"\u{9b}2J\u{7f}\x1b").unwrap();
        let safe = json(&doc);
        assert!(safe.is_ascii() && !safe.contains('\u{7f}'), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "\u{9b}2J\u{7f}\x1b");
    }

    #[test]
    fn lines_keep_within_their_width() {
        for (text, w) in [("a bb ccc dddd", 5), ("aaaaaaaaaaaa b", 4), ("", 10), ("日本語のテキスト", 6)]
        {
            for l in wrap(text, w) {
                assert!(width(&l) <= w.max(2), "{l:?} in {w}");
            }
        }
        assert_eq!(wrap("a bb ccc", 80), ["a bb ccc"]);
    }
}
