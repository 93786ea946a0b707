//! From which probability on the answer is yes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::defects::Defects;

/// From which probability on the answer of two classes is yes: one of these; the highest F1 when
/// nothing is said. It is chosen on answers about rows that the model had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Threshold {
    /// What is to be highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximise: Option<Maximise>,
    /// Share of what happens that is found at least, with the fewest false alarms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub recall: Option<f64>,
    /// Share of what is said that happens at least, with as much found as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub precision: Option<f64>,
    /// What mistakes cost: the least sum is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What a threshold makes highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Maximise {
    /// The harmonic mean of precision and recall.
    F1,
}

/// What mistakes cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Of what happened and was not said.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub missed: f64,
    /// Of what was said and did not happen.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub false_alarm: f64,
}

impl Threshold {
    pub(super) fn defects(&self, out: &mut Defects) {
        let given = [
            self.maximise.is_some(),
            self.recall.is_some(),
            self.precision.is_some(),
            self.cost.is_some(),
        ];
        out.need("task.threshold", given.into_iter().filter(|given| *given).count() <= 1, || {
            "`task.threshold` says several things; give one of `maximise`, `recall`, `precision` \
             and `cost`"
                .to_owned()
        });
    }
}
