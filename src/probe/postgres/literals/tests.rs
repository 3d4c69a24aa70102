//! No literal leaves, however it is written and wherever the statement is cut.

use proptest::prelude::*;

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
        ("SELECT 1_000_000, 0xFF, -5, .25", "SELECT ?, ?, -?, .?"),
        ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD ?"),
        ("", ""),
    ] {
        assert_eq!(mask(sql, 200), want);
    }
    assert_eq!(mask("SELECT aaaaaaaaaaaa", 10), "SELECT aa…");
}

#[test]
fn an_apostrophe_in_a_comment_opens_no_literal() {
    for sql in [
        "SELECT 1 -- don't\n FROM t WHERE a = 'secret'",
        "/* it's */ SELECT 1 FROM t WHERE a = 'secret'",
        "/* it's /* nested's */ ' */ SELECT 1 FROM t WHERE a = 'secret'",
        "SELECT 1 FROM t WHERE a = 'secret' /* never closed 'secret",
        "SELECT 1 FROM t WHERE a = 'secret' -- secret",
    ] {
        let out = mask(sql, 200);
        assert!(!out.contains("secret"), "{sql} gave {out}");
        assert!(out.starts_with("SELECT ? FROM t WHERE a = ?"), "{sql} gave {out}");
    }
}

#[test]
fn a_word_that_ends_with_e_is_no_escape_string() {
    assert_eq!(mask(r"x LIKE'a\' OR y = 'secret'", 200), "x LIKE? OR y = ?");
    assert_eq!(mask(r"E'a\' OR y = ''secret'", 200), "E?");
}

#[test]
fn a_minus_and_a_slash_are_no_comments() {
    assert_eq!(mask("SELECT a - b / c", 200), "SELECT a - b / c");
}

/// Every way to write a text, with the text in it.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("'SECRET'".to_owned()),
        Just("'it''s SECRET'".to_owned()),
        Just(r"E'\'SECRET\\'".to_owned()),
        Just("$$SECRET$$".to_owned()),
        Just("$a1$ ' SECRET $b$ $a1$".to_owned()),
        Just("U&'SECRET'".to_owned()),
        Just("-- SECRET ' \" $$\n".to_owned()),
        Just("/* SECRET ' \" $$ /* */ */".to_owned()),
    ]
}

fn shape() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("SELECT a".to_owned()),
        Just(" = ".to_owned()),
        Just(" LIKE".to_owned()),
        Just(", \"it's\" ".to_owned()),
        Just(" $1 ".to_owned()),
        Just(" - ".to_owned()),
        Just("\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_literal_survives_wherever_it_stands(
        parts in proptest::collection::vec((shape(), literal()), 1..8),
        cut in 0usize..400,
    ) {
        let whole: String = parts.into_iter().map(|(s, l)| format!("{s} {l}")).collect();
        // PostgreSQL cuts a long statement wherever it is.
        let sql: String = whole.chars().take(cut.max(10)).collect();
        let out = mask(&sql, 1000);
        prop_assert!(!out.contains("SECR"), "{} gave {}", sql, out);
    }

    #[test]
    fn any_text_is_masked_without_a_panic(sql in "\\PC{0,200}", limit in 0usize..50) {
        let _ = mask(&sql, limit);
    }

    #[test]
    fn any_mixture_of_marks_is_masked_without_a_panic(sql in "[-/*'\"$Ee a1\\\\\n]{0,80}") {
        let _ = mask(&sql, 1000);
    }
}
