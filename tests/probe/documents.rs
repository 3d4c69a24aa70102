//! `who -o json` of a real server with a chain of waits keeps its shipped schema.

use std::process::{Command, Output};

use serde_json::Value;

use crate::cluster::Cluster;

/// Beside the runtime: the program must not wait for the sessions that the test drives.
async fn program(args: Vec<String>) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ir"));
        command.env_clear().env("MCP_IR_CONFIG", "/dev/null").args(args).output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn who_of_a_real_server_keeps_its_schema() {
    let c = Cluster::start("").await;
    let admin = c.admin().await;
    admin.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await.unwrap();
    let holder = c.session("postgres", "shop", "holder").await;
    holder.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let waiter = c.session("postgres", "shop", "waiter").await;
    tokio::spawn(async move { waiter.batch_execute("SELECT * FROM t WHERE n = 918273645").await });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let url = format!("postgresql://watcher@127.0.0.1:{}/shop?sslmode=disable", c.port);
    let text = format!("service = []\nredis = []\nollama = []\n[[postgres]]\nurl = '{url}'\n");
    std::fs::write(&config, text).unwrap();
    let args = ["--config", config.to_str().unwrap(), "who", "--blocked", "-o", "json"];
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let doc = loop {
        let out = program(args.clone()).await;
        let doc: Value = serde_json::from_slice(&out.stdout).unwrap();
        if doc["servers"][0]["sessions"].as_array().unwrap().len() == 2 {
            break doc;
        }
        assert!(std::time::Instant::now() < end, "{doc:#}");
    };
    let schema = program(vec!["schema".into(), "who".into()]).await.stdout;
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = schema.iter_errors(&doc).map(|e| e.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?} in {doc:#}");
    let first = &doc["servers"][0]["sessions"][0];
    assert_eq!((&first["application"], &first["blocks"]), (&"holder".into(), &1.into()), "{doc:#}");
    assert!(!doc.to_string().contains("918273645"), "a literal: {doc:#}");
}
