//! Look → diagnose → plan → (consent) → lock → look again → intent → act → verify; and the way back.
//! Consent is asked for by the caller, between `choose` and `carry_out`.

mod advisory;
mod after;
mod asked;
mod back;
mod blame;
mod carry;
mod choose;
mod disk;
pub mod guard;
mod lock;
mod near;
mod near_caches;
mod near_holds;
mod near_removal;
mod possible;
mod removed;
mod report;
mod rights;
mod sight;
mod stop;
mod targets;
mod turn;
mod undo;
mod verify;
mod veto;
mod work;
mod world;

pub use after::{started_before, well_before};
pub use back::{Taken, limit, undo_plan};
pub use blame::{left_down, refuted, started_again, to_roll_back, unwell};
pub use carry::{Order, carry_out};
pub use choose::{Choice, Request, choose};
pub use disk::{Beforehand, beforehand};
pub use lock::FOLDER as LOCKS;
pub use possible::possible;
pub use report::{Recovery, StepRow, StepStatus, Told, Verification};
pub use rights::{Lacking, against};
pub use sight::{Now, Sight, is_without_rates, see, still};
pub use stop::Stop;
pub use undo::{UndoOrder, UndoOutcome, Undone, undo};
pub use verify::{as_planned, held, unproven};
pub use veto::Word;
