//! The log of what sessions of roles and users called: `audit.ndjson`, one JSON object a line. It is bounded:
//! [`crate::kernel::rotated`].

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::kernel::cloud::iso;
use crate::kernel::rotated::Rotated;

/// Log of what roles and users called.
#[derive(Debug)]
pub struct Audit(Rotated);

/// One decision.
pub(super) struct Entry<'a> {
    pub caller: &'a str,
    pub action: &'a str,
    pub resource: &'a str,
    pub allowed: bool,
    pub statements: &'a [String],
}

impl Audit {
    /// Appends to `audit.ndjson` in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Rotated::open(dir, "audit.ndjson")?))
    }

    /// Writes one line.
    pub(super) fn write(&self, entry: &Entry<'_>) -> std::io::Result<()> {
        self.0.append(&json!({
            "time": iso(jiff::Timestamp::now()), "caller": entry.caller, "action": entry.action,
            "resource": entry.resource, "allowed": entry.allowed, "statements": entry.statements,
        }))
    }
}
