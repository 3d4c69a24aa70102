//! Lays the layers over one another: defaults, file, `MCP_IR_*`, flags.
//! It reads nothing but its arguments and the files that they name; never the current folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result, nearest};

use super::check;
use super::defaults;
use super::env::{Env, Flags};
use super::files::{self, CONFIG_LIMIT, Failed, quoted};
use super::keys::{self, KEYS, KINDS, Key};
use super::layer::{self, Layer};
use super::model::{Config, Health};
use super::origins::{Origin, Origins};
use super::pg_url::{PgDefaults, PgUrl, RootCert};
use super::secrets::{self, Secrets};

/// The effective configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Holds no secret: it may go into a snapshot.
    pub config: Config,
    pub origins: Origins,
    pub secrets: Secrets,
    /// What is odd but no reason to stop.
    pub warnings: Vec<String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// The same for these alone, what they need, and whoever needs them, by whom it shows how they are: what is
    /// looked at to see whether they are well again.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        let c = &self.config;
        let mut kept: Vec<String> = names.to_vec();
        let mut at = 0;
        while at < kept.len() {
            let needs: Vec<String> = c.needs(&kept[at]).to_vec();
            kept.extend(needs.into_iter().filter(|n| !kept.contains(n)).collect::<Vec<_>>());
            at += 1;
        }
        let poolers = c.pooler.iter().filter(|p| p.needs.iter().any(|n| names.contains(n)));
        let servers: Vec<&String> = names.iter().chain(poolers.map(|p| &p.name)).collect();
        let clients = c.service.iter().filter(|s| s.needs.iter().any(|n| servers.contains(&n)));
        kept.extend(servers.iter().copied().cloned());
        kept.extend(clients.map(|s| s.name.clone()));
        let mut only = self.clone();
        let c = &mut only.config;
        c.service.retain(|s| kept.contains(&s.name));
        c.postgres.retain(|p| kept.contains(&p.name));
        c.pooler.retain(|p| kept.contains(&p.name));
        c.redis.retain(|r| kept.contains(&r.name));
        c.ollama.retain(|o| kept.contains(&o.name));
        only
    }
}

impl Loaded {
    /// The same for these services alone.
    #[must_use]
    pub fn alone(&self, names: &[String]) -> Self {
        let mut alone = self.clone();
        let c = &mut alone.config;
        c.service.retain(|s| names.contains(&s.name));
        (c.postgres, c.pooler, c.redis, c.ollama) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        alone
    }
}

/// Loads the configuration. Every error names its place and what to try.
pub fn load(flags: &Flags, env: &Env) -> Result<Loaded> {
    let mut warnings = Vec::new();
    let mut layer = layer::parse(defaults::TEXT, None)?;
    let (file, named) = match find(flags, env, &mut warnings)? {
        Some((path, text)) => {
            let over = layer::parse(&text.text, Some(&path))?;
            let named: Vec<&str> = KINDS.into_iter().filter(|k| over.values.contains_key(*k)).collect();
            warn_of_readers(&over, &path, &text, &mut warnings);
            merge(&mut layer, over);
            (Some(path), named)
        }
        None => (None, Vec::new()),
    };
    let asked = variables(&mut layer, env, &mut warnings)?;
    docker_host(&mut layer, env);
    flag_values(&mut layer, flags);
    fit_built_in(&mut layer, &named, &asked);
    check::required(&layer)?;
    let urls = pg_urls(&layer, "postgres", env)?;
    let poolers = pg_urls(&layer, "pooler", env)?;
    let mut config: Config = serde_json::from_value(Value::Object(layer.values))
        .map_err(|e| Error::config(format!("the configuration can't be used: {e}")))?;
    for (pg, url) in config.postgres.iter_mut().zip(urls) {
        pg.url = url;
    }
    for (pooler, url) in config.pooler.iter_mut().zip(poolers) {
        pooler.url = url;
    }
    complete(&mut config);
    check::config(&config, &layer.origins, env)?;
    let secrets = secrets::gather(&mut config, &layer.origins, env, &mut warnings)?;
    Ok(Loaded { config, origins: layer.origins, secrets, warnings, file })
}

/// Where this user's own configuration belongs: the machine's for root.
pub fn own_config(env: &Env) -> Option<PathBuf> {
    if env.is_root() {
        return Some(env.etc.join("config.toml"));
    }
    // The XDG Base Directory Specification: a relative path there is to be ignored.
    let xdg = env.var("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let base = xdg.or_else(|| env.home.as_ref().map(|h| h.join(".config")))?;
    Some(base.join("mcp-ir/config.toml"))
}

const WHAT: &str = "configuration file";

/// The file to read: the one that was named, else this user's own, else the machine's.
fn find(flags: &Flags, env: &Env, warnings: &mut Vec<String>) -> Result<Option<(PathBuf, files::Text)>> {
    let variable = env.var("MCP_IR_CONFIG").map(PathBuf::from);
    let named = flags.config.clone().map(|p| (p, "--config")).or(variable.map(|p| (p, "$MCP_IR_CONFIG")));
    if let Some((path, by)) = named {
        if path.as_os_str() == "/dev/null" {
            return Ok(None);
        }
        let path = std::path::absolute(&path).unwrap_or(path);
        let text = files::read(&path, WHAT, CONFIG_LIMIT, env.is_root()).map_err(|f| {
            let missing = matches!(f, Failed::Missing);
            let e = f.error(WHAT, &path);
            let e = if missing { e.hint(format!("mcp-ir config init {}", quoted(&path))) } else { e };
            e.hint(format!("check the path: it is the one of {by}"))
        })?;
        return Ok(Some((path, text)));
    }
    let shared = env.etc.join("config.toml");
    if let Some(own) = own_config(env).filter(|own| *own != shared) {
        match files::read(&own, WHAT, CONFIG_LIMIT, env.is_root()) {
            Ok(text) => return Ok(Some((own, text))),
            Err(Failed::Missing) => {}
            Err(f) => return Err(f.error(WHAT, &own)),
        }
    }
    match files::read(&shared, WHAT, CONFIG_LIMIT, env.is_root()) {
        Ok(text) => Ok(Some((shared, text))),
        Err(Failed::Missing) => Ok(None),
        Err(Failed::Denied) if !env.is_root() => {
            warnings
                .push(format!("{} can't be read by you: the built-in defaults are used", shared.display()));
            Ok(None)
        }
        Err(f) => Err(f.error(WHAT, &shared)),
    }
}

fn warn_of_readers(over: &Layer, path: &Path, text: &files::Text, warnings: &mut Vec<String>) {
    let password = |kind: &str| {
        let entries = over.values.get(kind).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|e| e.get("url")?.as_str()).any(|u| super::mask::text(u) != *u)
    };
    if text.readable_by_others() && ["postgres", "pooler", "redis"].into_iter().any(password) {
        warnings.push(format!(
            "{p} has a password in a URL and can be read by everybody (mode {:04o}): chmod o-r {q}, or use password_file",
            text.mode & 0o7777,
            p = path.display(),
            q = quoted(path)
        ));
    }
}

/// A later layer wins value by value; a kind of things under care is replaced whole.
fn merge(base: &mut Layer, over: Layer) {
    for kind in KINDS.into_iter().filter(|k| over.values.contains_key(*k)) {
        base.values.remove(kind);
        base.origins.remove(kind);
    }
    merge_tables(&mut base.values, over.values);
    base.origins.extend(over.origins);
}

fn merge_tables(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(b)), Value::Object(o)) => merge_tables(b, o),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Applies `MCP_IR_*`; returns the kinds that a variable spoke of.
fn variables(layer: &mut Layer, env: &Env, warnings: &mut Vec<String>) -> Result<Vec<&'static str>> {
    let mut asked = Vec::new();
    let known: Vec<(String, &Key)> =
        KEYS.iter().filter(|k| k.variable).map(|k| (k.variable_name(), k)).collect();
    let secret_variables = passwords_by_variable(layer);
    for name in env.vars.keys() {
        // Bytes that are no text can't be a name of ours.
        let Some(name) = name.to_str().filter(|n| n.starts_with(keys::PREFIX)) else { continue };
        let Some(value) = env.var(name) else { continue };
        let Some((_, key)) = known.iter().find(|(n, _)| n == name) else {
            let reserved = keys::RESERVED.contains(&name)
                || keys::RESERVED_PREFIXES.iter().any(|p| name.starts_with(p))
                || secret_variables.iter().any(|s| s == name);
            if !reserved {
                let names = known.iter().map(|(n, _)| n.as_str()).chain(keys::RESERVED.iter().copied());
                let near = nearest(name, names).map(|n| format!(" (did you mean ${n}?)")).unwrap_or_default();
                let name: String = name.chars().flat_map(char::escape_debug).collect();
                warnings.push(format!("unknown variable ${name} is ignored{near}"));
            }
            continue;
        };
        let wrong = |why: String| {
            Error::config(format!("${name} {why}"))
                .hint(format!("unset it to use the `{}` of the file", key.path))
        };
        let text = value.to_str().ok_or_else(|| wrong("is not UTF-8 text".into()))?;
        let value = key.shape.variable(text).map_err(wrong)?;
        let Some((table, field)) = key.path.split_once('.') else {
            layer.values.insert(key.path.into(), value);
            layer.origins.set(key.path, Origin::Variable(name.into()));
            continue;
        };
        let path = if KINDS.contains(&table) {
            asked.push(table);
            let entries = layer.values.get_mut(table).and_then(Value::as_array_mut);
            match entries.map(Vec::as_mut_slice) {
                Some([Value::Object(one)]) => one.insert(field.into(), value),
                other => {
                    let count = other.map_or(0, |o| o.len());
                    return Err(Error::config(format!(
                        "${name} can't be used: {count} [[{table}]] are configured, not one"
                    ))
                    .hint(format!("unset it, and give each [[{table}]] its own `{field}` in the file")));
                }
            };
            format!("{table}[0].{field}")
        } else {
            let entry = layer.values.entry(table).or_insert_with(|| Value::Object(Map::new()));
            entry.as_object_mut().map(|t| t.insert(field.into(), value));
            key.path.to_owned()
        };
        layer.origins.set(path, Origin::Variable(name.into()));
    }
    Ok(asked)
}

/// Where the file leaves it out, docker's own variable holds: it is what a person's `docker` asks. What
/// only that can reach is left to it.
fn docker_host(layer: &mut Layer, env: &Env) {
    let Some(host) = env.text("DOCKER_HOST") else { return };
    let asked = ["unix:///", "tcp://", "http://", "https://"].iter().any(|s| host.starts_with(s));
    if !asked || *layer.origins.of("docker.host") != Origin::Default {
        return;
    }
    let entry = layer.values.entry("docker").or_insert_with(|| Value::Object(Map::new()));
    entry.as_object_mut().map(|t| t.insert("host".into(), host.into()));
    layer.origins.set("docker.host", Origin::Variable("DOCKER_HOST".into()));
}

/// Variables that a `password_env` names are known, whatever they are called.
fn passwords_by_variable(layer: &Layer) -> Vec<String> {
    let kinds =
        ["postgres", "pooler", "redis"].into_iter().filter_map(|kind| layer.values.get(kind)?.as_array());
    kinds.flatten().filter_map(|e| Some(e.get("password_env")?.as_str()?.to_owned())).collect()
}

fn flag_values(layer: &mut Layer, flags: &Flags) {
    if let Some(timeout) = flags.timeout {
        layer.values.insert("timeout".into(), timeout.to_string().into());
        layer.origins.set("timeout", Origin::Flag("--timeout"));
    }
}

/// Fits the built-in entries to a file that names only some kinds: what none of its services needs
/// is not looked at, and the built-in services need what the file names instead.
fn fit_built_in(layer: &mut Layer, named: &[&str], asked: &[&str]) {
    let names = |layer: &Layer, kind: &str| -> Vec<String> {
        let entries = layer.values.get(kind).and_then(Value::as_array).into_iter().flatten();
        entries.map(|e| e.get("name").and_then(Value::as_str).unwrap_or(kind).to_owned()).collect()
    };
    for kind in KINDS.into_iter().skip(1) {
        if named.contains(&"service") && !named.contains(&kind) && !asked.contains(&kind) {
            let needed = needs(layer);
            if !names(layer, kind).iter().any(|n| needed.contains(n)) {
                layer.values.remove(kind);
                layer.origins.remove(kind);
            }
        }
    }
    if named.contains(&"service") {
        return;
    }
    let there: Vec<(&str, Vec<String>)> = KINDS.into_iter().map(|k| (k, names(layer, k))).collect();
    for service in layer.values.get_mut("service").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(needs) = service.get_mut("needs").and_then(Value::as_array_mut) else { continue };
        let old = std::mem::take(needs);
        for need in old {
            let word = need.as_str().unwrap_or_default();
            match there.iter().find(|(kind, _)| *kind == word && named.contains(kind)) {
                Some((_, instead)) => needs.extend(instead.iter().cloned().map(Value::String)),
                None => needs.push(need),
            }
        }
    }
}

fn needs(layer: &Layer) -> Vec<String> {
    let all = ["service", "pooler"].into_iter().filter_map(|kind| layer.values.get(kind)?.as_array());
    let lists = all.flatten().filter_map(|s| s.get("needs")?.as_array());
    lists.flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect()
}

/// Reads the URLs of all servers or poolers with what libpq's variables say.
fn pg_urls(layer: &Layer, kind: &str, env: &Env) -> Result<Vec<PgUrl>> {
    let mut defaults = PgDefaults { user: env.user.clone(), ..PgDefaults::default() };
    if let Some(mode) = env.text("PGSSLMODE") {
        let wrong = |e| {
            Error::config(format!("$PGSSLMODE: {e}"))
                .hint("it holds where a [[postgres]] url says no sslmode")
        };
        defaults.sslmode = Some(mode.parse().map_err(wrong)?);
    }
    // libpq's own place for it, used where it exists. It was not asked for, so that a root who keeps
    // another's HOME (sudo -E) is not refused for it: it is passed over.
    let usable =
        |f: &PathBuf| f.is_file() && (!env.is_root() || files::trusted_if_present(f, "sslrootcert").is_ok());
    let own = || env.home.as_ref().map(|h| h.join(".postgresql/root.crt")).filter(usable).map(RootCert::File);
    defaults.sslrootcert = env.text("PGSSLROOTCERT").map(RootCert::read).or_else(own);
    let entries = layer.values.get(kind).and_then(Value::as_array).into_iter().flatten();
    entries.enumerate().map(|(i, entry)| {
        let path = format!("{kind}[{i}].url");
        let text = entry.get("url").and_then(Value::as_str).unwrap_or_default();
        PgUrl::parse(text, &defaults).map_err(|why| {
            Error::config(format!("`{path}` {} {why}", layer.origins.of(&path).place()))
                .hint("it reads postgresql://USER@HOST:5432/DATABASE, or postgresql://USER@/DATABASE?host=/run/postgresql for a socket")
        })
    }).collect()
}

/// Writes out what is implied, so that the configuration says all that is done.
fn complete(config: &mut Config) {
    for service in &mut config.service {
        service.unit = service.unit.take().map(unit_name);
        if let Some(url) = &mut service.url {
            url.truncate(url.trim_end_matches('/').len());
            service.health.get_or_insert_with(|| Health::Path("/health/status".into()));
        }
    }
    for pg in &mut config.postgres {
        pg.unit = pg.unit.take().map(unit_name);
        if pg.databases.is_empty() {
            pg.databases.push(pg.url.dbname.clone());
        }
    }
    for pooler in &mut config.pooler {
        pooler.unit = pooler.unit.take().map(unit_name);
    }
    for redis in &mut config.redis {
        redis.unit = redis.unit.take().map(unit_name);
    }
    for ollama in &mut config.ollama {
        ollama.unit = ollama.unit.take().map(unit_name);
        ollama.url.truncate(ollama.url.trim_end_matches('/').len());
    }
}

/// systemd's own rule: a name without a suffix is a service.
fn unit_name(name: String) -> String {
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".target",
        ".timer",
        ".mount",
        ".automount",
        ".swap",
        ".path",
        ".slice",
        ".scope",
        ".device",
    ];
    if SUFFIXES.iter().any(|s| name.ends_with(s)) { name } else { format!("{name}.service") }
}

#[cfg(test)]
mod tests;
