//! Models of whatever task, as what deploys, stores and shows them sees them.

use serde::Deserialize;
use steppe_wire::predict::{ModelPointer, ModelRef};
use steppe_wire::registry::Scores;

use crate::artifact::{Artifact, ArtifactError};
use crate::card::ModelCard;
use crate::task::Task;

/// Does something for the task that a configuration is of: the one list of tasks.
///
/// `with_task!(spec, |T, spec| …)`: in the body `T` is the task and `spec` its own configuration.
#[macro_export]
macro_rules! with_task {
    ($spec:expr, |$task:ident, $own:ident| $body:expr) => {
        match $spec {
            steppe_spec::TrainingSpec::Forecast($own) => {
                type $task = $crate::forecast::Forecast;
                $body
            }
            steppe_spec::TrainingSpec::Tabular($own) => {
                type $task = $crate::tabular::Tabular;
                $body
            }
        }
    };
}

/// A model of whatever task.
#[derive(Debug, Clone)]
pub struct AnyModel {
    /// Bytes of the card.
    pub card_bytes: Vec<u8>,
    /// Bytes of the weights.
    pub weights_bytes: Vec<u8>,
    /// What `current.json` says when it is in service.
    pub pointer: ModelPointer,
    /// What its card says.
    pub about: About,
}

/// What a card of whatever task says.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Which model it is, and how well it did in its trials.
    pub model: ModelRef<Scores>,
    /// Its family.
    pub family: &'static str,
    /// The newest that it knows, for people.
    pub known: String,
    /// The whole card as a page of text.
    pub text: String,
}

impl About {
    /// The hash of a card, which its version is the beginning of.
    pub fn sha256(card: &[u8]) -> String {
        crate::artifact::sha256(card)
    }

    /// Reads a card, whatever task it is of. `version` is only shown.
    pub fn read(card: &[u8], version: &str) -> Result<Self, ArtifactError> {
        Ok(match task_of(card)?.as_str() {
            crate::tabular::Tabular::NAME => {
                Self::of::<crate::tabular::Tabular>(&serde_json::from_slice(card)?, version)
            }
            _ => Self::of::<crate::forecast::Forecast>(&serde_json::from_slice(card)?, version),
        })
    }

    fn of<T: Task>(card: &ModelCard<T>, version: &str) -> Self {
        Self {
            model: ModelRef {
                id: card.id.clone(),
                version: version.to_owned(),
                backtest: T::scores(&card.section),
            },
            family: card.family.name(),
            known: T::known(card).to_owned(),
            text: T::text(card, version),
        }
    }
}

impl AnyModel {
    /// A model that was trained or loaded.
    pub fn of<T: Task>(artifact: &Artifact<T>) -> Self {
        Self {
            card_bytes: artifact.card_bytes.clone(),
            weights_bytes: artifact.weights_bytes.clone(),
            pointer: artifact.pointer(),
            about: About::of(&artifact.card, &artifact.version()),
        }
    }

    /// Loads a model of whatever task, with every check.
    pub fn load(
        card: Vec<u8>,
        weights: Vec<u8>,
        pointer: &ModelPointer,
    ) -> Result<Self, ArtifactError> {
        Ok(match task_of(&card)?.as_str() {
            crate::tabular::Tabular::NAME => {
                Self::of(&Artifact::<crate::tabular::Tabular>::load(card, weights, pointer)?)
            }
            _ => Self::of(&Artifact::<crate::forecast::Forecast>::load(card, weights, pointer)?),
        })
    }

    /// Its version.
    pub fn version(&self) -> String {
        self.pointer.version.clone()
    }
}

/// The task that a card names.
pub fn task_of(card: &[u8]) -> Result<String, ArtifactError> {
    #[derive(Deserialize)]
    struct Named {
        task: String,
    }
    Ok(serde_json::from_slice::<Named>(card)?.task)
}
