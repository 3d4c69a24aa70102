//! The instants between which a program can be killed: before and behind each line of a journal. A test
//! hangs itself in here; no variable and no option reaches it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Before,
    /// It is synced.
    After,
}

type Hook = Box<dyn Fn(usize, Edge) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();
static LINES: AtomicUsize = AtomicUsize::new(0);

/// Is called from now on at each line that this process writes, counted from 1. The first one stays.
pub fn at_each_line(hook: Hook) {
    let _ = HOOK.set(hook);
}

pub(super) fn next() -> usize {
    LINES.fetch_add(1, Ordering::SeqCst) + 1
}

pub(super) fn at(line: usize, edge: Edge) {
    if let Some(hook) = HOOK.get() {
        hook(line, edge);
    }
}
