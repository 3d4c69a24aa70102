//! The single judgements that a check is made of: a path, a URL, a unit, a program, a limit.
//! They read at most the owner and mode of a file that is named, never what is in it.

use std::path::{Component, Path};
use std::time::Duration;

use super::super::files;
use super::super::mask;
use super::super::model::{Config, Program};
use super::super::pg_url::{RootCert, SslMode};
use super::super::span::Span;
use super::super::url;
use super::Check;
use crate::error::{Error, Result};

/// The longest that a whole look may take.
const LONGEST: Duration = Duration::from_secs(3600);

impl Check<'_> {
    pub(super) fn http(&self, text: &str, path: &str, base: bool) -> Result<()> {
        let url = url::http(text).map_err(|why| {
            let hint = if why.contains("login") {
                "put it into the service's headers_file: Authorization: Basic …"
            } else {
                "it reads http://HOST:PORT"
            };
            self.fail(path, &why).hint(hint)
        })?;
        self.no_secret(text, path)?;
        if base && url.query.is_some() {
            return Err(self
                .fail(path, "has a `?`, but paths are put behind it")
                .hint("it is the base of the service's URLs: http://HOST:PORT"));
        }
        Ok(())
    }

    pub(super) fn slash(&self, text: Option<&str>, path: &str, what: &str) -> Result<()> {
        match text {
            Some(t) if t.starts_with("http://") || t.starts_with("https://") => Err(self
                .fail(path, "is a whole URL")
                .hint("write the path alone: it is put behind the service's `url`")),
            Some(t) if !t.starts_with('/') => Err(self
                .fail(path, &format!("is {what} that does not begin with `/`"))
                .hint(format!("write \"/{t}\""))),
            Some(t) if t.contains(char::is_whitespace) || t.contains('#') => {
                Err(self.fail(path, &format!("is {what} with a space or `#` in it")).hint("write %20 or %23"))
            }
            Some(t) => self.no_secret(t, path),
            None => Ok(()),
        }
    }

    /// The configuration goes into snapshots and outputs, and an argument list is open to all users.
    pub(super) fn no_secret(&self, text: &str, path: &str) -> Result<()> {
        if mask::text(text) == text {
            return Ok(());
        }
        Err(self
            .fail(path, "has something like a password or token in it")
            .hint("what is written here is shown in outputs: send it by the service's headers_file"))
    }

    /// A JSON pointer (RFC 6901).
    pub(super) fn pointer(&self, text: Option<&str>, path: &str) -> Result<()> {
        let Some(t) = text else { return Ok(()) };
        if !t.starts_with('/') {
            let slashed = t.trim_start_matches("$.").replace('.', "/");
            return Err(self
                .fail(path, "is a JSON pointer that does not begin with `/`")
                .hint(format!("write \"/{slashed}\"")));
        }
        let ok = t.match_indices('~').all(|(i, _)| matches!(t.as_bytes().get(i + 1), Some(b'0' | b'1')));
        if ok {
            Ok(())
        } else {
            Err(self
                .fail(path, "is a JSON pointer with a lone `~`")
                .hint("`~` itself is written ~0, and `/` in a name ~1"))
        }
    }

    /// Where it runs: a unit or a container.
    pub(super) fn place(&self, unit: &Option<String>, container: &Option<String>, at: &str) -> Result<()> {
        if let Some(unit) = unit {
            let path = format!("{at}.unit");
            // systemd.unit(5): the letters of a unit's name.
            let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
            if unit.len() > 255 || !unit.chars().all(plain) || unit.starts_with('.') {
                return Err(self
                    .fail(&path, "is no unit's name")
                    .hint("it reads codebase-mcp.service or postgresql@15-main.service"));
            }
            if unit.contains("@.") {
                return Err(self
                    .fail(&path, "is a template, which never runs itself")
                    .hint("name the instance: postgresql@15-main.service"));
            }
            if container.is_some() {
                return Err(self
                    .fail(&path, "and `container` exclude each other")
                    .hint("keep the one that it runs in"));
            }
        }
        if let Some(container) = container {
            // Docker's rule for names; an id fits it too.
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !container.chars().all(plain) || !container.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(self
                    .fail(&format!("{at}.container"), "is no container's name")
                    .hint("see the last column of `docker ps`"));
            }
        }
        Ok(())
    }

    pub(super) fn variable_name(&self, name: Option<&str>, path: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match name {
            Some(n) if n.starts_with(|c: char| c.is_ascii_digit()) || !n.chars().all(plain) => Err(self
                .fail(path, "is no variable's name")
                .hint("name the variable, without `$` and without its value")),
            _ => Ok(()),
        }
    }

    pub(super) fn absolute(&self, file: Option<&str>, path: &str) -> Result<()> {
        match file {
            Some(f) if !f.starts_with('/') => Err(self
                .fail(path, "must be an absolute path")
                .hint("the current folder and `~` are never looked at: begin it with `/`")),
            _ => Ok(()),
        }
    }

    /// A folder that may be moved aside: named in full, deep enough not to be a system's own.
    pub(super) fn cache(&self, folder: &str, path: &str) -> Result<()> {
        self.absolute(Some(folder), path)?;
        let parts: Vec<Component> = Path::new(folder).components().collect();
        if parts.contains(&Component::ParentDir) {
            return Err(self.fail(path, "has `..` in it").hint("write the folder itself"));
        }
        let names = parts.len() - 1;
        let system =
            ["/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/dev", "/proc", "/sys", "/root"];
        // `/home/ann`, `/var/lib/mcp`: a person's or a program's whole state, not its cache.
        let whole = [("/home", 3), ("/opt", 3), ("/var", 3), ("/var/lib", 4)];
        if names < 2
            || system.iter().any(|s| Path::new(folder).starts_with(s))
            || whole.iter().any(|(top, least)| names < *least && Path::new(folder).starts_with(top))
        {
            return Err(self
                .fail(path, "is too much to be a cache")
                .hint("name the cache's own folder, such as /var/cache/mcp or /var/lib/mcp/temp"));
        }
        Ok(())
    }

    pub(super) fn program(&self, program: &Program, path: &str, what: &str) -> Result<()> {
        let Some(first) = program.argv.first() else {
            return Err(self.fail(path, "is empty").hint("write [\"/path/to/program\", \"argument\"]"));
        };
        let file = Path::new(first);
        if !file.is_absolute() || file.components().any(|c| c == Component::ParentDir) {
            return Err(self
                .fail(path, "must begin with the absolute path of a program")
                .hint("no shell runs and no PATH is searched: `command -v PROGRAM` tells the path"));
        }
        self.no_secret(&program.argv.join(" "), path)?;
        if self.env.is_root() {
            files::trusted_if_present(file, what).map_err(|e| self.named(e, path))?;
        }
        Ok(())
    }

    pub(super) fn certificates(&self, mode: SslMode, cert: Option<&RootCert>, path: &str) -> Result<()> {
        let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        match cert {
            // As libpq: where nothing is verified, a file that is not there does not matter.
            Some(RootCert::File(file)) if verifies || (mode != SslMode::Disable && file.exists()) => {
                self.certificate_file(Some(file), "sslrootcert", path)
            }
            None if verifies => Err(self
                .fail(path, &format!("has sslmode={} but no sslrootcert", mode.word()))
                .hint("add sslrootcert=/path/to/ca.pem, or sslrootcert=system for the machine's own authorities")),
            _ => Ok(()),
        }
    }

    pub(super) fn certificate_file(&self, file: Option<&Path>, what: &str, path: &str) -> Result<()> {
        let Some(file) = file else { return Ok(()) };
        let fail =
            |why: &str| Err(self.named(Error::config(format!("{what} {} {why}", file.display())), path));
        match std::fs::metadata(file) {
            Ok(meta) if !meta.is_file() => fail("is not a file"),
            Ok(meta) if self.env.is_root() => {
                files::trusted(file, &meta, what).map_err(|e| self.named(e, path))
            }
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => fail("does not exist"),
            // Its folder can't be seen by this user: the connection will tell.
            Err(_) => Ok(()),
        }
    }

    /// Adds where a refused file is named.
    fn named(&self, e: Error, path: &str) -> Error {
        e.hint(format!("check `{path}` {}, which names it", self.origins.of(path).place()))
    }

    pub(super) fn unique(&self, list: &[String], path: &str) -> Result<()> {
        match list.iter().enumerate().find(|(i, word)| list[..*i].contains(word)) {
            Some((i, _)) => {
                Err(self.fail(&format!("{path}[{i}]"), "stands there twice").hint("take one out"))
            }
            None => Ok(()),
        }
    }

    /// How the machine is reached.
    pub(super) fn machine(&self, config: &Config) -> Result<()> {
        let bus = &config.systemd.bus;
        if !["unix:path=/", "unix:abstract=", "unix:dir=/", "tcp:host="].iter().any(|s| bus.starts_with(s)) {
            return Err(self
                .fail("systemd.bus", "is no address of a D-Bus")
                .hint("it reads unix:path=/run/dbus/system_bus_socket"));
        }
        let host = &config.docker.host;
        let socket = host.strip_prefix("unix://").is_some_and(|p| p.starts_with('/'));
        let remote = ["tcp://", "http://", "https://"]
            .iter()
            .any(|s| host.strip_prefix(s).is_some_and(|h| !h.is_empty()));
        if !socket && !remote {
            return Err(self
                .fail("docker.host", "is no address of a Docker engine")
                .hint("it reads unix:///var/run/docker.sock or tcp://HOST:2375"));
        }
        self.absolute(config.systemd.journal.as_deref(), "systemd.journal")?;
        self.absolute(Some(&config.host.proc), "host.proc")
    }

    pub(super) fn limits(&self, config: &Config) -> Result<()> {
        if let Some(veto) = &config.guard.veto {
            self.program(veto, "guard.veto.argv", "veto program")?;
        }
        let t = &config.thresholds;
        if config.timeout.0 < Duration::from_millis(10) || config.timeout.0 > LONGEST {
            return Err(self
                .fail("timeout", "must be from 10ms to 1h")
                .hint("5s is the default: a look of a healthy stack takes milliseconds"));
        }
        let spans: [(&str, Span); 8] = [
            ("p95", t.p95),
            ("idle_in_transaction", t.idle_in_transaction),
            ("long_query", t.long_query),
            ("terminate_after", t.terminate_after),
            ("slow_query", t.slow_query),
            ("recent_failure", t.recent_failure),
            ("recent_change", t.recent_change),
            ("certificate", t.certificate),
        ];
        for (key, span) in spans {
            if span.0.is_zero() {
                return Err(self
                    .fail(&format!("thresholds.{key}"), "must be longer than nothing")
                    .hint("everything would be over it"));
            }
        }
        if t.pool <= 0.0 {
            return Err(self
                .fail("thresholds.pool", "must be above 0")
                .hint("every pool would be exhausted"));
        }
        for (key, share) in [("memory", t.memory), ("descriptors", t.descriptors)] {
            if share <= 0.0 {
                return Err(self
                    .fail(&format!("thresholds.{key}"), "must be above 0")
                    .hint("everything would be over it"));
            }
        }
        if t.pool_recovered >= t.pool {
            let pool = self.origins.of("thresholds.pool");
            return Err(self
                .fail(
                    "thresholds.pool_recovered",
                    &format!(
                        "is {}, not below thresholds.pool, which is {} ({pool})",
                        t.pool_recovered, t.pool
                    ),
                )
                .hint("between the two a pool stays what it was, so that it does not flap"));
        }
        Ok(())
    }
}
