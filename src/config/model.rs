//! The configuration as data: what is under care, and the thresholds.
//! It stands inside every snapshot, so it holds no secret and reads nothing.

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::index::Index;
use super::pg_url::PgUrl;
use super::span::Span;
use super::thresholds::Thresholds;

/// The whole effective configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The deadline of a whole look.
    pub timeout: Span,
    #[serde(default)]
    pub service: Vec<Service>,
    #[serde(default)]
    pub postgres: Vec<Postgres>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pooler: Vec<Pooler>,
    #[serde(default)]
    pub redis: Vec<Redis>,
    #[serde(default)]
    pub ollama: Vec<Ollama>,
    pub systemd: Systemd,
    pub docker: Docker,
    pub host: Host,
    #[serde(default)]
    pub guard: Guard,
    pub thresholds: Thresholds,
    #[serde(skip)]
    pub index: Index,
}

/// One server under care.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    /// Base of its URLs, without a `/` at its end; without it only its unit or container is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A loaded configuration has one wherever there is a `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Names of what it can't live without.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Variables of its environment that name its database; none: the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub database_env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deploy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture: Vec<Capture>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

impl Service {
    /// Host and port of its URL.
    pub fn address(&self) -> Option<(&str, u16)> {
        let url = super::url::split(self.url.as_deref()?).ok()?;
        Some((url.host, url.port.unwrap_or(if url.scheme == "https" { 443 } else { 80 })))
    }
}

/// Where the health answer stands: a path, or a path with JSON pointers into any other server's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Health {
    Path(String),
    Pointers(HealthPointers),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthPointers {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_used: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_max: Option<String>,
}

impl Health {
    pub fn path(&self) -> &str {
        match self {
            Health::Path(p) => p,
            Health::Pointers(p) => &p.path,
        }
    }
}

/// A request, or a program, that proves the service does its work. Used by `verify`, never by a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Smoke {
    Program(Program),
    Request(SmokeRequest),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeRequest {
    pub method: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub argv: Vec<String>,
}

/// What tells of its last deployment: a git work tree, or a folder or link that a deployment writes; or a
/// program that prints when, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Deploy {
    Folder(String),
    Program(Program),
}

/// Evidence to take before a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Capture {
    Program(Program),
    Url(CaptureUrl),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureUrl {
    #[serde(serialize_with = "super::mask::url")]
    pub url: String,
}

/// The service's own connection pool: which variables set it, and how far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
}

/// One PostgreSQL server, as the tool logs in to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    #[serde(default = "named_postgres")]
    pub name: String,
    /// In a loaded configuration without its password, which is in `Secrets`.
    pub url: PgUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// Whose sessions are the services'; a loaded configuration has at least that of the URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<String>,
}

impl Postgres {
    /// Where it is and who logs in there, without a password: as a plan and a journal name it.
    pub fn place(&self) -> String {
        PgUrl { password: None, ..self.url.clone() }.to_string()
    }
}

fn named_postgres() -> String {
    "postgres".into()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    #[default]
    Primary,
    Standby,
}

/// A pgbouncer between services and servers, as the tool logs in to its admin console.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooler {
    #[serde(default = "named_pooler")]
    pub name: String,
    /// Of its database `pgbouncer`; without the password, which is in `Secrets`.
    pub url: PgUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Names of the servers behind it.
    #[serde(default)]
    pub needs: Vec<String>,
}

fn named_pooler() -> String {
    "pgbouncer".into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    #[serde(default = "named_redis")]
    pub name: String,
    /// A loaded configuration holds a mask in place of its password, which is in `Secrets`.
    #[serde(serialize_with = "super::mask::url")]
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default)]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_prefixes: Vec<String>,
}

fn named_redis() -> String {
    "redis".into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ollama {
    #[serde(default = "named_ollama")]
    pub name: String,
    #[serde(serialize_with = "super::mask::url")]
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default)]
    pub optional: bool,
}

fn named_ollama() -> String {
    "ollama".into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    /// D-Bus address of the system bus.
    pub bus: String,
    /// The journal's folder, where it is not this machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Docker {
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The `/proc` of the machine that `systemd.bus` speaks for.
    pub proc: String,
}

impl Config {
    /// Every name that `needs` and `--service` may use, with its kind, in the order of the file.
    pub fn names(&self) -> Vec<(&'static str, &str)> {
        let mut out = Vec::new();
        out.extend(self.service.iter().map(|s| ("service", s.name.as_str())));
        out.extend(self.postgres.iter().map(|p| ("postgres", p.name.as_str())));
        out.extend(self.pooler.iter().map(|p| ("pooler", p.name.as_str())));
        out.extend(self.redis.iter().map(|r| ("redis", r.name.as_str())));
        out.extend(self.ollama.iter().map(|o| ("ollama", o.name.as_str())));
        out
    }

    /// Who is under care, with the unit that it is said to run as.
    pub fn units(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = self.service.iter().map(|s| (&s.name, &s.unit));
        let servers = self.postgres.iter().map(|p| (&p.name, &p.unit));
        let poolers = self.pooler.iter().map(|p| (&p.name, &p.unit));
        let redis = self.redis.iter().map(|r| (&r.name, &r.unit));
        let ollama = self.ollama.iter().map(|o| (&o.name, &o.unit));
        let all = services.chain(servers).chain(poolers).chain(redis).chain(ollama);
        all.filter_map(|(name, unit)| Some((name.as_str(), unit.as_deref()?)))
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        let found = self.index.find(name, &self.service);
        // What another list has is no service: names are unique across all kinds.
        let other = || {
            self.postgres(name).is_some()
                || self.pooler(name).is_some()
                || self.redis.iter().any(|r| r.name == name)
                || self.ollama.iter().any(|o| o.name == name)
        };
        if found.is_some() || other() {
            return found;
        }
        self.service.iter().find(|s| s.name == name)
    }

    pub fn postgres(&self, name: &str) -> Option<&Postgres> {
        self.postgres.iter().find(|p| p.name == name)
    }

    pub fn pooler(&self, name: &str) -> Option<&Pooler> {
        self.pooler.iter().find(|p| p.name == name)
    }

    /// What a service or a pooler names as its needs.
    pub fn needs(&self, name: &str) -> &[String] {
        let service = self.service(name).map(|s| s.needs.as_slice());
        service.or_else(|| self.pooler(name).map(|p| p.needs.as_slice())).unwrap_or_default()
    }

    /// It has a unit or a container, which are of the host that is looked at.
    pub fn runs_here(&self, name: &str) -> bool {
        let services = self.service.iter().map(|s| (&s.name, &s.unit, &s.container));
        let postgres = self.postgres.iter().map(|p| (&p.name, &p.unit, &p.container));
        let redis = self.redis.iter().map(|r| (&r.name, &r.unit, &r.container));
        let ollama = self.ollama.iter().map(|o| (&o.name, &o.unit, &o.container));
        let all = services.chain(postgres).chain(redis).chain(ollama);
        all.into_iter().any(|(n, unit, container)| n == name && (unit.is_some() || container.is_some()))
    }

    pub fn redis(&self, name: &str) -> Option<&Redis> {
        self.redis.iter().find(|r| r.name == name)
    }

    pub fn ollama(&self, name: &str) -> Option<&Ollama> {
        self.ollama.iter().find(|o| o.name == name)
    }
}
