//! What can't work is refused before anything is looked at: names, URLs, paths, limits.
//! It changes nothing; every error says where the value stands and what to write instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result, nearest};

use super::env::Env;
use super::layer::Layer;
use super::model::{Capture, Config, Deploy, Health, Service, Smoke};
use super::origins::Origins;
use super::url;

mod values;

/// Keys without which an entry says nothing, and keys that exclude each other.
/// Before the model is built: its own errors know no lines.
pub fn required(layer: &Layer) -> Result<()> {
    let entries = |kind: &str| layer.values.get(kind).and_then(Value::as_array).cloned().unwrap_or_default();
    for (kind, key) in
        [("service", "name"), ("postgres", "url"), ("pooler", "url"), ("redis", "url"), ("ollama", "url")]
    {
        for (i, entry) in entries(kind).iter().enumerate() {
            let path = format!("{kind}[{i}]");
            let place = layer.origins.of(&path).place();
            if entry.get(key).is_none() {
                return Err(Error::config(format!("[[{kind}]] {place} has no `{key}`"))
                    .hint(format!("add {key} = {}", if key == "name" { "\"…\"" } else { example(kind) })));
            }
            if kind != "service" {
                continue;
            }
            if let Some(Value::Object(health)) = entry.get("health")
                && !health.contains_key("path")
            {
                let place = layer.origins.of(&format!("{path}.health")).place();
                return Err(
                    Error::config(format!("`health` {place} has no `path`")).hint("add path = \"/health\"")
                );
            }
            if let Some(Value::Object(deploy)) = entry.get("deploy")
                && !deploy.contains_key("argv")
            {
                let place = layer.origins.of(&format!("{path}.deploy")).place();
                return Err(Error::config(format!("`deploy` {place} has no `argv`")).hint(
                    "name a folder, or a program: deploy = { argv = [\"/usr/local/bin/last-deploy\"] }",
                ));
            }
            if let Some(smoke) = entry.get("smoke") {
                either(layer, &format!("{path}.smoke"), smoke, &["method", "path"], &["json"])?;
            }
            for (j, capture) in
                entry.get("capture").and_then(Value::as_array).into_iter().flatten().enumerate()
            {
                either(layer, &format!("{path}.capture[{j}]"), capture, &["url"], &[])?;
            }
        }
    }
    Ok(())
}

/// A program (`argv`) or a request (`must`, and perhaps `may`), not both, not half.
fn either(layer: &Layer, path: &str, value: &Value, must: &[&str], may: &[&str]) -> Result<()> {
    let has = |k: &&&str| value.get(**k).is_some();
    let fail =
        |what: String| Err(Error::config(format!("`{path}` {} {what}", layer.origins.of(path).place())));
    let request = must.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" and ");
    let hint = |r: Result<()>| {
        r.map_err(|e| e.hint(format!("give either `argv` (a program) or {request} (a request)")))
    };
    let any = must.iter().chain(may).any(|k| has(&k));
    match (value.get("argv").is_some(), any) {
        (true, true) => hint(fail("names both a program and a request".into())),
        (false, false) => hint(fail("names neither a program nor a request".into())),
        (true, false) => Ok(()),
        (false, true) => match must.iter().find(|k| !has(k)) {
            Some(missing) => hint(fail(format!("has no `{missing}`"))),
            None => Ok(()),
        },
    }
}

fn example(kind: &str) -> &'static str {
    match kind {
        "postgres" => "\"postgresql://USER@127.0.0.1:5432/DATABASE\"",
        "pooler" => "\"postgresql://USER@127.0.0.1:6432/pgbouncer\"",
        "redis" => "\"redis://127.0.0.1:6379/0\"",
        _ => "\"http://127.0.0.1:11434\"",
    }
}

/// Judges the whole configuration.
pub fn config(config: &Config, origins: &Origins, env: &Env) -> Result<()> {
    let check = Check { origins, env };
    check.names(config)?;
    check.needs(config)?;
    for (i, service) in config.service.iter().enumerate() {
        check.service(service, &format!("service[{i}]"))?;
    }
    for (i, pg) in config.postgres.iter().enumerate() {
        let at = |key: &str| format!("postgres[{i}].{key}");
        check.place(&pg.unit, &pg.container, &format!("postgres[{i}]"))?;
        for (key, file) in [
            ("password_file", &pg.password_file),
            ("data_directory", &pg.data_directory),
            ("log", &pg.log),
            ("bin_dir", &pg.bin_dir),
        ] {
            check.absolute(file.as_deref(), &at(key))?;
        }
        check.variable_name(pg.password_env.as_deref(), &at("password_env"))?;
        check.unique(&pg.databases, &at("databases"))?;
        check.certificates(pg.url.sslmode, pg.url.sslrootcert.as_ref(), &at("url"))?;
    }
    for (i, pooler) in config.pooler.iter().enumerate() {
        let at = |key: &str| format!("pooler[{i}].{key}");
        check.place(&pooler.unit, &pooler.container, &format!("pooler[{i}]"))?;
        check.absolute(pooler.password_file.as_deref(), &at("password_file"))?;
        check.variable_name(pooler.password_env.as_deref(), &at("password_env"))?;
        check.certificates(pooler.url.sslmode, pooler.url.sslrootcert.as_ref(), &at("url"))?;
        if pooler.url.dbname != "pgbouncer" {
            return Err(check.fail(&at("url"), "does not name the admin console").hint(
                "its database is `pgbouncer`: postgresql://USER@HOST:6432/pgbouncer, a user of stats_users",
            ));
        }
    }
    for (i, redis) in config.redis.iter().enumerate() {
        let at = |key: &str| format!("redis[{i}].{key}");
        check.place(&redis.unit, &redis.container, &format!("redis[{i}]"))?;
        check.absolute(redis.password_file.as_deref(), &at("password_file"))?;
        check.variable_name(redis.password_env.as_deref(), &at("password_env"))?;
        url::redis(&redis.url)
            .map_err(|why| check.fail(&at("url"), &why).hint("it reads redis://127.0.0.1:6379/0"))?;
    }
    for (i, ollama) in config.ollama.iter().enumerate() {
        check.place(&ollama.unit, &ollama.container, &format!("ollama[{i}]"))?;
        check.http(&ollama.url, &format!("ollama[{i}].url"), false)?;
    }
    check.never(config)?;
    check.machine(config)?;
    check.limits(config)
}

struct Check<'a> {
    origins: &'a Origins,
    env: &'a Env,
}

impl Check<'_> {
    fn fail(&self, path: &str, why: &str) -> Error {
        Error::config(format!("`{path}` {} {why}", self.origins.of(path).place()))
    }

    /// Names stand in findings (`cause@name`), options and commands: short and plain, each once.
    fn names(&self, config: &Config) -> Result<()> {
        let mut seen: HashMap<&str, String> = HashMap::new();
        let mut last = ("", 0);
        for (kind, name) in config.names() {
            let i = if last.0 == kind { last.1 + 1 } else { 0 };
            last = (kind, i);
            let path = format!("{kind}[{i}].name");
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.len() > 64
                || !name.chars().all(plain)
                || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            {
                return Err(self.fail(&path, "is no name")
                    .hint("a name has up to 64 letters a-z, digits, `.`, `_`, `-`, and begins with a letter or digit"));
            }
            if let Some(before) = seen.get(name) {
                let there = self.origins.of(before).place();
                return Err(self
                    .fail(&path, &format!("is `{name}`, a name that `{before}` {there} has already"))
                    .hint("names are unique across all kinds: add or change a `name`"));
            }
            seen.insert(name, path);
        }
        Ok(())
    }

    fn needs(&self, config: &Config) -> Result<()> {
        let names: BTreeSet<&str> = config.names().iter().map(|(_, n)| *n).collect();
        let servers: BTreeSet<&str> = config.postgres.iter().map(|p| p.name.as_str()).collect();
        let services =
            config.service.iter().enumerate().map(|(i, s)| ("service", i, &s.name, &s.needs, &names));
        let poolers =
            config.pooler.iter().enumerate().map(|(i, p)| ("pooler", i, &p.name, &p.needs, &servers));
        for (kind, i, name, needs, names) in services.chain(poolers) {
            for (j, need) in needs.iter().enumerate() {
                let path = format!("{kind}[{i}].needs[{j}]");
                let others = || names.iter().copied().filter(|n| n != name);
                if need == name {
                    return Err(self.fail(&path, &format!("is `{need}` itself")).hint("take it out"));
                }
                if !names.contains(&need.as_str()) {
                    let what = if config.names().iter().any(|(_, n)| n == need) {
                        "no [[postgres]]"
                    } else {
                        "not configured"
                    };
                    let hint = match nearest(need, others()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if others().next().is_none() => {
                            "nothing of that kind is configured: give it a [[postgres]] heading of its own"
                                .into()
                        }
                        None => format!("configured: {}", others().collect::<Vec<_>>().join(", ")),
                    };
                    return Err(self.fail(&path, &format!("is `{need}`, which is {what}")).hint(hint));
                }
                if needs[..j].contains(need) {
                    return Err(self
                        .fail(&path, &format!("is `{need}` for the second time"))
                        .hint("take one out"));
                }
            }
        }
        let doubtful = not_clear(config);
        for (i, service) in
            config.service.iter().enumerate().filter(|(_, s)| doubtful.contains(s.name.as_str()))
        {
            if let Some(chain) = circle(config, &service.name) {
                return Err(self
                    .fail(&format!("service[{i}].needs"), &format!("goes in a circle: {}", chain.join(" → ")))
                    .hint("a service can't need what needs it"));
            }
        }
        Ok(())
    }

    /// What fits nothing would be acted on, though somebody meant to forbid it.
    fn never(&self, config: &Config) -> Result<()> {
        let names = config.names();
        let units = config.units().map(|(_, unit)| unit);
        let known: BTreeSet<&str> = names.iter().map(|(_, name)| *name).chain(units).collect();
        // Which of Debian's units a PostgreSQL runs as is seen, and need not be configured.
        let seen =
            |n: &str| n.starts_with("postgresql") && n.ends_with(".service") && !config.postgres.is_empty();
        for (i, name) in config.guard.never.iter().enumerate() {
            if known.contains(name.as_str()) || seen(name) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "a name of these, or a unit: {}",
                    known.into_iter().collect::<Vec<_>>().join(", ")
                ),
            };
            let why = format!("is `{name}`, which is not configured: it would forbid nothing");
            return Err(self.fail(&format!("guard.never[{i}]"), &why).hint(hint));
        }
        Ok(())
    }

    fn service(&self, service: &Service, at: &str) -> Result<()> {
        let path = |key: &str| format!("{at}.{key}");
        self.place(&service.unit, &service.container, at)?;
        match &service.url {
            Some(url) => self.http(url, &path("url"), true)?,
            None if service.unit.is_none() && service.container.is_none() => {
                return Err(self
                    .fail(at, &format!("({}) has nothing to look at", service.name))
                    .hint("give it a `url`, a `unit` or a `container`"));
            }
            None => {
                let keys = [
                    ("health", service.health.is_some()),
                    ("metrics", service.metrics.is_some()),
                    ("mcp", service.mcp.is_some()),
                    ("headers_file", service.headers_file.is_some()),
                    ("ca_file", service.ca_file.is_some()),
                    ("smoke", matches!(service.smoke, Some(Smoke::Request(_)))),
                ];
                if let Some((key, _)) = keys.iter().find(|(_, set)| *set) {
                    return Err(self
                        .fail(&path(key), "needs a `url` to be sent to")
                        .hint(format!("give {} its `url`", service.name)));
                }
            }
        }
        match &service.health {
            Some(Health::Path(p)) => self.slash(Some(p), &path("health"), "a path")?,
            Some(Health::Pointers(p)) => {
                self.slash(Some(&p.path), &path("health.path"), "a path")?;
                for (key, pointer) in
                    [("status", &p.status), ("pool_used", &p.pool_used), ("pool_max", &p.pool_max)]
                {
                    self.pointer(pointer.as_deref(), &path(&format!("health.{key}")))?;
                }
            }
            None => {}
        }
        self.slash(service.metrics.as_deref(), &path("metrics"), "a path")?;
        self.slash(service.mcp.as_deref(), &path("mcp"), "a path")?;
        match &service.smoke {
            Some(Smoke::Request(r)) => {
                self.slash(Some(&r.path), &path("smoke.path"), "a path")?;
                let json = r.json.as_ref().map(Value::to_string).unwrap_or_default();
                self.no_secret(&json, &path("smoke.json"))?;
            }
            Some(Smoke::Program(p)) => self.program(p, &path("smoke.argv"), "smoke program")?,
            None => {}
        }
        for (i, capture) in service.capture.iter().enumerate() {
            match capture {
                Capture::Url(c) => self.http(&c.url, &path(&format!("capture[{i}].url")), false)?,
                Capture::Program(p) => {
                    self.program(p, &path(&format!("capture[{i}].argv")), "capture program")?
                }
            }
        }
        if let Some(pool) = &service.pool {
            self.variable_name(pool.min_env.as_deref(), &path("pool.min_env"))?;
            self.variable_name(pool.max_env.as_deref(), &path("pool.max_env"))?;
            self.slash(pool.resize.as_deref(), &path("pool.resize"), "a path")?;
        }
        for (i, name) in service.database_env.iter().enumerate() {
            self.variable_name(Some(name), &path(&format!("database_env[{i}]")))?;
        }
        for (i, folder) in service.caches.iter().enumerate() {
            self.cache(folder, &path(&format!("caches[{i}]")))?;
        }
        match &service.deploy {
            Some(Deploy::Folder(f)) => self.absolute(Some(f), &path("deploy"))?,
            Some(Deploy::Program(p)) => self.program(p, &path("deploy.argv"), "deploy program")?,
            None => {}
        }
        self.absolute(service.headers_file.as_deref(), &path("headers_file"))?;
        self.absolute(service.ca_file.as_deref(), &path("ca_file"))?;
        self.certificate_file(service.ca_file.as_deref().map(Path::new), "ca_file", &path("ca_file"))
    }
}

/// The services that are in a circle, or need what is: taken away one after another, as soon as all
/// that they need is gone, the others leave these.
fn not_clear(config: &Config) -> BTreeSet<&str> {
    let services = |s: &Service| s.needs.iter().filter(|n| config.service(n).is_some()).count();
    let mut left: BTreeMap<&str, usize> =
        config.service.iter().map(|s| (s.name.as_str(), services(s))).collect();
    let mut needed_by: HashMap<&str, Vec<&str>> = HashMap::new();
    for s in &config.service {
        for need in &s.needs {
            needed_by.entry(need).or_default().push(&s.name);
        }
    }
    let mut clear: Vec<&str> = left.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
    while let Some(name) = clear.pop() {
        left.remove(name);
        for by in needed_by.get(name).into_iter().flatten() {
            if let Some(n) = left.get_mut(by) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    clear.push(by);
                }
            }
        }
    }
    left.into_keys().collect()
}

/// The way from a service through its needs back to itself, if there is one.
fn circle(config: &Config, start: &str) -> Option<Vec<String>> {
    let mut ways: Vec<Vec<&str>> = vec![vec![start]];
    let mut seen: Vec<&str> = Vec::new();
    while let Some(way) = ways.pop() {
        let Some(service) = way.last().and_then(|n| config.service(n)) else { continue };
        for need in &service.needs {
            let mut on: Vec<&str> = way.clone();
            on.push(need);
            if need == start {
                return Some(on.into_iter().map(str::to_owned).collect());
            }
            if !seen.contains(&need.as_str()) {
                seen.push(need);
                ways.push(on);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
