//! The configuration for a verb, within a limit: its files may lie on a file system that does not
//! answer, and that must not hang the tool of whoever looks for the reason.

use std::sync::mpsc;
use std::time::Duration;

use super::tree::Global;
use crate::config::{self, Env, Loaded};
use crate::error::{Error, Result};

/// Small files of a local disk take microseconds.
const LIMIT: Duration = Duration::from_secs(3);

pub fn load(global: &Global) -> Result<Loaded> {
    let (flags, env) = (global.flags(), Env::process());
    within(LIMIT, move || config::load(&flags, &env)).unwrap_or_else(|| Err(hangs(LIMIT)))
}

/// What does not return is left behind: its thread ends with the program. `None`: it did not in time.
pub fn within<T: Send + 'static>(limit: Duration, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, wait) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("disk".into());
    thread.spawn(move || drop(done.send(read()))).ok()?;
    wait.recv_timeout(limit).ok()
}

fn hangs(limit: Duration) -> Error {
    let limit = limit.as_secs_f64();
    Error::config(format!("the configuration could not be read within {limit} s"))
        .hint("a file of it may lie on a file system that does not answer, such as NFS: `findmnt` lists them")
        .hint("--config FILE names another one; --config /dev/null looks with the defaults")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_does_not_answer_is_not_waited_for() {
        let (never, blocked) = mpsc::channel::<()>();
        assert!(within(Duration::from_millis(20), move || blocked.recv()).is_none());
        let e = hangs(Duration::from_millis(20));
        assert!(e.message.contains("could not be read within 0.02 s"), "{}", e.message);
        assert!(e.hints[0].contains("NFS"));
        drop(never);
    }

    #[test]
    fn what_is_read_in_time_is_given() {
        assert_eq!(within(LIMIT, || 7).unwrap(), 7);
    }
}
