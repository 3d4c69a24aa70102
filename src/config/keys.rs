//! The one list of every key there may be, with the shape of its value.
//! It knows no values and no files; a test holds it equal to the model.

use crate::error::nearest;

use super::span::Span;

/// What may stand at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any non-empty text without control characters.
    Text,
    /// A connection URL: may hold a password, so it is never shown in an error.
    Url,
    /// A length of time.
    Span,
    /// A number from 0 to 1.
    Fraction,
    /// A whole number from 1.
    Count,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// Anything that JSON can say.
    Any,
    /// A table.
    Table,
    /// A table, or a text in its place.
    TableOrText,
    /// A list of tables.
    Tables,
}

/// One key: its dotted path, without the numbers of list entries.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub path: &'static str,
    pub shape: Shape,
    /// Can `MCP_IR_…` set it?
    pub variable: bool,
}

impl Key {
    /// Its environment variable: `thresholds.pool` is `MCP_IR_THRESHOLDS_POOL`.
    pub fn variable_name(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// How every environment variable of the program begins.
pub const PREFIX: &str = "MCP_IR_";

/// Variables of ours that set no key.
pub const RESERVED: &[&str] =
    &["MCP_IR_CONFIG", "MCP_IR_STATE_DIR", "MCP_IR_OUTPUT", "MCP_IR_COLOR", "MCP_IR_LOG", "MCP_IR_REASON"];

/// Beginnings of variables that belong to others: the lab, and tests.
pub const RESERVED_PREFIXES: &[&str] = &["MCP_IR_LAB_", "MCP_IR_TEST_"];

const fn key(path: &'static str, shape: Shape) -> Key {
    Key { path, shape, variable: false }
}

/// A key that a variable can set too.
const fn var(path: &'static str, shape: Shape) -> Key {
    Key { path, shape, variable: true }
}

/// Every key, in the order in which `config show` and `config init` write them.
pub const KEYS: &[Key] = &[
    var("timeout", Shape::Span),
    key("service", Shape::Tables),
    key("service.name", Shape::Text),
    key("service.url", Shape::Url),
    key("service.health", Shape::TableOrText),
    key("service.health.path", Shape::Text),
    key("service.health.status", Shape::Text),
    key("service.health.pool_used", Shape::Text),
    key("service.health.pool_max", Shape::Text),
    key("service.metrics", Shape::Text),
    key("service.mcp", Shape::Text),
    key("service.smoke", Shape::Table),
    key("service.smoke.argv", Shape::Texts),
    key("service.smoke.method", Shape::Word(&["GET", "HEAD", "POST"])),
    key("service.smoke.path", Shape::Text),
    key("service.smoke.json", Shape::Any),
    key("service.unit", Shape::Text),
    key("service.container", Shape::Text),
    key("service.needs", Shape::Texts),
    key("service.database_env", Shape::Texts),
    key("service.pool", Shape::Table),
    key("service.pool.min_env", Shape::Text),
    key("service.pool.max_env", Shape::Text),
    key("service.pool.max_allowed", Shape::Count),
    key("service.pool.resize", Shape::Text),
    key("service.caches", Shape::Texts),
    key("service.deploy", Shape::TableOrText),
    key("service.deploy.argv", Shape::Texts),
    key("service.capture", Shape::Tables),
    key("service.capture.url", Shape::Url),
    key("service.capture.argv", Shape::Texts),
    key("service.headers_file", Shape::Text),
    key("service.ca_file", Shape::Text),
    key("postgres", Shape::Tables),
    key("postgres.name", Shape::Text),
    var("postgres.url", Shape::Url),
    var("postgres.password_file", Shape::Text),
    key("postgres.password_env", Shape::Text),
    key("postgres.databases", Shape::Texts),
    key("postgres.expect", Shape::Word(&["primary", "standby"])),
    key("postgres.unit", Shape::Text),
    key("postgres.container", Shape::Text),
    key("postgres.data_directory", Shape::Text),
    key("postgres.log", Shape::Text),
    key("postgres.bin_dir", Shape::Text),
    key("pooler", Shape::Tables),
    key("pooler.name", Shape::Text),
    var("pooler.url", Shape::Url),
    var("pooler.password_file", Shape::Text),
    key("pooler.password_env", Shape::Text),
    key("pooler.unit", Shape::Text),
    key("pooler.container", Shape::Text),
    key("pooler.needs", Shape::Texts),
    key("redis", Shape::Tables),
    key("redis.name", Shape::Text),
    var("redis.url", Shape::Url),
    var("redis.password_file", Shape::Text),
    key("redis.password_env", Shape::Text),
    key("redis.expect", Shape::Word(&["primary", "standby"])),
    key("redis.unit", Shape::Text),
    key("redis.container", Shape::Text),
    key("redis.optional", Shape::Flag),
    key("redis.cache_prefixes", Shape::Texts),
    key("ollama", Shape::Tables),
    key("ollama.name", Shape::Text),
    var("ollama.url", Shape::Url),
    key("ollama.model", Shape::Text),
    key("ollama.unit", Shape::Text),
    key("ollama.container", Shape::Text),
    key("ollama.optional", Shape::Flag),
    key("systemd", Shape::Table),
    var("systemd.bus", Shape::Text),
    var("systemd.journal", Shape::Text),
    key("docker", Shape::Table),
    var("docker.host", Shape::Text),
    key("host", Shape::Table),
    var("host.proc", Shape::Text),
    key("guard", Shape::Table),
    var("guard.cooldown", Shape::Span),
    var("guard.budget", Shape::Count),
    key("guard.veto", Shape::Table),
    key("guard.veto.argv", Shape::Texts),
    key("guard.never", Shape::Texts),
    key("thresholds", Shape::Table),
    var("thresholds.pool", Shape::Fraction),
    var("thresholds.pool_recovered", Shape::Fraction),
    var("thresholds.p95", Shape::Span),
    var("thresholds.idle_in_transaction", Shape::Span),
    var("thresholds.long_query", Shape::Span),
    var("thresholds.terminate_after", Shape::Span),
    var("thresholds.slow_query", Shape::Span),
    var("thresholds.recent_failure", Shape::Span),
    var("thresholds.recent_change", Shape::Span),
    var("thresholds.memory", Shape::Fraction),
    var("thresholds.memory_available", Shape::Fraction),
    var("thresholds.descriptors", Shape::Fraction),
    var("thresholds.certificate", Shape::Span),
    var("thresholds.swap", Shape::Count),
];

/// The kinds of things under care: a file that names one kind replaces the built-in ones of it.
pub const KINDS: [&str; 5] = ["service", "postgres", "pooler", "redis", "ollama"];

pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

/// The keys directly in a table; `""` is the whole file.
pub fn children(table: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |k| {
        let rest = match table {
            "" => k.path,
            _ => k.path.strip_prefix(table)?.strip_prefix('.')?,
        };
        (!rest.contains('.')).then_some(rest)
    })
}

/// How a table is written: `[[service]]`, `[thresholds]`, or `pool = { … }` inside another.
pub fn heading(table: &str) -> String {
    match find(table).map(|k| k.shape) {
        Some(Shape::Tables) if !table.contains('.') => format!("[[{table}]]"),
        Some(_) if !table.contains('.') => format!("[{table}]"),
        Some(_) => format!("`{}`", table.rsplit('.').next().unwrap_or(table)),
        None => "the top of the file".into(),
    }
}

/// What to write instead of a key that is not known in this table.
pub fn suggest(table: &str, wrong: &str) -> String {
    let lower = wrong.to_lowercase().replace('-', "_");
    if let Some(near) = nearest(&lower, children(table)) {
        return format!("did you mean `{near}`?");
    }
    let mut elsewhere: Vec<String> = Vec::new();
    for k in KEYS {
        let (parent, last) = k.path.rsplit_once('.').unwrap_or(("", k.path));
        if last == lower {
            elsewhere.push(heading(parent));
        }
    }
    if !elsewhere.is_empty() {
        return format!("`{lower}` belongs in {}", elsewhere.join(" or "));
    }
    let known: Vec<String> = children(table).map(|k| format!("`{k}`")).collect();
    format!("known here: {}", known.join(", "))
}

impl Shape {
    /// What belongs there, with an example.
    pub fn expected(self) -> String {
        match self {
            Shape::Text => "a text in quotes".into(),
            Shape::Url => "a URL in quotes".into(),
            Shape::Span => "a length of time in quotes, such as \"500ms\", \"5s\" or \"10m\"".into(),
            Shape::Fraction => "a number from 0 to 1, such as 0.95".into(),
            Shape::Count => "a whole number from 1 to 4294967295".into(),
            Shape::Flag => "true or false".into(),
            Shape::Word(words) => words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "),
            Shape::Texts => "a list of texts, such as [\"a\", \"b\"]".into(),
            Shape::Any => "a value".into(),
            Shape::Table => "a table, such as { key = \"value\" }".into(),
            Shape::TableOrText => "a text in quotes, or a table such as { path = \"/health\" }".into(),
            Shape::Tables => "a list of tables".into(),
        }
    }

    /// Judges a text as the value of a key; `Err` says what is wrong with it.
    pub fn text(self, text: &str) -> Result<serde_json::Value, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.chars().any(char::is_control) {
            return Err("has a control character in it".into());
        }
        match self {
            Shape::Span => match text.parse::<Span>() {
                Ok(span) => Ok(span.to_string().into()),
                Err(_) => Err(format!("must be {}", self.expected())),
            },
            Shape::Word(words) if !words.contains(&text) => {
                let near = nearest(&text.to_lowercase(), words.iter().copied())
                    .or_else(|| words.iter().copied().find(|w| w.eq_ignore_ascii_case(text)));
                let more = near.map(|n| format!(" (did you mean \"{n}\"?)")).unwrap_or_default();
                Err(format!("must be {}{more}", self.expected()))
            }
            _ => Ok(text.into()),
        }
    }

    /// Judges a number.
    pub fn number(self, number: f64) -> Result<serde_json::Value, String> {
        match self {
            Shape::Fraction if (0.0..=1.0).contains(&number) => Ok(number.into()),
            Shape::Fraction if number > 1.0 && number <= 100.0 => {
                Err(format!("must be {}; for {number} percent write {}", self.expected(), number / 100.0))
            }
            Shape::Count if number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&number) => {
                Ok((number as u32).into())
            }
            _ => Err(format!("must be {}", self.expected())),
        }
    }

    /// Judges the text of an environment variable, where everything is text.
    pub fn variable(self, text: &str) -> Result<serde_json::Value, String> {
        match self {
            Shape::Fraction | Shape::Count => match text.trim().parse::<f64>() {
                Ok(number) => self.number(number),
                Err(_) => Err(format!("must be {}", self.expected())),
            },
            Shape::Flag => {
                text.trim().parse::<bool>().map(Into::into).map_err(|_| "must be true or false".into())
            }
            _ => self.text(text),
        }
    }
}

#[cfg(test)]
mod tests;
