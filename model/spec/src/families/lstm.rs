//! Long short-term memory networks over all series.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most observations that a model sees: whatever is built from a configuration has a bounded size.
pub const CONTEXT_MAX: usize = 1_000;

/// How networks are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lstm {
    /// Observations that a network sees.
    #[schemars(range(min = 2, max = CONTEXT_MAX))]
    pub context: usize,
    /// Width of the layer.
    #[schemars(range(min = 1, max = 512))]
    pub hidden: usize,
    /// Passes over the training windows, at most.
    #[schemars(range(min = 1, max = 10_000))]
    pub epochs: usize,
    /// Networks whose forecasts are averaged; each has its own seed.
    #[schemars(range(min = 1, max = 32))]
    pub members: usize,
    /// Step size of AdamW at the start; it falls along a cosine.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    #[schemars(range(min = 0, max = 1))]
    pub weight_decay: f64,
    /// Windows per gradient step.
    #[schemars(range(min = 1, max = 4_096))]
    pub batch: usize,
    /// Epochs without a better validation loss before training stops. The validation window is the
    /// newest `horizon` periods, which are then not trained on; all epochs and periods when absent.
    #[schemars(range(min = 1, max = 1_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Windows per epoch, drawn anew for each when there are more.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub epoch_windows: usize,
}

impl Default for Lstm {
    fn default() -> Self {
        Self {
            context: 24,
            hidden: 32,
            epochs: 20,
            members: 3,
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 64,
            patience: None,
            epoch_windows: 50_000,
        }
    }
}
