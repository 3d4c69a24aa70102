//! What an engineer wants afterwards, as text: files of `/proc` and of control groups, the ends of logs,
//! tables of processes and sockets. Bounded, read only, without secrets; nothing here judges.

pub mod files;
pub mod log;
pub mod process;
pub mod sockets;
pub mod top;

/// Some text, and what of it could not be had.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Excerpt {
    pub text: String,
    /// Each with its reason.
    pub missed: Vec<String>,
    /// Its source holds more than this.
    pub cut: bool,
}

impl Excerpt {
    pub fn of(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}
