//! The passwords that are known by heart, taken out wherever they stand: a program may have logged one in
//! a way that no pattern knows. Beside `mask`, which knows the patterns.

use serde_json::Value;

use super::model::Config;
use super::secret::MASK;
use super::secrets::Secrets;

/// A shorter one is found in words and figures that have nothing to do with it.
const SHORTEST: usize = 6;

#[derive(Clone, Default)]
pub struct Scrub(Vec<String>);

impl Scrub {
    pub fn of(config: &Config, secrets: &Secrets) -> Self {
        let plain = serde_json::to_string(config).unwrap_or_default();
        let passwords = secrets.passwords.values().map(|p| p.secret.reveal());
        // `Authorization: Bearer …`: the scheme is no secret.
        let headers = secrets.headers.values().flatten().flat_map(|h| h.value.reveal().split_whitespace());
        // One that is also a name under care would take all of those out, and hides nothing.
        let hidden = |s: &&str| s.len() >= SHORTEST && !plain.contains(*s);
        let mut all: Vec<String> = passwords.chain(headers).filter(hidden).map(str::to_owned).collect();
        all.sort_by_key(|s| std::cmp::Reverse(s.len()));
        all.dedup();
        Self(all)
    }

    /// The same in the values of a document; its keys are the contract's.
    pub fn json(&self, text: String) -> String {
        if !self.0.iter().any(|secret| text.contains(secret.as_str())) {
            return text;
        }
        let Ok(mut document) = serde_json::from_str(&text) else { return self.text(text) };
        self.values(&mut document);
        serde_json::to_string_pretty(&document).map_or_else(|_| self.text(text), |t| t + "\n")
    }

    fn values(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(std::mem::take(text)),
            Value::Array(all) => all.iter_mut().for_each(|v| self.values(v)),
            Value::Object(all) => all.values_mut().for_each(|v| self.values(v)),
            _ => {}
        }
    }

    /// Nothing is found inside of a longer word.
    pub fn text(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            if !text.contains(secret.as_str()) {
                return text;
            }
            let mut out = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some(at) = rest.find(secret.as_str()) {
                let (before, from) = rest.split_at(at);
                let after = &from[secret.len()..];
                let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                let inside = word(out.chars().last().filter(|_| before.is_empty()).or(before.chars().last()))
                    || word(after.chars().next());
                out.push_str(before);
                out.push_str(if inside { secret } else { MASK });
                rest = after;
            }
            out + rest
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_password_is_taken_out_wherever_it_stands() {
        let scrub = Scrub(vec!["hunter2".into()]);
        for (text, left) in [
            ("dialling with hunter2", "dialling with ****"),
            ("hunter2", "****"),
            ("(hunter2)hunter2;", "(****)****;"),
            ("hunter22 and ahunter2", "hunter22 and ahunter2"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(scrub.text(text.into()), left);
        }
        let seen = scrub.json(r#"{"hunter2":{"a":["is hunter2"],"b":2.5}}"#.into());
        assert_eq!(seen.split_whitespace().collect::<String>(), r#"{"hunter2":{"a":["is****"],"b":2.5}}"#);
    }
}
