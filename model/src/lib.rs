//! Series, training, backtests, metrics, model cards and artifacts.
//!
//! Pure computation on values in memory. It never opens a socket, knows no AWS service and reads
//! no clock: the same data, configuration and seed give the same artifact.

pub mod artifact;
pub mod card;
pub mod contest;
pub mod drift;
pub mod error;
pub mod families;
pub mod family;
pub mod host;
pub mod leaks;
mod least_squares;
mod portable;
pub mod spec;
pub mod stats;
mod stored;
pub mod task;
mod tasks;
pub mod trials;

pub use artifact::ArtifactError;
pub use error::TrainError;
pub use forecast::calendar::{Calendar, Frequency};
pub use forecast::dataset::{DataError, Dataset, Series};
pub use forecast::{Artifact, ModelCard};
pub use spec::TrainSpec;
pub use tasks::forecast;
