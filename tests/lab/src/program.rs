//! Where the programs are that the lab needs.
//! Found, never assumed: any version of PostgreSQL, any target folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A PostgreSQL installation.
#[derive(Clone, Debug)]
pub struct Postgres {
    pub bin: PathBuf,
    /// Its major version, as in the unit's name.
    pub major: String,
}

/// The newest PostgreSQL under Debian's folder.
pub fn postgres() -> Result<Postgres> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let root = Path::new("/usr/lib/postgresql");
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let version = entry.file_name().to_string_lossy().parse();
        let bin = entry.path().join("bin");
        if let (Ok(version), true) = (version, bin.join("postgres").exists()) {
            found.push((version, bin));
        }
    }
    found.sort();
    let Some((version, bin)) = found.pop() else {
        bail!("no PostgreSQL server under {}: apt-get install postgresql", root.display())
    };
    Ok(Postgres { bin, major: version.to_string() })
}

/// This very binary; from a test, the one that was built beside it.
pub fn lab_binary() -> Result<PathBuf> {
    beside("lab", "LAB_BINARY").context("run `cargo build -p lab` first")
}

/// The tool under test.
pub fn tool_binary() -> Result<PathBuf> {
    beside("mcp-ir", "MCP_IR_BINARY").context("run `cargo build` first, or name it by --binary")
}

/// A program of this workspace: by a variable, else in the folder of the running
/// program (`target/debug`), else in that folder's parent (tests run in `deps`).
fn beside(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let me = env::current_exe().context("the running program's own path is not known")?;
    me.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("no program {name} beside {}", me.display()))
}

/// The build's own folder, for what is worth keeping between runs.
pub fn build_folder() -> Option<PathBuf> {
    lab_binary().ok()?.parent().map(Path::to_path_buf)
}

/// A program on the search path, or in the administrator's folders.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/nagios/plugins"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A library that is loaded before others, in Debian's folders.
pub fn library(name: &str) -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = folders.map(|folder| folder.join(name)).filter(|file| file.is_file());
    found.next().with_context(|| format!("no {name} under /usr/lib: tests/lab/packages.sh"))
}

/// Runs a command to its end; an error holds what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("failed to run {command:?}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = if said.trim().is_empty() { String::from_utf8_lossy(&out.stdout) } else { said };
        bail!("{command:?} ended with {}: {}", out.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
