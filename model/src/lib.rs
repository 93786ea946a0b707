//! Series, training, backtests, metrics, model cards and artifacts.
//!
//! Pure computation on values in memory. It never opens a socket, knows no AWS service and reads
//! no clock: the same data, configuration and seed give the same artifact.

pub mod artifact;
pub mod backtest;
pub mod baseline;
pub mod card;
pub mod dataset;
pub mod forecaster;
pub mod lstm;
pub mod metrics;
pub mod spec;
pub mod window;

pub use artifact::{Artifact, ArtifactError};
pub use card::ModelCard;
pub use dataset::{DataError, Dataset, Series};
pub use forecaster::{Forecaster, TrainError, train};
pub use spec::TrainSpec;
