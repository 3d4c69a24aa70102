//! A real MCP server: the package `mcp` from PyPI, installed once into the build's folder.
//! Into a plain folder, which can be copied to where the booted system sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::copy;
use crate::program::{build_folder, installed, run};

const PACKAGE: &str = "mcp==2.3.0";

/// Arguments: its port; `json` or `events`; `tools` or `none`.
pub const SERVER: &str = r#"import sys

from mcp.server.mcpserver import MCPServer
from starlette.responses import JSONResponse

port, answers, tools = int(sys.argv[1]), sys.argv[2], sys.argv[3]
server = MCPServer("real-mcp")

if tools == "tools":
    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b


@server.custom_route("/health", methods=["GET"])
async def health(request):
    return JSONResponse({"status": "healthy"})


server.run("streamable-http", host="127.0.0.1", port=port, json_response=answers == "json")
"#;

/// Installs it where it is not there; gives the interpreter that it is for, and the folder.
pub fn prepare() -> Result<(PathBuf, PathBuf)> {
    let python = installed("python3").context("no python3: tests/lab/packages.sh")?;
    // Not a wrapper that finds it by the caller's home.
    let said = run(Command::new(python).args(["-c", "import sys; print(sys.executable)"]))?;
    let python = PathBuf::from(said.trim());
    let build = build_folder().context("no folder to install into")?;
    let kept = build.join(PACKAGE.replace("==", "-"));
    if !kept.is_dir() {
        install(&python, &kept)?;
    }
    Ok((python, kept))
}

/// Copies the package and what it needs into `folder/site`; gives the interpreter.
pub fn mcp_into(folder: &Path) -> Result<PathBuf> {
    let (python, kept) = prepare()?;
    fs::create_dir_all(folder)?;
    copy(&kept, &folder.join("site"))?;
    Ok(python)
}

/// Under a name of its own first: two may do so at once, and one may be cut off.
fn install(python: &Path, kept: &Path) -> Result<()> {
    let parent = kept.parent().context("no folder above it")?;
    let work = tempfile::Builder::new().prefix("pypi-").tempdir_in(parent)?;
    let (venv, site) = (work.path().join("venv"), work.path().join("site"));
    run(Command::new(python).args(["-m", "venv"]).arg(&venv)).context("package python3-venv")?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    run(pip.arg("--target").arg(&site).arg(PACKAGE))?;
    match fs::rename(&site, kept) {
        Err(_) if kept.is_dir() => Ok(()),
        done => done.with_context(|| format!("cannot make {}", kept.display())),
    }
}
