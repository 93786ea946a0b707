//! What happens to periods without a value.

use serde::{Deserialize, Serialize};

/// Periods without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gaps {
    /// How many in a row are filled by the value before them.
    pub fill: usize,
    /// What happens to a longer gap.
    pub longer: LongerGap,
    /// What happens to a series whose newest value is older than that of others by more than
    /// `fill` periods.
    pub ended: Ended,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { fill: 3, longer: LongerGap::Split, ended: Ended::LeaveOut }
    }
}

/// What happens to a gap that is longer than those that are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongerGap {
    /// The values before it are not used.
    Split,
    /// The series is left out.
    LeaveOut,
    /// It is filled, too.
    Fill,
    /// The data are refused.
    Fail,
}

/// What happens to a series that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Models learn from it, and it is not forecast.
    LeaveOut,
    /// It is forecast from its own end, with a mark.
    Forecast,
}
