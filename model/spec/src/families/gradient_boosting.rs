//! Gradient-boosted trees over all series.

use serde::{Deserialize, Serialize};

use crate::defects::Defects;

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trees {
    /// Trees.
    pub rounds: usize,
    /// Depth of a tree.
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// Training rows, at most.
    pub rows_max: usize,
}

impl Default for Trees {
    fn default() -> Self {
        Self { rounds: 200, depth: 6, learning_rate: 0.08, rows_max: 200_000 }
    }
}

impl Trees {
    pub(crate) fn defects(&self, out: &mut Defects) {
        out.range("model.trees.rounds", self.rounds, (1, 10_000));
        out.range("model.trees.depth", self.depth, (1, 12));
        out.range("model.trees.rows_max", self.rows_max, (100, 10_000_000));
    }
}
