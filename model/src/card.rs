//! The model card: what a model is, what it was trained on, and how wrong it usually is.

use serde::{Deserialize, Serialize};

use crate::backtest::Backtest;
use crate::spec::TrainSpec;
use crate::window::Scaler;

/// Version of the artifact's layout; a loader refuses any other.
pub const ARTIFACT_SCHEMA_VERSION: u32 = 1;

/// The data that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Number of series.
    pub series: usize,
    /// Number of observations.
    pub rows: usize,
    /// Year of the first observation.
    pub first_year: i32,
    /// Year of the last observation.
    pub last_year: i32,
    /// [`crate::Dataset::fingerprint`].
    pub fingerprint: String,
}

/// `card.json` of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// [`ARTIFACT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Pipeline and family: `marriages-lstm`.
    pub id: String,
    /// Family of the model: `lstm`.
    pub kind: String,
    /// How it was trained.
    pub spec: TrainSpec,
    /// What it was trained on.
    pub data: DataSummary,
    /// Scale of the changes.
    pub scaler: Scaler,
    /// How wrong it usually is.
    pub backtest: Backtest,
    /// SHA-256 of `weights.safetensors`, in hexadecimal.
    pub weights_sha256: String,
}

impl ModelCard {
    /// The card as a page of text.
    pub fn to_text(&self, version: &str) -> String {
        let (spec, data, test) = (&self.spec, &self.data, &self.backtest);
        let mut text = format!(
            "model      {} {version}\n\
             data       {} series, {} observations, {} to {}, fingerprint {}\n\
             network    {} × LSTM, {} hidden, context {}, horizon {}, {} epochs, seed {}\n\
             interval   {:.0} % nominal, {:.1} % of backtest forecasts inside\n\
             backtest   {} forecasts, one step ahead, origins {} to {}\n\n\
             {:<24}{:>10}{:>10}{:>10}{:>8}\n",
            self.id,
            data.series,
            data.rows,
            data.first_year,
            data.last_year,
            &data.fingerprint[..12.min(data.fingerprint.len())],
            spec.members,
            spec.hidden,
            spec.context,
            spec.horizon,
            spec.epochs,
            spec.seed,
            spec.interval_level * 100.0,
            test.interval_coverage * 100.0,
            test.outcomes,
            test.origins.first().unwrap_or(&0),
            test.origins.last().unwrap_or(&0),
            "",
            "MAE",
            "RMSE",
            "MAPE %",
            "MASE",
        );
        let model = [(self.kind.as_str(), test.model)].into_iter();
        for (name, e) in model.chain(test.baselines.iter().map(|b| (b.name.as_str(), b.errors))) {
            text += &format!("{name:<24}{:>10.1}{:>10.1}{:>10.2}{:>8.3}\n", e.mae, e.rmse, e.mape, e.mase);
        }
        text += &match test.better_baseline() {
            Some(better) => format!("\nnote: the baseline `{}` has a smaller MAE than this model\n", better.name),
            None => "\nno baseline has a smaller MAE than this model\n".to_owned(),
        };
        text
    }
}
