//! The effective configuration as text: valid TOML with the origin of each value, or JSON.
//! It prints nothing itself, and no secret is in what it is given.

use serde_json::{Map, Value, json};

use super::keys::{self, KINDS};
use super::load::Loaded;
use super::origins::Origin;

/// Where the comments begin, and where a line should end.
const COMMENTS: usize = 54;
const WIDTH: usize = 80;

/// TOML that can be loaded again; each line says where its value came from.
pub fn human(loaded: &Loaded) -> String {
    let mut page = Page { loaded, out: String::new() };
    match &loaded.file {
        Some(file) => page.line(&format!("# file: {}", file.display())),
        None => page.line("# file: none"),
    }
    for warning in &loaded.warnings {
        page.line(&format!("# warning: {warning}"));
    }
    page.line("");
    if let Some(values) = values(loaded) {
        page.table(&values, "", "");
    }
    page.out
}

/// The same for programs: `mcp-ir/config/1`.
pub fn as_json(loaded: &Loaded) -> String {
    let origins: Map<String, Value> = loaded.origins.iter().map(|(p, o)| (p.to_owned(), origin(o))).collect();
    let passwords = loaded.secrets.passwords.iter();
    let passwords =
        passwords.map(|(n, p)| json!({ "subject": n, "what": "password", "source": p.source.to_string() }));
    let headers = loaded.secrets.headers.iter().flat_map(|(n, list)| {
        list.iter().map(
            move |h| json!({ "subject": n, "what": format!("header {}", h.name), "source": "headers_file" }),
        )
    });
    let document = json!({
        "schema": "mcp-ir/config/1",
        "file": loaded.file.as_ref().map(|f| f.display().to_string()),
        "config": loaded.config,
        "origins": origins,
        "secrets": passwords.chain(headers).collect::<Vec<_>>(),
        "warnings": loaded.warnings,
    });
    format!("{document:#}\n")
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::File { path, line } => {
            json!({ "from": "file", "file": path.display().to_string(), "line": line })
        }
        Origin::Variable(name) => json!({ "from": "variable", "name": name }),
        Origin::Flag(name) => json!({ "from": "flag", "name": name }),
    }
}

fn values(loaded: &Loaded) -> Option<Map<String, Value>> {
    match serde_json::to_value(&loaded.config) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

struct Page<'a> {
    loaded: &'a Loaded,
    out: String,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// One value or heading with its origin behind it, or above it where there is no room.
    fn with_origin(&mut self, text: &str, path: &str) {
        let origin = match self.loaded.origins.exact(path) {
            Origin::File { line, .. } => format!("line {line}"),
            other => other.to_string(),
        };
        let width = text.chars().count();
        if text.contains('\n') || (width >= COMMENTS && width + 4 + origin.chars().count() > WIDTH) {
            self.line(&format!("# {origin}:"));
            self.line(text);
        } else {
            self.line(&format!("{text:<w$}  # {origin}", w = COMMENTS - 2));
        }
    }

    /// The plain values of a table first, then the tables in it, as TOML demands.
    fn table(&mut self, values: &Map<String, Value>, known: &str, path: &str) {
        let names: Vec<&str> = keys::children(known).filter(|n| values.contains_key(*n)).collect();
        let join =
            |top: &str, name: &str| if top.is_empty() { name.to_owned() } else { format!("{top}.{name}") };
        for name in &names {
            let value = &values[*name];
            if !is_table(value, &join(known, name)) {
                self.with_origin(&assignment(name, value), &join(path, name));
            }
        }
        if KINDS.contains(&known) {
            self.secrets(values);
        }
        for name in &names {
            let (known, path) = (join(known, name), join(path, name));
            match &values[*name] {
                Value::Object(inner) if is_table(&values[*name], &known) => {
                    self.gap();
                    self.with_origin(&format!("[{known}]"), &path);
                    self.table(inner, &known, &path);
                }
                Value::Array(entries) if is_table(&values[*name], &known) => {
                    for (i, entry) in entries.iter().enumerate() {
                        let path = format!("{path}[{i}]");
                        self.gap();
                        self.with_origin(&format!("[[{known}]]"), &path);
                        if let Value::Object(inner) = entry {
                            self.table(inner, &known, &path);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether there is a password, and where it was found.
    fn secrets(&mut self, values: &Map<String, Value>) {
        let Some(name) = values.get("name").and_then(Value::as_str) else { return };
        let loaded = self.loaded;
        if let Some(password) = loaded.secrets.password(name) {
            self.line(&format!("# password: by {}", password.source));
        }
        let names: Vec<&str> = loaded.secrets.headers(name).iter().map(|h| h.name.as_str()).collect();
        if !names.is_empty() {
            self.line(&format!("# headers: {}", names.join(", ")));
        }
    }

    fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

/// Written under a heading of its own?
fn is_table(value: &Value, known: &str) -> bool {
    use keys::Shape;
    let shape = keys::find(known).map(|k| k.shape);
    matches!(
        (shape, value),
        (Some(Shape::Table | Shape::TableOrText), Value::Object(_)) | (Some(Shape::Tables), Value::Array(_))
    )
}

/// `name = value`, a long list with an entry a line.
fn assignment(name: &str, value: &Value) -> String {
    let line = format!("{name} = {}", toml(value));
    match value {
        Value::Array(entries) if line.chars().count() > WIDTH => {
            let entries: String = entries.iter().map(|e| format!("    {},\n", toml(e))).collect();
            format!("{name} = [\n{entries}]")
        }
        _ => line,
    }
}

/// A value as TOML on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::String(s) => text(s),
        Value::Array(entries) => format!("[{}]", entries.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{} = {}", bare(k), toml(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A basic string: JSON's escapes are TOML's, but for DEL.
fn text(text: &str) -> String {
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007f")
}

fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) { key.to_owned() } else { text(key) }
}

#[cfg(test)]
mod tests;
