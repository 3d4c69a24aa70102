//! A folder and surroundings for the tests of the configuration: nothing of the real process.
//! Not root, unless a test says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::env::{Env, Flags};
use super::load::{Loaded, load};
use crate::error::{Error, Result};

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub env: Env,
    pub flags: Flags,
}

impl Bed {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let env = Env {
            vars: Default::default(),
            euid: 1000,
            user: Some("ann".into()),
            home: Some(dir.path().join("home")),
            etc: dir.path().join("etc"),
        };
        Self { dir, env, flags: Flags::default() }
    }

    /// Writes a file with a mode; its folders too.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes the file that `--config` names. `DIR` in the text is the bed's folder.
    pub fn config(mut self, text: &str) -> Self {
        let text = text.replace("DIR", &self.path());
        self.flags.config = Some(self.file("c.toml", text, 0o600));
        self
    }

    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.env.vars.insert(name.into(), value.into());
        self
    }

    pub fn root(mut self) -> Self {
        self.env.euid = 0;
        self
    }

    pub fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    pub fn load(&self) -> Result<Loaded> {
        load(&self.flags, &self.env)
    }

    pub fn loaded(&self) -> Loaded {
        match self.load() {
            Ok(loaded) => loaded,
            Err(e) => panic!("{e}\n{:?}", e.hints),
        }
    }

    /// The error, with the bed's folder written as DIR.
    pub fn error(&self) -> Said {
        match self.load() {
            Ok(loaded) => panic!("no error: {:#?}", loaded.config),
            Err(e) => Said::new(e, &self.path()),
        }
    }
}

/// What an error says.
#[derive(Debug)]
pub struct Said {
    pub message: String,
    pub hints: String,
}

impl Said {
    pub fn new(e: Error, dir: &str) -> Self {
        assert!(!e.hints.is_empty(), "every error has a next step: {e}");
        Self { message: e.message.replace(dir, "DIR"), hints: e.hints.join("\n").replace(dir, "DIR") }
    }

    #[track_caller]
    pub fn says(&self, message: &str, hint: &str) {
        assert!(self.message.contains(message), "`{message}` is not in: {self:#?}");
        assert!(self.hints.contains(hint), "`{hint}` is not in: {self:#?}");
    }
}

/// Are these tests run by root? Only then can a file be root's.
pub fn really_root() -> bool {
    rustix::process::geteuid().is_root()
}
