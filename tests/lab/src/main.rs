//! `lab`: the command line of the lab, and the sample server it runs.
//! Everything is done by the library; nothing is decided here.

#![allow(clippy::disallowed_macros)]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "lab", about = "Real parts, real faults, the matrix and the benchmark of mcp-ir")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// A sample server
    #[command(hide = true)]
    Serve(lab::serve::ServeArgs),
    /// A thousand services behind one port
    #[command(hide = true)]
    ServeMany(lab::serve::ManyArgs),
    /// An Ollama, as far as its interface goes
    #[command(hide = true)]
    ServeOllama(lab::serve::OllamaArgs),
    /// Cleans up after a stack when its owner is gone
    #[command(hide = true)]
    Guard(lab::guard::GuardArgs),
    /// Time and peak memory of one program
    #[command(hide = true)]
    Measure(lab::measure::MeasureArgs),
    /// Leaves a stack standing until ^C
    Up(lab::up::UpArgs),
    /// Breaks the stack that is up
    Break(lab::up::BreakArgs),
    /// Heals the stack that is up
    Heal,
    /// Injects every fault and scores the diagnosis
    Matrix(lab::matrix::MatrixArgs),
    /// Breaks a stack before your eyes and lets mcp-ir say what broke
    Demo(lab::demo::DemoArgs),
    /// Draws what mcp-ir says of a healthy and of a broken stack, as SVG
    Picture(lab::picture::PictureArgs),
    /// Measures mcp-ir and others on a healthy stack
    Bench(lab::bench::BenchArgs),
    /// Kills mcp-ir at every line of its journal and inside every step, and lets it go on
    Prove(lab::prove::ProveArgs),
    /// mcp-ir, with its death
    #[command(hide = true)]
    Tool(lab::prove::ToolArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("lab: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Serve(args) => {
            let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
            runtime.block_on(lab::serve::serve(args))?;
        }
        Verb::ServeMany(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(lab::serve::many(args))?;
        }
        Verb::ServeOllama(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(lab::serve::ollama(args))?;
        }
        Verb::Guard(args) => lab::guard::guard(&args)?,
        Verb::Measure(args) => lab::measure::measure(&args)?,
        Verb::Up(args) => lab::up::up(&args)?,
        Verb::Break(args) => lab::up::break_it(&args)?,
        Verb::Heal => lab::up::heal_it()?,
        Verb::Matrix(args) if !lab::matrix::matrix(&args)? => return Ok(ExitCode::FAILURE),
        Verb::Bench(args) if !lab::bench::bench(&args)? => return Ok(ExitCode::FAILURE),
        Verb::Prove(args) if !lab::prove::prove(&args)? => return Ok(ExitCode::FAILURE),
        Verb::Matrix(_) | Verb::Bench(_) | Verb::Prove(_) => {}
        Verb::Tool(args) => return lab::prove::as_the_tool(&args),
        Verb::Demo(args) => lab::demo::demo(&args)?,
        Verb::Picture(args) => lab::picture::picture(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
