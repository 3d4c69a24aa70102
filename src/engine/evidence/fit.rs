//! All that was gathered, within a limit: what is more telling stands first, and keeps its whole length.

use jiff::Timestamp;

use crate::probe::evidence::Excerpt;

/// What is left of a limit for one more is at least this, or it is left out.
const LEAST: usize = 1 << 10;

/// One file, or why it is none.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Where it belongs in the folder.
    pub path: String,
    pub what: String,
    /// Where it was had from.
    pub source: String,
    pub at: Timestamp,
    pub keep: Keep,
    pub text: Result<Excerpt, String>,
}

/// What of it counts, where there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Begin,
    /// Of a log.
    End,
    /// A document: cut, it is none.
    Whole,
}

/// Cuts, or leaves out, what is beyond `limit` bytes; each says so.
pub fn fit(mut pieces: Vec<Piece>, limit: usize) -> Vec<Piece> {
    let mut left = limit;
    for piece in &mut pieces {
        let Ok(excerpt) = &mut piece.text else { continue };
        let size = excerpt.text.len();
        if size > left {
            if piece.keep == Keep::Whole || left < LEAST {
                piece.text =
                    Err(format!("left out: its {size} bytes are beyond the limit of {limit} for all"));
                continue;
            }
            cut(&mut excerpt.text, left, piece.keep);
            excerpt.cut = true;
        }
        left -= excerpt.text.len();
    }
    pieces
}

/// To whole lines, if there are any.
fn cut(text: &mut String, to: usize, keep: Keep) {
    if keep == Keep::End {
        let mut from = text.len() - to;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        let whole = text[..from].ends_with('\n');
        let line = text[from..].find('\n').filter(|_| !whole).map_or(from, |at| from + at + 1);
        text.drain(..line);
        return;
    }
    let mut end = to;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = text[..end].rfind('\n').map_or(end, |at| at + 1);
    text.truncate(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(keep: Keep, text: &str) -> Piece {
        Piece {
            path: "a".into(),
            what: String::new(),
            source: String::new(),
            at: Timestamp::UNIX_EPOCH,
            keep,
            text: Ok(Excerpt::of(text.into())),
        }
    }

    #[test]
    fn what_stands_first_is_whole_and_a_log_keeps_its_end() {
        let lines: String = (0..1000).map(|n| format!("line {n:04}\n")).collect();
        let all = vec![
            piece(Keep::Whole, "{}"),
            piece(Keep::End, &lines),
            piece(Keep::Begin, "more\n"),
            piece(Keep::Whole, "{}"),
        ];
        let seen = fit(all.clone(), 5002);
        let text = |n: usize| seen[n].text.as_ref().map(|e| (e.text.len(), e.cut));
        assert_eq!(text(0), Ok((2, false)));
        assert_eq!(text(1), Ok((5000, true)));
        assert!(seen[1].text.as_ref().is_ok_and(|e| e.text.ends_with("line 0999\n")));
        assert!(text(2).is_err_and(|why| why.contains("5 bytes are beyond the limit of 5002")));
        assert!(text(3).is_err());
        let begin = fit(vec![piece(Keep::Begin, &lines)], 2048);
        assert!(
            begin[0].text.as_ref().is_ok_and(|e| e.text.starts_with("line 0000\n") && e.text.len() == 2040)
        );
        assert!(fit(all, 1 << 20).iter().all(|p| p.text.as_ref().is_ok_and(|e| !e.cut)));
    }

    #[test]
    fn letters_are_never_cut_in_two() {
        for limit in 1024..1030 {
            for keep in [Keep::Begin, Keep::End] {
                let seen = fit(vec![piece(keep, &"äöü€".repeat(500))], limit);
                assert!(seen[0].text.as_ref().is_ok_and(|e| e.text.len() <= limit && e.cut));
            }
        }
    }
}
