//! Look → diagnose → plan → (consent) → lock → look again → intent → act → verify; and the way back.
//! Consent is asked for by the caller, between `choose` and `carry_out`.

mod back;
mod carry;
mod choose;
mod lock;
mod near;
mod report;
mod stop;
mod verify;

pub use back::{Taken, take_back, undo_plan};
pub use carry::{Order, carry_out};
pub use choose::{Choice, Request, choose};
pub use lock::{FOLDER as LOCKS, take as lock_targets};
pub use near::near;
pub use report::{Recovery, StepRow, StepStatus, Told, Verification};
pub use stop::Stop;
