//! The journal: a file an incident, a line an event, synced before what it speaks of begins. It is read
//! while it is written; a line that was cut off is known for one and kept aside.

mod boundary;
mod event;
mod folder;
mod hold;
mod journal;
mod read;

pub use boundary::{Edge, at_each_line};
pub use event::{Entry, Event, Outcome, VERSION, now};
pub use folder::{Store, open, unprepared};
pub use hold::Hold;
pub use journal::Journal;
pub use read::{Incident, Open, Status};
