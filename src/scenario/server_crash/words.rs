//! What a dying service says, where it can mean one thing only. Pure, and careful: a line that only
//! sounds like it is nothing.

use crate::snapshot::units::LogLine;

/// The setting that was refused, and the line that says so. The last words count: what was only
/// warned of before is not the reason.
pub fn refused_setting(lines: &[&LogLine]) -> Option<(String, String)> {
    let texts: Vec<&str> = lines.iter().map(|l| l.text.trim()).collect();
    // Who ends as it can't reach another has said before what it merely misses.
    if texts.iter().rev().take(LAST).any(|t| speaks_of_a_connection(t)) {
        return None;
    }
    by_validation(&texts).or_else(|| by_environment(&texts)).or_else(|| by_phrase(&texts))
}

/// pydantic's: `1 validation error for Settings`, then the setting on a line of its own, then why.
/// Of a model that holds settings: other models are data.
fn by_validation(texts: &[&str]) -> Option<(String, String)> {
    let at = texts.iter().rposition(|t| t.contains("validation error") && t.contains(" for "))?;
    let model = texts[at].rsplit(" for ").next()?.to_lowercase();
    if !["setting", "config", "environ", "option"].iter().any(|w| model.contains(w)) {
        return None;
    }
    let name = texts.get(at + 1).filter(|n| is_name(n))?;
    let why = texts.get(at + 2).copied().unwrap_or_default();
    let why = why.split(" [type=").next().unwrap_or_default();
    Some(((*name).to_owned(), format!("{}: {name}: {why}", texts[at])))
}

/// `KeyError: 'DATABASE_URL'`, from a look into the environment.
fn by_environment(texts: &[&str]) -> Option<(String, String)> {
    let (last, before) = texts.split_last()?;
    let name = last.strip_prefix("KeyError: '")?.strip_suffix('\'')?;
    let looked = before.iter().rev().take(12).any(|t| t.contains("environ") || t.contains("getenv"));
    (looked && is_variable(name)).then(|| (name.to_owned(), (*last).to_owned()))
}

/// What argument parsers and plain programs say of a value that they can't take.
const PHRASES: [&str; 14] = [
    "invalid value",
    "is not set",
    "not set in the environment",
    "must be set",
    "is required",
    "required but not",
    "missing required",
    "environment variable not found",
    "must be between",
    "must be at most",
    "must be at least",
    "is not a valid",
    "unrecognized arguments:",
    "unexpected argument",
];
/// How far from the end: some print their usage after the refusal.
const LAST: usize = 6;

fn speaks_of_a_connection(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["refused", "timed out", "timeout", "could not connect", "unreachable", "connecting to", "reset by peer"]
        .iter()
        .any(|w| lower.contains(w))
}

fn by_phrase(texts: &[&str]) -> Option<(String, String)> {
    texts.iter().rev().take(LAST).find_map(|text| {
        let lower = text.to_lowercase();
        let harmless = ["warn", "info", "debug", "notice"].iter().any(|w| lower.contains(w));
        if harmless || !PHRASES.iter().any(|p| lower.contains(p)) {
            return None;
        }
        let name = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let name = name.map(|w| w.trim_end_matches('-')).find(|w| is_variable(w) || is_flag(w))?;
        Some((name.to_owned(), (*text).to_owned()))
    })
}

/// `DATABASE_URL`: of capitals, and of more than one word.
fn is_variable(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.trim_matches('_').contains('_')
        && word.chars().all(plain)
        && !word.starts_with(|c: char| c.is_ascii_digit())
}

/// `--listen`
fn is_flag(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|w| w.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// One word, or words with dots between: `pool.max_size`.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}
