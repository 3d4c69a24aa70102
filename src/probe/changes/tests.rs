//! A tree of files, as on a machine: what of it is young is told, by whom it is about.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use super::*;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A file of so many seconds ago; its folders are old.
    fn file(&self, path: &str, ago: u64, text: &str) -> &Self {
        let file = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        self.aged(path, ago).aged(Path::new(path).parent().unwrap().to_str().unwrap(), 90_000)
    }

    fn link(&self, path: &str, to: &str) {
        let link = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, link).unwrap();
    }

    fn aged(&self, path: &str, ago: u64) -> &Self {
        let file = File::open(self.0.path().join(path.trim_start_matches('/'))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
        self
    }

    fn root(&self) -> Root {
        Root { folder: self.0.path().to_owned(), since: ago(3600) }
    }
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap() - SignedDuration::from_secs(seconds)
}

fn said(all: &[Change]) -> Vec<&str> {
    all.iter().map(|c| c.what.as_str()).collect()
}

#[test]
fn a_young_drop_in_is_told_with_the_names_of_what_it_sets() {
    let t = Tree::new();
    t.file("/etc/systemd/system/api.service", 9000, "[Service]\nExecStart=/x\n");
    let text = "[Service]\n# Environment=NOT=this\nEnvironment=POOL_MAX_SIZE=200\nEnvironment=\"DB_PASSWORD=hunter2\"\nMemoryMax=1G\nLimitNOFILE=9\n";
    t.file("/etc/systemd/system/api.service.d/override.conf", 720, text);
    t.file("/etc/systemd/system/api.service.d/old.conf", 7200, "[Service]\nUser=x\n");
    t.file("/etc/systemd/system/other.service.d/x.conf", 60, "");
    let seen = units::of(&t.root(), "api", "api.service");
    assert_eq!(
        said(&seen),
        ["drop-in override.conf of api.service (POOL_MAX_SIZE, DB_PASSWORD, MemoryMax, …)"]
    );
    assert_eq!(seen[0].kind, ChangeKind::DropIn);
    assert_eq!(seen[0].subject.as_deref(), Some("api"));
    assert_eq!(seen[0].path.as_deref(), Some("/etc/systemd/system/api.service.d/override.conf"));
    assert!((ago(720).duration_since(seen[0].at).as_secs_f64()).abs() < 5.0);
}

#[test]
fn a_templates_files_are_its_instances_too() {
    let t = Tree::new();
    t.file("/usr/lib/systemd/system/postgresql@.service", 60, "[Service]\n");
    t.file(
        "/run/systemd/system.control/postgresql@15-main.service.d/50-MemoryMax.conf",
        60,
        "[Service]\nMemoryMax=1\n",
    );
    let seen = units::of(&t.root(), "postgres", "postgresql@15-main.service");
    let wanted = [
        "drop-in 50-MemoryMax.conf of postgresql@15-main.service (MemoryMax)",
        "unit file postgresql@.service",
    ];
    assert_eq!(said(&seen), wanted);
}

/// An edit that was given up leaves the same: a file was written beside, and is gone again.
#[test]
fn a_drop_in_that_is_gone_left_its_folder_young_and_no_more_than_that_is_said() {
    let t = Tree::new();
    t.file("/etc/systemd/system/api.service.d/old.conf", 9000, "");
    t.aged("/etc/systemd/system/api.service.d", 300);
    let seen = units::of(&t.root(), "api", "api.service");
    let wanted =
        "folder of the drop-ins of api.service was touched (one taken away, moved in, or an edit given up)";
    assert_eq!(said(&seen), [wanted]);
}

#[test]
fn a_folder_in_which_there_never_was_a_drop_in_is_no_change() {
    let t = Tree::new();
    let folder = "/etc/systemd/system/api.service.d";
    fs::create_dir_all(t.0.path().join(&folder[1..])).unwrap();
    assert_eq!(units::of(&t.root(), "api", "api.service"), []);
    // Restored with the time that it had.
    t.aged(folder, 300);
    assert_eq!(units::of(&t.root(), "api", "api.service"), []);
    // Something went out of it later than it was made.
    let file = File::open(t.0.path().join(&folder[1..])).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(30)).unwrap();
    assert_eq!(units::of(&t.root(), "api", "api.service").len(), 1);
}

#[test]
fn the_file_of_an_environment_is_looked_at_where_the_unit_names_it() {
    let t = Tree::new();
    t.file("/etc/default/api", 100, "DATABASE_URL=postgresql://a:hunter2@h/x\n");
    t.file(
        "/etc/systemd/system/api.service",
        9000,
        "[Service]\nEnvironmentFile=-/etc/default/api\nEnvironmentFile=/etc/%i\n",
    );
    let seen = units::of(&t.root(), "api", "api.service");
    assert_eq!(said(&seen), ["environment file /etc/default/api of api.service"]);
}

#[test]
fn files_of_settings_are_told_by_the_server() {
    let t = Tree::new();
    t.file("/var/lib/postgresql/15/main/postgresql.auto.conf", 30, "work_mem = '1GB'\n");
    t.file("/etc/postgresql/15/main/postgresql.conf", 9000, "");
    t.file("/etc/postgresql/15/main/conf.d/tuning.conf", 40, "");
    t.file("/etc/postgresql/15/main/pg_hba.conf", 50, "");
    t.file("/etc/redis/redis.conf", 60, "");
    let data = "/var/lib/postgresql/15/main".to_owned();
    let servers = [("postgres".to_owned(), Some("postgresql@15-main.service".to_owned()), Some(data))];
    let seen = settings::of(&t.root(), &servers, &[("redis".into(), "redis-server.service".into())]);
    let wanted = [
        "postgresql.auto.conf, which ALTER SYSTEM writes, of postgres",
        "pg_hba.conf of postgres",
        "conf.d/tuning.conf of postgres",
        "redis.conf of redis",
    ];
    assert_eq!(said(&seen), wanted);
}

/// A line of dpkg's, in the zone of this machine, as it writes it.
fn dpkg(ago_s: i64, words: &str) -> String {
    let at = ago(ago_s).to_zoned_datetime(jiff::tz::TimeZone::system());
    format!("{} {words}\n", at.strftime("%F %T"))
}

#[test]
fn one_run_of_dpkg_is_one_change_and_names_what_is_under_care() {
    let t = Tree::new();
    let log = [
        dpkg(9000, "startup archives unpack"),
        dpkg(9000, "upgrade redis-server:amd64 5:7.0.14 5:7.0.15"),
        dpkg(700, "startup archives unpack"),
        dpkg(700, "upgrade tzdata:all 2024a 2024b"),
        dpkg(699, "status half-configured libpq5:amd64 15.13-0"),
        dpkg(699, "upgrade libpq5:amd64 15.13-0 15.14-0"),
        dpkg(300, "startup packages remove"),
        dpkg(299, "remove nano:amd64 7.2-1 <none>"),
        "2026-99-99 77:77:77 upgrade x:all 1 2\nnonsense\n".to_owned(),
    ];
    t.file("/var/log/dpkg.log", 1, &log.concat());
    let servers = (Some("postgres".to_owned()), Some("redis".to_owned()));
    let seen = packages::of(&t.root(), &[("api".into(), "api.service".into())], &servers);
    assert_eq!(said(&seen), ["package libpq5 15.13-0 → 15.14-0, and 1 more", "package nano removed"]);
    assert_eq!(seen[0].subject.as_deref(), Some("postgres"));
    assert_eq!(seen[1].subject, None);
    assert!(packages::of(&Tree::new().root(), &[], &(None, None)).is_empty());
}

#[test]
fn a_deployment_is_told_by_the_reflog_without_running_git() {
    let t = Tree::new();
    let line = |at: Timestamp, message: &str| {
        format!("{} 1234567890abcdef A B <a@b.c> {} +0200\t{message}\n", "0".repeat(16), at.as_second())
    };
    let log = line(ago(90_000), "clone: from x") + &line(ago(1200), "pull: Fast-forward");
    t.file("/srv/api/.git/logs/HEAD", 1, &log);
    let seen = deployment::of(&t.root(), "api", "/srv/api/").unwrap();
    assert_eq!(seen.what, "deployment of api in /srv/api: 12345678 (pull: Fast-forward)");
    assert!((ago(1200).duration_since(seen.at).as_secs_f64()).abs() < 5.0);
    // A work tree elsewhere; a link to a release; one of long ago.
    t.file("/srv/tree/.git", 9000, "gitdir: /srv/api/.git\n");
    assert!(deployment::of(&t.root(), "api", "/srv/tree").is_some());
    t.link("/srv/current", "/srv/releases/4711");
    assert!(deployment::of(&t.root(), "api", "/srv/current").unwrap().what.ends_with("the link was made"));
    t.file("/srv/old/.git/HEAD", 9000, "ref: refs/heads/main\n");
    assert_eq!(deployment::of(&t.root(), "api", "/srv/old"), None);
    assert_eq!(deployment::of(&t.root(), "api", "/srv/none"), None);
}

#[tokio::test]
async fn all_of_it_by_one_deadline() {
    let t = Tree::new();
    t.file("/etc/systemd/system/api.service", 60, "");
    t.file("/stat", 60, &format!("cpu 1 2 3\nbtime {}\n", ago(400).as_second()));
    let asked = || Asked {
        units: vec![("api".into(), "api.service".into()), ("bad".into(), "../../x".into())],
        since: ago(3600),
        ..Asked::default()
    };
    let folder = t.0.path().to_owned();
    let proc = folder.to_str().unwrap().to_owned();
    let end = Instant::now() + Duration::from_secs(5);
    let seen = within(folder.clone(), proc.clone(), asked(), end).await;
    assert_eq!(said(&seen.all), ["this machine came up", "unit file api.service"]);
    assert_eq!(seen.missed, [""; 0]);
    // No time at all: that nothing is known is said, not that nothing was changed.
    let late = within(folder, proc, asked(), Instant::now() - Duration::from_secs(1)).await;
    assert_eq!(late.all, []);
    assert!(late.missed.len() == 4 && late.missed[1].starts_with("units: "), "{:?}", late.missed);
}

#[tokio::test]
async fn a_program_may_tell_of_a_deployment_and_is_believed_only_where_it_says_when() {
    let told = |script: &str, seconds: u64| {
        let argv: Vec<String> = ["/bin/sh", "-c", script].map(String::from).into();
        async move { deployment::told("api", &argv, Instant::now() + Duration::from_secs(seconds)).await }
    };
    let seen = told("echo; echo '2026-11-24T12:00:00Z v1.2.3 by ci'; echo more", 5).await.unwrap();
    assert_eq!((seen.what.as_str(), seen.kind), ("deployment of api: v1.2.3 by ci", ChangeKind::Deployment));
    assert_eq!(seen.at, "2026-11-24T12:00:00Z".parse().unwrap());
    for (script, why) in [
        ("echo v1.2.3", "no time"),
        ("true", "printed nothing"),
        ("echo broken >&2; exit 3", "it failed: broken"),
    ] {
        let f = told(script, 5).await.unwrap_err();
        assert!(f.detail.contains(why), "{script}: {}", f.detail);
    }
    let began = Instant::now();
    let f = told("sleep 60", 1).await.unwrap_err();
    assert!(f.kind == FailKind::TimedOut && began.elapsed() < Duration::from_secs(10), "{f:?}");
    let none =
        deployment::told("api", &["/nonexistent/x".into()], Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(none.unwrap_err().kind, FailKind::Missing);
}

#[test]
fn a_redis_is_told_of_its_own_file_alone() {
    let t = Tree::new();
    t.file("/etc/redis/redis.conf", 60, "");
    t.file("/etc/redis/redis-cache.conf", 60, "");
    for (unit, file) in [
        ("redis-server.service", Some("/etc/redis/redis.conf")),
        ("redis.service", Some("/etc/redis/redis.conf")),
        ("redis-server@cache.service", Some("/etc/redis/redis-cache.conf")),
        ("redis-server@other.service", None),
        ("redis-server@...service", None),
        ("cache.service", None),
    ] {
        let seen = settings::of(&t.root(), &[], &[("cache".into(), unit.into())]);
        assert_eq!(seen.first().and_then(|c| c.path.as_deref()), file, "{unit}");
    }
}

#[test]
fn what_lies_in_a_folder_without_git_is_not_called_a_deployment() {
    let t = Tree::new();
    t.file("/srv/plain/app.pyc", 60, "").aged("/srv/plain", 50);
    let seen = deployment::of(&t.root(), "api", "/srv/plain").unwrap();
    assert_eq!(seen.what, "something was put into /srv/plain of api, or taken away");
}

#[test]
fn dpkg_s_times_are_read_in_the_zone_of_its_machine() {
    let t = Tree::new();
    // `CET-1`, for ever: one type of an hour, its name, and the rule behind.
    let mut zone = b"TZif2".to_vec();
    zone.extend([0; 15]);
    let header = |out: &mut Vec<u8>| {
        out.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4]);
        out.extend([0, 0, 0x0e, 0x10, 0, 0]);
        out.extend(b"CET\0");
    };
    header(&mut zone);
    zone.extend(b"TZif2");
    zone.extend([0; 15]);
    header(&mut zone);
    zone.extend(b"\nCET-1\n");
    t.file("/usr/share/zoneinfo/Lab", 9000, "");
    fs::write(t.0.path().join("usr/share/zoneinfo/Lab"), &zone).unwrap();
    t.link("/etc/localtime", "/usr/share/zoneinfo/Lab");
    let at = ago(600);
    let local =
        at.to_zoned_datetime(jiff::tz::TimeZone::fixed(jiff::tz::offset(1))).strftime("%F %T").to_string();
    t.file(
        "/var/log/dpkg.log",
        0,
        &format!("{local} startup archives unpack\n{local} upgrade tzdata:all 1 2\n"),
    );
    let seen = packages::of(&t.root(), &[], &(None, None));
    assert_eq!(seen.first().map(|c| c.at.as_second()), Some(at.as_second()), "{seen:?}");
}
