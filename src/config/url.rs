//! Just enough of a URL to refuse one that can't work, and to take its password out.
//! It resolves nothing, and its errors never repeat the URL: that may hold a password.

use percent_encoding::percent_decode_str;

use super::model::Redis;
use super::secret::{MASK, Secret};

/// The parts of `scheme://user:password@host:port/path`.
#[derive(Debug)]
pub struct Url<'a> {
    pub scheme: &'a str,
    pub userinfo: Option<&'a str>,
    pub host: &'a str,
    pub port: Option<u16>,
    /// From its `/`; may be empty.
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// Takes a URL apart; `Err` says what is wrong, as the end of a sentence.
pub fn split(text: &str) -> Result<Url<'_>, String> {
    if text.contains(char::is_whitespace) {
        return Err("has a space in it".into());
    }
    let (scheme, rest) = text.split_once("://").ok_or("is not a URL: it has no `://`")?;
    if rest.contains('#') {
        return Err("has a `#` in it".into());
    }
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (userinfo, hostport) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    let (host, port) = match hostport.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']').ok_or("has a `[` without its `]`")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has no IPv6 address in its `[]`".into());
            }
            match (after, after.strip_prefix(':')) {
                ("", _) => (address, None),
                (_, Some(port)) => (address, Some(port)),
                _ => return Err("has text between `]` and the port".into()),
            }
        }
        None => hostport.split_once(':').map_or((hostport, None), |(h, p)| (h, Some(p))),
    };
    if host.contains(|c: char| !(c.is_alphanumeric() || ".-_:%".contains(c))) {
        return Err("has a host that can't be one".into());
    }
    if port.is_some_and(|p| !p.is_empty() && !p.parse::<u16>().is_ok_and(|p| p > 0)) {
        return Err("has a port that is not a number from 1 to 65535".into());
    }
    let port = port.and_then(|p| p.parse().ok());
    Ok(Url { scheme, userinfo, host, port, path, query })
}

/// A URL for HTTP: its host, no login in it, no other scheme.
pub fn http(text: &str) -> Result<Url<'_>, String> {
    let url = split(text)?;
    match url.scheme {
        "http" | "https" => {}
        _ => return Err("must begin with http:// or https://".into()),
    }
    if url.host.is_empty() {
        return Err("names no host".into());
    }
    if url.userinfo.is_some() {
        return Err("has a login in it".into());
    }
    Ok(url)
}

/// A URL for Redis: `redis://`, `rediss://`, or a socket by `redis+unix:///path` (`unix:///path`).
pub fn redis(text: &str) -> Result<Url<'_>, String> {
    let url = split(text)?;
    match url.scheme {
        "redis" | "rediss" => {
            if url.host.is_empty() {
                return Err("names no host".into());
            }
            let database = url.path.trim_start_matches('/');
            if !database.is_empty() && database.parse::<u32>().is_err() {
                return Err("has a database that is not a number: redis://HOST:6379/0".into());
            }
            if url.query.is_some() {
                return Err("has a `?`: its database is its path, redis://HOST:6379/0".into());
            }
        }
        "unix" | "redis+unix" => {
            if url.path.len() < 2 {
                return Err("names no socket: redis+unix:///run/redis/redis.sock".into());
            }
            if url.query.is_some() && of_socket(&url).is_none() {
                return Err("has a `?` that is no database: redis+unix:///run/redis/redis.sock?db=0".into());
            }
        }
        _ => return Err("must begin with redis://, rediss:// or redis+unix://".into()),
    }
    Ok(url)
}

/// The database that the URL of a socket names: its path is the socket's.
fn of_socket(url: &Url<'_>) -> Option<u32> {
    url.query?.strip_prefix("db=")?.parse().ok()
}

/// Where a Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    Tcp { host: String, port: u16, tls: bool },
    Unix(String),
}

impl Redis {
    /// From its URL; `None` for one that was not found good.
    pub fn place(&self) -> Option<RedisPlace> {
        let url = split(&self.url).ok()?;
        match url.scheme {
            "unix" | "redis+unix" => Some(RedisPlace::Unix(url.path.to_owned())),
            scheme => {
                let port = url.port.unwrap_or(6379);
                Some(RedisPlace::Tcp { host: url.host.to_owned(), port, tls: scheme == "rediss" })
            }
        }
    }

    /// The database that its URL names: 0 where it names none.
    pub fn database(&self) -> u32 {
        let Ok(url) = split(&self.url) else { return 0 };
        if url.scheme == "unix" || url.scheme == "redis+unix" {
            return of_socket(&url).unwrap_or(0);
        }
        url.path.trim_matches('/').parse().unwrap_or(0)
    }

    /// Keys that begin so are a cache by the configuration: one of its prefixes, or a part of what that
    /// holds. Nothing, which all begin with, is none.
    pub fn is_cache(&self, prefix: &str) -> bool {
        self.cache_prefixes.iter().any(|p| !p.is_empty() && prefix.starts_with(p.as_str()))
    }

    /// The user to log in as; without one Redis takes its default user.
    pub fn user(&self) -> Option<String> {
        let userinfo = split(&self.url).ok()?.userinfo?;
        let user = userinfo.split(':').next().filter(|u| !u.is_empty())?;
        Some(percent_decode_str(user).decode_utf8_lossy().into_owned())
    }
}

/// Takes the password out of a URL that was found good: the URL with a mask, and the password.
pub fn without_password(text: &str) -> (String, Option<Secret>) {
    let Ok(url) = split(text) else { return (super::mask::text(text), None) };
    let Some((user, password)) = url.userinfo.and_then(|u| u.split_once(':')) else {
        return (text.to_owned(), None);
    };
    if password.is_empty() {
        return (text.to_owned(), None);
    }
    let start = url.scheme.len() + 3 + user.len() + 1;
    let masked = format!("{}{MASK}{}", &text[..start], &text[start + password.len()..]);
    (masked, Some(Secret::new(percent_decode_str(password).decode_utf8_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_url_needs_a_host_and_no_login() {
        for good in
            ["http://127.0.0.1:8000", "https://x.example", "http://[::1]:80/base", "http://a_b:1/x?y=z"]
        {
            assert!(http(good).is_ok(), "{good}");
        }
        let bad = [
            ("127.0.0.1:8000", "no `://`"),
            ("ftp://x", "http:// or https://"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://x:99999", "port"),
            ("http://x:0", "port"),
            ("http://x:80a", "port"),
            ("http://u:p@x", "login"),
            ("http://a b", "space"),
            ("http://x/#top", "`#`"),
            ("http://[::1", "`]`"),
            ("http://[x]", "IPv6"),
            ("http://[::1]80", "between"),
            ("http://a,b", "host"),
        ];
        for (url, why) in bad {
            let e = http(url).unwrap_err();
            assert!(e.contains(why), "{url}: {e}");
        }
    }

    #[test]
    fn a_redis_url_names_a_host_or_a_socket() {
        for good in [
            "redis://127.0.0.1:6379/0",
            "rediss://:p@x",
            "redis+unix:///run/r.sock",
            "unix:///run/r.sock?db=1",
        ] {
            assert!(redis(good).is_ok(), "{good}");
        }
        for (url, why) in [
            ("http://x", "redis://"),
            ("redis://", "no host"),
            ("redis://x/one", "number"),
            ("unix://", "socket"),
            ("unix:///s?db=one", "no database"),
            ("unix:///s?db=1&db=2", "no database"),
            ("redis+unix:///s?password=x", "no database"),
            ("redis://x/0?db=3", "its path"),
        ] {
            let e = redis(url).unwrap_err();
            assert!(e.contains(why), "{url}: {e}");
        }
    }

    #[test]
    fn a_redis_url_says_where_and_as_whom() {
        let redis =
            |url: &str| -> Redis { serde_json::from_value(serde_json::json!({ "url": url })).unwrap() };
        let tcp = |host: &str, port, tls| Some(RedisPlace::Tcp { host: host.into(), port, tls });
        for (url, place, user) in [
            ("redis://h", tcp("h", 6379, false), None),
            ("rediss://ann%40x:****@[::1]:7000/2", tcp("::1", 7000, true), Some("ann@x")),
            ("redis://:****@h:1", tcp("h", 1, false), None),
            ("redis://ann@h", tcp("h", 6379, false), Some("ann")),
            ("redis+unix:///run/r.sock", Some(RedisPlace::Unix("/run/r.sock".into())), None),
            ("unix:///run/r.sock?db=1", Some(RedisPlace::Unix("/run/r.sock".into())), None),
        ] {
            assert_eq!((redis(url).place(), redis(url).user().as_deref()), (place, user), "{url}");
        }
        for (url, database) in [
            ("redis://h", 0),
            ("redis://h:1/7", 7),
            ("redis+unix:///run/r.sock", 0),
            ("unix:///run/r.sock?db=3", 3),
        ] {
            assert_eq!(redis(url).database(), database, "{url}");
        }
    }

    #[test]
    fn the_password_is_taken_out_decoded_and_the_rest_is_left() {
        let taken = |t| {
            let (url, p) = without_password(t);
            (url, p.map(|p| p.reveal().to_owned()))
        };
        assert_eq!(taken("redis://u:a%40b@h:1/0"), ("redis://u:****@h:1/0".into(), Some("a@b".into())));
        assert_eq!(taken("redis://:s@h"), ("redis://:****@h".into(), Some("s".into())));
        for url in ["redis://h:1/0", "redis://u@h", "redis://u:@h", "unix:///s"] {
            assert_eq!(taken(url), (url.into(), None));
        }
    }
}
