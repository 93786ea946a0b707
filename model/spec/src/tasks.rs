//! `[task]`: what is predicted.

pub mod forecast;

use serde::Deserialize;

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// The next values of each series.
    #[default]
    Forecast,
}
