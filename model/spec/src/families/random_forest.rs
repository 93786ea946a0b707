//! A random forest over all series.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the trees of a forest are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesForest {
    /// Number of trees.
    #[schemars(range(min = 1, max = 1_000))]
    pub trees: usize,
    /// Training rows in a leaf, at least; a row that was drawn twice is two. One of a thousand, and
    /// five, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_leaf: Option<usize>,
    /// Training rows, drawn at random when there are more.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub rows_max: usize,
}

impl Default for SeriesForest {
    fn default() -> Self {
        Self { trees: 100, min_leaf: None, rows_max: 100_000 }
    }
}
