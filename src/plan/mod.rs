//! What is to be done, as data: steps with their risk, precondition, equivalent command and undo.
//! Pure: nothing here looks at the world or changes it.

mod act;
mod ask;
mod risk;
mod whole;
mod words;

pub use act::{Act, Ending, Needs};
pub use ask::{Ask, Near};
pub use risk::{Risk, shell_word};
pub use whole::{Draft, Plan, Recovered, Remedy, Step, Undo, draft};
pub use words::{describe, path as drop_in_path};
