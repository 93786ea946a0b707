//! Models: how they are trained, judged, compared, kept and asked.
//!
//! What all tasks share is written once and knows no task and no family: trials, contests, cards'
//! heads, artifacts, drift, checks for leaks ([`task::Task`], [`family::Family`]). What differs
//! lies in `tasks/` and `families/`.
//!
//! Pure computation on values in memory. It never opens a socket, knows no AWS service and reads
//! no clock: the same data, configuration and seed give the same artifact.

pub mod anomaly;
pub mod any;
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
mod parallel;
mod portable;
pub mod rows;
pub mod stats;
mod stored;
pub mod task;
mod tasks;
mod training_key;
pub mod trials;
pub mod unsupervised;

pub use artifact::ArtifactError;
pub use error::TrainError;
pub use forecast::calendar::Calendar;
pub use forecast::dataset::{DataError, Dataset, Series};
pub use forecast::{Artifact, ModelCard};
pub use tasks::{forecast, tabular};
pub use training_key::training_key;
