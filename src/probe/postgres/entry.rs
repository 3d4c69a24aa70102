//! An entry of PostgreSQL's own log as it may be kept: it may tell what people stored in its statement,
//! its detail, its parameters. Names and shape stay, values go. What is no entry of it is left as it is.

use super::{literals, statement};

/// How long an entry may be.
const CHARS: usize = 2000;
/// What stands before the text of an entry, with two spaces; whose text is a statement, or values.
const VALUES: [&str; 4] = ["STATEMENT:  ", "QUERY:  ", "CONTEXT:  ", "DETAIL:  "];
const LEVELS: [&str; 9] = [
    "DEBUG:  ",
    "LOG:  ",
    "INFO:  ",
    "NOTICE:  ",
    "WARNING:  ",
    "ERROR:  ",
    "FATAL:  ",
    "PANIC:  ",
    "HINT:  ",
];
/// `log_statement`, `log_min_duration_statement`: a statement follows.
const BEFORE: [&str; 5] = [" statement: ", " execute ", " parse ", " bind ", "LOG:  statement: "];

/// Whether PostgreSQL wrote it: lines that follow and begin with a tab go on with it.
pub fn is_entry(line: &str) -> bool {
    VALUES.iter().chain(&LEVELS).any(|level| line.contains(level))
}

/// The whole of an entry, its lines in one; or its first line alone.
pub fn entry(text: &str) -> String {
    let after = |words: &[&str]| words.iter().filter_map(|w| Some(text.find(w)? + w.len())).min();
    let level = after(&LEVELS);
    let split = |at: usize| (&text[..at], &text[at..]);
    match after(&VALUES).filter(|at| level.is_none_or(|l| *at < l)).map(split) {
        Some((head, detail)) if head.ends_with("DETAIL:  ") => format!("{head}{}", told(detail)),
        Some((head, sql)) => format!("{head}{}", literals::mask(&refused(sql), CHARS)),
        None => match after(&BEFORE).filter(|_| level.is_some()).map(split) {
            Some((head, sql)) => format!("{head}{}", literals::mask(sql, CHARS)),
            None if text.contains("ERROR:  ") => refused(&statement(text)),
            None => statement(text),
        },
    }
}

/// Values, a statement; or words, whose figures tell what is wrong.
fn told(detail: &str) -> String {
    let values = stored(detail);
    // `Process 7: UPDATE …` of a deadlock, `parameters: $1 = …`.
    let sql = values.starts_with("Process ") && !values.contains(" waits for ");
    if sql || values.contains('\'') || values.starts_with("parameters: ") {
        return literals::mask(&values, CHARS);
    }
    statement(&values)
}

/// `Key (email)=(ann@example.org) already exists.`, `Failing row contains (1, ann, …).`
fn stored(detail: &str) -> String {
    let begin = ["=(", "contains ("].iter().filter_map(|w| Some(detail.find(w)? + w.len())).min();
    match begin.and_then(|from| Some((from, detail.rfind(')').filter(|to| *to >= from)?))) {
        Some((from, to)) => format!("{}?{}", &detail[..from], &detail[to..]),
        None => detail.to_owned(),
    }
}

/// `invalid input syntax for type integer: "abc"`; a name stands before the colon.
fn refused(text: &str) -> String {
    match text.find(": \"").map(|at| at + 3) {
        Some(from) => match text.rfind('"').filter(|to| *to >= from) {
            Some(to) => format!("{}?{}", &text[..from], &text[to..]),
            None => format!("{}?", &text[..from]),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_stored_is_not_kept() {
        for (line, kept) in [
            (
                "ann@app ERROR:  duplicate key value violates unique constraint \"k\"",
                "ann@app ERROR:  duplicate key value violates unique constraint \"k\"",
            ),
            ("DETAIL:  Key (email)=(ann@x.org) already exists.", "DETAIL:  Key (email)=(?) already exists."),
            ("DETAIL:  Failing row contains (7, ann, (x)).", "DETAIL:  Failing row contains (?)."),
            ("DETAIL:  parameters: $1 = 'ann', $2 = '7'", "DETAIL:  parameters: $1 = ?, $2 = ?"),
            ("STATEMENT:  SELECT 1 FROM t WHERE a = 'x'", "STATEMENT:  SELECT ? FROM t WHERE a = ?"),
            ("LOG:  statement: INSERT INTO t VALUES ('ann')", "LOG:  statement: INSERT INTO t VALUES (?)"),
            (
                "LOG:  duration: 12.5 ms  execute s1: SELECT * FROM t WHERE a = 'b'",
                "LOG:  duration: 12.5 ms  execute s1: SELECT * FROM t WHERE a = ?",
            ),
            (
                "ERROR:  invalid input syntax for type integer: \"ann\"",
                "ERROR:  invalid input syntax for type integer: \"?\"",
            ),
            ("FATAL:  database \"shop\" does not exist", "FATAL:  database \"shop\" does not exist"),
            ("LOG:  checkpoint complete: wrote 3 buffers", "LOG:  checkpoint complete: wrote 3 buffers"),
            (
                "DETAIL:  Process 7: UPDATE t SET a = 42 WHERE b = 'x'",
                "DETAIL:  Process ?: UPDATE t SET a = ? WHERE b = ?",
            ),
            (
                "DETAIL:  Failed process was running: SELECT 'x'",
                "DETAIL:  Failed process was running: SELECT ?",
            ),
            (
                "DETAIL:  The data directory was initialized by PostgreSQL version 14.",
                "DETAIL:  The data directory was initialized by PostgreSQL version 14.",
            ),
            ("CONTEXT:  COPY t, line 1, column a: \"ann\"", "CONTEXT:  COPY t, line ?, column a: \"?\""),
            // Its other lines are elsewhere.
            (
                "ERROR:  invalid input syntax for type integer: \"ann",
                "ERROR:  invalid input syntax for type integer: \"?",
            ),
            (
                "FATAL:  invalid value for parameter \"max_connections\": \"many\"",
                "FATAL:  invalid value for parameter \"max_connections\": \"many\"",
            ),
            // A statement that holds the words of a level is still one.
            ("STATEMENT:  SELECT 'ERROR:  x'", "STATEMENT:  SELECT ?"),
            ("a service's own 'words' of 7", "a service's own 'words' of 7"),
        ] {
            assert_eq!(entry(line), kept);
        }
    }

    #[test]
    fn an_entry_is_told_from_anothers_line() {
        assert!(is_entry("2026-11-24 18:19:49.368 UTC [7] LOG:  ready"));
        assert!(!is_entry("INFO: started") && !is_entry("\tat Main.main"));
    }
}
