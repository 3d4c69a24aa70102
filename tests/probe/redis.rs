//! A real Redis: what it answers when it is well, full, closed, a replica, loading, and can't save.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcp_ir::config::Secret;
use mcp_ir::probe::redis::look;
use mcp_ir::snapshot::redis::RedisLook;
use mcp_ir::snapshot::{FailKind, Reading};

struct Server {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::in_folder(tempfile::Builder::new().prefix("mcp-ir-redis-").tempdir().unwrap(), arguments)
    }

    fn in_folder(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Should this thread die without a farewell, the server goes too.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "redis-server", "--bind", "127.0.0.1", "--save", ""])
            .args(["--port", &port.to_string(), "--dir", folder.path().to_str().unwrap()])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv (package util-linux)");
        let server = Self { folder, port, process };
        let end = Instant::now() + Duration::from_secs(10);
        // Refused while it loads or asks for a password, which is an answer as well.
        while server.cli(&["PING"]).contains("refused") {
            assert!(Instant::now() < end, "no start: is redis-server installed?");
        }
        server
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let out = command.args(["-p", &self.port.to_string()]).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).to_lowercase()
    }

    async fn look(&self, user: &str, password: Option<&str>) -> RedisLook {
        let url = format!("redis://{user}127.0.0.1:{}/0", self.port);
        let redis = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let password = password.map(Secret::new);
        look(&redis, password.as_ref(), Instant::now() + Duration::from_secs(5)).await
    }

    /// Kills it and gives its folder.
    fn end(mut self) -> tempfile::TempDir {
        self.kill();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn refused(look: &RedisLook) -> (FailKind, Option<&str>) {
    let f = look.ping.failure().expect("a refusal");
    (f.kind, f.code.as_deref())
}

#[tokio::test]
async fn one_that_is_well_says_all_and_nothing_is_written() {
    let server = Server::start(&[]);
    let look = server.look("", None).await;
    assert_eq!((look.ping.seen(), look.here), (Some(&()), Some(true)));
    let s = look.server.seen().unwrap();
    assert_eq!((s.role.as_str(), s.loading, s.maxmemory), ("master", false, Some(0)));
    assert_eq!((s.save_ok, s.append_ok), (Some(true), Some(true)));
    assert!(!s.version.is_empty() && s.used_memory.is_some() && s.errors.is_empty(), "{s:?}");
    let settings = look.settings.seen().unwrap();
    assert_eq!((settings.stop_writes, settings.saves), (Some(true), Some(false)));
    let stats = server.cli(&["INFO", "commandstats"]);
    let asked: Vec<&str> =
        stats.lines().filter_map(|l| l.strip_prefix("cmdstat_")?.split(':').next()).collect();
    for command in &asked {
        assert!(["ping", "info", "config|get", "command", "command|docs"].contains(command), "{asked:?}");
    }
}

#[tokio::test]
async fn a_login_is_asked_for_refused_and_made() {
    let server = Server::start(&["--requirepass", "hunter2"]);
    assert_eq!(refused(&server.look("", None).await), (FailKind::Denied, Some("NOAUTH")));
    assert_eq!(refused(&server.look("", Some("hunter3")).await), (FailKind::Denied, Some("WRONGPASS")));
    assert!(server.look("", Some("hunter2")).await.server.seen().is_some());
    server.cli(&["-a", "hunter2", "ACL", "SETUSER", "ann", "on", ">geheim", "+ping"]);
    let look = server.look("ann@", Some("geheim")).await;
    assert!(look.ping.seen().is_some());
    for (kind, code) in [
        (&look.server.failure().unwrap().kind, &look.server.failure().unwrap().code),
        (&look.settings.failure().unwrap().kind, &look.settings.failure().unwrap().code),
    ] {
        assert_eq!((*kind, code.as_deref()), (FailKind::Denied, Some("NOPERM")));
    }
}

#[tokio::test]
async fn one_that_is_full_shows_its_figures_and_its_refusals() {
    let server = Server::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let fill =
        "for i=1,100000 do if redis.pcall('SET', 'k'..i, string.rep('x', 500)).err then return i end end";
    server.cli(&["EVAL", fill, "0"]);
    for i in 0..5000 {
        if server.cli(&["SET", &format!("small{i}"), &"x".repeat(2000)]).contains("oom") {
            break;
        }
    }
    let look = server.look("", None).await;
    let s = look.server.seen().unwrap();
    assert!(s.used_memory >= s.maxmemory && s.maxmemory == Some(3 << 20), "{s:?}");
    assert_eq!(s.policy.as_deref(), Some("noeviction"));
    assert!(s.errors.get("OOM").is_some_and(|n| *n > 0), "{s:?}");
}

#[tokio::test]
async fn a_replica_names_its_master() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]);
    let look = server.look("", None).await;
    let s = look.server.seen().unwrap();
    assert_eq!(
        (s.role.as_str(), s.master.as_deref(), s.read_only),
        ("slave", Some("127.0.0.1:1"), Some(true))
    );
    assert_eq!(s.master_link.as_deref(), Some("down"));
}

#[tokio::test]
async fn a_failed_save_is_said() {
    let server = Server::start(&["--save", "60 1000"]);
    std::fs::create_dir_all(server.folder.path().join("dump.rdb/in-its-way")).unwrap();
    server.cli(&["BGSAVE"]);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let look = server.look("", None).await;
        if look.server.seen().unwrap().save_ok == Some(false) {
            let settings = look.settings.seen().unwrap();
            assert_eq!((settings.stop_writes, settings.saves), (Some(true), Some(true)));
            break;
        }
        assert!(Instant::now() < end, "{look:?}");
    }
    assert!(server.cli(&["SET", "a", "1"]).contains("misconf"));
}

#[tokio::test]
async fn one_that_loads_says_how_far_it_is() {
    let server = Server::start(&[]);
    server.cli(&["EVAL", "for i=1,20000 do redis.call('SET', 'k'..i, string.rep('x', 500)) end", "0"]);
    server.cli(&["SAVE"]);
    let server = Server::in_folder(
        server.end(),
        &["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"],
    );
    let look = server.look("", None).await;
    assert_eq!(refused(&look), (FailKind::Refused, Some("LOADING")));
    let s = look.server.seen().unwrap();
    assert!(s.loading && s.loaded_percent.is_some(), "{s:?}");
    assert!(matches!(look.settings, Reading::Seen { .. }), "{look:?}");
}
