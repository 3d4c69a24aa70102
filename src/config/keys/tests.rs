//! Promises of the module beside it.
