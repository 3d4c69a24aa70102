//! `mcp-ir schema`: the JSON Schemas of the documents, for those who read them by program.

use clap::{Args, ValueEnum};

use super::tree::Global;
use crate::error::{Error, Result};
use crate::render::{self, Out, schemas};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir schema                            the table of documents
  mcp-ir schema diagnosis > diagnosis.schema.json

A document names its schema: mcp-ir/diagnosis/1.")]
pub struct SchemaArgs {
    #[arg(value_enum, value_name = "DOCUMENT")]
    pub document: Option<Document>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Document {
    /// diagnose -o json
    Diagnosis,
    /// diagnose --why-not CAUSE -o json
    WhyNot,
    /// diagnose --save FILE
    Snapshot,
    /// The index.json of diagnose --evidence DIR
    Evidence,
    /// who -o json
    Who,
    /// config show -o json
    Config,
    /// config check -o json
    Permissions,
    /// config init -o json
    Template,
    /// runbook -o json
    Runbooks,
    /// runbook SCENARIO -o json
    Runbook,
    /// recover -o json
    Recovery,
    /// verify -o json
    Verification,
    /// undo -o json
    Undo,
    /// hold -o json
    Hold,
    /// incident list -o json
    Incidents,
    /// incident show -o json
    Incident,
    /// Any command with -o json that can't do its work
    Error,
}

impl Document {
    fn text(self) -> &'static str {
        match self {
            Document::Diagnosis => schemas::DIAGNOSIS,
            Document::WhyNot => schemas::WHY_NOT,
            Document::Snapshot => schemas::SNAPSHOT,
            Document::Evidence => schemas::EVIDENCE,
            Document::Who => schemas::WHO,
            Document::Config => schemas::CONFIG,
            Document::Permissions => schemas::PERMISSIONS,
            Document::Template => schemas::TEMPLATE,
            Document::Runbooks => schemas::RUNBOOKS,
            Document::Runbook => schemas::RUNBOOK,
            Document::Recovery => schemas::RECOVERY,
            Document::Hold => schemas::HOLD,
            Document::Verification => schemas::VERIFICATION,
            Document::Undo => schemas::UNDO,
            Document::Incidents => schemas::INCIDENTS,
            Document::Incident => schemas::INCIDENT,
            Document::Error => schemas::ERROR,
        }
    }
}

pub fn run(args: &SchemaArgs, global: &Global, out: &Out) -> Result<String> {
    if let Some(document) = args.document {
        return Ok(document.text().to_owned());
    }
    if global.json() {
        return Err(Error::usage("name the document whose schema is to be printed")
            .hint("`mcp-ir schema` without -o json lists them"));
    }
    let known = Document::value_variants().iter().filter_map(Document::to_possible_value);
    let rows: Vec<Vec<String>> = known
        .map(|v| vec![v.get_name().to_owned(), v.get_help().map(ToString::to_string).unwrap_or_default()])
        .collect();
    Ok(render::plain_table(&rows, 0, out.width, 28) + "\nPrint one: mcp-ir schema diagnosis\n")
}
