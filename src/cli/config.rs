//! `mcp-ir config show|init`: what holds and where it came from; a file to begin with.
//! It returns text and writes the one file that `init` names; it loads nothing itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{self, Env, Loaded};
use crate::error::{Error, Result};
use crate::render;

/// What to do with the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Show the configuration that holds, and where each value came from
    #[command(long_about = SHOW, after_help = SHOW_EXAMPLES)]
    Show,
    /// Try every permission; what is missing is shown with the line that grants it
    #[command(long_about = CHECK, after_help = CHECK_EXAMPLES)]
    Check,
    /// Write a configuration file to begin with
    #[command(long_about = INIT, after_help = INIT_EXAMPLES)]
    Init(Init),
}

const SHOW: &str = "\
Show the configuration that holds, and where each value came from.

A value comes from a flag, else from a variable (MCP_IR_THRESHOLDS_POOL), else
from the file, else it is a default. The file is --config, else $MCP_IR_CONFIG,
else ~/.config/mcp-ir/config.toml (not for root), else /etc/mcp-ir/config.toml;
never one in the current folder. Passwords are shown as ****.

The output is TOML again, and can be used as a file.";

const SHOW_EXAMPLES: &str = "\
Examples:
  mcp-ir config show
  mcp-ir config show -o json
  MCP_IR_THRESHOLDS_POOL=0.9 mcp-ir config show";

const CHECK: &str = "\
Try every permission that a diagnosis may need, before it is needed: logging in,
seeing all sessions, systemd, the journal, the services' environment. Nothing is
changed. What is missing stands first, with the one line that grants it.

Exit codes: 0 nothing is missing, 1 something is, 3 something could not be tried.";

const CHECK_EXAMPLES: &str = "\
Examples:
  mcp-ir config check
  mcp-ir config check -o json";

const INIT: &str = "\
Write a configuration file to begin with.

Every key is in it, commented out, with its default: remove a `#` to change
the value. Without PATH it goes where it will be found: ~/.config/mcp-ir for a
plain user, /etc/mcp-ir for root. Only its owner can read it (mode 0600). A file
that is there already is kept, unless --force is given.";

const INIT_EXAMPLES: &str = "\
Examples:
  mcp-ir config init
  mcp-ir config init ./mcp-ir.toml
  mcp-ir config init -              prints it";

/// Options of `config init`.
#[derive(Debug, Clone, Default, Args)]
pub struct Init {
    /// Where to write it; `-` prints it
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(long)]
    pub force: bool,
}

/// The effective configuration, as TOML with comments or as JSON.
pub fn show(loaded: &Loaded, json: bool) -> String {
    if json { config::show::as_json(loaded) } else { config::show::human(loaded) }
}

/// Writes the file; returns what to say. A broken configuration is no hindrance: nothing is loaded.
pub fn init(init: &Init, env: &Env, json: bool) -> Result<String> {
    let text = config::template();
    let document = |file: Option<&Path>| {
        let file = file.map(|f| f.display().to_string());
        render::document(&json!({ "schema": "mcp-ir/template/1", "file": file, "toml": text }))
    };
    let path = match &init.path {
        Some(path) if path.as_os_str() == "-" && json => return document(None),
        Some(path) if path.as_os_str() == "-" => return Ok(text),
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None => config::own_config(env).ok_or_else(|| {
            Error::usage("there is no home folder to write a configuration to")
                .hint("name a file: mcp-ir config init PATH")
        })?,
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    // XDG: folders that did not exist are the user's alone; root's configuration is for all to find.
    let mode = if env.is_root() { 0o755 } else { 0o700 };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .map_err(|e| failed("create the folder", folder, &e))?;
    write(&path, &text, init.force)?;
    if json {
        return document(Some(&path));
    }
    Ok(format!(
        "{p} is written: every key in it, commented out, with its default.\n\
         Next: change what differs on this machine, then `mcp-ir config show`.\n",
        p = path.display()
    ))
}

/// All or nothing: written aside, synced, then put in its place.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let exists = || {
        Error::usage(format!("{} exists already", path.display()))
            .hint("--force replaces it; `mcp-ir config init -` prints a fresh one to compare")
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            return Err(Error::usage(format!("{} is a folder", path.display()))
                .hint(format!("mcp-ir config init {}", path.join("config.toml").display())));
        }
        Ok(meta) if !meta.is_file() => {
            return Err(Error::usage(format!("{} is no plain file: it is not replaced", path.display()))
                .hint("mcp-ir config init -   prints it"));
        }
        Ok(_) if !force => return Err(exists()),
        _ => {}
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let aside = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    let placed =
        written.and_then(|()| if force { fs::rename(&aside, path) } else { fs::hard_link(&aside, path) });
    // After a rename it is gone already.
    let _ = fs::remove_file(&aside);
    placed.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists if !force => exists(),
        _ => failed("write", path, &e),
    })
}

fn failed(what: &str, path: &Path, e: &std::io::Error) -> Error {
    let text = e.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text);
    let error = Error::file(format!("can't {what} {}: {reason}", path.display()));
    match e.kind() {
        ErrorKind::PermissionDenied => error.hint("name a place of your own, or `-` to print it"),
        _ => error,
    }
}
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn env(home: &Path) -> Env {
        Env {
            vars: Default::default(),
            euid: 1000,
            user: None,
            home: Some(home.into()),
            etc: home.join("etc"),
        }
    }

    fn at(path: &Path, force: bool) -> Init {
        Init { path: Some(path.into()), force }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        entries.collect()
    }

    #[test]
    fn init_writes_where_the_file_will_be_found() {
        let dir = tempfile::tempdir().unwrap();
        let said = init(&Init::default(), &env(dir.path()), false).unwrap();
        let path = dir.path().join(".config/mcp-ir/config.toml");
        assert!(said.starts_with(&format!("{} is written", path.display())), "{said}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(names(path.parent().unwrap()), ["config.toml"], "nothing is left beside it");
        let loaded = config::load(&config::Flags::default(), &env(dir.path())).unwrap();
        assert_eq!(loaded.file, Some(path));
        assert_eq!(loaded.config, config::defaults().unwrap().config);
        let root = Env { euid: 0, ..env(dir.path()) };
        init(&Init::default(), &root, false).unwrap();
        assert!(dir.path().join("etc/config.toml").is_file());
    }

    #[test]
    fn init_keeps_a_file_that_is_there_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::write(&path, "mine").unwrap();
        let e = init(&at(&path, false), &env(dir.path()), false).unwrap_err();
        assert!(e.message.contains("exists already") && e.hints[0].contains("--force"), "{e:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        init(&at(&path, true), &env(dir.path()), false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), config::template());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["c.toml"]);
    }

    #[test]
    fn init_does_not_write_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(init(&at(&link, false), &env(dir.path()), false).is_err(), "a dangling link is there too");
        assert!(
            init(&at(&link, true), &env(dir.path()), false).is_err(),
            "nor is a link, a pipe or a device replaced"
        );
        assert!(!target.exists() && fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn init_says_what_it_can_not_do() {
        let dir = tempfile::tempdir().unwrap();
        let e = init(&at(dir.path(), true), &env(dir.path()), false).unwrap_err();
        assert!(e.message.contains("is a folder") && e.hints[0].contains("config.toml"), "{e:?}");
        let e = init(&at(Path::new("/proc/nowhere/c.toml"), false), &env(dir.path()), false).unwrap_err();
        assert!(e.message.contains("can't create the folder /proc/nowhere"), "{e:?}");
        let homeless = Env { home: None, ..env(dir.path()) };
        let e = init(&Init::default(), &homeless, false).unwrap_err();
        assert!(e.hints[0].contains("config init PATH"), "{e:?}");
    }

    #[test]
    fn a_dash_prints_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(init(&at(Path::new("-"), false), &env(dir.path()), false).unwrap(), config::template());
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn show_is_toml_or_json() {
        let loaded = config::defaults().unwrap();
        assert!(show(&loaded, false).starts_with("# file: none"));
        assert!(show(&loaded, true).starts_with("{\n  \"config\""), "{}", show(&loaded, true));
    }
}
