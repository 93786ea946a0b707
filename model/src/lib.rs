//! Series, training, backtests, metrics, model cards and artifacts.
//!
//! Pure computation on values in memory. It never opens a socket, knows no AWS service and reads
//! no clock: the same data, configuration and seed give the same artifact.

pub mod artifact;
pub mod backtest;
pub mod calendar;
pub mod card;
pub mod conformal;
pub mod contest;
pub mod dataset;
pub mod drift;
pub mod evaluation;
pub mod fallback;
pub mod host;
pub mod leakage;
pub mod lstm;
pub mod metrics;
pub mod models;
mod portable;
pub mod seasonality;
pub mod spec;
pub mod training;
pub mod transform;
pub mod window;

pub use artifact::{Artifact, ArtifactError};
pub use calendar::{Calendar, Frequency};
pub use card::ModelCard;
pub use dataset::{DataError, Dataset, Series};
pub use spec::TrainSpec;
pub use training::TrainError;
