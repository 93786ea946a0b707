//! The contract about rows: what clients and the predictor ask the model server, and what it
//! answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::predict::ModelRef;
use crate::registry::Scores;

/// Body of `POST /models/TASK/predict`: rows, or entities of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// Rows: a value per column, `null` where one is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Map<String, Value>>,
    /// What the rows of a data set are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<String>,
    /// S3 key of a Parquet file, or a prefix that ends with `/`; with `entities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_key: Option<String>,
    /// The bucket that holds it; must be the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_name: Option<String>,
    /// Whether the answers have reasons.
    #[serde(default)]
    pub explain: bool,
    /// From which probability on the answer is yes; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The version that must answer; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
}

/// Answer of `POST /models/TASK/predict`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreResponse {
    /// One answer per row, in the order of the request.
    pub rows: Vec<ScoredRow>,
    /// The model that made them.
    pub model: ModelRef<Scores>,
    /// How long the server worked on the request, in seconds.
    pub seconds: f64,
}

/// The answer about one row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoredRow {
    /// What it is about, if the row says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Of two classes: the probability of the one that is predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Of more classes: the probability of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probabilities: BTreeMap<String, f64>,
    /// Of numbers: the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Of classes: the one that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of two classes: from which probability on the answer is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What each column adds, the strongest first; with `base` they add up to the margin, which is
    /// in log odds or the answer's unit, before it is calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<Reason>>,
    /// What would be answered if nothing were known of the row, in the unit of the reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// Columns with a level that the model has not learnt from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_levels: Vec<String>,
}

/// A reason of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The column.
    pub column: String,
    /// Its value in the row; `null` where it is missing.
    pub value: Value,
    /// What it adds.
    pub effect: f64,
}
