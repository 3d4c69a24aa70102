//! A PostgreSQL URL, read as libpq reads it, whatever driver's name it carries.
//! It never shows its password: printing and serialising write a mask.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::nearest;

use super::secret::{MASK, Secret};

mod read;

/// Where libpq looks without a host (Debian's build; PostgreSQL's own default is /tmp).
pub const SOCKET_FOLDER: &str = "/var/run/postgresql";

/// How to log in to one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgUrl {
    pub user: String,
    /// The mask in a loaded configuration: the text itself is in `Secrets`.
    pub password: Option<Secret>,
    pub host: PgHost,
    pub port: u16,
    pub dbname: String,
    pub sslmode: SslMode,
    pub sslrootcert: Option<RootCert>,
    /// Seconds; libpq's 0 (wait for ever) reads as none: the look's own deadline holds.
    pub connect_timeout: Option<u32>,
    pub application_name: Option<String>,
    /// Settings for the session: `-c search_path=x`.
    pub options: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PgHost {
    /// A name or an address; an IPv6 address without its brackets.
    Tcp(String),
    /// The folder of the socket `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

impl PgHost {
    /// As it stands in a connection's settings: libpq takes what begins with `/` for a folder.
    pub fn named(text: &str) -> Self {
        if text.starts_with('/') { PgHost::Unix(text.into()) } else { PgHost::Tcp(text.to_owned()) }
    }

    pub fn text(&self) -> String {
        match self {
            PgHost::Tcp(host) => host.clone(),
            PgHost::Unix(folder) => folder.display().to_string(),
        }
    }

    /// The socket's own path, where this is a folder.
    pub fn socket(&self, port: u16) -> Option<PathBuf> {
        match self {
            PgHost::Tcp(_) => None,
            PgHost::Unix(folder) => Some(folder.join(format!(".s.PGSQL.{port}"))),
        }
    }
}

/// libpq's meaning: <https://www.postgresql.org/docs/current/libpq-ssl.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const WORDS: [(&'static str, SslMode); 6] = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];

    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, m)| *m == self).map_or("prefer", |(w, _)| w)
    }
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let words = || Self::WORDS.iter().map(|(w, _)| *w);
        Self::WORDS.iter().find(|(w, _)| *w == s).map(|(_, m)| *m).ok_or_else(|| {
            let near = nearest(s, words()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
            format!("sslmode must be one of {}{near}", words().collect::<Vec<_>>().join(", "))
        })
    }
}

/// Which authorities may vouch for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// Those the operating system trusts.
    System,
    /// Those in this PEM file.
    File(PathBuf),
}

impl RootCert {
    pub fn read(text: &str) -> Self {
        if text == "system" { RootCert::System } else { RootCert::File(text.into()) }
    }
}

impl fmt::Display for RootCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootCert::System => f.write_str("system"),
            RootCert::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What holds where the URL is silent.
#[derive(Debug, Clone, Default)]
pub struct PgDefaults {
    /// libpq takes the name of the operating system's user.
    pub user: Option<String>,
    /// `PGSSLMODE`
    pub sslmode: Option<SslMode>,
    /// `PGSSLROOTCERT`
    pub sslrootcert: Option<RootCert>,
}

/// Unreserved in a URL (RFC 3986, 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &PLAIN.remove(b'/');
const ADDRESS: &AsciiSet = &PLAIN.remove(b':');

impl fmt::Display for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}", utf8_percent_encode(&self.user, PLAIN))?;
        if self.password.is_some() {
            write!(f, ":{MASK}")?;
        }
        let mut query: Vec<(&str, String)> = Vec::new();
        match &self.host {
            PgHost::Tcp(h) if h.contains(':') => {
                write!(f, "@[{}]:{}", utf8_percent_encode(h, ADDRESS), self.port)?
            }
            PgHost::Tcp(h) => write!(f, "@{}:{}", utf8_percent_encode(h, PLAIN), self.port)?,
            PgHost::Unix(folder) => {
                f.write_str("@")?;
                query.push(("host", folder.display().to_string()));
                if self.port != 5432 {
                    query.push(("port", self.port.to_string()));
                }
            }
        }
        write!(f, "/{}", utf8_percent_encode(&self.dbname, PLAIN))?;
        if self.sslmode != SslMode::Prefer {
            query.push(("sslmode", self.sslmode.word().into()));
        }
        query.extend(self.sslrootcert.iter().map(|c| ("sslrootcert", c.to_string())));
        query.extend(self.connect_timeout.iter().map(|s| ("connect_timeout", s.to_string())));
        query.extend(self.application_name.iter().map(|n| ("application_name", n.clone())));
        query.extend(self.options.iter().map(|o| ("options", o.clone())));
        for (i, (name, value)) in query.iter().enumerate() {
            write!(f, "{}{name}={}", if i == 0 { '?' } else { '&' }, utf8_percent_encode(value, PATH))?;
        }
        Ok(())
    }
}

impl FromStr for PgUrl {
    type Err = String;

    /// Without surroundings: a URL that names no user means `postgres`.
    fn from_str(s: &str) -> Result<Self, String> {
        Self::parse(s, &PgDefaults { user: Some("postgres".into()), ..PgDefaults::default() })
    }
}

impl Serialize for PgUrl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PgUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
