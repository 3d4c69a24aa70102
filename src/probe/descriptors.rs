//! How many descriptors a process may have: each target takes one, and the usual soft limit of 1024
//! is less than the thousands that are looked at. Programs that are run get the former limit back.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one. Where that is refused the limit stays: what then finds no
/// descriptor says so.
pub fn raise() {
    let before = BEFORE.get_or_init(|| getrlimit(Resource::Nofile));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
}

/// Gives a program that was just started the limit that we were given: some count on it.
pub fn restore(pid: Option<u32>) {
    let pid = pid.and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw);
    if let (Some(pid), Some(before)) = (pid, BEFORE.get()) {
        let before = Rlimit { current: before.current, maximum: before.maximum };
        let _ = prlimit(Some(pid), Resource::Nofile, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test: limits are the process's own, and tests share it.
    #[test]
    fn a_child_has_the_limit_that_we_were_given() {
        let soft = |pid: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let line = text.lines().find(|l| l.starts_with("Max open files")).unwrap().to_owned();
            line.split_whitespace().nth(3).unwrap().to_owned()
        };
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: hard }).unwrap();
        raise();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        restore(Some(child.id()));
        let seen = soft(&child.id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, "256");
    }
}
