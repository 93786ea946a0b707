//! The search for options of the family that is served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TabularKind;
use crate::defects::Defects;

/// The search for options of the family that is served, on folds of the rows that are for it. The
/// options of `[tasks.model]` are the first trial, so that nothing worse is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tune {
    /// Trials, at most.
    #[schemars(range(min = 1, max = 1_000))]
    pub trials: usize,
    /// Minutes for all trials; with them, a slower machine may find less.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub minutes: Option<u32>,
    /// What is made better: `log-loss`, of numbers `rmse`, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
}

impl Default for Tune {
    fn default() -> Self {
        Self { trials: 30, minutes: None, objective: None }
    }
}

/// What a search makes better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Mean negative logarithm of the probability of what happened.
    LogLoss,
    /// Mean squared difference of probability and what happened.
    Brier,
    /// Area under the curve of precision over recall. It is no proper score: what is best by it may
    /// have worse probabilities.
    AucPr,
    /// Area under the curve of hits over false alarms. It is no proper score, either.
    RocAuc,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
}

impl Objective {
    /// Whether the true probabilities are best by it.
    pub fn is_proper(self) -> bool {
        !matches!(self, Self::AucPr | Self::RocAuc)
    }

    /// Whether it is of numbers rather than of classes.
    pub fn is_of_numbers(self) -> bool {
        matches!(self, Self::Rmse | Self::Mae)
    }
}

impl Tune {
    pub(super) fn defects(&self, kind: TabularKind, out: &mut Defects) {
        let fits = |objective: Objective| match kind {
            TabularKind::Classification => !objective.is_of_numbers(),
            TabularKind::Regression => objective.is_of_numbers(),
            TabularKind::Auto => false,
        };
        out.need("task.tune.objective", self.objective.is_none_or(fits), || {
            match kind {
                TabularKind::Auto => "`task.tune.objective` needs a `kind` that is not `auto`",
                TabularKind::Classification => {
                    "`task.tune.objective` is of numbers, not of classes"
                }
                TabularKind::Regression => "`task.tune.objective` is of classes, not of numbers",
            }
            .to_owned()
        });
    }
}
