//! `mcp-ir schema`: the JSON Schemas of the documents, for those who read them by program.

use clap::{Args, ValueEnum};

use crate::render::schemas;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  mcp-ir schema diagnosis > diagnosis.schema.json")]
pub struct SchemaArgs {
    #[arg(value_enum, value_name = "DOCUMENT")]
    pub document: Document,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Document {
    /// What `diagnose -o json` prints
    Diagnosis,
    /// What any command prints with `-o json` where it can't do its work
    Error,
}

pub fn run(args: &SchemaArgs) -> &'static str {
    match args.document {
        Document::Diagnosis => schemas::DIAGNOSIS,
        Document::Error => schemas::ERROR,
    }
}
