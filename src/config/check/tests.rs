//! Promises about values that have the right type and can't work all the same.

use crate::config::testbed::Bed;

#[track_caller]
fn refused(text: &str, message: &str, hint: &str) {
    Bed::new().config(text).error().says(message, hint);
}

/// A service with these lines added.
fn service(lines: &str) -> String {
    format!("[[service]]\nname = 'api'\nurl = 'http://127.0.0.1:9000'\n{lines}\n")
}

#[track_caller]
fn fine(lines: &str) {
    Bed::new().config(&service(lines)).loaded();
}

#[test]
fn an_entry_without_its_key_is_refused() {
    refused("\n[[service]]\nurl='http://x'", "[[service]] in DIR/c.toml:2 has no `name`", "add name =");
    refused("[[postgres]]\nname='p'", "[[postgres]] in DIR/c.toml:1 has no `url`", "postgresql://USER@");
    refused("[[redis]]", "[[redis]] in DIR/c.toml:1 has no `url`", "redis://");
    refused("[[ollama]]\nmodel='m'", "has no `url`", "11434");
    refused("[[service]]\nname='x'", "has nothing to look at", "a `url`, a `unit` or a `container`");
    refused(&service("health={status='/s'}"), "`health` in DIR/c.toml:4 has no `path`", "path = \"/health\"");
}

#[test]
fn needs_name_something_configured() {
    refused(
        &service("needs=['postgre']\n[[postgres]]\nurl='postgresql://a@b'"),
        "is `postgre`, which is not configured",
        "did you mean `postgres`?",
    );
    refused(&service("needs=[\n'zzz']"), "`service[0].needs[0]` in DIR/c.toml:5", "configured:");
    refused(&service("needs=['api']"), "is `api` itself", "take it out");
    refused(&service("needs=['redis','redis']"), "is `redis` for the second time", "take one out");
    let ring = "[[service]]\nname='a'\nunit='a'\nneeds=['b']\n[[service]]\nname='b'\nunit='b'\nneeds=['c']\n[[service]]\nname='c'\nunit='c'\nneeds=['a']\n";
    refused(ring, "`service[0].needs` in DIR/c.toml:4 goes in a circle: a → b → c → a", "");
    fine("needs=['other']\n[[service]]\nname='other'\nunit='other'");
}

#[test]
fn a_line_of_many_services_is_checked_quickly() {
    let mut text = String::new();
    for i in 0..300 {
        let needs: Vec<String> = (0..i).rev().take(5).map(|j| format!("'s{j}'")).collect();
        text += &format!("[[service]]\nname='s{i}'\nunit='s{i}'\nneeds=[{}]\n", needs.join(","));
    }
    let start = std::time::Instant::now();
    assert_eq!(Bed::new().config(&text).loaded().config.service.len(), 300);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn names_are_plain_and_unique_across_kinds() {
    for bad in ["a b", "a/b", "a@b", "-a", ".a", "ä", "a:b", &"x".repeat(65)] {
        refused(
            &format!("[[service]]\nname='{bad}'\nunit='x'"),
            "`service[0].name` in DIR/c.toml:2 is no name",
            "begins with a letter or digit",
        );
    }
    refused(
        "[[service]]\nname='x'\nunit='x'\n[[service]]\nname='x'\nunit='y'",
        "`service[1].name` in DIR/c.toml:5 is `x`, a name that `service[0].name` in DIR/c.toml:2 has already",
        "unique",
    );
    refused(
        "[[service]]\nname='redis'\nunit='x'\nneeds=[]\n[[redis]]\nurl='redis://x'",
        "is `redis`, a name that `service[0].name`",
        "unique across all kinds",
    );
    let two = "[[postgres]]\nurl='postgresql://a@b'\n\n[[postgres]]\nurl='postgresql://a@c'";
    refused(two, "`postgres[1].name` in DIR/c.toml:4 is `postgres`", "add or change a `name`");
}

#[test]
fn urls_are_http_and_hold_no_login() {
    let url = |u: &str| format!("[[service]]\nname='x'\nurl='{u}'");
    refused(
        &url("ftp://x"),
        "`service[0].url` in DIR/c.toml:3 must begin with http:// or https://",
        "http://HOST:PORT",
    );
    refused(&url("127.0.0.1:80"), "is not a URL", "");
    refused(&url("http://x:99999"), "has a port that is not a number", "");
    refused(&url("http://x?a=b"), "has a `?`", "base");
    let said = Bed::new().config(&url("http://ann:hunter2@x")).error();
    said.says("has a login in it", "headers_file");
    assert!(!format!("{said:?}").contains("hunter2"));
    refused("[[ollama]]\nurl='redis://x'", "`ollama[0].url` in DIR/c.toml:2 must begin with http://", "");
    refused(
        "[[redis]]\nurl='http://x'",
        "`redis[0].url` in DIR/c.toml:2 must begin with redis://",
        "redis://127.0.0.1:6379/0",
    );
    refused(
        &service("capture=[{url='file:///etc/shadow'}]"),
        "`service[0].capture[0].url` in DIR/c.toml:4",
        "",
    );
}

#[test]
fn paths_begin_with_a_slash() {
    refused(
        &service("health='health'"),
        "`service[0].health` in DIR/c.toml:4 is a path that does not begin with `/`",
        "write \"/health\"",
    );
    refused(&service("health='http://127.0.0.1:9000/health'"), "is a whole URL", "the path alone");
    refused(&service("health='/a b'"), "with a space", "%20");
    refused(&service("metrics='metrics'"), "`service[0].metrics`", "\"/metrics\"");
    refused(&service("mcp='mcp'"), "`service[0].mcp`", "\"/mcp\"");
    refused(&service("pool={resize='x'}"), "`service[0].pool.resize`", "\"/x\"");
    refused(&service("smoke={method='GET',path='x'}"), "`service[0].smoke.path`", "\"/x\"");
    fine("health='/h?deep=1'");
}

#[test]
fn json_pointers_are_pointers() {
    refused(
        &service("health={path='/h',status='state'}"),
        "`service[0].health.status` in DIR/c.toml:4 is a JSON pointer that does not begin with `/`",
        "write \"/state\"",
    );
    refused(
        &service("health={path='/h',pool_used='$.db.used'}"),
        "`service[0].health.pool_used`",
        "write \"/db/used\"",
    );
    refused(&service("health={path='/h',pool_max='/a~b'}"), "lone `~`", "~0");
    fine("health={path='/h',status='/a~1b/~0',pool_used='/db/0/used',pool_max='/db/0/max'}");
}

#[test]
fn what_is_left_to_people_is_known_or_a_unit() {
    let never = |name: &str| service(&format!("unit='api-7'\n[guard]\nnever=['{name}']"));
    refused(&never("apu"), "`guard.never[0]` in DIR/c.toml:6 is `apu`", "did you mean `api`?");
    refused(&never("zzzzzzz"), "it would forbid nothing", "a name of these, or a unit: api, api-7.service");
    refused(&never("api-8.service"), "it would forbid nothing", "did you mean `api-7.service`?");
    refused(&never("postgresql.service"), "it would forbid nothing", "");
    for name in ["api", "api-7.service"] {
        Bed::new().config(&never(name)).loaded();
    }
    for name in ["postgresql.service", "postgresql@15-main.service"] {
        let server = "\n[[postgres]]\nurl='postgresql://a@b'";
        Bed::new().config(&format!("{}{server}", never(name))).loaded();
    }
}

#[test]
fn a_unit_gets_its_suffix_and_must_be_one() {
    let unit =
        |u: &str| Bed::new().config(&service(&format!("unit='{u}'"))).loaded().config.service[0].unit.clone();
    assert_eq!(unit("api").as_deref(), Some("api.service"));
    assert_eq!(unit("api.socket").as_deref(), Some("api.socket"));
    assert_eq!(unit("api.v2").as_deref(), Some("api.v2.service"));
    assert_eq!(unit("pg@15-main").as_deref(), Some("pg@15-main.service"));
    refused(
        &service("unit='/etc/x.service'"),
        "`service[0].unit` in DIR/c.toml:4 is no unit's name",
        "codebase-mcp.service",
    );
    refused(&service("unit='a b'"), "is no unit's name", "");
    refused(&service("unit='.service'"), "is no unit's name", "");
    refused(&service("unit='pg@.service'"), "is a template", "postgresql@15-main.service");
    refused(&service("unit='a'\ncontainer='b'"), "exclude each other", "keep the one");
    refused(&service("container='a b'"), "is no container's name", "docker ps");
    refused(
        "[[redis]]\nurl='redis://x'\nunit='a'\ncontainer='b'",
        "`redis[0].unit` in DIR/c.toml:3 and `container` exclude each other",
        "",
    );
}

#[test]
fn a_service_without_a_url_is_not_asked_over_http() {
    for key in
        ["health='/h'", "metrics='/m'", "mcp='/mcp'", "headers_file='/h'", "smoke={method='GET',path='/'}"]
    {
        refused(
            &format!("[[service]]\nname='x'\nunit='x'\n{key}"),
            "needs a `url` to be sent to",
            "give x its `url`",
        );
    }
}

#[test]
fn a_smoke_or_capture_is_a_program_or_a_request() {
    refused(
        &service("smoke={}"),
        "`service[0].smoke` in DIR/c.toml:4 names neither",
        "either `argv` (a program) or `method` and `path` (a request)",
    );
    refused(&service("smoke={argv=['/x'],path='/y'}"), "names both", "either");
    refused(&service("smoke={path='/y'}"), "has no `method`", "");
    refused(&service("smoke={json={}}"), "has no `method`", "");
    refused(&service("smoke={method='GET'}"), "has no `path`", "");
    refused(&service("smoke={method='DELETE',path='/'}"), "must be \"GET\" or \"HEAD\" or \"POST\"", "");
    refused(&service("smoke={method='post',path='/'}"), "did you mean \"POST\"?", "");
    refused(&service("capture=[{}]"), "`service[0].capture[0]` in DIR/c.toml:4 names neither", "");
    refused(
        &service("capture=[{url='http://x'},{url='http://x',argv=['/x']}]"),
        "`service[0].capture[1]`",
        "",
    );
    refused(&service("capture=[{argv=[]}]"), "`service[0].capture[0].argv` in DIR/c.toml:4 is empty", "");
}

#[test]
fn a_program_is_named_by_its_absolute_path() {
    refused(
        &service("smoke={argv=['python3','x.py']}"),
        "must begin with the absolute path of a program",
        "command -v",
    );
    refused(&service("smoke={argv=['./x']}"), "absolute path", "no shell runs");
    refused(&service("capture=[{argv=['/opt/../tmp/x']}]"), "absolute path", "");
    refused(&service("deploy={argv=['last-deploy']}"), "absolute path", "no shell runs");
    refused(&service("deploy={argv=[]}"), "is empty", "");
    refused(&service("deploy={}"), "has no `argv`", "name a folder");
    refused(&service("deploy='~/app'"), "must be an absolute path", "");
    fine("deploy='/srv/app'");
    fine("deploy={argv=['/usr/local/bin/last-deploy','api']}");
    fine("smoke={argv=['/usr/bin/python3','x.py']}\ncapture=[{argv=['/nonexistent/py-spy','dump']}]");
}

#[test]
fn a_cache_is_a_folder_of_its_own() {
    for bad in [
        "/",
        "/tmp",
        "/var",
        "/etc/mcp/x",
        "/usr/lib/x",
        "/var/lib/mcp",
        "/proc/1/x",
        "/root/x",
        "/home",
        "/home/ann",
        "/var/log",
        "/opt/mcp",
    ] {
        refused(
            &service(&format!("caches=['/tmp/ok','{bad}']")),
            "`service[0].caches[1]` in DIR/c.toml:4 is too much to be a cache",
            "",
        );
    }
    refused(&service("caches=['/tmp/x/../../etc']"), "has `..` in it", "");
    refused(&service("caches=['cache']"), "must be an absolute path", "");
    refused(&service("caches=['~/cache']"), "must be an absolute path", "");
    fine("caches=['/tmp/mcp-cache','/var/lib/mcp/temp','/var/cache/mcp','/srv/mcp/cache']");
}

#[test]
fn files_are_named_in_full() {
    refused(
        "[[postgres]]\nurl='postgresql://a@b'\npassword_file='pg'",
        "`postgres[0].password_file` in DIR/c.toml:3 must be an absolute path",
        "current folder",
    );
    refused("[[postgres]]\nurl='postgresql://a@b'\nlog='~/pg.log'", "`postgres[0].log`", "`~`");
    refused("[[redis]]\nurl='redis://b'\npassword_file='pg'", "`redis[0].password_file`", "");
    refused(&service("headers_file='h'"), "`service[0].headers_file`", "");
    refused(&service("ca_file='h'"), "`service[0].ca_file`", "");
    refused("[host]\nproc='proc'", "`host.proc` in DIR/c.toml:2", "");
    refused("[systemd]\njournal='log'", "`systemd.journal` in DIR/c.toml:2", "");
}

#[test]
fn a_certificate_that_is_named_is_there() {
    refused(
        &service("ca_file='/nonexistent/ca.pem'"),
        "ca_file /nonexistent/ca.pem does not exist",
        "check `service[0].ca_file` in DIR/c.toml:4, which names it",
    );
    refused(&service("ca_file='DIR'"), "is not a file", "");
    refused(
        "[[postgres]]\nurl='postgresql://a@b/c?sslmode=verify-full&sslrootcert=/nonexistent/x'",
        "sslrootcert /nonexistent/x does not exist",
        "`postgres[0].url` in DIR/c.toml:2",
    );
    refused(
        "[[postgres]]\nurl='postgresql://a@b/c?sslmode=verify-ca'",
        "has sslmode=verify-ca but no sslrootcert",
        "sslrootcert=system",
    );
    let libpq = "[[postgres]]\nurl='postgresql://a@b/c?sslmode=require&sslrootcert=/nonexistent/x'";
    Bed::new().config(libpq).loaded();
}

#[test]
fn variables_are_named_without_dollar_or_value() {
    refused(
        "[[postgres]]\nurl='postgresql://a@b'\npassword_env='$PW'",
        "`postgres[0].password_env` in DIR/c.toml:3 is no variable's name",
        "without `$`",
    );
    refused(&service("pool={max_env='POOL=5'}"), "`service[0].pool.max_env`", "");
    refused(&service("pool={min_env='1A'}"), "`service[0].pool.min_env`", "");
}

#[test]
fn limits_make_sense_together() {
    refused("timeout='1ms'", "`timeout` in DIR/c.toml:1 must be from 10ms to 1h", "5s");
    refused("timeout='2h'", "must be from 10ms to 1h", "");
    refused("timeout='0s'", "must be from 10ms to 1h", "");
    refused("[thresholds]\np95='0s'", "`thresholds.p95` in DIR/c.toml:2 must be longer than nothing", "");
    refused("[thresholds]\npool=0", "`thresholds.pool` in DIR/c.toml:2 must be above 0", "");
    for key in ["memory", "descriptors"] {
        let text = format!("[thresholds]\n{key}=0");
        refused(&text, &format!("`thresholds.{key}` in DIR/c.toml:2 must be above 0"), "");
    }
    refused(
        "[thresholds]\npool=0.7",
        "`thresholds.pool_recovered` in the built-in defaults is 0.8, not below thresholds.pool, which is 0.7 (DIR/c.toml:2)",
        "flap",
    );
    refused("[thresholds]\npool_recovered=0.95", "`thresholds.pool_recovered` in DIR/c.toml:2 is 0.95", "");
    Bed::new().config("[thresholds]\npool=1\npool_recovered=0").loaded();
}

#[test]
fn the_machine_has_addresses() {
    refused(
        "[systemd]\nbus='/run/dbus'",
        "`systemd.bus` in DIR/c.toml:2 is no address of a D-Bus",
        "unix:path=/run/dbus/system_bus_socket",
    );
    refused(
        "[docker]\nhost='/var/run/docker.sock'",
        "`docker.host` in DIR/c.toml:2 is no address",
        "unix:///var/run/docker.sock",
    );
    refused("[docker]\nhost='unix://docker.sock'", "is no address", "");
    for host in ["tcp://127.0.0.1:2375", "http://x", "unix:///run/user/1000/docker.sock"] {
        Bed::new().config(&format!("[docker]\nhost='{host}'")).loaded();
    }
}

#[test]
fn a_database_is_listed_once() {
    refused(
        "[[postgres]]\nurl='postgresql://a@b'\ndatabases=['x','y','x']",
        "`postgres[0].databases[2]` in DIR/c.toml:3 stands there twice",
        "",
    );
}

#[test]
fn a_secret_in_a_value_that_is_shown_is_refused() {
    for lines in [
        "capture=[{url='http://x/heap?token=hunter2'}]",
        "health='/h?api_key=hunter2'",
        "smoke={method='POST',path='/x',json={password='hunter2'}}",
        "smoke={argv=['/bin/x','--password','hunter2']}",
        "capture=[{argv=['/bin/x','postgresql://a:hunter2@h/x']}]",
    ] {
        let said = Bed::new().config(&service(lines)).error();
        said.says("in DIR/c.toml:4 has something like a password or token in it", "headers_file");
        assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    }
}

#[test]
fn a_pooler_is_named_by_its_console_and_needs_servers_only() {
    let pooler = |lines: &str| format!("[[pooler]]\nurl='postgresql://stats@h:6432/pgbouncer'\n{lines}\n");
    refused("[[pooler]]", "[[pooler]] in DIR/c.toml:1 has no `url`", "6432/pgbouncer");
    refused("[[pooler]]\nurl='postgresql://a@h/x'", "`pooler[0].url`", "stats_users");
    refused(&pooler("needs=['redis']"), "is `redis`, which is no [[postgres]]", "");
    refused(&pooler("needs=['zzz']"), "is `zzz`, which is not configured", "configured: postgres");
    refused(&service("database_env=['A B']"), "`service[0].database_env[0]`", "");
    let through = format!("{}{}", service("needs=['pgbouncer']"), pooler("needs=['postgres']\nunit='p'"));
    let config = Bed::new().config(&through).loaded().config;
    // The built-in server stays: the service needs it through the pooler.
    assert_eq!(config.postgres.len(), 1);
    assert_eq!(config.pooler[0].unit.as_deref(), Some("p.service"));
}
