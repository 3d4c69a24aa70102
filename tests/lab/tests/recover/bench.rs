//! A stack, the tool, and eyes of their own: systemctl, the payload, PostgreSQL, `/proc`.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::tool::{Run, Tool};
use lab::{Mode, Stack};
use serde_json::Value;

pub const A: &str = "codebase-mcp";
pub const A_UNIT: &str = "codebase-mcp.service";
pub const C_UNIT: &str = "workflow-mcp.service";

pub struct Bench {
    pub stack: Stack,
    pub tool: Tool,
}

impl Bench {
    /// `None` where no systemd boots, which is said.
    #[expect(clippy::disallowed_macros, reason = "a test that is left out says so")]
    pub fn start() -> Option<Self> {
        let stack = Stack::start(Mode::Auto).unwrap();
        if let Some(why) = stack.left_out() {
            println!("left out: {why}");
            return None;
        }
        Some(Self { stack, tool: Tool::new(None).unwrap() })
    }

    #[track_caller]
    pub fn run(&self, argv: &[&str], code: i32) -> Run {
        let run = self.tool.run(&self.stack, argv).unwrap();
        assert_eq!(run.code, Some(code), "{argv:?}\n{}\n{}", run.stdout, run.stderr);
        run
    }

    /// The document of a run that ends so.
    #[track_caller]
    pub fn json(&self, argv: &[&str], code: i32) -> Value {
        let run = self.run(&[argv, &["-o", "json"]].concat(), code);
        serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
    }

    /// In the background, with nothing on its streams.
    pub fn spawn(&self, argv: &[&str]) -> Child {
        let mut command = self.tool.command(&self.stack, argv);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[track_caller]
    pub fn undo(&self, recovery: &Value) -> Value {
        self.json(&["undo", recovery["incident"].as_str().unwrap(), "--yes"], 0)
    }

    pub fn inject(&mut self, fault: &str) {
        lab::fault::find(fault).unwrap().inject(&mut self.stack).unwrap();
    }

    pub fn heal(&mut self) {
        self.stack.heal().unwrap();
        self.stack.forget().unwrap();
        self.forget_incidents();
    }

    /// What was done for the last fault is no reason not to do it for the next.
    pub fn forget_incidents(&self) {
        let _ = fs::remove_dir_all(self.stack.dir().join("state/incidents"));
    }

    pub fn property(&self, unit: &str, name: &str) -> String {
        self.stack.systemd().unwrap().property(unit, name).unwrap()
    }

    pub fn is_healthy(&self, name: &str) -> bool {
        self.stack.service(name).unwrap().says("healthy")
    }

    /// The largest size of a pool by its payload.
    pub fn max_size(&self) -> u64 {
        let answer = self.stack.service(A).unwrap().health(Duration::from_secs(3)).unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["connection_pool"]["max_size"].as_u64().unwrap()
    }

    /// What of a unit a recovery could leave behind: its settings and its drop-ins.
    pub fn settings(&self) -> Vec<String> {
        let of = |name| self.property(A_UNIT, name);
        let folder = self.stack.dir().join("units").join(format!("{A_UNIT}.d"));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut all: Vec<String> = files.map(|f| fs::read_to_string(f.path()).unwrap()).collect();
        all.sort();
        all.extend([of("Environment"), of("DropInPaths"), self.max_size().to_string()]);
        all
    }

    /// Each journal's lines, the newest journal last.
    fn journals(&self) -> Vec<Vec<Value>> {
        let folder = self.stack.dir().join("state/incidents");
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path());
        let mut files: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
        files.sort();
        let lines = |p: &std::path::PathBuf| {
            let text = fs::read_to_string(p).unwrap();
            text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
        };
        files.iter().map(lines).collect()
    }

    pub fn journal(&self) -> Vec<Value> {
        self.journals().pop().unwrap_or_default()
    }

    /// Of all journals.
    pub fn all_events(&self) -> Vec<Value> {
        self.journals().concat()
    }

    pub fn events(&self) -> Vec<String> {
        self.journal().iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}
