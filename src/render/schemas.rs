//! The JSON Schemas as shipped. A test holds real documents against each of them.

pub const CONFIG: &str = include_str!("schemas/config.json");
pub const DIAGNOSIS: &str = include_str!("schemas/diagnosis.json");
pub const ERROR: &str = include_str!("schemas/error.json");
pub const EVIDENCE: &str = include_str!("schemas/evidence.json");
pub const HOLD: &str = include_str!("schemas/hold.json");
pub const INCIDENT: &str = include_str!("schemas/incident.json");
pub const INCIDENTS: &str = include_str!("schemas/incidents.json");
pub const PERMISSIONS: &str = include_str!("schemas/permissions.json");
pub const RECOVERY: &str = include_str!("schemas/recovery.json");
pub const RUNBOOK: &str = include_str!("schemas/runbook.json");
pub const RUNBOOKS: &str = include_str!("schemas/runbooks.json");
pub const SNAPSHOT: &str = include_str!("schemas/snapshot.json");
pub const TEMPLATE: &str = include_str!("schemas/template.json");
pub const UNDO: &str = include_str!("schemas/undo.json");
pub const VERIFICATION: &str = include_str!("schemas/verification.json");
pub const WHO: &str = include_str!("schemas/who.json");
pub const WHY_NOT: &str = include_str!("schemas/why-not.json");
