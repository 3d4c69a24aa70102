//! Consent: the one way to change anything. It is bound to the digest of the plan that was shown, and
//! covers the acts of that plan and of its undo, and no others. Nothing else can make one.

mod asked;

pub use asked::{Consent, Policy, Question, Refused, ask};
