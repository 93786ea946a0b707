//! What to train: the part of the manifest that decides a model, and nothing else of it.

use serde::{Deserialize, Serialize};

/// Configuration of one training. Two equal specs on equal data give equal artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Column that names the series: `region`.
    pub series_column: String,
    /// Column of the period, whole years: `year`.
    pub time_column: String,
    /// Column that is forecast: `marriages`.
    pub target_column: String,
    /// Steps ahead.
    pub horizon: usize,
    /// Observations that the network sees.
    pub context: usize,
    /// Width of the LSTM layer.
    pub hidden: usize,
    /// Passes over the training windows.
    pub epochs: usize,
    /// Networks whose forecasts are averaged; each has its own seed.
    pub members: usize,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Forecast origins of the backtest, the newest periods of the data.
    pub origins: usize,
    /// Nominal coverage of the prediction interval, in (0, 1).
    pub interval_level: f64,
}

impl TrainSpec {
    /// Observations that a series needs: one window with its target, and one change before it.
    pub fn min_length(&self) -> usize {
        self.context + self.horizon + 1
    }
}
