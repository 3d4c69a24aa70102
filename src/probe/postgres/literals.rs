//! Masks the literals of a statement: what people stored is nobody's business in a report.
//! Strings and numbers become `?`; names, keywords and shape stay. Linear, never fails.

/// The statement on one line, literals masked, comments left out, cut to `limit` characters.
pub fn mask(sql: &str, limit: usize) -> String {
    let chars: Vec<char> = sql.chars().collect();
    let mut out = String::new();
    let mut i = 0;
    let mut after_word = false;
    while i < chars.len() {
        let c = chars[i];
        if let Some(end) = end_of_comment(&chars, i) {
            i = end;
            space(&mut out);
            after_word = false;
            continue;
        }
        match c {
            '\'' => {
                // `E'…'` has backslashes; others double the quote.
                let escapes = ends_with_e(&chars[..i]);
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
                while i < chars.len() && (chars[i].is_ascii_alphanumeric() || matches!(chars[i], '.' | '_')) {
                    i += 1;
                }
                out.push('?');
                continue;
            }
            c if c.is_whitespace() => {
                space(&mut out);
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

fn space(out: &mut String) {
    if !out.ends_with(' ') && !out.is_empty() {
        out.push(' ');
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Whether the word before a quote is `E` and no more: `LIKE'…'` has no backslashes.
fn ends_with_e(before: &[char]) -> bool {
    match before {
        [.., c, 'E' | 'e'] => !in_word(*c),
        ['E' | 'e'] => true,
        _ => false,
    }
}

/// `-- …` to the end of the line, `/* … */` with others inside. An apostrophe in one opens nothing.
fn end_of_comment(chars: &[char], start: usize) -> Option<usize> {
    let at = |i: usize| (chars.get(i).copied(), chars.get(i + 1).copied());
    match at(start) {
        (Some('-'), Some('-')) => {
            Some(chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| start + n))
        }
        (Some('/'), Some('*')) => {
            let (mut i, mut depth) = (start + 2, 1);
            while i < chars.len() && depth > 0 {
                let step = match at(i) {
                    (Some('/'), Some('*')) => (2, 1),
                    (Some('*'), Some('/')) => (2, -1),
                    _ => (1, 0),
                };
                i += step.0;
                depth += step.1;
            }
            Some(i)
        }
        _ => None,
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
mod tests;
