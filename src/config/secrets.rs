//! The passwords and headers to log in with, gathered once, each with its source.
//! They never stand in the configuration, can't be serialised, and print as a mask.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::env::Env;
use super::files::{self, Failed, SECRET_LIMIT, quoted};
use super::model::{Config, Redis};
use super::origins::Origins;
use super::pg_url::PgUrl;
use super::pgpass;
use super::secret::{MASK, Secret};
use super::url;

/// Everything secret that the configuration leads to, by the name of its subject.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    pub(super) passwords: BTreeMap<String, Password>,
    pub(super) headers: BTreeMap<String, Vec<Header>>,
}

/// A password and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Password {
    pub secret: Secret,
    pub source: PasswordSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// It stands in the URL.
    Url,
    /// `password_file`
    File(PathBuf),
    /// `password_env`
    Variable(String),
    /// libpq's own variable.
    PgPassword,
    /// libpq's password file.
    PassFile(PathBuf),
}

impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordSource::Url => f.write_str("url"),
            PasswordSource::File(path) => write!(f, "password_file {}", path.display()),
            PasswordSource::Variable(name) => write!(f, "password_env ${name}"),
            PasswordSource::PgPassword => f.write_str("$PGPASSWORD"),
            PasswordSource::PassFile(path) => write!(f, "passfile {}", path.display()),
        }
    }
}

/// One line of a `headers_file`.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub name: String,
    pub value: Secret,
}

impl Secrets {
    /// The password for a configured PostgreSQL or Redis, by its name.
    pub fn password(&self, name: &str) -> Option<&Password> {
        self.passwords.get(name)
    }

    /// The same, without its source.
    pub fn postgres(&self, name: &str) -> Option<&Secret> {
        self.passwords.get(name).map(|p| &p.secret)
    }

    /// The same for Redis: names are unique across kinds.
    pub fn redis(&self, name: &str) -> Option<&Secret> {
        self.postgres(name)
    }

    /// The headers to send to a service.
    pub fn headers(&self, service: &str) -> &[Header] {
        self.headers.get(service).map_or(&[], Vec::as_slice)
    }
}

/// Gathers all secrets and leaves masks in their place in the configuration.
pub fn gather(
    config: &mut Config,
    origins: &Origins,
    env: &Env,
    warnings: &mut Vec<String>,
) -> Result<Secrets> {
    let mut gather = Gather { origins, env, warnings, passfile: None };
    let mut secrets = Secrets::default();
    for (i, pg) in config.postgres.iter_mut().enumerate() {
        let login =
            Login { name: &pg.name, url: &pg.url, file: &pg.password_file, variable: &pg.password_env };
        if let Some(password) = gather.login(&login, &format!("postgres[{i}]"))? {
            secrets.passwords.insert(pg.name.clone(), password);
        }
        if pg.url.password.is_some() {
            pg.url.password = Some(Secret::new(MASK));
        }
    }
    for (i, p) in config.pooler.iter_mut().enumerate() {
        let login = Login { name: &p.name, url: &p.url, file: &p.password_file, variable: &p.password_env };
        if let Some(password) = gather.login(&login, &format!("pooler[{i}]"))? {
            secrets.passwords.insert(p.name.clone(), password);
        }
        if p.url.password.is_some() {
            p.url.password = Some(Secret::new(MASK));
        }
    }
    for (i, redis) in config.redis.iter_mut().enumerate() {
        if let Some(password) = gather.redis(redis, &format!("redis[{i}]"))? {
            secrets.passwords.insert(redis.name.clone(), password);
        }
    }
    for (i, service) in config.service.iter().enumerate() {
        if let Some(file) = &service.headers_file {
            let path = format!("service[{i}].headers_file");
            let text = gather.secret_file(Path::new(file), "headers_file", &path)?;
            let headers = text.map(|t| headers(&t, Path::new(file))).transpose()?;
            secrets.headers.insert(service.name.clone(), headers.unwrap_or_default());
        }
    }
    Ok(secrets)
}

/// Where the password of a server or a pooler may stand.
struct Login<'a> {
    name: &'a str,
    url: &'a PgUrl,
    file: &'a Option<String>,
    variable: &'a Option<String>,
}

struct Gather<'a> {
    origins: &'a Origins,
    env: &'a Env,
    warnings: &'a mut Vec<String>,
    /// Read at most once: where it is, and its text if it may be used.
    passfile: Option<Option<(PathBuf, String)>>,
}

impl Gather<'_> {
    /// In the order: url, `password_file`, `password_env`, PGPASSWORD, the password file of libpq.
    fn login(&mut self, login: &Login<'_>, path: &str) -> Result<Option<Password>> {
        if let Some(secret) = &login.url.password {
            return Ok(Some(self.by_url(secret.clone(), path)?));
        }
        let (file, variable) = (login.file.as_deref(), login.variable.as_deref());
        if let Some(found) = self.by_keys(file, variable, path, login.name)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.by_variable("PGPASSWORD", PasswordSource::PgPassword)? {
            return Ok(Some(found));
        }
        Ok(self.by_passfile(login.url))
    }

    /// In the order: url, `password_file`, `password_env`.
    fn redis(&mut self, redis: &mut Redis, path: &str) -> Result<Option<Password>> {
        let (masked, secret) = url::without_password(&redis.url);
        redis.url = masked;
        match secret {
            Some(secret) => self.by_url(secret, path).map(Some),
            None => {
                let (file, variable) = (redis.password_file.as_deref(), redis.password_env.as_deref());
                self.by_keys(file, variable, path, &redis.name)
            }
        }
    }

    /// `password_file`, then `password_env`.
    fn by_keys(
        &mut self,
        file: Option<&str>,
        variable: Option<&str>,
        path: &str,
        name: &str,
    ) -> Result<Option<Password>> {
        if let Some(file) = file
            && let Some(found) = self.by_file(Path::new(file), path)?
        {
            return Ok(Some(found));
        }
        let Some(variable) = variable else { return Ok(None) };
        let found = self.by_variable(variable, PasswordSource::Variable(variable.to_owned()))?;
        if found.is_none() {
            let place = self.origins.of(&format!("{path}.password_env")).place();
            let text = format!("${variable} is not set: password_env of {name} {place} gives no password");
            self.warnings.push(text);
        }
        Ok(found)
    }

    fn by_url(&self, secret: Secret, path: &str) -> Result<Password> {
        if secret.reveal() == MASK {
            let place = self.origins.of(&format!("{path}.url")).place();
            return Err(Error::config(format!("the password of `{path}.url` {place} is the mask {MASK}"))
                .hint("it was copied from an output: put the password itself into a password_file, and leave it out of the URL"));
        }
        Ok(Password { secret, source: PasswordSource::Url })
    }

    fn by_file(&mut self, file: &Path, path: &str) -> Result<Option<Password>> {
        let Some(text) = self.secret_file(file, "password_file", &format!("{path}.password_file"))? else {
            return Ok(None);
        };
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let wrong = match line {
            "" => "is empty",
            l if l.contains(['\n', '\r']) => "has more than one line",
            l if l.contains('\0') => "has a NUL byte in it",
            _ => {
                return Ok(Some(Password {
                    secret: Secret::new(line),
                    source: PasswordSource::File(file.into()),
                }));
            }
        };
        Err(Error::config(format!("password_file {} {wrong}", file.display()))
            .hint("it holds the password alone, on one line"))
    }

    fn by_variable(&self, name: &str, source: PasswordSource) -> Result<Option<Password>> {
        let value = match self.env.var(name).map(OsStr::to_str) {
            None => return Ok(None),
            Some(Some(value)) => value,
            Some(None) => return Err(Error::config(format!("${name} is not UTF-8 text"))),
        };
        Ok(Some(Password { secret: Secret::new(value), source }))
    }

    /// The text of a secret file. One that this user may not read is a warning: the rest can still be looked at.
    fn secret_file(&mut self, file: &Path, key: &str, path: &str) -> Result<Option<String>> {
        let place = self.origins.of(path).place();
        match files::read(file, key, SECRET_LIMIT, self.env.is_root()) {
            Ok(text) => {
                if text.readable_by_others() {
                    self.warnings.push(format!(
                        "{key} {f} can be read by everybody (mode {:04o}): chmod o-r {q}",
                        text.mode & 0o7777,
                        f = file.display(),
                        q = quoted(file)
                    ));
                }
                Ok(Some(text.text))
            }
            Err(Failed::Denied) => {
                self.warnings.push(format!(
                    "{key} {} can't be read by you: `{path}` {place} is left out",
                    file.display()
                ));
                Ok(None)
            }
            Err(failed @ Failed::Missing) => {
                Err(failed.error(key, file).hint(format!("write the file, or take out `{path}` {place}")))
            }
            Err(failed @ Failed::Other(_)) => {
                Err(failed.error(key, file).hint(format!("check `{path}` {place}, which names it")))
            }
        }
    }

    fn by_passfile(&mut self, url: &PgUrl) -> Option<Password> {
        if self.passfile.is_none() {
            self.passfile = Some(self.read_passfile());
        }
        let (path, text) = self.passfile.as_ref()?.as_ref()?;
        let secret = pgpass::find(text, url)?;
        Some(Password { secret, source: PasswordSource::PassFile(path.clone()) })
    }

    /// As libpq: absent is fine; one that group or others may touch is passed over, with a warning.
    fn read_passfile(&mut self) -> Option<(PathBuf, String)> {
        let path = match self.env.var("PGPASSFILE") {
            Some(file) => PathBuf::from(file),
            None => self.env.home.as_ref()?.join(".pgpass"),
        };
        let why = match files::read(&path, "passfile", SECRET_LIMIT, self.env.is_root()) {
            Ok(text) if text.mode & 0o077 == 0 => return Some((path, text.text)),
            Ok(text) => format!(
                "passfile {} is not used: others than you may read it (mode {:04o}): chmod 0600 {}",
                path.display(),
                text.mode & 0o7777,
                quoted(&path)
            ),
            Err(Failed::Missing) => return None,
            Err(failed) => format!("{}: it is not used", failed.error("passfile", &path)),
        };
        self.warnings.push(why);
        None
    }
}

/// Reads `Name: value` lines. An error names the line, never what stands in it.
fn headers(text: &str, path: &Path) -> Result<Vec<Header>> {
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| {
            Error::config(format!("headers_file {}:{} {why}", path.display(), i + 1))
                .hint("a line reads `Name: value`, such as `Authorization: Bearer …`")
        };
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("has no `:`"))?;
        // RFC 9110, 5.6.2: the letters of a token.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(wrong("has a header name that can't be one"));
        }
        let value = value.trim();
        if value.is_empty() {
            return Err(wrong("has no value after its `:`"));
        }
        if !value.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()) {
            return Err(wrong("has a value with a letter that a header can't carry"));
        }
        out.push(Header { name: name.to_owned(), value: Secret::new(value) });
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
