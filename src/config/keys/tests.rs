//! The list of keys and the model are one: neither knows a key that the other does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::config::*;

/// A configuration with every field filled, both forms where there are two.
/// A new field does not compile here until it is given a value.
fn full() -> Config {
    let program = || Program { argv: vec!["/x".into()] };
    let text = || Some(String::from("/x"));
    let service = |health, smoke, deploy| Service {
        name: "x".into(),
        url: Some("http://x".into()),
        health: Some(health),
        metrics: text(),
        mcp: text(),
        smoke: Some(smoke),
        unit: text(),
        container: text(),
        needs: vec!["x".into()],
        database_env: vec!["X".into()],
        pool: Some(Pool { min_env: text(), max_env: text(), max_allowed: Some(1), resize: text() }),
        caches: vec!["x".into()],
        deploy: Some(deploy),
        capture: vec![Capture::Program(program()), Capture::Url(CaptureUrl { url: "http://x".into() })],
        headers_file: text(),
        ca_file: text(),
    };
    let pointers = HealthPointers { path: "/x".into(), status: text(), pool_used: text(), pool_max: text() };
    let request = SmokeRequest { method: "GET".into(), path: "/x".into(), json: Some(json!(1)) };
    Config {
        timeout: Span::secs(1),
        service: vec![
            service(Health::Path("/x".into()), Smoke::Program(program()), Deploy::Folder("/x".into())),
            service(Health::Pointers(pointers), Smoke::Request(request), Deploy::Program(program())),
        ],
        postgres: vec![Postgres {
            name: "x".into(),
            url: "postgresql://x".parse().unwrap(),
            password_file: text(),
            password_env: text(),
            databases: vec!["x".into()],
            expect: Expect::Standby,
            unit: text(),
            container: text(),
            data_directory: text(),
            log: text(),
            bin_dir: text(),
        }],
        pooler: vec![Pooler {
            name: "x".into(),
            url: "postgresql://x".parse().unwrap(),
            password_file: text(),
            password_env: text(),
            unit: text(),
            container: text(),
            needs: vec!["x".into()],
        }],
        redis: vec![Redis {
            name: "x".into(),
            url: "redis://x".into(),
            password_file: text(),
            password_env: text(),
            expect: Expect::Standby,
            unit: text(),
            container: text(),
            optional: true,
            cache_prefixes: vec!["x".into()],
        }],
        ollama: vec![Ollama {
            name: "x".into(),
            url: "http://x".into(),
            model: text(),
            unit: text(),
            container: text(),
            optional: true,
        }],
        systemd: Systemd { bus: "x".into(), journal: text() },
        docker: Docker { host: "x".into() },
        host: Host { proc: "x".into() },
        guard: crate::config::Guard {
            cooldown: Span::secs(1),
            budget: 1,
            veto: Some(Program { argv: vec!["/x".into()] }),
            never: vec!["x".into()],
        },
        thresholds: Thresholds {
            pool: 0.5,
            pool_recovered: 0.1,
            p95: Span::secs(1),
            idle_in_transaction: Span::secs(1),
            long_query: Span::secs(1),
            terminate_after: Span::secs(1),
            slow_query: Span::secs(1),
            recent_failure: Span::secs(1),
            recent_change: Span::secs(1),
            memory: 0.5,
            memory_available: 0.5,
            descriptors: 0.5,
            certificate: Span::secs(1),
            swap: 1,
        },
        index: Index::default(),
    }
}

/// Every path in a value, without the numbers of entries.
fn paths(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                out.insert(path.clone());
                paths(inner, &path, out);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|e| paths(e, at, out)),
        _ => {}
    }
}

#[test]
fn the_list_of_keys_and_the_model_are_one() {
    let mut model = BTreeSet::new();
    paths(&serde_json::to_value(full()).unwrap(), "", &mut model);
    let list: BTreeSet<String> = KEYS.iter().map(|k| k.path.to_owned()).collect();
    assert_eq!(list.len(), KEYS.len(), "no key stands twice");
    let unlisted: Vec<_> = model.difference(&list).collect();
    let unmodelled: Vec<_> = list.difference(&model).collect();
    assert!(unlisted.is_empty(), "in the model, not in KEYS: {unlisted:?}");
    assert!(unmodelled.is_empty(), "in KEYS, not in the model: {unmodelled:?}");
}

#[test]
fn the_whole_model_reads_back_as_itself() {
    let json = serde_json::to_string(&full()).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), full());
}

#[test]
fn a_key_comes_after_the_table_it_stands_in() {
    for (i, key) in KEYS.iter().enumerate() {
        if let Some((parent, _)) = key.path.rsplit_once('.') {
            let at = KEYS.iter().position(|k| k.path == parent);
            assert!(at.is_some_and(|at| at < i), "{} needs {parent} before it", key.path);
            let shape = find(parent).unwrap().shape;
            assert!(matches!(shape, Shape::Table | Shape::Tables | Shape::TableOrText), "{parent}");
        }
    }
}

#[test]
fn only_single_values_have_variables_and_no_two_the_same() {
    let mut names = BTreeSet::new();
    for key in KEYS.iter().filter(|k| k.variable) {
        assert!(
            !matches!(key.shape, Shape::Table | Shape::Tables | Shape::Texts | Shape::Any),
            "{}",
            key.path
        );
        assert!(names.insert(key.variable_name()));
        assert!(!RESERVED.contains(&key.variable_name().as_str()), "{}", key.path);
    }
    for name in [
        "MCP_IR_TIMEOUT",
        "MCP_IR_THRESHOLDS_POOL",
        "MCP_IR_SYSTEMD_BUS",
        "MCP_IR_POSTGRES_URL",
        "MCP_IR_REDIS_URL",
        "MCP_IR_OLLAMA_URL",
    ] {
        assert!(names.contains(name), "{name}");
    }
    let single = |k: &&Key| {
        !KINDS.iter().any(|kind| k.path.starts_with(kind)) && !matches!(k.shape, Shape::Table | Shape::Texts)
    };
    assert!(KEYS.iter().filter(single).all(|k| k.variable), "each single value outside the kinds has one");
}

#[test]
fn an_error_says_what_belongs_there() {
    assert_eq!(heading("service"), "[[service]]");
    assert_eq!(heading("thresholds"), "[thresholds]");
    assert_eq!(heading("service.pool"), "`pool`");
    assert_eq!(heading(""), "the top of the file");
    assert_eq!(Shape::Word(&["a", "b"]).expected(), "\"a\" or \"b\"");
}
