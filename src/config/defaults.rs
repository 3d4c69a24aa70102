//! The built-in configuration: the runbook's own architecture, and the limits of the catalogue.
//! One text serves as the defaults and, commented out, as the file that `config init` writes.

use crate::error::Result;

use super::env::{Env, Flags};
use super::load::{self, Loaded};

/// The defaults as TOML, with a comment for every key.
pub(super) const TEXT: &str = include_str!("defaults.toml");

const HEAD: &str = "\
# Configuration of mcp-ir. Each line that begins with `#` and a key shows a default:
# remove the `#` to change it. `# e.g.` shows a key that has none.
# Entries under [[double]] brackets replace the built-in ones of their kind;
# a single value in [brackets] changes just that one.
# `mcp-ir config show` tells what holds and where it comes from.

";

/// The defaults as they hold without a file, variables or flags.
pub fn defaults() -> Result<Loaded> {
    let env =
        Env { vars: Default::default(), euid: u32::MAX, user: None, home: None, etc: "/nonexistent".into() };
    load::load(&Flags { config: Some("/dev/null".into()), timeout: None }, &env)
}

/// A file with every key in it, all of it commented out.
pub fn template() -> String {
    let mut out = String::from(HEAD);
    for line in TEXT.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            out.push('#');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
