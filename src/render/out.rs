//! Where output goes, and whether it may have colours. A closed pipe is quiet.

use std::io::{self, IsTerminal, Write};

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// Only on a terminal, and not with NO_COLOR
    #[default]
    Auto,
    Always,
    Never,
}

/// The two streams of the program.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    pub colors: bool,
    /// Of the terminal; 80 where there is none.
    pub width: usize,
    pub quiet: bool,
    /// Everything one by one: nothing is put together or counted.
    pub all: bool,
}

impl Out {
    pub fn new(color: Color, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                terminal && !plain("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        };
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |w| usize::from(w.ws_col));
        let width = if terminal && columns >= 40 { columns.min(110) } else { 80 };
        Self { colors, width, quiet, all: false }
    }

    /// Writes the document. Nobody reads on: no error.
    pub fn print(&self, text: &str) -> io::Result<()> {
        quiet(write_all(&mut io::stdout().lock(), text))
    }

    /// Writes a message beside the document.
    pub fn note(&self, text: &str) {
        let _ = write_all(&mut io::stderr().lock(), text);
    }
}

fn write_all(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn quiet(r: io::Result<()>) -> io::Result<()> {
    match r {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
