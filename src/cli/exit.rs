//! The exit codes: a public contract.

use crate::diagnosis::Verdict;
use crate::error::Kind;
use crate::incident::Outcome;
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
    /// 4: refused by consent, a lock, another root or what does not fit; nothing was changed.
    Refused,
    /// 5: acted, and not verified as recovered.
    NotRecovered,
    /// 6: a step failed or was cut off; the journal says what was done.
    Failed,
    /// 130, 143: by a signal, before anything was changed.
    Interrupted(u8),
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
            Exit::Refused => 4,
            Exit::NotRecovered => 5,
            Exit::Failed => 6,
            Exit::Interrupted(code) => code,
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

impl From<Outcome> for Exit {
    fn from(o: Outcome) -> Self {
        match o {
            Outcome::Recovered | Outcome::NothingToDo | Outcome::Planned => Exit::Fine,
            Outcome::Advice => Exit::Problem,
            Outcome::Refused => Exit::Refused,
            Outcome::NotRecovered => Exit::NotRecovered,
            Outcome::Failed => Exit::Failed,
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
