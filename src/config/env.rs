//! What the process hands to the configuration: variables, who runs it, its flags.
//! The one place that asks the operating system; everything else takes it as an argument.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::span::Span;

/// The options of the command line that are configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--timeout DUR`
    pub timeout: Option<Span>,
}

/// The surroundings of the process, as far as the configuration looks at them.
#[derive(Debug, Clone)]
pub struct Env {
    pub vars: BTreeMap<OsString, OsString>,
    /// The effective user id: 0 makes files that others can write a refusal.
    pub euid: u32,
    /// The name of that user, libpq's default for `user`.
    pub user: Option<String>,
    pub home: Option<PathBuf>,
    /// The folder of the machine's own configuration.
    pub etc: PathBuf,
}

impl Env {
    /// The surroundings of this very process.
    pub fn process() -> Self {
        let vars: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let euid = rustix::process::geteuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (user, home) = account(&passwd, euid);
        let text = |name: &str| vars.get(OsStr::new(name)).filter(|v| !v.is_empty());
        let user = user.or_else(|| text("USER").and_then(|v| v.to_str()).map(str::to_owned));
        let home = text("HOME").map(PathBuf::from).or(home);
        Self { user, home, euid, etc: PathBuf::from("/etc/mcp-ir"), vars }
    }

    /// A variable that is set to something: an empty one counts as not set.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// The same, where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.var(name).and_then(OsStr::to_str)
    }

    pub fn is_root(&self) -> bool {
        self.euid == 0
    }
}

/// Name and home folder of a user id in the text of passwd(5).
fn account(passwd: &str, uid: u32) -> (Option<String>, Option<PathBuf>) {
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, id, _, _, home, ..] = fields[..]
            && id.parse() == Ok(uid)
        {
            let home = Some(home).filter(|h| h.starts_with('/')).map(PathBuf::from);
            return (Some(name.to_owned()), home);
        }
    }
    (None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_one_of_the_effective_id() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken line\nann:x:1000:1000:,,,:/home/ann:/bin/sh\n";
        assert_eq!(account(passwd, 1000), (Some("ann".into()), Some("/home/ann".into())));
        assert_eq!(account(passwd, 0).0.as_deref(), Some("root"));
        assert_eq!(account(passwd, 7), (None, None));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let vars = [("A".into(), "".into()), ("B".into(), "b".into())].into();
        let env = Env { vars, euid: 1, user: None, home: None, etc: "/x".into() };
        assert_eq!((env.text("A"), env.text("B"), env.text("C")), (None, Some("b"), None));
    }
}
