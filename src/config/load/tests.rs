//! Promises about the layers: which file is read, what wins, what is built in.

use super::*;
use crate::config::testbed::{Bed, Said, really_root};
use crate::config::{Expect, PgHost, Span};

fn origin(loaded: &Loaded, path: &str) -> String {
    loaded.origins.exact(path).to_string()
}

#[test]
fn without_a_file_the_runbooks_architecture_is_looked_at() {
    let loaded = Bed::new().loaded();
    let c = &loaded.config;
    let services: Vec<_> =
        c.service.iter().map(|s| (s.name.as_str(), s.url.as_deref(), s.unit.as_deref())).collect();
    assert_eq!(
        services,
        [
            ("codebase-mcp", Some("http://127.0.0.1:8000"), Some("codebase-mcp.service")),
            ("workflow-mcp", Some("http://127.0.0.1:8001"), Some("workflow-mcp.service")),
        ]
    );
    assert!(c.service.iter().all(|s| s.health.as_ref().map(Health::path) == Some("/health/status")));
    assert_eq!(c.postgres[0].url.to_string(), "postgresql://mcp_user@127.0.0.1:5432/codebase_mcp");
    assert_eq!(
        (c.postgres[0].expect, c.postgres[0].databases.as_slice()),
        (Expect::Primary, ["codebase_mcp".to_owned()].as_slice())
    );
    assert!(c.redis[0].optional && c.ollama[0].optional);
    assert_eq!(
        (c.timeout, c.thresholds.pool, c.thresholds.recent_failure),
        (Span::secs(5), 0.95, Span::secs(600))
    );
    assert_eq!((loaded.file, loaded.warnings), (None, Vec::new()));
}

#[test]
fn an_empty_file_is_the_same_as_none() {
    let none = Bed::new().loaded();
    for text in ["", "\n\n", "# only a comment\n", "[thresholds]\n", "[systemd]\n[docker]\n"] {
        let loaded = Bed::new().config(text).loaded();
        assert_eq!(loaded.config, none.config, "{text:?}");
        assert!(loaded.file.is_some());
    }
    let mut bed = Bed::new();
    bed.flags.config = Some("/dev/null".into());
    assert_eq!(bed.loaded().config, none.config);
}

#[test]
fn a_single_value_changes_just_itself_and_knows_its_line() {
    let loaded = Bed::new().config("\n[thresholds]\np95 = \"1s\"\n").loaded();
    let mut expected = Bed::new().loaded().config;
    expected.thresholds.p95 = Span::secs(1);
    assert_eq!(loaded.config, expected);
    assert!(origin(&loaded, "thresholds.p95").ends_with("c.toml:3"));
    assert_eq!(origin(&loaded, "thresholds.pool"), "default");
    assert_eq!(origin(&loaded, "service[0].url"), "default");
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let mut bed = Bed::new();
    assert_eq!(
        (bed.loaded().config.timeout, origin(&bed.loaded(), "timeout")),
        (Span::secs(5), "default".into())
    );
    bed = bed.config("timeout = '6s'");
    assert_eq!(bed.loaded().config.timeout, Span::secs(6));
    bed = bed.var("MCP_IR_TIMEOUT", "7s");
    assert_eq!(
        (bed.loaded().config.timeout, origin(&bed.loaded(), "timeout")),
        (Span::secs(7), "$MCP_IR_TIMEOUT".into())
    );
    bed.flags.timeout = Some(Span::secs(8));
    assert_eq!(
        (bed.loaded().config.timeout, origin(&bed.loaded(), "timeout")),
        (Span::secs(8), "--timeout".into())
    );
    bed.flags.timeout = Some(Span::secs(0));
    bed.error().says("`timeout` of --timeout must be from 10ms to 1h", "");
}

#[test]
fn the_file_is_looked_for_in_one_order() {
    let bed = Bed::new();
    let file = |name: &str, secs: u32| bed.file(name, format!("timeout = '{secs}s'"), 0o600);
    let read = |bed: &Bed| bed.loaded().config.timeout.0.as_secs();
    file("etc/config.toml", 11);
    assert_eq!(read(&bed), 11, "a plain user falls back to the machine's");
    file("home/.config/mcp-ir/config.toml", 12);
    assert_eq!(read(&bed), 12, "its own comes first");
    file("xdg/mcp-ir/config.toml", 13);
    let bed = Bed { dir: bed.dir, env: bed.env, flags: bed.flags };
    let xdg = bed.dir.path().join("xdg").display().to_string();
    let bed = bed.var("XDG_CONFIG_HOME", &xdg);
    assert_eq!(read(&bed), 13);
    let bed = bed.var("XDG_CONFIG_HOME", "relative");
    assert_eq!(read(&bed), 12, "the specification: a relative folder is ignored");
    let named = bed.file("v.toml", "timeout = '14s'", 0o600).display().to_string();
    let bed = bed.var("MCP_IR_CONFIG", &named);
    assert_eq!(read(&bed), 14);
    let mut bed = bed;
    bed.flags.config = Some(bed.file("f.toml", "timeout = '15s'", 0o600));
    assert_eq!(read(&bed), 15);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let bed = Bed::new().var("MCP_IR_CONFIG", "").var("MCP_IR_TIMEOUT", "").var("XDG_CONFIG_HOME", "");
    assert_eq!(bed.loaded().config, Bed::new().loaded().config);
}

#[test]
fn a_named_file_must_be_there_and_be_a_file() {
    let mut bed = Bed::new();
    bed.flags.config = Some(bed.dir.path().join("gone.toml"));
    bed.error().says("configuration file DIR/gone.toml does not exist", "mcp-ir config init DIR/gone.toml");
    bed.error().says("", "the one of --config");
    bed.flags.config = Some(bed.dir.path().into());
    bed.error().says("configuration file DIR is a folder, not a file", "the one of --config");
    bed.file("config.toml", "", 0o600);
    bed.error().says("is a folder", "did you mean DIR/config.toml?");
    bed.flags.config = None;
    let gone = bed.dir.path().join("gone.toml").display().to_string();
    let bed = bed.var("MCP_IR_CONFIG", &gone);
    bed.error().says("does not exist", "the one of $MCP_IR_CONFIG");
}

#[test]
fn a_pipe_or_a_device_is_refused_without_waiting() {
    let mut bed = Bed::new();
    let pipe = bed.dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    bed.flags.config = Some(pipe);
    bed.error().says("configuration file DIR/pipe is not a plain file", "");
    bed.flags.config = Some("/dev/zero".into());
    bed.error().says("configuration file /dev/zero is not a plain file", "");
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_refused() {
    let mut bed = Bed::new();
    bed.flags.config = Some(bed.file("big", vec![b'#'; (1 << 20) + 1], 0o600));
    bed.error().says("configuration file DIR/big is larger than 1024 KiB", "right file");
    bed.flags.config = Some(bed.file("just", vec![b'\n'; 1 << 20], 0o600));
    bed.loaded();
    bed.flags.config = Some(bed.file("latin", b"a\nb\xe4\n", 0o600));
    bed.error().says("configuration file DIR/latin:2 is not UTF-8 text", "UTF-8");
}

#[test]
fn the_current_folder_is_never_looked_at() {
    // Were it looked at, the build's own folder would show: no file means no file.
    assert_eq!(Bed::new().loaded().file, None);
}

#[test]
fn naming_services_replaces_the_built_in_ones_and_what_none_of_them_needs() {
    let text = "[[service]]\nname='api'\nurl='http://127.0.0.1:9000/'\nneeds=['postgres']\n";
    let loaded = Bed::new().config(text).loaded();
    let c = &loaded.config;
    assert_eq!(c.names(), [("service", "api"), ("postgres", "postgres")]);
    assert_eq!(c.service[0].url.as_deref(), Some("http://127.0.0.1:9000"), "the path comes behind it");
    assert_eq!(c.service[0].health.as_ref().map(Health::path), Some("/health/status"), "the default path");
    assert_eq!(c.service[0].pool, None, "left out is not looked at");
    let lone = Bed::new().config("[[service]]\nname='api'\nunit='api'\n").loaded();
    assert_eq!(lone.config.names(), [("service", "api")]);
    assert_eq!(lone.config.service[0].health, None, "without a url there is nothing to ask");
}

#[test]
fn a_variable_keeps_a_built_in_thing_that_no_service_needs() {
    let bed = Bed::new().config("[[service]]\nname='api'\nunit='api'\n");
    let loaded = bed.var("MCP_IR_REDIS_URL", "redis://h:1/2").loaded();
    assert_eq!(loaded.config.names(), [("service", "api"), ("redis", "redis")]);
}

#[test]
fn the_built_in_services_need_what_the_file_names_instead() {
    let text = "[[postgres]]\nname='main'\nurl='postgresql://a@h/x'\n[[postgres]]\nname='side'\nurl='postgresql://a@i/x'\n";
    let c = Bed::new().config(text).loaded().config;
    assert_eq!(c.service[0].needs, ["main", "side", "redis", "ollama"]);
    let c = Bed::new().config("redis = []\n").loaded().config;
    assert_eq!(c.service[0].needs, ["postgres", "ollama"], "an empty list says: there is none");
    assert!(c.redis.is_empty());
}

#[test]
fn no_services_at_all_is_a_configuration_too() {
    let c = Bed::new().config("service = []\n[[postgres]]\nurl='postgresql://a@h/x'").loaded().config;
    assert_eq!(c.names(), [("postgres", "postgres")]);
}

#[test]
fn variables_reach_what_is_configured_once() {
    let url = "postgresql+asyncpg://bob@db:6000/shop";
    let loaded = Bed::new().var("MCP_IR_POSTGRES_URL", url).loaded();
    let pg = &loaded.config.postgres[0];
    assert_eq!((pg.url.host.clone(), pg.url.port), (PgHost::Tcp("db".into()), 6000));
    assert_eq!(origin(&loaded, "postgres[0].url"), "$MCP_IR_POSTGRES_URL");
    let two = "[[redis]]\nurl='redis://a'\n[[redis]]\nname='b'\nurl='redis://b'";
    let bed = Bed::new().config(two).var("MCP_IR_REDIS_URL", "redis://c");
    bed.error().says("$MCP_IR_REDIS_URL can't be used: 2 [[redis]] are configured, not one", "its own `url`");
    let bed = Bed::new().config("ollama = []").var("MCP_IR_OLLAMA_URL", "http://c");
    bed.error().says("0 [[ollama]] are configured", "");
}

#[test]
fn a_variable_can_give_the_url_that_the_file_leaves_out() {
    let bed =
        Bed::new().config("[[postgres]]\nname='main'\n").var("MCP_IR_POSTGRES_URL", "postgresql://a@b/c");
    assert_eq!(bed.loaded().config.postgres[0].url.to_string(), "postgresql://a@b:5432/c");
}

#[test]
fn every_scalar_has_its_variable() {
    for (name, value, path) in [
        ("MCP_IR_SYSTEMD_BUS", "unix:path=/x", "systemd.bus"),
        ("MCP_IR_SYSTEMD_JOURNAL", "/x", "systemd.journal"),
        ("MCP_IR_DOCKER_HOST", "tcp://h:1", "docker.host"),
        ("MCP_IR_HOST_PROC", "/p", "host.proc"),
        ("MCP_IR_THRESHOLDS_POOL", "0.9", "thresholds.pool"),
        ("MCP_IR_THRESHOLDS_LONG_QUERY", "1m", "thresholds.long_query"),
        ("MCP_IR_OLLAMA_URL", "http://h:1", "ollama[0].url"),
    ] {
        let loaded = Bed::new().var(name, value).loaded();
        assert_eq!(origin(&loaded, path), format!("${name}"));
        assert_ne!(loaded.config, Bed::new().loaded().config, "{name}");
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn dockers_own_variable_holds_where_nothing_else_names_the_engine() {
    let host = |bed: Bed| bed.loaded().config.docker.host;
    let bed = || Bed::new().var("DOCKER_HOST", "unix:///run/user/1000/docker.sock");
    assert_eq!(host(bed()), "unix:///run/user/1000/docker.sock");
    assert_eq!(origin(&bed().loaded(), "docker.host"), "$DOCKER_HOST");
    assert_eq!(host(bed().config("[docker]\nhost = 'unix:///x'")), "unix:///x");
    assert_eq!(host(bed().var("MCP_IR_DOCKER_HOST", "tcp://h:1")), "tcp://h:1");
    // What this program can't reach is no error of its configuration.
    assert_eq!(host(Bed::new().var("DOCKER_HOST", "ssh://root@h")), "unix:///var/run/docker.sock");
}

#[test]
fn a_wrong_variable_is_named() {
    let said = |name: &str, value: &str| Bed::new().var(name, value).error();
    said("MCP_IR_TIMEOUT", "soon")
        .says("$MCP_IR_TIMEOUT must be a length of time", "use the `timeout` of the file");
    said("MCP_IR_THRESHOLDS_POOL", "95").says(
        "$MCP_IR_THRESHOLDS_POOL must be a number from 0 to 1, such as 0.95; for 95 percent write 0.95",
        "",
    );
    said("MCP_IR_THRESHOLDS_POOL", "much").says("must be a number from 0 to 1", "");
    said("MCP_IR_THRESHOLDS_POOL", "NaN").says("must be a number from 0 to 1", "");
    said("MCP_IR_SYSTEMD_BUS", "x").says("`systemd.bus` from $MCP_IR_SYSTEMD_BUS is no address", "");
    said("MCP_IR_POSTGRES_URL", "mysql://x")
        .says("`postgres[0].url` from $MCP_IR_POSTGRES_URL must begin with postgresql://", "");
    let mut bed = Bed::new();
    use std::os::unix::ffi::OsStringExt;
    bed.env.vars.insert("MCP_IR_HOST_PROC".into(), std::ffi::OsString::from_vec(vec![b'/', 0xff]));
    bed.error().says("$MCP_IR_HOST_PROC is not UTF-8 text", "");
}

#[test]
fn an_unknown_variable_of_ours_is_a_warning_with_the_nearest() {
    let loaded = Bed::new().var("MCP_IR_TIMEOT", "1s").var("OTHER", "x").loaded();
    assert_eq!(
        loaded.warnings,
        ["unknown variable $MCP_IR_TIMEOT is ignored (did you mean $MCP_IR_TIMEOUT?)"]
    );
    let quiet = Bed::new()
        .var("MCP_IR_STATE_DIR", "/x")
        .var("MCP_IR_OUTPUT", "json")
        .var("MCP_IR_COLOR", "never")
        .var("MCP_IR_LAB_KEEP", "1");
    assert_eq!(quiet.loaded().warnings, Vec::<String>::new());
}

#[test]
fn a_variable_that_holds_a_password_is_known_by_its_naming() {
    let text = "[[postgres]]\nurl='postgresql://a@h/x'\npassword_env='MCP_IR_PG_PASSWORD'";
    let loaded = Bed::new().config(text).var("MCP_IR_PG_PASSWORD", "hunter2").loaded();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.secrets.postgres("postgres").unwrap().reveal(), "hunter2");
}

#[test]
fn libpqs_variables_fill_what_the_url_leaves_open() {
    let bed =
        |url: &str| Bed::new().config(&format!("[[postgres]]\nurl='{url}'")).var("PGSSLMODE", "disable");
    assert_eq!(bed("postgresql://a@h/x").loaded().config.postgres[0].url.sslmode.word(), "disable");
    assert_eq!(
        bed("postgresql://a@h/x?sslmode=require").loaded().config.postgres[0].url.sslmode.word(),
        "require"
    );
    Bed::new().var("PGSSLMODE", "requird").error().says("$PGSSLMODE: sslmode must be one of", "");
    Bed::new().var("PGSSLMODE", "requird").error().says("did you mean `require`?", "");
    let loaded = Bed::new().config("[[postgres]]\nurl='postgresql://h/x'").loaded();
    assert_eq!(loaded.config.postgres[0].url.user, "ann", "the user of the operating system");
    let system = Bed::new().var("PGSSLROOTCERT", "system").loaded();
    assert_eq!(system.config.postgres[0].url.sslmode.word(), "verify-full");
}

#[test]
fn libpqs_own_root_certificate_is_used_where_it_exists() {
    let bed = Bed::new();
    let file = bed.file("home/.postgresql/root.crt", "pem", 0o644);
    let pg = &bed.loaded().config.postgres[0];
    assert_eq!(pg.url.sslrootcert, Some(RootCert::File(file)));
    let verify = "[[postgres]]\nurl='postgresql://a@h/x?sslmode=verify-full'";
    bed.config(verify).loaded();
}

#[test]
fn a_file_of_a_plain_user_that_only_root_may_read_is_a_warning() {
    if really_root() {
        return; // root reads everything
    }
    let bed = Bed::new();
    bed.file("etc/config.toml", "timeout='9s'", 0o000);
    let loaded = bed.loaded();
    assert_eq!((loaded.file, loaded.config.timeout), (None, Span::secs(5)));
    assert!(loaded.warnings[0].contains("can't be read by you"), "{:?}", loaded.warnings);
}

#[test]
fn roots_own_file_is_the_machines() {
    let mut env = Bed::new().env;
    assert_eq!(own_config(&env), Some(env.home.clone().unwrap().join(".config/mcp-ir/config.toml")));
    env.home = None;
    assert_eq!(own_config(&env), None);
    env.euid = 0;
    assert_eq!(own_config(&env), Some(env.etc.join("config.toml")));
    let bed = Bed::new().root();
    bed.file("home/.config/mcp-ir/config.toml", "timeout='9s'", 0o600);
    assert_eq!(bed.loaded().file, None, "root never reads a home folder's");
}

#[test]
fn a_snapshot_of_the_configuration_reads_back_as_the_same() {
    let text = "[[postgres]]\nurl='postgresql+asyncpg://ann:hunter2@[::1]:5433/a%2Fb?sslmode=require&application_name=x%20y'\n\
        [[redis]]\nurl='redis://u:hunter2@h:1/0'\n";
    let config = Bed::new().config(text).loaded().config;
    let json = serde_json::to_string(&config).unwrap();
    assert!(!json.contains("hunter2"), "{json}");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}

#[test]
fn a_mask_that_was_copied_from_an_output_is_no_password() {
    for (kind, url) in [("postgres", "postgresql://a:****@h/x"), ("redis", "redis://a:****@h")] {
        let bed = Bed::new().config(&format!("[[{kind}]]\nurl='{url}'"));
        bed.error().says(
            &format!("the password of `{kind}[0].url` in DIR/c.toml:2 is the mask ****"),
            "password_file",
        );
    }
}

#[test]
fn no_error_of_a_url_repeats_it() {
    for url in [
        "postgresql://ann:hunter2@h:port/x",
        "postgresql://ann:hunter2/x@h/y",
        "postgresql://ann:hunter2%zz@h/y",
        "postgresql://ann:hunter2@h@i/y",
        "postgresql://ann:hunter2@h,i/y",
        "mysql://ann:hunter2@h/y",
        "postgresql://ann:hunter2@[::1/y",
        "postgresql://ann@h/y?password=hunter2&sslmode=no",
    ] {
        let said: Said = Bed::new().config(&format!("[[postgres]]\nurl='{url}'")).error();
        assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
        said.says("`postgres[0].url` in DIR/c.toml:2", "postgresql://USER@HOST");
    }
    let said = Bed::new().config("[[redis]]\nurl='redis://a:hunter2@h:port'").error();
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
}

#[test]
fn loading_is_quick() {
    let bed = Bed::new();
    let start = std::time::Instant::now();
    for _ in 0..100 {
        bed.loaded();
    }
    let each = start.elapsed() / 100;
    assert!(each.as_millis() < 20, "{each:?}");
}
