//! What `config show` prints can be loaded again, and says where all of it came from.

use super::*;
use crate::config::testbed::Bed;

fn shown(bed: &Bed) -> String {
    human(&bed.loaded()).replace(&bed.path(), "DIR")
}

/// A file that uses every form of value there is.
const ALL: &str = "timeout = '3s'
[[service]]
name = 'api'
url = 'https://127.0.0.1:9000/base/'
health = { path = '/h', status = '/s', pool_used = '/u', pool_max = '/m' }
smoke = { method = 'POST', path = '/search', json = { query = \"a \\\"b\\\"\", n = [1, 2.5, true], 'odd key' = {} } }
unit = 'api'
needs = ['main']
pool = { min_env = 'MIN', max_allowed = 7 }
caches = ['/tmp/mcp-cache-with-a-long-name', '/var/lib/mcp/temp-with-a-long-name', '/srv/mcp/cache']
capture = [{ url = 'http://127.0.0.1:9000/heap?deep=1' }, { argv = ['/usr/bin/py-spy', 'dump', '--pid', '{pid}'] }]
[[service]]
name = 'job'
container = 'job'
smoke = { argv = ['/usr/bin/true'] }
[[postgres]]
name = 'main'
url = 'postgresql+asyncpg://ann@h/x?host=/run/postgresql&sslmode=disable'
password_file = 'DIR/pw'
databases = ['x', 'ä']
expect = 'standby'
[[redis]]
url = 'rediss://h:6379/3'
cache_prefixes = ['a:', 'b:']
[thresholds]
long_query = '1h 30m'
";

fn all() -> Bed {
    let bed = Bed::new().config(ALL);
    bed.file("pw", "hunter2\n", 0o600);
    bed
}

#[test]
fn the_defaults_are_shown_as_such() {
    let text = shown(&Bed::new());
    assert!(text.starts_with("# file: none\n\ntimeout = \"5s\""), "{text}");
    let values: Vec<&str> = text.lines().filter(|l| l.contains(" = ") && !l.starts_with('#')).collect();
    assert!(values.len() > 30, "{text}");
    assert!(values.iter().all(|l| l.ends_with("# default")), "{text}");
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
}

#[test]
fn what_is_shown_loads_as_the_same_configuration() {
    for bed in [Bed::new(), all().var("MCP_IR_THRESHOLDS_POOL", "0.9")] {
        let before = bed.loaded().config;
        let text = human(&bed.loaded());
        let again = Bed::new().config(&text).loaded().config;
        let same = |c: &crate::config::Config| serde_json::to_value(c).unwrap();
        assert_eq!(same(&again), same(&before), "{text}");
    }
}

#[test]
fn each_value_says_where_it_came_from() {
    let mut bed = all().var("MCP_IR_THRESHOLDS_POOL", "0.9");
    bed.flags.timeout = Some(crate::config::Span::millis(1500));
    let text = shown(&bed);
    let line = |start: &str| {
        text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}\n{text}"))
    };
    assert!(text.starts_with("# file: DIR/c.toml\n"), "{text}");
    assert!(line("timeout").ends_with("# --timeout"), "{text}");
    assert!(line("pool = 0.9").ends_with("# $MCP_IR_THRESHOLDS_POOL"));
    assert!(line("pool_recovered").ends_with("# default"));
    assert!(line("long_query = \"1h 30m\"").ends_with("# line 26"), "{text}");
    assert!(line("unit = \"api.service\"").ends_with("# line 7"));
    assert!(line("[service.pool]").ends_with("# line 9"));
    assert!(line("max_allowed = 7").ends_with("# line 9"));
    assert!(line("expect").ends_with("# line 21"));
}

#[test]
fn secrets_are_named_and_not_shown() {
    let bed = all();
    let text = shown(&bed);
    assert!(text.contains("# password: by password_file DIR/pw\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let url = Bed::new()
        .config("[[postgres]]\nurl='postgresql://ann:hunter2@h/x'\n[[redis]]\nurl='redis://:hunter2@h'");
    for text in [shown(&url), as_json(&url.loaded()), as_json(&bed.loaded())] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(shown(&url).contains("postgresql://ann:****@h:5432/x"));
}

#[test]
fn warnings_stand_at_the_top() {
    let text = shown(&Bed::new().var("MCP_IR_TIMEOT", "1s"));
    assert!(text.contains("\n# warning: unknown variable $MCP_IR_TIMEOT is ignored"), "{text}");
}

#[test]
fn json_holds_the_configuration_the_origins_and_the_sources() {
    let bed = all().var("MCP_IR_HOST_PROC", "/p");
    let document: Value = serde_json::from_str(&as_json(&bed.loaded())).unwrap();
    assert_eq!(document["schema"], "mcp-ir/config/1");
    assert_eq!(document["config"]["service"][0]["name"], "api");
    assert_eq!(document["origins"]["service[0].name"]["line"], 3);
    assert_eq!(document["origins"]["host.proc"], json!({ "from": "variable", "name": "MCP_IR_HOST_PROC" }));
    assert_eq!(document["origins"]["docker.host"], json!({ "from": "default" }));
    assert_eq!(document["secrets"][0]["subject"], "main");
    assert!(document["file"].as_str().unwrap().ends_with("c.toml"));
    assert_eq!(document["warnings"], json!([]));
    let none: Value = serde_json::from_str(&as_json(&Bed::new().loaded())).unwrap();
    assert_eq!(none["file"], Value::Null);
}
