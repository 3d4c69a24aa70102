//! Where whatever is under care is reached, by its name. No name is looked up.

use super::{Config, RedisPlace, url};

impl Config {
    /// Host and port; `None` of what is reached by a socket file, or not at all.
    pub fn place(&self, name: &str) -> Option<(String, u16)> {
        if let Some(p) = self.postgres(name) {
            return Some((p.url.host.text(), p.url.port)).filter(|(host, _)| !host.starts_with('/'));
        }
        if let Some(r) = self.redis(name) {
            return match r.place()? {
                RedisPlace::Tcp { host, port, .. } => Some((host, port)),
                RedisPlace::Unix(_) => None,
            };
        }
        if let Some(o) = self.ollama.iter().find(|o| o.name == name) {
            let url = url::split(&o.url).ok()?;
            let port = url.port.unwrap_or(if url.scheme == "https" { 443 } else { 80 });
            return Some((url.host.to_owned(), port));
        }
        let pooler = self.pooler(name).map(|p| (p.url.host.text(), p.url.port));
        pooler.or_else(|| self.service(name)?.address().map(|(host, port)| (host.to_owned(), port)))
    }

    /// The unit that it runs as, or the container that it runs in.
    pub fn placed(&self, name: &str) -> (Option<&str>, Option<&str>) {
        let postgres = self.postgres(name).map(|p| (&p.unit, &p.container));
        let redis = || self.redis(name).map(|r| (&r.unit, &r.container));
        let ollama = || self.ollama(name).map(|o| (&o.unit, &o.container));
        let service = || self.service(name).map(|s| (&s.unit, &s.container));
        let found = postgres.or_else(redis).or_else(ollama).or_else(service);
        found.map_or((None, None), |(unit, container)| (unit.as_deref(), container.as_deref()))
    }

    /// Whether it is served from this host, as far as its configuration says.
    pub fn is_here(&self, name: &str) -> bool {
        let loopback = |host: &str| {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        };
        self.runs_here(name) || self.place(name).is_some_and(|(host, _)| loopback(&host))
    }
}
