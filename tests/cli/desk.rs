//! The program run hermetically: an empty environment, a folder of its own, no configuration of
//! this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder of its own, where the program runs with an empty environment.
pub struct Desk {
    pub dir: TempDir,
}

/// What a run came to, the folder's name written as DIR.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text.replace("DIR", &self.dir.path().display().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ir"));
        command.env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path()).stdin(Stdio::null());
        // As root the machine's own folder would be written to, where there is one.
        command.env("MCP_IR_STATE_DIR", self.dir.path().join(".local/state/mcp-ir"));
        command
    }

    pub fn ran(&self, output: Output) -> Ran {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.dir.path().display().to_string(), "DIR")
        };
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs with no file but the one that the arguments name: a machine's own must not matter.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.with(args, &[])
    }

    pub fn with(&self, args: &[&str], vars: &[(&str, &str)]) -> Ran {
        let mut command = self.command();
        command.env("MCP_IR_CONFIG", "/dev/null").envs(vars.iter().copied()).args(args);
        self.ran(command.output().unwrap())
    }

    /// `config show` of a file with this text.
    pub fn show(&self, text: &str) -> Ran {
        self.file("c.toml", text);
        self.run(&["--config", "c.toml", "config", "show"])
    }
}
