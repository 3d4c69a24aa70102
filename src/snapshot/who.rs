//! All sessions of a server as people want to see them. Ages are seconds by the server's clock.

use serde::{Deserialize, Serialize};

use super::postgres::{Prepared, Session};

/// At most so many sessions are fetched; the count says how many there are.
pub const SESSIONS: usize = 1000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Who {
    /// Client sessions without ours, as far as they are shown to us.
    pub count: u32,
    /// Whether other roles' sessions were shown in full (`pg_monitor`, or superuser).
    pub sees_all: bool,
    /// Those who block first, then the oldest state first.
    pub sessions: Vec<Session>,
    pub prepared: Vec<Prepared>,
}

impl Who {
    /// How many sessions wait for this one, directly or through others.
    pub fn victims(&self, pid: i32) -> usize {
        let mut seen = vec![pid];
        let mut at = 0;
        while let Some(by) = seen.get(at).copied() {
            for s in self.sessions.iter().filter(|s| s.blocked_by.contains(&by)) {
                if !seen.contains(&s.pid) {
                    seen.push(s.pid);
                }
            }
            at += 1;
        }
        seen.len() - 1
    }

    /// Those who wait for this one directly.
    pub fn waiting_for(&self, pid: i32) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(move |s| s.blocked_by.contains(&pid))
    }

    /// Sessions that others wait for and that wait for nobody; 0 stands for prepared transactions.
    pub fn roots(&self) -> Vec<i32> {
        let mut roots: Vec<i32> = self
            .sessions
            .iter()
            .filter(|s| s.blocked_by.is_empty() && self.waiting_for(s.pid).next().is_some())
            .map(|s| s.pid)
            .collect();
        if self.waiting_for(0).next().is_some() {
            roots.push(0);
        }
        roots.sort_by_key(|pid| std::cmp::Reverse(self.victims(*pid)));
        roots
    }
}
