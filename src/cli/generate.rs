//! `mcp-ir completions` and `mcp-ir man`: both from the command tree itself.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::tree::Cli;
use crate::error::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir completions bash > /etc/bash_completion.d/mcp-ir
  mcp-ir completions zsh  > \"${fpath[1]}/_mcp-ir\"")]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn completions(args: &CompletionsArgs) -> String {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mcp-ir", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// One page for all: the tree, then each verb.
pub fn man() -> Result<String> {
    let bad = |e: std::io::Error| Error::new(Kind::Internal, format!("the manual page can't be made: {e}"));
    let mut out = Vec::new();
    let mut tree = Cli::command();
    tree.build();
    clap_mangen::Man::new(tree.clone()).render(&mut out).map_err(bad)?;
    for verb in tree.get_subcommands().filter(|v| v.get_name() != "help") {
        let page = clap_mangen::Man::new(verb.clone());
        page.render_name_section(&mut out).map_err(bad)?;
        page.render_synopsis_section(&mut out).map_err(bad)?;
        page.render_options_section(&mut out).map_err(bad)?;
        page.render_extra_section(&mut out).map_err(bad)?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
