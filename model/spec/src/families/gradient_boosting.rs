//! Gradient-boosted trees over all series.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trees {
    /// Number of trees.
    #[schemars(range(min = 1, max = 10_000))]
    pub rounds: usize,
    /// Depth of a tree.
    #[schemars(range(min = 1, max = 12))]
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub learning_rate: f64,
    /// Training rows, drawn at random when there are more.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub rows_max: usize,
}

impl Default for Trees {
    fn default() -> Self {
        Self { rounds: 200, depth: 6, learning_rate: 0.08, rows_max: 200_000 }
    }
}
