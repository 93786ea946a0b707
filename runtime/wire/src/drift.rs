//! Whether a model in service still sees and says what it was trained on, and whether it was right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::registry::Scores;

/// Version of the report's schema.
pub const DRIFT_SCHEMA_VERSION: u32 = 2;

/// Side of the model that a statistic is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What it is asked about.
    Input,
    /// What it answers.
    Output,
}

/// One statistic in service beside training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatisticDrift {
    /// Its name: `level`, `change`, `forecast`, `width`.
    pub statistic: String,
    /// Where it is taken.
    pub side: Side,
    /// Values in service.
    pub count: u64,
    /// Values in training.
    pub reference: u64,
    /// Population stability index over at most ten bins.
    pub psi: f64,
    /// The index from which it counts as drift.
    pub psi_limit: f64,
    /// Largest distance between the two distributions (Kolmogorov and Smirnov), over at most twenty
    /// bins.
    pub ks: f64,
    /// The distance from which it counts as drift.
    pub ks_limit: f64,
    /// Whether both are above their limits, and there are values enough to say so.
    pub drifted: bool,
}

/// Answer of the model server's `GET /drift`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerDrift {
    /// The model in service.
    pub model_version: String,
    /// When this server took it into service, in RFC 3339.
    pub since: String,
    /// Forecasts of series and periods, or answers about rows of data sets, that had not been asked
    /// for before.
    pub forecasts: u64,
    /// One entry per statistic.
    pub statistics: Vec<StatisticDrift>,
}

/// Past forecasts of one model beside what happened since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Realised {
    /// Version of the model.
    pub model_version: String,
    /// Values that were forecast and are known now.
    pub cases: usize,
    /// First period among them.
    pub first: String,
    /// Last period among them.
    pub last: String,
    /// Mean absolute error, in units of the target.
    pub mae: f64,
    /// Mean absolute scaled error.
    pub mase: f64,
    /// The same in the model's backtest.
    pub backtest_mase: f64,
    /// Nominal coverage of the interval.
    pub level: f64,
    /// Share of actual values inside of the interval.
    pub coverage: f64,
    /// Probability of a coverage this low, were the level true and cases independent.
    pub coverage_p: f64,
}

/// Rows of the clean table that a model had not seen, beside those that it learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableDrift {
    /// The model in service.
    pub model_version: String,
    /// Rows that are new or have changed since.
    pub rows: usize,
    /// Those of them with a level that the model does not know, by column.
    pub unknown_levels: BTreeMap<String, usize>,
    /// One entry per column, and per answer.
    pub statistics: Vec<StatisticDrift>,
}

/// Scores of rows that a model had not seen, beside what became of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Version of the model.
    pub model_version: String,
    /// Rows that were scored and whose target is known now.
    pub rows: usize,
    /// How good the scores were; the deciding one first.
    pub scores: Scores,
    /// The same in the model's trials.
    pub in_trials: Scores,
    /// Of two classes, how many were expected to happen, by the probabilities.
    pub expected: Option<f64>,
    /// How many did.
    pub happened: Option<usize>,
    /// Probability of a difference of these two at least this large, were the probabilities right.
    pub calibration_p: Option<f64>,
}

/// Something that people should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the finding: it is told once, however often it is found.
    pub id: String,
    /// What was found, with its numbers.
    pub text: String,
}

/// `reports/<pipeline>/drift.json`: the newest check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// [`DRIFT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// When it was made, in RFC 3339.
    pub time: String,
    /// What the server counted.
    pub server: ServerDrift,
    /// Past forecasts, one entry per model version, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub realised: Vec<Realised>,
    /// Of a task about rows: what the clean table has that is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableDrift>,
    /// Of a task about rows: past scores, one entry per model version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labelled: Vec<Labelled>,
    /// Everything that is out of line now.
    pub findings: Vec<Finding>,
}

/// What a check answers to the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftOutcome {
    /// Findings that the check before did not have.
    pub new: Vec<String>,
    /// All findings.
    pub findings: usize,
    /// One sentence for people.
    pub summary: String,
}
