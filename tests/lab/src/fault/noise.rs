//! More noise that is no fault, of the slow kind above all: what is slow for a moment, or was, or is busy and
//! quick; what fails, fills or waits beside what is under care. The verdict must stay healthy.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{BATCH, SERVICES};
use crate::stack::Stack;
use crate::stack::dependencies::OLLAMA;
use crate::wait::until;

use super::Fault;
use super::latency::{as_before, ask};

const A: &str = "codebase-mcp";
const SEARCH: &str = r#"{"query":"test_search_7"}"#;
/// What an hour is to a histogram.
const SLOWLY: &str = r#"{"query":"test_search_7","think_ms":600}"#;

const fn slow(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::control(name, what, inject).with(|s| s.metrics = true).like("latency").under_systemd()
}

pub const CONTROLS: &[Fault] = &[
    slow("healthy/few-slow", "one request in a hundred takes a second", |stack| {
        let service = stack.service(A)?.clone();
        stack.keep_posting(A, 2, SEARCH)?;
        thread::spawn(move || {
            for _ in 0..6 {
                let _ = service.post(r#"{"query":"test_search_7","think_ms":1000}"#, Duration::from_secs(5));
            }
        });
        thread::sleep(Duration::from_millis(1500));
        Ok(())
    }),
    slow("healthy/slow-before", "most of its requests were slow; they are quick by now", |stack| {
        were_slow(stack)?;
        stack.keep_posting(A, 2, SEARCH)?;
        thread::sleep(Duration::from_millis(500));
        Ok(())
    }),
    slow("healthy/idle-after", "all of its requests were slow; nobody asks any more", were_slow),
    slow("healthy/debug-quick", "it logs all it does, which is little", |stack| {
        let environment = [("LOG_LEVEL", "DEBUG".into()), ("LAB_DEBUG_LINES", "3".into())];
        stack.set_environment(A, &environment)?;
        ask(stack, SEARCH, 2)
    }),
    slow(
        "healthy/short-locks",
        "three change the same row, one after the other, for a moment each",
        |stack| ask(stack, r#"{"query":"test_search_7","touch":true}"#, 2),
    ),
    slow("healthy/other-database", "a statement runs for minutes in another database", |stack| {
        let long = "PGOPTIONS='-c application_name=reports' exec \"$0\" -X -h \"$1\" -p \"$2\" -U postgres \
                    -d postgres -c 'SELECT count(*), pg_sleep(600) FROM pg_class'";
        let cluster = stack.cluster();
        let (psql, folder, port) = (cluster.postgres.bin.join("psql"), cluster.folder.clone(), cluster.port);
        let mut command = Command::new("sh");
        command.args(["-c", long]).arg(psql).arg(folder).arg(port.to_string());
        stack.add_program(&mut command)?;
        ask(stack, SEARCH, 2)
    }),
    slow("healthy/autovacuum", "autovacuum works on a table, slowly, while it is searched", |stack| {
        stack.cluster().sql(
            "ALTER TABLE code_chunks SET (autovacuum_vacuum_threshold = 10,
             autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100,
             autovacuum_vacuum_cost_limit = 1)",
        )?;
        let admin = stack.cluster().session("postgres")?;
        for statement in ["ALTER SYSTEM SET autovacuum_naptime = 1", "SELECT pg_reload_conf()"] {
            admin.run(statement)?;
        }
        stack.cluster().sql("UPDATE code_chunks SET content = content || ' '")?;
        stack.keep_posting(A, 2, SEARCH)?;
        let works = "SELECT 1 FROM pg_stat_progress_vacuum";
        until("it works", Duration::from_secs(15), || admin.run(works).is_ok_and(|rows| !rows.is_empty()))
    })
    .healed_by(|stack| {
        stack.cluster().sql(
            "ALTER TABLE code_chunks RESET (autovacuum_vacuum_threshold,
             autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay, autovacuum_vacuum_cost_limit)",
        )?;
        let worker =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'";
        stack.cluster().session("postgres")?.run(worker)?;
        as_before(stack)
    }),
    slow("healthy/dead-rows", "most rows of a table are dead ones; what reads it is quick", |stack| {
        stack.cluster().sql("ALTER TABLE code_chunks SET (autovacuum_enabled = false)")?;
        for _ in 0..12 {
            stack.cluster().sql("UPDATE code_chunks SET content = content || ' '")?;
        }
        ask(stack, SEARCH, 2)
    })
    .healed_by(as_before),
    slow(
        "healthy/unused-index",
        "an index that was built in vain was left behind; nothing is slow",
        |stack| {
            let admin = stack.cluster().session("codebase_mcp")?;
            let build = "CREATE UNIQUE INDEX CONCURRENTLY chunks_content ON code_chunks (repository_id)";
            ensure!(admin.run(build).is_err(), "there are no rows of one repository");
            ask(stack, SEARCH, 2)
        },
    )
    .healed_by(as_before),
    slow("healthy/report", "a report keeps its snapshot for a while; nothing is slow", |stack| {
        let report = stack.add_culprit(&BATCH, "report")?;
        report.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM repositories")?;
        ask(stack, SEARCH, 2)
    }),
    slow("healthy/paused-standby", "a standby's replay is paused for a backup of it", |stack| {
        stack.add_standby()?;
        stack.pause_standby()?;
        ask(stack, r#"{"query":"test_search_7","write":true}"#, 2)
    }),
    slow("healthy/redis-once", "somebody ran one long script in a Redis that is needed", |stack| {
        stack.add_redis(false)?;
        let script = "local n = 0; for i = 1, 9000000 do n = n + i end; return n";
        let port = stack.spare_ports()[0].to_string();
        let ask_redis = ["-p", &port, "--no-auth-warning", "-a", "redis-secret", "EVAL", script, "0"];
        crate::program::run(Command::new("redis-cli").args(ask_redis))?;
        ask(stack, SEARCH, 2)
    }),
    slow("healthy/ollama-warm", "Ollama takes a quarter of a second for everything", |stack| {
        stack.add_ollama("nomic-embed-text:latest")?;
        stack.systemd()?.drop_in(OLLAMA, "[Service]\nEnvironment=LAB_SLOW_MS=250\n")?;
        stack.systemd()?.systemctl(&["restart", OLLAMA])?;
        ask(stack, SEARCH, 2)
    }),
    slow("healthy/others-quota", "a batch is held up by its own quota all the time", |stack| {
        let batch = ["systemd-run", "--unit=batch", "--collect", "-q", "-p", "RuntimeMaxSec=60", "-p"];
        let loops = ["CPUQuota=5%", "sh", "-c", "while :; do :; done"];
        stack.systemd()?.exec(&[&batch[..], &loops[..]].concat())?;
        ask(stack, SEARCH, 2)
    })
    .healed_by(|stack| stack.systemd()?.systemctl(&["stop", "batch.service"]).map(drop)),
    slow("healthy/many-clients", "eighty clients keep a connection open and say nothing", |stack| {
        let script = "import socket, sys, time\n\
            kept = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(80)]\ntime.sleep(600)";
        let port = stack.service(A)?.port.to_string();
        stack.add_program(Command::new("python3").args(["-c", script, &port]))?;
        ask(stack, SEARCH, 2)
    }),
    Fault::control("healthy/grew", "it took 60 MiB for a job, and keeps them", |stack| {
        stack.service(A)?.tell("grow?mib=60&secs=1")?;
        thread::sleep(Duration::from_secs(2));
        stack.wait_until_healthy()
    })
    .healed_by(|stack| stack.start_service(A))
    .like("memory")
    .under_systemd(),
    Fault::control(
        "healthy/other-killed",
        "a unit that is not under care was killed at its limit",
        |stack| {
            let hog = ["systemd-run", "--unit=hog", "-q", "-p", "MemoryMax=16M", "tail", "/dev/zero"];
            stack.systemd()?.exec(&hog)?;
            until("it is killed", Duration::from_secs(10), || {
                stack
                    .systemd()
                    .and_then(|b| b.property("hog.service", "ActiveState"))
                    .is_ok_and(|s| s == "failed")
            })
        },
    )
    .healed_by(|stack| stack.systemd()?.systemctl(&["reset-failed", "hog.service"]).map(drop))
    .like("memory")
    .under_systemd(),
    Fault::control("healthy/other-failed", "a unit that is not under care has failed", |stack| {
        let _ =
            stack.systemd()?.exec(&["systemd-run", "--unit=nightly", "-q", "--wait", "sh", "-c", "exit 3"]);
        let state = stack.systemd()?.property("nightly.service", "ActiveState")?;
        ensure!(state == "failed", "it is {state}");
        Ok(())
    })
    .healed_by(|stack| stack.systemd()?.systemctl(&["reset-failed", "nightly.service"]).map(drop))
    .like("server-crash")
    .under_systemd(),
    Fault::control("healthy/full-before", "a pool was full for a second; it is free again", |stack| {
        let service = stack.service(A)?;
        service.tell("hold?n=10&secs=1&mode=query")?;
        thread::sleep(Duration::from_millis(1500));
        until("it is free", Duration::from_secs(5), || service.says("healthy"))
    })
    .like("pool-exhausted"),
    Fault::control("healthy/prepared", "a transaction was prepared just now, and holds up nobody", |stack| {
        let session = stack.session(&SERVICES, "two-phase")?;
        session
            .run("BEGIN; UPDATE workflow_tasks SET done = true WHERE id = 9; PREPARE TRANSACTION 'young'")?;
        Ok(())
    })
    .like("pool-exhausted"),
    Fault::control("healthy/others-limit", "another role has all the connections it may have", |stack| {
        stack.cluster().sql("ALTER ROLE batch CONNECTION LIMIT 1")?;
        stack.add_culprit(&BATCH, "reports")?;
        ensure!(stack.session(&BATCH, "reports").is_err(), "there is another one for it");
        Ok(())
    })
    .healed_by(|stack| stack.cluster().sql("ALTER ROLE batch CONNECTION LIMIT -1").map(drop))
    .like("db-down"),
    Fault::control(
        "healthy/wrong-password",
        "somebody else tries a wrong password again and again",
        |stack| {
            let wrong = crate::cluster::Secret { role: BATCH.role, password: "not-this-one" };
            for _ in 0..5 {
                ensure!(stack.session(&wrong, "cracker").is_err(), "it was let in");
            }
            Ok(())
        },
    )
    .like("db-down"),
];

/// All of its histogram so far is slow.
fn were_slow(stack: &mut Stack) -> Result<()> {
    stack.start_service(A)?;
    stack.wait_until_healthy()?;
    let service = stack.service(A)?.clone();
    let one = || {
        let service = service.clone();
        thread::spawn(move || service.post(SLOWLY, Duration::from_secs(5)).is_ok_and(|a| a.status == 200))
    };
    let all: Vec<_> = (0..12).map(|_| one()).collect();
    ensure!(all.into_iter().all(|t| t.join().is_ok_and(|well| well)), "they were not answered");
    Ok(())
}
