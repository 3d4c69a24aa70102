//! The grammar of libpq's URLs: <https://www.postgresql.org/docs/current/libpq-connect.html>.
//! Its errors never repeat what the URL says: it could be a piece of the password.

use percent_encoding::percent_decode_str;

use super::super::secret::Secret;
use super::{PgDefaults, PgHost, PgUrl, RootCert, SOCKET_FOLDER, SslMode};
use crate::error::nearest;

/// The parts that a URL names.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    host: Option<String>,
    port: Option<String>,
    dbname: Option<String>,
    sslmode: Option<SslMode>,
    sslrootcert: Option<RootCert>,
    connect_timeout: Option<u32>,
    application_name: Option<String>,
    options: Option<String>,
}

/// libpq's parameters that change nothing a look depends on: read over.
const IGNORED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];
/// Parameters of Python drivers, read over where the scheme names a driver.
const DRIVERS: &[&str] = &[
    "command_timeout",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "statement_cache_size",
    "timeout",
];
/// libpq's parameters whose neglect would change who logs in, or to what.
const UNSUPPORTED: &[&str] = &[
    "channel_binding",
    "hostaddr",
    "load_balance_hosts",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
];
const KNOWN: &[&str] = &[
    "user",
    "password",
    "host",
    "port",
    "dbname",
    "sslmode",
    "ssl",
    "sslrootcert",
    "connect_timeout",
    "application_name",
    "options",
];

impl PgUrl {
    /// Reads a URL. The error never repeats what the URL says: it could be a piece of the password.
    pub fn parse(text: &str, defaults: &PgDefaults) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("is not a URL: it has no `postgresql://`")?;
        let (base, driver) = match scheme.split_once('+') {
            Some((base, driver)) if !driver.is_empty() => (base, true),
            _ => (scheme, false),
        };
        if base != "postgresql" && base != "postgres" {
            return Err("must begin with postgresql:// (or postgres://)".into());
        }
        let mut parts = Parts::default();
        let (rest, query) = authority(rest, &mut parts)?;
        if let Some(dbname) = rest.strip_prefix('/').filter(|d| !d.is_empty()) {
            parts.dbname = Some(decode(dbname)?);
        }
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            parameter(pair, driver, &mut parts)?;
        }
        parts.finish(defaults)
    }
}

/// Reads `user:password@host:port`; returns what follows it and the query.
fn authority<'a>(text: &'a str, parts: &mut Parts) -> Result<(&'a str, &'a str), String> {
    // As libpq: credentials end at the first `@` before the first `/`.
    let mut rest = text;
    let head = &text[..text.find('/').unwrap_or(text.len())];
    if let Some(at) = head.find('@') {
        let (who, after) = (&text[..at], &text[at + 1..]);
        let (user, password) = who.split_once(':').map_or((who, None), |(u, p)| (u, Some(p)));
        parts.user = Some(decode(user)?).filter(|u| !u.is_empty());
        parts.password = password.map(decode).transpose()?.filter(|p| !p.is_empty());
        rest = after;
    } else if text.split('?').next().is_some_and(|t| t.contains('@')) {
        return Err("has a `/` before its `@`: in a password write `/` as %2F".into());
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let end = rest.find('/').unwrap_or(rest.len());
    let (hosts, path) = rest.split_at(end);
    if hosts.contains('@') {
        return Err("has two `@`: in a password write `@` as %40".into());
    }
    if hosts.contains(',') {
        return Err(ONE_HOST.into());
    }
    let (host, port) = if let Some(inner) = hosts.strip_prefix('[') {
        let (address, after) = inner.split_once(']').ok_or("has a `[` without its `]`")?;
        if address.is_empty() {
            return Err("has an empty address in `[]`".into());
        }
        match after.strip_prefix(':') {
            Some(port) => (address, port),
            None if after.is_empty() => (address, ""),
            None => return Err("has text between `]` and the port".into()),
        }
    } else if hosts.matches(':').count() > 1 {
        return Err("has several `:` in its host: an IPv6 address stands in [brackets], and in a user or password `:` is %3A, `@` is %40".into());
    } else {
        hosts.split_once(':').unwrap_or((hosts, ""))
    };
    parts.host = Some(decode(host)?).filter(|h| !h.is_empty());
    parts.port = Some(port.to_owned()).filter(|p| !p.is_empty());
    Ok((path, query))
}

const ONE_HOST: &str = "names several hosts: give each server its own [[postgres]] with a name";

fn parameter(pair: &str, driver: bool, parts: &mut Parts) -> Result<(), String> {
    let (name, value) = pair.split_once('=').ok_or("has a parameter without `=` after its `?`")?;
    let (name, value) = (decode(name)?, decode(value)?);
    let some = |v: String| Some(v).filter(|v| !v.is_empty());
    match name.as_str() {
        "user" => parts.user = some(value),
        "password" => parts.password = some(value),
        "host" => parts.host = some(value),
        "port" => parts.port = some(value),
        "dbname" => parts.dbname = some(value),
        "sslmode" => parts.sslmode = Some(value.parse()?),
        // libpq reads JDBC's `ssl=true` as `require`; asyncpg's and SQLAlchemy's `ssl` takes sslmode's words too.
        "ssl" => {
            parts.sslmode = Some(match value.to_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => SslMode::Require,
                "false" | "0" | "off" | "no" => SslMode::Disable,
                word => word.parse()?,
            });
        }
        "sslrootcert" => parts.sslrootcert = some(value).map(|v| RootCert::read(&v)),
        "connect_timeout" => {
            let seconds: i64 =
                value.trim().parse().map_err(|_| "connect_timeout must be a whole number of seconds")?;
            parts.connect_timeout = u32::try_from(seconds).ok().filter(|s| *s > 0);
        }
        "application_name" => parts.application_name = some(value),
        "options" => parts.options = some(value),
        known if IGNORED.contains(&known) || (driver && DRIVERS.contains(&known)) => {}
        known if UNSUPPORTED.contains(&known) => {
            return Err(format!("has the parameter `{known}`, which is not supported"));
        }
        unknown => {
            let shown: String = unknown.chars().take(40).flat_map(char::escape_debug).collect();
            let near = nearest(unknown, KNOWN.iter().chain(IGNORED).copied());
            let near = near.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
            return Err(format!("has the unknown parameter `{shown}`{near}"));
        }
    }
    Ok(())
}

impl Parts {
    fn finish(self, defaults: &PgDefaults) -> Result<PgUrl, String> {
        let host = match self.host {
            None => PgHost::Unix(SOCKET_FOLDER.into()),
            Some(h) if h.contains(',') => return Err(ONE_HOST.into()),
            Some(h) if h.starts_with('/') => PgHost::Unix(h.into()),
            Some(h) if h.contains([' ', '/', '@', '?', '#']) => {
                return Err("has a host that can't be one".into());
            }
            Some(h) => PgHost::Tcp(h),
        };
        let port = match self.port.as_deref() {
            None => 5432,
            Some(p) if p.contains(',') => return Err(ONE_HOST.into()),
            Some(p) => p.parse().ok().filter(|p| *p > 0).ok_or(
                "has a port that is not a number from 1 to 65535 (in a password write `@` as %40, `/` as %2F, `:` as %3A)",
            )?,
        };
        let user = self
            .user
            .or_else(|| defaults.user.clone())
            .ok_or("names no user, and the system knows none: postgresql://USER@…")?;
        let dbname = self.dbname.unwrap_or_else(|| user.clone());
        let sslrootcert = self.sslrootcert.or_else(|| defaults.sslrootcert.clone());
        // As libpq 16: the system's authorities are worth nothing without the name, so they imply it.
        let system = sslrootcert == Some(RootCert::System);
        let mode = self.sslmode.or(defaults.sslmode);
        let sslmode = mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
        if system && sslmode != SslMode::VerifyFull {
            return Err(format!(
                "has sslmode={}, which is too weak for sslrootcert=system: use verify-full",
                sslmode.word()
            ));
        }
        Ok(PgUrl {
            user,
            password: self.password.map(Secret::new),
            host,
            port,
            dbname,
            sslmode,
            sslrootcert,
            connect_timeout: self.connect_timeout,
            application_name: self.application_name,
            options: self.options,
        })
    }
}

fn decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    for (i, _) in text.match_indices('%') {
        let hex = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
        if !hex(bytes.get(i + 1)) || !hex(bytes.get(i + 2)) {
            return Err("has a `%` without two hexadecimal digits after it: write `%` itself as %25".into());
        }
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "is not UTF-8 after percent-decoding")?;
    if text.contains('\0') { Err("has %00 in it".into()) } else { Ok(text.into_owned()) }
}
