//! What is kept as evidence of a real stack that is broken: whole, without a password of anybody, also
//! where there is no room for it and where the user may see little.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use lab::tool::{Run, Tool};
use lab::{BATCH, Mode, SERVICES, Stack, TOOL};

fn files(root: &Path) -> BTreeMap<String, String> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// None of the passwords of the stack, and nothing that was stored.
fn hides_all(files: &BTreeMap<String, String>) {
    for (path, text) in files {
        for secret in [SERVICES.password, TOOL.password, BATCH.password, "what-ann-stored"] {
            assert!(!text.contains(secret), "{secret} is in {path}");
        }
    }
}

#[track_caller]
fn has(files: &BTreeMap<String, String>, path: &str, words: &[&str]) {
    let text =
        files.get(path).unwrap_or_else(|| panic!("no {path} in {:?}: {}", files.keys(), files["INDEX.md"]));
    for word in words {
        assert!(text.contains(word), "no `{word}` in {path}: {text}");
    }
}

fn keep(tool: &Tool, stack: &Stack, place: &Path, code: i32) -> Run {
    let run = tool.run(stack, &["diagnose", "--evidence", place.to_str().unwrap()]).unwrap();
    assert_eq!(run.code, Some(code), "{}{}", run.stdout, run.stderr);
    run
}

/// Statements that fail, and are logged with what they hold.
fn spoil_the_log(stack: &mut Stack) {
    let warns = format!("DO $$ BEGIN RAISE WARNING 'dialling with {}'; END $$", TOOL.password);
    let role = format!("ALTER ROLE nobody_at_all\n PASSWORD '{}'", BATCH.password);
    let stored = "SELECT 'what-ann-stored\nwhat-ann-stored'::int".to_owned();
    for sql in [warns, role, stored] {
        let _ = stack.start_psql(&SERVICES, "spoiler", &sql);
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
}

#[test]
fn a_broken_stack_is_kept_whole_and_without_a_password() {
    let mut stack = Stack::start(Mode::Auto).unwrap();
    let tool = Tool::new(None).unwrap();
    let units = stack.booted().is_some();
    let root = stack.dir().to_owned();
    spoil_the_log(&mut stack);

    // A chain of locks: who holds it, and who waits.
    let fault = lab::fault::find("blocking-chain/own-request").unwrap();
    fault.inject(&mut stack).unwrap();
    keep(&tool, &stack, &root.join("chain"), 1);
    let chain = files(&root.join("chain"));
    hides_all(&chain);
    has(&chain, "INDEX.md", &["**problem**", "pool-exhausted/blocking-chain@postgres", "host/top.txt"]);
    has(&chain, "sessions.txt", &["who waits for whom", "■", "└"]);
    has(&chain, "sessions.json", &["\"blocked_by\": [\n"]);
    has(&chain, "host/sockets.txt", &["ESTABLISHED"]);
    has(&chain, "host/top.txt", &["postgres", "by resident memory"]);
    for name in ["services/codebase-mcp", "services/workflow-mcp", "servers/postgres"] {
        has(&chain, &format!("{name}/process.txt"), &["/status <==", "/limits <==", "/cgroup <=="]);
        has(&chain, &format!("{name}/threads.txt"), &["WAITS IN"]);
        has(&chain, &format!("{name}/memory.txt"), &["Rss:"]);
        has(&chain, &format!("{name}/group.txt"), &["/memory.stat <==", "/cpu.stat <=="]);
    }
    if units {
        has(&chain, "services/codebase-mcp/journal.txt", &["systemd: Started", "listens on"]);
        has(&chain, "servers/postgres/journal.txt", &["dialling with ****", "ready to accept"]);
    }
    fault.heal(&mut stack).unwrap();

    // What is dead has no process, and that is said; its log is there.
    let fault = lab::fault::find("postgres-stopped/stopped").unwrap();
    fault.inject(&mut stack).unwrap();
    let archive = root.join("stopped.tar.zst");
    keep(&tool, &stack, &archive, 1);
    let unpacked = Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(&archive).output().unwrap();
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let stopped = files(&root.join("stopped"));
    hides_all(&stopped);
    has(&stopped, "diagnosis.txt", &["postgres-stopped"]);
    has(&stopped, "sessions.txt", &["could not be asked: "]);
    has(&stopped, "INDEX.md", &["the main process of postgres", "no process of it is known"]);
    if units {
        has(&stopped, "servers/postgres/journal.txt", &["shutting down"]);
    }
    let again = tool
        .run(&stack, &["diagnose", "--from", root.join("stopped/snapshot.json").to_str().unwrap()])
        .unwrap();
    assert_eq!(again.code, Some(1), "{}", again.stderr);

    fault.heal(&mut stack).unwrap();
    if units {
        contained(&tool, &mut stack, &root);
    }
    fault.inject(&mut stack).unwrap();
    if units {
        no_room(&tool, &stack, &root);
        by_nobody(&tool, &mut stack);
    }
}

/// Of a service in a container: its engine's log, and the process and group that the engine names.
fn contained(tool: &Tool, stack: &mut Stack, root: &Path) {
    let fault = lab::fault::find("hung/container").unwrap();
    fault.inject(stack).unwrap();
    keep(tool, stack, &root.join("contained"), 1);
    let kept = files(&root.join("contained"));
    hides_all(&kept);
    has(&kept, "diagnosis.txt", &["server-crash/hung"]);
    let of = "services/codebase-mcp";
    has(&kept, &format!("{of}/container.txt"), &["listens on"]);
    has(&kept, &format!("{of}/process.txt"), &["State: T (stopped)", "docker"]);
    has(&kept, &format!("{of}/memory.txt"), &["Rss:"]);
    has(&kept, &format!("{of}/group.txt"), &["/memory.stat <==", "docker"]);
    fault.heal(stack).unwrap();
}

/// On a full disk the diagnosis is said all the same, and nothing is left there.
fn no_room(tool: &Tool, stack: &Stack, root: &Path) {
    let disk = root.join("small");
    fs::create_dir(&disk).unwrap();
    let script = "mount -t tmpfs -o size=48k small \"$1\" && cd \"$1\" && shift && \"$@\"; echo \"code $?\"; \
                  find . | wc -l";
    for place in ["kept", "kept.tar.zst"] {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&disk);
        command.arg(tool.binary()).arg("--config").arg(stack.config()).args([
            "diagnose",
            "-q",
            "--evidence",
            place,
        ]);
        let ran = command.env("MCP_IR_STATE_DIR", root.join("state")).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let full = place == "kept";
        assert!(out.contains("postgres-stopped") && out.contains("code 1\n"), "{out}{err}");
        // Packed, the same has room there.
        let left = if full { "1" } else { "2" };
        assert!(out.trim_end().ends_with(&format!("code 1\n{left}")), "{place}: {out}{err}");
        assert_eq!(err.contains("No space left on device"), full, "{place}: {err}");
        assert_eq!(err.contains("--evidence-limit"), full, "{place}: {err}");
    }
}

/// Who may see little keeps that, and the index says what was closed to them.
fn by_nobody(tool: &Tool, stack: &mut Stack) {
    let mut settings = stack.settings().clone();
    settings.plain_user = true;
    stack.configure(&settings).unwrap();
    let snapshot = stack.dir().join("looked.json");
    tool.diagnose(stack, &snapshot, None).unwrap();
    let place = stack.dir().join("plain/kept");
    let run = tool.run(stack, &["diagnose", "--evidence", place.to_str().unwrap()]).unwrap();
    assert!(matches!(run.code, Some(1 | 3)), "{}{}", run.stdout, run.stderr);
    let kept = files(&place);
    hides_all(&kept);
    // Another system's processes are shown to root only.
    has(&kept, "sessions.txt", &["postgres"]);
    has(&kept, "host/mounts.txt", &["(postgres)"]);
    has(&kept, "INDEX.md", &["What could not be had", "ermission denied", "insufficient permissions"]);
}
