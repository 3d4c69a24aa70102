//! Masks the literals of a statement: what people stored is nobody's business in a report.
//! Strings and numbers become `?`; names, keywords and shape stay. Linear, never fails.

/// The statement on one line, literals masked, cut to `limit` characters.
pub fn mask(sql: &str, limit: usize) -> String {
    let chars: Vec<char> = sql.chars().collect();
    let mut out = String::new();
    let mut i = 0;
    let mut after_word = false;
    while i < chars.len() {
        let c = chars[i];
        match c {
            '\'' => {
                // `E'…'` has backslashes; others double the quote.
                let escapes = out.ends_with(['E', 'e']) && after_word;
                i = end_of_quoted(&chars, i, '\'', escapes);
                out.push('?');
                after_word = false;
                continue;
            }
            '"' => {
                let end = end_of_quoted(&chars, i, '"', false);
                out.extend(&chars[i..end]);
                i = end;
                after_word = true;
                continue;
            }
            '$' => {
                if let Some(end) = end_of_dollar(&chars, i) {
                    out.push('?');
                    i = end;
                    after_word = false;
                    continue;
                }
                out.push(c);
                after_word = true;
            }
            '0'..='9' if !after_word => {
                while i < chars.len() && (chars[i].is_ascii_alphanumeric() || chars[i] == '.') {
                    i += 1;
                }
                out.push('?');
                continue;
            }
            c if c.is_whitespace() => {
                if !out.ends_with(' ') && !out.is_empty() {
                    out.push(' ');
                }
                after_word = false;
            }
            c => {
                out.push(c);
                after_word = c.is_alphanumeric() || c == '_';
            }
        }
        i += 1;
    }
    let out = out.trim_end();
    if out.chars().count() > limit {
        out.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
    } else {
        out.to_owned()
    }
}

/// The index after the closing quote, or the end of a statement that was cut.
fn end_of_quoted(chars: &[char], start: usize, quote: char, escapes: bool) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        if escapes && chars[i] == '\\' {
            i += 2;
        } else if chars[i] == quote {
            if chars.get(i + 1) != Some(&quote) {
                return i + 1;
            }
            i += 2;
        } else {
            i += 1;
        }
    }
    chars.len()
}

/// `$tag$ … $tag$`; `None` for a parameter such as `$1`.
fn end_of_dollar(chars: &[char], start: usize) -> Option<usize> {
    let tag_end = start + 1 + chars[start + 1..].iter().position(|c| *c == '$')?;
    let tag = &chars[start..=tag_end];
    let named = &tag[1..tag.len() - 1];
    if named.first().is_some_and(char::is_ascii_digit)
        || !named.iter().all(|c| c.is_alphanumeric() || *c == '_')
    {
        return None;
    }
    let mut i = tag_end + 1;
    while i + tag.len() <= chars.len() {
        if chars[i] == '$' && &chars[i..i + tag.len()] == tag {
            return Some(i + tag.len());
        }
        i += 1;
    }
    Some(chars.len())
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn what_people_stored_does_not_leave() {
        for (sql, want) in [
            ("SELECT * FROM t WHERE mail = 'a@b.c' AND id = 42", "SELECT * FROM t WHERE mail = ? AND id = ?"),
            ("SELECT 'it''s' , E'a\\'b', 'x'", "SELECT ? , E?, ?"),
            ("SELECT $$secret$$, $t$ it's $t$, $1", "SELECT ?, ?, $1"),
            (
                "SELECT col1, t2.\"Col 3\" FROM t2\n\t WHERE x=1.5e3",
                "SELECT col1, t2.\"Col 3\" FROM t2 WHERE x=?",
            ),
            ("SELECT 'cut off in the midd", "SELECT ?"),
            ("SELECT $$cut", "SELECT ?"),
            ("", ""),
        ] {
            assert_eq!(mask(sql, 200), want);
        }
        assert_eq!(mask("SELECT aaaaaaaaaaaa", 10), "SELECT aa…");
    }

    proptest::proptest! {
        #[test]
        fn no_quoted_text_survives(before in "[a-z ]{0,20}", secret in "[A-Z]{6}", after in "\\PC{0,40}") {
            let out = mask(&format!("{before}'{secret}'{after}"), 1000);
            let kept = out.contains(&secret) && !after.contains(&secret);
            proptest::prop_assert!(!kept, "{}", out);
        }
        #[test]
        fn any_text_is_masked_without_a_panic(sql in "\\PC{0,200}", limit in 0usize..50) {
            let _ = mask(&sql, limit);
        }
    }
}
