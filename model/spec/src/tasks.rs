//! `[[tasks]]`: what is predicted, of which table, and with which model.

pub mod forecast;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::families::Model;
use crate::gaps::Gaps;
use crate::rules::{PartialPeriod, Total};
use forecast::{Backtest, Task};

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// The next values of each series.
    #[default]
    Forecast,
}

/// What is predicted, of which table, and with which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEntry {
    /// Name of the task: lower-case letters, digits and inner hyphens.
    pub name: String,
    /// The input or table that it is about; the only input when absent.
    pub table: Option<String>,
    /// What is predicted.
    #[serde(flatten)]
    pub task: Task,
    /// Names of series whose records are rejected, such as the total of the others.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// Whether an incomplete newest period is looked for, and from which share on.
    pub partial_period: Option<PartialPeriod>,
    /// What happens to periods without a value.
    #[serde(default)]
    pub gaps: Gaps,
    /// What happens when a series is the sum of all others, so that sums count everything twice.
    #[serde(default)]
    pub total: Total,
    /// With which model.
    #[serde(default)]
    pub model: Model,
    /// How models are judged: by forecasts of the past.
    #[serde(default)]
    pub backtest: Backtest,
}
