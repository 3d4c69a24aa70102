//! The exit codes: a public contract.

use crate::diagnosis::Verdict;
use crate::error::Kind;
use crate::render::NagiosState;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: healthy, or nothing to do.
    Fine,
    /// 1: a problem of P1 to P3 was found.
    Problem,
    /// 2: usage or configuration; nothing was touched.
    Usage,
    /// 3: a symptom could not be seen, or no cause fits it.
    Unknown,
    /// As the plugin's guidelines have it: 0, 1, 2, 3.
    Plugin(NagiosState),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Problem => 1,
            Exit::Usage => 2,
            Exit::Unknown => 3,
            Exit::Plugin(state) => state as u8,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(v: Verdict) -> Self {
        match v {
            Verdict::Healthy => Exit::Fine,
            Verdict::Problem => Exit::Problem,
            Verdict::Unknown => Exit::Unknown,
        }
    }
}

impl From<NagiosState> for Exit {
    fn from(state: NagiosState) -> Self {
        Exit::Plugin(state)
    }
}

impl From<Kind> for Exit {
    fn from(k: Kind) -> Self {
        match k {
            Kind::Usage | Kind::Config | Kind::File => Exit::Usage,
            // Not a verdict on the system: nothing is known of it.
            Kind::Internal => Exit::Unknown,
        }
    }
}
