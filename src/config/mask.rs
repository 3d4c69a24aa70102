//! Takes secrets out of free text: log lines, messages of other programs, URLs.
//! It errs on the side of hiding, keeps all else, and runs in linear time on hostile input.

use serde::Serializer;

use super::secret::MASK;

/// Serialises a URL without its password.
pub fn url<S: Serializer>(url: &str, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&text(url))
}

/// Masks passwords in URLs, `password=…` and its like, `Bearer …`, `PASSWORD '…'`.
pub fn text(text: &str) -> String {
    let mut scan = Scan { text, done: 0, at: 0, out: String::new(), token: Token::default() };
    while scan.at < text.len() {
        scan.step();
    }
    scan.out.push_str(&text[scan.done..]);
    scan.out
}

/// The run of text without spaces and quotes in which the scan stands: looked through once.
#[derive(Default)]
struct Token {
    end: usize,
    last_at: Option<usize>,
}

struct Scan<'a> {
    text: &'a str,
    /// Up to here the text is in `out`.
    done: usize,
    at: usize,
    out: String,
    token: Token,
}

/// Words at the end of a name that make its value a secret.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
    "secret_key",
    "routing_key",
    "credential",
    "credentials",
];

impl Scan<'_> {
    fn step(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(b"://") {
            self.at += 3;
            self.credentials();
        } else if word_byte(rest[0]) {
            let len = rest.iter().take_while(|b| word_byte(**b)).count();
            let start = self.at;
            self.at += len;
            self.after_word(start);
        } else {
            self.at += 1;
        }
    }

    /// After `://`: masks what stands between `:` and `@`.
    fn credentials(&mut self) {
        let start = self.at;
        if self.token.end <= start {
            let rest = &self.text[start..];
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'))
                .unwrap_or(rest.len());
            self.token = Token { end: start + end, last_at: rest[..end].rfind('@').map(|i| start + i) };
        }
        let token = &self.text[start..self.token.end];
        let head = &token[..token.find(['/', '?', '#']).unwrap_or(token.len())];
        let Some(colon) = head.find(':') else {
            // Over the web a token may stand in the place of the name.
            let scheme = &self.text.as_bytes()[..start.saturating_sub(3)];
            let ends = |with: &str| {
                scheme
                    .len()
                    .checked_sub(with.len())
                    .is_some_and(|n| scheme[n..].eq_ignore_ascii_case(with.as_bytes()))
            };
            let web = ends("http") || ends("https");
            if let Some(at) = head.rfind('@').filter(|at| web && *at > 0) {
                self.hide(start, start + at);
            }
            return;
        };
        let end = match head.rfind('@') {
            Some(at) if at > colon => start + at,
            Some(_) => return,
            // A password with a raw `/`, `?` or `#`; but `host:80/a@b` is a port and a path.
            None if head[colon + 1..].bytes().all(|b| b.is_ascii_digit()) => return,
            None => match self.token.last_at {
                Some(at) if at > start + colon => at,
                _ => return,
            },
        };
        self.hide(start + colon + 1, end);
    }

    /// After a word: is what follows its secret?
    fn after_word(&mut self, start: usize) {
        let name = &self.text.as_bytes()[start..self.at];
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let ends = |word: &str| {
            name.len()
                .checked_sub(word.len())
                .is_some_and(|n| name[n..].eq_ignore_ascii_case(word.as_bytes()))
        };
        if is("bearer") {
            let from = self.skip(self.at, b" \t");
            if from > self.at {
                self.hide_value(from, b"");
            }
            return;
        }
        let authorization = is("authorization") || is("proxy-authorization");
        let plain = is("pass") || ends("_pass") || ends("-pass");
        if !authorization && !plain && !SECRETS.iter().any(|s| ends(s)) {
            return;
        }
        let (token, option) = (ends("token"), name.starts_with(b"--"));
        // A quoted name: `"password": "x"`, also escaped inside a JSON text.
        let mut at = self.skip(self.at, b"\\\"'");
        let quoted = at > self.at;
        let spaced = self.skip(at, b" \t");
        let bytes = self.text.as_bytes();
        match bytes.get(spaced) {
            Some(b'=') => at = self.skip(spaced + 1, b">= \t"),
            // `token: unexpected` is a parser's complaint, `password: x` is a leak.
            Some(b':') if quoted || authorization || !token => at = self.skip(spaced + 1, b" \t"),
            // SQL: ALTER ROLE x PASSWORD 'y'
            Some(b'\'') if spaced > at => at = spaced,
            // A command line: --password x
            Some(_) if spaced > at && option => at = spaced,
            _ => return,
        }
        if authorization {
            // The scheme stays: `Authorization: Basic ****`.
            for scheme in ["basic ", "bearer ", "digest ", "negotiate ", "token "] {
                if self.text.as_bytes()[at..]
                    .get(..scheme.len())
                    .is_some_and(|s| s.eq_ignore_ascii_case(scheme.as_bytes()))
                {
                    at = self.skip(at + scheme.len(), b" ");
                    break;
                }
            }
        }
        self.hide_value(at, b"&,;)}]");
    }

    /// Hides a value: quoted up to its quote, else up to a space or one of `ends`.
    fn hide_value(&mut self, from: usize, ends: &[u8]) {
        let from_quote = self.skip_escapes(from);
        let bytes = self.text.as_bytes();
        let (start, end) = match bytes.get(from_quote) {
            Some(&quote @ (b'"' | b'\'')) => {
                let start = from_quote + 1;
                // Inside an escaped quote (`\"x\"`) the next backslash ends the value.
                let inner = from_quote > from;
                (start, self.quote_end(start, quote, inner))
            }
            _ => {
                let stop = |b: &u8| {
                    b.is_ascii_whitespace() || ends.contains(b) || matches!(b, b'"' | b'\'' | b'`' | b'<')
                };
                (from, from + bytes[from..].iter().take_while(|b| !stop(b)).count())
            }
        };
        self.hide(start, end);
    }

    fn quote_end(&self, start: usize, quote: u8, inner: bool) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while let Some(&b) = bytes.get(at) {
            match b {
                b'\\' if inner => return at,
                b'\\' => at += 2,
                b'\n' => return at,
                // SQL doubles a quote inside.
                b'\'' if quote == b'\'' && bytes.get(at + 1) == Some(&b'\'') => at += 2,
                _ if b == quote => return at,
                _ => at += 1,
            }
        }
        bytes.len()
    }

    fn skip(&self, from: usize, what: &[u8]) -> usize {
        from + self.text.as_bytes()[from..].iter().take_while(|b| what.contains(b)).count()
    }

    fn skip_escapes(&self, from: usize) -> usize {
        let at = self.skip(from, b"\\");
        if matches!(self.text.as_bytes().get(at), Some(b'"' | b'\'')) { at } else { from }
    }

    /// Puts the mask in place of a part. Both ends stand beside ASCII, so they are ends of letters.
    fn hide(&mut self, from: usize, to: usize) {
        let to = to.min(self.text.len());
        if from >= to || from < self.done || !self.text.is_char_boundary(to) {
            return;
        }
        self.out.push_str(&self.text[self.done..from]);
        self.out.push_str(MASK);
        self.done = to;
        self.at = to;
    }
}

fn word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

#[cfg(test)]
mod tests;
