//! What is decided by a forecast: how much to get of what will be needed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::defects::Defects;

/// What it costs to have too little or too much, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// What a unit too few costs.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub short: f64,
    /// What a unit too many costs.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub over: f64,
}

/// Probabilities between which the errors of a backtest tell quantiles.
const PROBABILITIES: [f64; 2] = [0.01, 0.99];

impl Decide {
    /// Probability of the quantile that costs least on average: that of the newsvendor (Edgeworth
    /// 1888, Arrow, Harris and Marschak 1951).
    pub fn probability(self) -> f64 {
        // Rounded, so that equal ratios are equal.
        let share = self.short / (self.short + self.over);
        (share * 1e9).round() / 1e9
    }

    pub(super) fn defects(self, out: &mut Defects) {
        let ([low, high], asked) = (PROBABILITIES, self.probability());
        out.need("task.decide", (low..=high).contains(&asked), || {
            format!(
                "`task.decide` asks for the quantile {asked}; expected costs whose ratio asks for \
                 {low} to {high}, because errors of the past tell nothing of rarer cases"
            )
        });
    }
}
