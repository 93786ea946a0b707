//! `[task]`: what is predicted.

pub mod forecast;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// The next values of each series.
    #[default]
    Forecast,
}
