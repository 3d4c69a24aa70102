//! The JSON Schemas as shipped. A test holds real documents against them.

pub const DIAGNOSIS: &str = include_str!("schemas/diagnosis.json");
pub const ERROR: &str = include_str!("schemas/error.json");
