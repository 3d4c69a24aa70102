//! The command tree, with the options that all verbs share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::config::ConfigCommand;
use super::diagnose::DiagnoseArgs;
use super::generate::CompletionsArgs;
use super::hold::HoldArgs;
use super::incident::IncidentCommand;
use super::recover::RecoverArgs;
use super::runbook::RunbookArgs;
use super::schema::SchemaArgs;
use super::undo::UndoArgs;
use super::verify::VerifyArgs;
use super::who::WhoArgs;
use crate::config::{Flags, Span};
use crate::render::Color;

/// What is broken, why, how sure that is, and what to type next
#[derive(Debug, Parser)]
#[command(
    name = "mcp-ir",
    version,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mcp-ir diagnose                  look at everything, name the cause
  mcp-ir diagnose db -o json       the same for a script, about the database
  mcp-ir runbook db-down           what to do about it, by cause
  mcp-ir recover server --plan     what would be done, and how it is taken back

Exit codes of diagnose:
  0 healthy   1 problem   2 usage or configuration   3 unknown"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// Configuration file [default: ~/.config/mcp-ir/config.toml, /etc/mcp-ir/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to print; nagios and prometheus are for diagnose
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "MCP_IR_OUTPUT",
        default_value = "human",
        hide_env = true
    )]
    pub output: Output,
    /// Deadline of the whole look, such as 500ms or 5s
    #[arg(long, global = true, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        env = "MCP_IR_COLOR",
        default_value = "auto",
        hide_env = true
    )]
    pub color: Color,
    /// Only the verdict and the causes
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// More: every reading; twice: the program's own log on stderr
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    pub fn flags(&self) -> Flags {
        Flags { config: self.config.clone(), timeout: self.timeout }
    }

    pub fn json(&self) -> bool {
        self.output == Output::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Human,
    /// One document; its schema: mcp-ir schema
    Json,
    /// One line and the exit codes of a monitoring plugin
    Nagios,
    /// For node_exporter's textfile collector
    Prometheus,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look at everything at once and name the root cause
    Diagnose(DiagnoseArgs),
    /// See the databases' sessions, and who waits for whom
    Who(WhoArgs),
    /// Mend what is wrong: detect, plan, consent, act, verify
    Recover(RecoverArgs),
    /// See whether everything does its work, also under a load
    Verify(VerifyArgs),
    /// Take back what a recovery did
    Undo(UndoArgs),
    /// Let nothing be recovered for now, or end that
    Hold(HoldArgs),
    /// Read the journals of incidents
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Read the runbook of a scenario or a cause
    Runbook(RunbookArgs),
    /// See the configuration and where each value comes from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the JSON Schema of a document
    Schema(SchemaArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}
