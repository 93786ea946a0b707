//! A model as two files, `card.json` and `weights.safetensors`, that refuse to load when they do
//! not belong together.

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use steppe_wire::keys::{CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::{ModelPointer, ModelRef};
use steppe_wire::registry::Scores;
use thiserror::Error;

use crate::card::{ARTIFACT_SCHEMA_VERSION, Member, ModelCard};
use crate::drift::Reference;
use crate::error::TrainError;
use crate::family::Fitted;
use crate::host::Stage;
use crate::stored::{Saved, Stored, tensors_to_bytes};
use crate::task::Task;
use crate::trials::Trials;
use steppe_spec::{Family, Training};

/// Why an artifact was refused.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// A file is not what its hash says.
    #[error(
        "{file} has SHA-256 {actual}, expected {expected}; the artifact is damaged or mixed up"
    )]
    Hash {
        /// The file.
        file: &'static str,
        /// Its hash.
        actual: String,
        /// The expected hash.
        expected: String,
    },
    /// Another layout.
    #[error(
        "the artifact has schema version {found}, this program reads {ARTIFACT_SCHEMA_VERSION}; train again with `cargo xtask train`"
    )]
    Schema {
        /// The artifact's version.
        found: u64,
    },
    /// The card is not JSON of the right shape.
    #[error("{CARD_FILE} is not a model card")]
    Card(#[from] serde_json::Error),
    /// The weights are not safetensors.
    #[error("{WEIGHTS_FILE} is not readable")]
    Weights(#[from] safetensors::SafeTensorError),
    /// The weights do not fit the card.
    #[error("tensor `{tensor}` has {found} values, the card needs {expected}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its values.
        found: usize,
        /// The expected number.
        expected: usize,
    },
    /// Pointer and card are of different models.
    #[error("the version `{0}` is not the beginning of the card's SHA-256")]
    Version(String),
    /// The card or the weights break an invariant.
    #[error("the artifact cannot be used: {0}")]
    Defect(String),
    /// The card names no model that can be built.
    #[error("the model cannot be built: {0}")]
    Model(String),
}

/// A model in memory with the exact bytes of its files.
#[derive(Debug, Clone)]
pub struct Artifact<T: Task> {
    /// The card.
    pub card: ModelCard<T>,
    /// The model.
    pub model: T::Model,
    /// Bytes of [`CARD_FILE`].
    pub card_bytes: Vec<u8>,
    /// Bytes of [`WEIGHTS_FILE`].
    pub weights_bytes: Vec<u8>,
}

impl<T: Task> Artifact<T> {
    /// Checks the data for leaks, judges every family, then trains the chosen one on everything.
    pub fn train(data: &T::Data, spec: &T::Spec, stage: &Stage<'_>) -> Result<Self, TrainError> {
        T::check_data(data, spec)?;
        let trials = T::trials(data, spec, stage)?;
        Self::from_trials(data, spec, &trials, stage)
    }

    /// Trains the model that `trials` chose on everything.
    pub fn from_trials(
        data: &T::Data,
        spec: &T::Spec,
        trials: &T::Trials<'_>,
        stage: &Stage<'_>,
    ) -> Result<Self, TrainError> {
        let chosen = trials.chosen();
        let family = trials.families()[chosen];
        let stage = stage.part("final");
        let found = T::found(spec, trials);
        let fit = |(family, weight): (Family, f64)| {
            let recipe = T::recipe(family).ok_or_else(|| TrainError::Unusable(unable(family)))?;
            let model = (recipe.fit)(data, &found, &stage)?;
            let mut saved = Saved::default();
            model.save(&mut saved);
            Ok((Member { family, weight, record: saved.record.take() }, saved, model))
        };
        let fitted = trials.shares(chosen).into_iter().map(fit);
        let fitted = fitted.collect::<Result<Vec<_>, TrainError>>()?;
        let saved = fitted.iter().map(|(member, saved, _)| (member.family, saved));
        let weights_bytes = tensors_to_bytes(saved, &T::past(trials));
        let (members, models): (Vec<Member>, Vec<T::Model>) =
            fitted.into_iter().map(|(member, _, model)| (member, model)).unzip();
        let card = ModelCard {
            schema_version: ARTIFACT_SCHEMA_VERSION,
            task: T::NAME.to_owned(),
            id: format!("{}-{}", spec.pipeline(), family.name()),
            family,
            members,
            spec: spec.clone(),
            section: T::section(data, spec, trials)?,
            // Filled in below: it takes the model to know.
            reference: Reference::default(),
            weights_sha256: sha256(&weights_bytes),
        };
        let model = card.assembled(models).ok_or_else(|| TrainError::Unusable(unable(family)))?;
        let mut artifact = Self { card, model, card_bytes: Vec::new(), weights_bytes };
        artifact.card.reference = artifact.reference(trials);
        artifact.card_bytes =
            serde_json::to_vec_pretty(&artifact.card).expect("a card has only string keys");
        // What no server would load must not be the result of a training.
        let (card, weights) = (artifact.card_bytes.clone(), artifact.weights_bytes.clone());
        Self::load(card, weights, &artifact.pointer())
            .map_err(|e| TrainError::Unusable(causes(&e)))?;
        Ok(artifact)
    }

    /// What this very model, and not those that were fitted for the trials, answers in their cases.
    fn reference(&self, trials: &T::Trials<'_>) -> Reference {
        let (numbers, queries): (Vec<usize>, Vec<T::Query<'_>>) =
            T::asked(self, trials).into_iter().unzip();
        let answers = T::answer(self, &queries, T::BRIEFLY);
        let answered = numbers.into_iter().zip(queries.into_iter().zip(&answers));
        let statistics = answered.filter_map(|(number, (query, answer))| {
            Some((number, T::statistics(self, query, answer)?))
        });
        let statistics: Vec<_> = statistics.collect();
        Reference::of(&T::statistics_of(&self.card.section), &statistics, T::KS_LIMIT)
    }

    /// Loads an artifact and checks everything that can be checked.
    pub fn load(
        card_bytes: Vec<u8>,
        weights_bytes: Vec<u8>,
        pointer: &ModelPointer,
    ) -> Result<Self, ArtifactError> {
        check_hash(CARD_FILE, &card_bytes, &pointer.card_sha256)?;
        let value: serde_json::Value = serde_json::from_slice(&card_bytes)?;
        let found = value["schema_version"].as_u64().unwrap_or(0);
        if found != u64::from(ARTIFACT_SCHEMA_VERSION) {
            return Err(ArtifactError::Schema { found });
        }
        let card: ModelCard<T> = serde_json::from_value(value)?;
        if !pointer.card_sha256.starts_with(&pointer.version) || pointer.version.is_empty() {
            return Err(ArtifactError::Version(pointer.version.clone()));
        }
        card.check().map_err(ArtifactError::Defect)?;
        check_hash(WEIGHTS_FILE, &weights_bytes, &card.weights_sha256)?;
        let tensors = SafeTensors::deserialize(&weights_bytes)?;
        let load = |member: &Member| {
            let Member { family, record, .. } = member;
            let stored = Stored { family: *family, record, tensors: &tensors };
            let recipe =
                T::recipe(*family).ok_or_else(|| ArtifactError::Defect(unable(*family)))?;
            (recipe.load)(&stored, &card.spec)
        };
        let models = card.members.iter().map(load).collect::<Result<_, ArtifactError>>()?;
        let whole = card.assembled(models);
        let model = whole.ok_or_else(|| ArtifactError::Defect(unable(card.family)))?;
        let artifact = Self { card, model, card_bytes, weights_bytes };
        T::try_out(&artifact).map_err(ArtifactError::Defect)?;
        Ok(artifact)
    }

    /// The version: the shortened hash of the card, which holds the hash of the weights.
    pub fn version(&self) -> String {
        sha256(&self.card_bytes)[..16].to_owned()
    }

    /// What `current.json` says when this model is in service.
    pub fn pointer(&self) -> ModelPointer {
        ModelPointer { version: self.version(), card_sha256: sha256(&self.card_bytes) }
    }

    /// Whether an answer takes microseconds.
    pub fn is_quick(&self) -> bool {
        T::recipe(self.card.family).is_some_and(|recipe| recipe.quick)
    }

    /// Which model it is, and how well it did in its trials.
    pub fn model_ref(&self) -> ModelRef<Scores> {
        let backtest = T::scores(&self.card.section);
        ModelRef { id: self.card.id.clone(), version: self.version(), backtest }
    }
}

fn unable(family: Family) -> String {
    format!("the family `{}` does something else", family.name())
}

/// An error with everything beneath it.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn check_hash(file: &'static str, bytes: &[u8], expected: &str) -> Result<(), ArtifactError> {
    let actual = sha256(bytes);
    if actual == expected {
        Ok(())
    } else {
        Err(ArtifactError::Hash { file, actual, expected: expected.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Artifact;
    use crate::forecast::dataset::{Dataset, View};
    use crate::host::Quiet;
    use crate::training_key::tests::spec;
    use steppe_spec::{Does, Kind, TrainSpec};

    fn train(data: &Dataset, spec: &TrainSpec) -> Result<Artifact, TrainError> {
        Artifact::train(data, spec, &Stage::new(&Quiet))
    }

    /// Three series that grow by 5, 2 and −3 percent a year.
    fn data() -> Dataset {
        let value = |s: i64, t: i64| {
            100.0 * (s + 1) as f64 * [1.05f64, 1.02, 0.97][s as usize].powi(t as i32)
        };
        Dataset::from_rows(
            (0..3).flat_map(|s| (0..16).map(move |t| (format!("s{s}"), 2000 + t, value(s, t)))),
        )
        .expect("valid")
    }

    #[test]
    fn training_is_reproducible_and_survives_saving() {
        let (a, b) = (train(&data(), &spec()).expect("a"), train(&data(), &spec()).expect("b"));
        assert_eq!((&a.card_bytes, &a.weights_bytes), (&b.card_bytes, &b.weights_bytes));
        let loaded = Artifact::load(a.card_bytes.clone(), a.weights_bytes.clone(), &a.pointer())
            .expect("loads");
        assert_eq!(loaded.model, a.model);
    }

    #[test]
    fn every_family_trains_saves_and_forecasts_within_its_interval() {
        for family in Family::that(Does::Series) {
            let a = train(
                &data(),
                &spec().with(|s| {
                    s.model.kind = Kind::Of(family);
                    s.model.candidates = Some(vec![Family::Theta]);
                }),
            )
            .expect("every family trains on enough data");
            let loaded =
                Artifact::load(a.card_bytes.clone(), a.weights_bytes.clone(), &a.pointer())
                    .expect("loads");
            assert_eq!((a.card.family, &loaded.model), (family, &a.model));
            let data = data();
            let views: Vec<View<'_>> = data.series().iter().map(|s| s.view()).collect();
            for prediction in loaded.forecast(&views, 2) {
                assert_eq!(prediction.steps.len(), 2);
                assert!(
                    prediction
                        .steps
                        .iter()
                        .all(|s| s.lower <= s.value && s.value <= s.upper && s.upper.is_finite()),
                    "{prediction:?}"
                );
                for step in &prediction.steps {
                    let quantiles = loaded.card.section.calibration.quantiles(&step.spread);
                    assert!(
                        quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                        "{quantiles:?}"
                    );
                    assert!(
                        quantiles.contains(&(0.05, step.lower))
                            && quantiles.contains(&(0.95, step.upper)),
                        "{quantiles:?} {step:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn auto_finds_the_trend_and_says_so() {
        let auto = spec().with(|s| {
            s.model.kind = Kind::Auto;
            s.model.candidates = Some(vec![Family::Theta, Family::ExponentialSmoothing]);
        });
        let artifact = train(&data(), &auto).expect("trains");
        let test = &artifact.card.section.backtest;
        let naive = test
            .candidates
            .iter()
            .find(|c| c.family == Family::LastValue)
            .expect("always takes part");
        assert!(test.model.mae < naive.errors.mae / 4.0, "{}", artifact.card.to_text("v"));
        assert!(test.better_baseline().is_none());
        let lazy = train(&data(), &spec().with(|s| s.model.kind = Kind::Of(Family::MeanOfThree)))
            .expect("trains");
        assert_eq!(
            lazy.card.section.backtest.better_baseline().map(|b| b.family),
            Some(Family::Drift)
        );
        let told = lazy.card.to_text("v");
        assert!(told.contains("note: the baseline `drift` has a smaller MASE"), "{told}");
        assert!(told.contains(" % less; `kind = \"auto\"` serves the best family"), "{told}");
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let a = train(&data(), &spec()).expect("trains");
        let refuse = |card: Vec<u8>, weights: Vec<u8>, pointer: &ModelPointer| {
            Artifact::load(card, weights, pointer).expect_err("refused").to_string()
        };
        let mut weights = a.weights_bytes.clone();
        *weights.last_mut().expect("weights") ^= 1;
        assert!(
            refuse(a.card_bytes.clone(), weights, &a.pointer())
                .starts_with("weights.safetensors has SHA-256")
        );
        let other = String::from_utf8(a.card_bytes.clone())
            .expect("UTF-8")
            .replacen("\"schema_version\": 9", "\"schema_version\": 8", 1)
            .into_bytes();
        assert!(
            refuse(other.clone(), a.weights_bytes.clone(), &a.pointer())
                .starts_with("card.json has SHA-256")
        );
        let pointer = ModelPointer { card_sha256: sha256(&other), ..a.pointer() };
        assert!(refuse(other, a.weights_bytes.clone(), &pointer).contains(
            "schema version 8, this program reads 9; train again with `cargo xtask train`"
        ));
    }

    #[test]
    fn too_little_data_is_an_error_that_says_how_much_is_needed() {
        let message = |data: &Dataset| train(data, &spec()).expect_err("too short").to_string();
        assert!(
            message(&data().until(2004)).starts_with("no series is long enough"),
            "{}",
            message(&data().until(2004))
        );
        assert!(message(&data().until(2007)).contains("no series is long enough"));
    }
}
