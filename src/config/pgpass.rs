//! The password file of libpq (`~/.pgpass`): <https://www.postgresql.org/docs/current/libpq-pgpass.html>.
//! It decides which line fits; whether the file may be trusted is decided where it is read.

use super::pg_url::{PgHost, PgUrl, SOCKET_FOLDER};
use super::secret::Secret;

/// The password of the first line that fits.
pub fn find(text: &str, url: &PgUrl) -> Option<Secret> {
    let host = match &url.host {
        PgHost::Tcp(h) => h.clone(),
        // libpq: a socket in the default folder is asked for as `localhost`, in any other by the folder.
        PgHost::Unix(f) if f.as_os_str() == SOCKET_FOLDER || f.as_os_str() == "/run/postgresql" => {
            "localhost".into()
        }
        PgHost::Unix(f) => f.to_string_lossy().into_owned(),
    };
    let wanted = [host, url.port.to_string(), url.dbname.clone(), url.user.clone()];
    text.lines().filter(|l| !l.starts_with('#')).find_map(|line| {
        let mut rest = line.trim_end_matches('\r');
        for want in &wanted {
            let (field, after) = field(rest)?;
            if field != "*" && unescape(field) != *want {
                return None;
            }
            rest = after;
        }
        Some(Secret::new(unescape(rest))).filter(|s| !s.reveal().is_empty())
    })
}

/// Splits at the first `:` that no `\` stands before.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..i], &text[i + 1..])),
            _ => {}
        }
    }
    None
}

/// `\:` is `:` and `\\` is `\`; libpq takes any other escaped letter as itself too.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, url: &str) -> Option<String> {
        find(text, &url.parse().unwrap()).map(|s| s.reveal().to_owned())
    }

    const URL: &str = "postgresql://ann@db.example:5433/shop";

    #[test]
    fn the_first_line_that_fits_wins() {
        let text = "# comment\nother:5433:shop:ann:no\n\nbroken\ndb.example:5433:shop:ann:one\n*:*:*:*:two\n";
        assert_eq!(found(text, URL).as_deref(), Some("one"));
        assert_eq!(found(text, "postgresql://bob@h/x").as_deref(), Some("two"));
        assert_eq!(found("db.example:5432:shop:ann:x", URL), None, "another port");
        assert_eq!(found("db.example:5433:shop:Ann:x", URL), None, "names are case-sensitive");
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        assert_eq!(found(r"*:*:*:ann:a\:b\\c", URL).as_deref(), Some(r"a:b\c"));
        assert_eq!(
            found("*:*:*:ann:a:b", URL).as_deref(),
            Some("a:b"),
            "the rest of the line is the password"
        );
        assert_eq!(found(r"\:\:1:5432:x:ann:six", "postgresql://ann@[::1]/x").as_deref(), Some("six"));
        assert_eq!(found("*:*:*:ann:crlf\r\n", URL).as_deref(), Some("crlf"));
        assert_eq!(found("*:*:*:ann: spaces stay ", URL).as_deref(), Some(" spaces stay "));
    }

    #[test]
    fn a_socket_in_the_default_folder_is_localhost() {
        let text = "localhost:5432:x:ann:local\n/srv/pg:5432:x:ann:folder\n";
        assert_eq!(found(text, "postgresql://ann@/x").as_deref(), Some("local"));
        assert_eq!(found(text, "postgresql://ann@/x?host=/run/postgresql").as_deref(), Some("local"));
        assert_eq!(found(text, "postgresql://ann@/x?host=/srv/pg").as_deref(), Some("folder"));
        assert_eq!(found(text, "postgresql://ann@127.0.0.1/x"), None, "an address is not a name");
    }

    #[test]
    fn an_empty_or_cut_line_gives_nothing() {
        for text in ["", "*", "*:*:*", "*:*:*:ann", "*:*:*:ann:", "\u{feff}"] {
            assert_eq!(found(text, URL), None, "{text:?}");
        }
    }
}
