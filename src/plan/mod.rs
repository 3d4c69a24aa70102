//! What is to be done, as data: steps with their risk, precondition, equivalent command and undo.
//! Pure: nothing here looks at the world or changes it.

mod act;
mod ask;
mod drop_in;
mod flush;
pub mod parameter;
mod removal;
mod risk;
mod sql;
mod upkeep;
mod variable;
mod whole;
mod words;

pub use act::{Act, Aside, Ending, Holding, Named, Needs, Whom};
pub use ask::{Ages, Aim, Ask, Like, Near, Told, Written};
pub use drop_in::{DROP_IN, drop_in_path, drop_in_with};
pub use flush::{BATCH, Flush};
pub use parameter::{AUTO_CONF, Connections, ConnectionsState, Former};
pub use removal::{Kept, PreparedState, Removable, Removal, SlotState, TakenAway, Wanted};
pub use risk::{Risk, shell_word};
pub use sql::{Statement, statement};
pub use upkeep::{Chore, IndexState, Upkeep};
pub use variable::settable;
pub use whole::{Draft, Plan, Recovered, Remedy, Step, Undo, draft};
pub use words::{describe, resize_body};
