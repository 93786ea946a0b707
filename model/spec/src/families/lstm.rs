//! Long short-term memory networks over all series.

use serde::{Deserialize, Serialize};

use crate::defects::Defects;

/// Largest sizes: whatever is built from a configuration has a bounded size.
pub const CONTEXT_MAX: usize = 1_000;
/// Widest layer.
pub const HIDDEN_MAX: usize = 512;
/// Most networks.
pub const MEMBERS_MAX: usize = 32;

/// How networks are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lstm {
    /// Observations that a network sees.
    pub context: usize,
    /// Width of the layer.
    pub hidden: usize,
    /// Passes over the training windows, at most.
    pub epochs: usize,
    /// Networks that are averaged.
    pub members: usize,
    /// Step size.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Windows per gradient step.
    pub batch: usize,
    /// Epochs without a better validation loss before training stops; all epochs when absent.
    pub patience: Option<usize>,
    /// Windows per epoch, at most.
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

impl Lstm {
    pub(crate) fn defects(&self, out: &mut Defects) {
        out.range("model.lstm.context", self.context, (2, CONTEXT_MAX));
        out.range("model.lstm.hidden", self.hidden, (1, HIDDEN_MAX));
        out.range("model.lstm.epochs", self.epochs, (1, 10_000));
        out.range("model.lstm.members", self.members, (1, MEMBERS_MAX));
        out.range("model.lstm.batch", self.batch, (1, 4_096));
        out.range("model.lstm.patience", self.patience.unwrap_or(1), (1, 1_000));
        out.range("model.lstm.epoch_windows", self.epoch_windows, (1, 10_000_000));
    }
}
