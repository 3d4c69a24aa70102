//! One TOML text as values with their lines, every key and shape checked on the way.
//! It merges nothing and knows nothing of meaning: an unknown key or a wrong type ends here.

use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

use super::keys::{self, Shape};
use super::origins::{Origin, Origins};

/// Values as JSON, and the line of each.
#[derive(Debug, Default)]
pub struct Layer {
    pub values: Map<String, Value>,
    pub origins: Origins,
}

/// Reads the text of a file. Without a path it is the built-in one, whose values have the origin *default*.
pub fn parse(text: &str, path: Option<&Path>) -> Result<Layer> {
    let lines = Lines::of(text, path);
    // Only the message and the place: the crate's own rendering quotes the line, and that may hold a password.
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map(|s| s.start).unwrap_or_default();
        let hint = if e.message().starts_with("duplicate key") {
            "a key can be given once; give a second service or database its own [[…]] heading"
        } else {
            "texts stand in \"quotes\"; a second service starts with [[service]]; `mcp-ir config init -` shows an example"
        };
        Error::config(format!("invalid TOML {}: {}", lines.origin(at).place(), e.message())).hint(hint)
    })?;
    let mut walk = Walk { lines, origins: Origins::default() };
    let values = walk.table(table.get_ref(), "", "")?;
    Ok(Layer { values, origins: walk.origins })
}

struct Lines<'a> {
    /// Where each line ends.
    ends: Vec<usize>,
    path: Option<&'a Path>,
}

impl<'a> Lines<'a> {
    fn of(text: &str, path: Option<&'a Path>) -> Self {
        Self { ends: text.match_indices('\n').map(|(at, _)| at).collect(), path }
    }

    fn origin(&self, at: usize) -> Origin {
        let Some(path) = self.path else { return Origin::Default };
        Origin::File { path: path.to_owned(), line: 1 + self.ends.partition_point(|end| *end < at) }
    }
}

struct Walk<'a> {
    lines: Lines<'a>,
    origins: Origins,
}

/// Where the walk stands: the key in the list of keys, its full path, and its place in the text.
#[derive(Clone, Copy)]
struct Spot<'a> {
    known: &'a str,
    path: &'a str,
    shape: Shape,
    at: usize,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, known: &str, path: &str) -> Result<Map<String, Value>> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut out = Map::new();
        for (name, value) in entries {
            let word: &str = name.get_ref();
            let at = name.span().start;
            let (known, path) = (join(known, word), join(path, word));
            // A quoted key with a dot in it (`"service.name"`) is not that path.
            let Some(key) = keys::find(&known).filter(|_| !word.contains('.')) else {
                return Err(self.unknown(&known, word, at));
            };
            let spot = Spot { known: &known, path: &path, shape: key.shape, at };
            self.origins.set(path.as_str(), self.lines.origin(at));
            out.insert(word.to_owned(), self.value(value, spot)?);
        }
        Ok(out)
    }

    fn unknown(&self, known: &str, word: &str, at: usize) -> Error {
        let parent = known.strip_suffix(word).and_then(|p| p.strip_suffix('.')).unwrap_or_default();
        let word: String = word.chars().take(60).flat_map(char::escape_debug).collect();
        Error::config(format!("unknown key `{word}` {}", self.lines.origin(at).place()))
            .hint(keys::suggest(parent, &word))
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, spot: Spot<'_>) -> Result<Value> {
        match (spot.shape, value.get_ref()) {
            (Shape::Any, v) => json(v).map_err(|why| self.wrong(spot, &why)),
            (Shape::Table | Shape::TableOrText, DeValue::Table(t)) => {
                Ok(Value::Object(self.table(t, spot.known, spot.path)?))
            }
            (Shape::Tables, DeValue::Array(a)) => {
                let mut out = Vec::new();
                for (i, entry) in a.iter().enumerate() {
                    let path = format!("{}[{i}]", spot.path);
                    let DeValue::Table(t) = entry.get_ref() else {
                        return Err(self.mismatch(entry.get_ref(), Spot { at: entry.span().start, ..spot }));
                    };
                    self.origins.set(path.as_str(), self.lines.origin(entry.span().start));
                    out.push(Value::Object(self.table(t, spot.known, &path)?));
                }
                Ok(Value::Array(out))
            }
            (Shape::Texts, DeValue::Array(a)) => {
                let mut out = Vec::new();
                for (i, entry) in a.iter().enumerate() {
                    let at = entry.span().start;
                    self.origins.set(format!("{}[{i}]", spot.path), self.lines.origin(at));
                    let spot = Spot { at, ..spot };
                    let DeValue::String(s) = entry.get_ref() else {
                        return Err(self.mismatch(entry.get_ref(), spot));
                    };
                    out.push(
                        Shape::Text
                            .text(s)
                            .map_err(|why| self.wrong(spot, &format!("has an entry that {why}")))?,
                    );
                }
                Ok(Value::Array(out))
            }
            (Shape::Flag, DeValue::Boolean(b)) => Ok(Value::Bool(*b)),
            (Shape::Fraction | Shape::Count, DeValue::Integer(n)) => {
                let number = i64::from_str_radix(n.as_str(), n.radix()).map(|n| n as f64).unwrap_or(f64::MAX);
                spot.shape.number(number).map_err(|why| self.wrong(spot, &why))
            }
            (Shape::Fraction, DeValue::Float(n)) => {
                let number = n.as_str().parse().unwrap_or(f64::NAN);
                spot.shape.number(number).map_err(|why| self.wrong(spot, &why))
            }
            (
                Shape::Text | Shape::Url | Shape::Span | Shape::Word(_) | Shape::TableOrText,
                DeValue::String(s),
            ) => spot.shape.text(s).map_err(|why| self.wrong(spot, &why)),
            (_, other) => Err(self.mismatch(other, spot)),
        }
    }

    /// The right type with a value that can't be.
    fn wrong(&self, spot: Spot<'_>, why: &str) -> Error {
        Error::config(format!("`{}` {}: {why}", spot.path, self.lines.origin(spot.at).place()))
            .hint(format!("`mcp-ir config init -` shows `{}` with its default", last(spot.known)))
    }

    /// Another type than what belongs there.
    fn mismatch(&self, value: &DeValue<'_>, spot: Spot<'_>) -> Error {
        let place = self.lines.origin(spot.at).place();
        let found = kind(value);
        let e =
            Error::config(format!("`{}` {place} must be {}, not {found}", spot.path, spot.shape.expected()));
        let name = last(spot.known);
        match (spot.shape, value) {
            (Shape::Tables, DeValue::Table(_)) if !spot.known.contains('.') => {
                e.hint(format!("write [[{name}]] with two brackets: there may be several"))
            }
            (Shape::Tables, DeValue::Table(_)) => e.hint(format!("write {name} = [{{ … }}]")),
            (Shape::Texts, DeValue::String(s))
                if !s.contains(['"', '\\']) && !s.chars().any(char::is_control) =>
            {
                e.hint(format!("write {name} = [\"{s}\"]"))
            }
            (Shape::Span, DeValue::Integer(n)) => {
                e.hint(format!("write {name} = \"{n}s\" if seconds are meant"))
            }
            (Shape::Text | Shape::Word(_), DeValue::Integer(n)) => e.hint(format!("write {name} = \"{n}\"")),
            (Shape::Flag, DeValue::String(s)) if s == "true" || s == "false" => {
                e.hint(format!("write {name} = {s}"))
            }
            (Shape::Fraction | Shape::Count, DeValue::String(_)) => e.hint("numbers stand without quotes"),
            _ => e.hint(format!("`mcp-ir config init -` shows `{name}` with its default")),
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn join(path: &str, word: &str) -> String {
    if path.is_empty() { word.to_owned() } else { format!("{path}.{word}") }
}

fn last(known: &str) -> &str {
    known.rsplit('.').next().unwrap_or(known)
}

/// A free value (the body of a smoke request) as JSON.
fn json(value: &DeValue<'_>) -> std::result::Result<Value, String> {
    Ok(match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => n.into(),
            Err(_) => return Err("holds a whole number that is too large".into()),
        },
        DeValue::Float(n) => match n.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            Some(n) => Value::Number(n),
            None => return Err("holds a number that JSON can't say".into()),
        },
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::String(d.to_string()),
        DeValue::Array(a) => {
            Value::Array(a.iter().map(|v| json(v.get_ref())).collect::<std::result::Result<_, _>>()?)
        }
        DeValue::Table(t) => {
            let mut out = Map::new();
            for (k, v) in t.iter() {
                out.insert(k.get_ref().to_string(), json(v.get_ref())?);
            }
            Value::Object(out)
        }
    })
}

#[cfg(test)]
mod tests;
