//! Errors over HTTP: RFC 9457 problem documents (`application/problem+json`).

use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A problem document. `kind` is stable and meant for programs, `detail` for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind: `/problems/unknown-series`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words; does not change between occurrences.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, why, and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem of the kind named by `slug`.
    pub fn new(status: u16, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        let kind = format!("/problems/{slug}");
        Self { kind, title: title.to_owned(), status, detail: detail.into() }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
    }
}
