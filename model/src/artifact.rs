//! A model as two files, `card.json` and `weights.safetensors`, that refuse to load when they do
//! not belong together.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use steppe_wire::keys::{CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::{ModelPointer, ModelRef};
use thiserror::Error;

use crate::card::{ARTIFACT_SCHEMA_VERSION, DataSummary, Member, ModelCard};
use crate::drift::{Observed, Reference, Seen};
use crate::error::TrainError;
use crate::families::gradient_boosting::Trees;
use crate::families::lstm::Ensemble;
use crate::families::lstm::network::Lstm;
use crate::families::{Forecaster, Model};
use crate::forecast::backtest::{self, Trials};
use crate::forecast::conformal::{Calibration, Spread};
use crate::forecast::dataset::{Dataset, Series, View};
use crate::forecast::fallback::Fallback;
use crate::forecast::leakage;
use crate::host::Stage;
use crate::spec::TrainSpec;
use crate::tensors::{from_bytes, to_bytes};
use steppe_spec::Family;

/// Tensor of the trees, as UTF-8 text.
const TREES_TENSOR: &str = "trees.json";

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

/// A forecast with its quantiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// One entry per step, nearest first.
    pub steps: Vec<PredictedStep>,
    /// The series' typical change, on the transformed scale.
    pub change: f64,
    /// Whether the history was too short for the model, so that the rule for such was applied.
    pub by_rule: bool,
}

/// One step of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedStep {
    /// Point forecast, in units of the target.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// What its quantiles are made from.
    pub spread: Spread,
}

/// A model in memory with the exact bytes of its files.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The card.
    pub card: ModelCard,
    /// The model.
    pub model: Model,
    /// Bytes of [`CARD_FILE`].
    pub card_bytes: Vec<u8>,
    /// Bytes of [`WEIGHTS_FILE`].
    pub weights_bytes: Vec<u8>,
}

impl Artifact {
    /// Checks the data for leaks, backtests, then trains the chosen model on everything.
    pub fn train(data: &Dataset, spec: &TrainSpec, stage: &Stage<'_>) -> Result<Self, TrainError> {
        leakage::check_data(data, spec)?;
        let trials = backtest::run(data, spec, stage)?;
        Self::from_trials(data, spec, &trials, stage)
    }

    /// Trains the model that `trials` chose on everything.
    pub fn from_trials(
        data: &Dataset,
        spec: &TrainSpec,
        trials: &Trials<'_>,
        stage: &Stage<'_>,
    ) -> Result<Self, TrainError> {
        let chosen = trials.chosen();
        let shares = if chosen.family == Family::Combination {
            trials.weights.clone()
        } else {
            vec![(chosen.family, 1.0)]
        };
        let stage = stage.part("final");
        let fit = |(family, weight): (Family, f64)| {
            Ok((weight, Model::fit(family, data, spec, stage.clone())?))
        };
        let models: Vec<(f64, Model)> =
            shares.into_iter().map(fit).collect::<Result<_, TrainError>>()?;
        let weights_bytes = weights_to_bytes(&models);
        let card = ModelCard {
            schema_version: ARTIFACT_SCHEMA_VERSION,
            id: format!("{}-{}", spec.pipeline, chosen.family.name()),
            family: chosen.family,
            members: models.iter().map(|(weight, m)| member(*weight, m)).collect(),
            spec: spec.clone(),
            data: DataSummary::of(data),
            backtest: trials.summary(),
            calibration: trials.calibration(chosen, |_| true),
            fallback: Fallback::fit(data, spec),
            // Filled in below: it takes the model to know.
            reference: Reference::default(),
            weights_sha256: sha256(&weights_bytes),
        };
        let model = assemble(models, &card);
        let mut artifact = Self { card, model, card_bytes: Vec::new(), weights_bytes };
        artifact.card.reference = artifact.reference(&trials.views());
        artifact.card_bytes =
            serde_json::to_vec_pretty(&artifact.card).expect("a card has only string keys");
        // What no server would load must not be the result of a training.
        let (card, weights) = (artifact.card_bytes.clone(), artifact.weights_bytes.clone());
        Self::load(card, weights, &artifact.pointer())
            .map_err(|e| TrainError::Unusable(causes(&e)))?;
        Ok(artifact)
    }

    /// What this very model, and not those that were fitted at the origins, says about the
    /// backtest's histories.
    fn reference(&self, views: &[(usize, View<'_>)]) -> Reference {
        let long_enough = |view: &View<'_>| view.len() >= self.model.min_history();
        let (origins, views): (Vec<usize>, Vec<View<'_>>) =
            views.iter().copied().filter(|(_, view)| long_enough(view)).unzip();
        let predictions = self.forecast(&views, 1);
        let observed = origins.into_iter().zip(views.iter().zip(&predictions));
        let observed = observed.filter_map(|(origin, (view, prediction))| {
            Some((origin, self.observed(view.history(), prediction)?))
        });
        Reference::of(&observed.collect::<Vec<_>>())
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
        let card: ModelCard = serde_json::from_value(value)?;
        if !pointer.card_sha256.starts_with(&pointer.version) || pointer.version.is_empty() {
            return Err(ArtifactError::Version(pointer.version.clone()));
        }
        card.check().map_err(ArtifactError::Defect)?;
        check_hash(WEIGHTS_FILE, &weights_bytes, &card.weights_sha256)?;
        let tensors = SafeTensors::deserialize(&weights_bytes)?;
        let models = card
            .members
            .iter()
            .map(|m| Ok((m.weight, load_member(m, &card.spec, &tensors)?)))
            .collect::<Result<Vec<_>, ArtifactError>>()?;
        let model = assemble(models, &card);
        let artifact = Self { card, model, card_bytes, weights_bytes };
        artifact.try_out().map_err(ArtifactError::Defect)?;
        Ok(artifact)
    }

    /// Forecasts a few plain histories over all steps; an artifact that gives no finite number, or
    /// no ordered interval, is of no use. It also brings weights into memory before the first
    /// request.
    fn try_out(&self) -> Result<(), String> {
        let spec = &self.card.spec;
        let length = self.model.min_history().max(2);
        let series = |value: fn(usize) -> f64| {
            let mut series = Series::new("try-out", 0, (0..length).map(value).collect());
            series.covariates = vec![vec![0.0; length + spec.horizon]; spec.covariates.len()];
            series.statics = vec![0.0; spec.statics.len()];
            series
        };
        let tried = [series(|_| 1.0), series(|_| 0.0), series(|t| 100.0 + (t % 7) as f64)];
        let views: Vec<View<'_>> = tried.iter().map(Series::view).collect();
        let usable = |step: &PredictedStep| {
            let finite = step.lower.is_finite() && step.value.is_finite() && step.upper.is_finite();
            finite && step.lower <= step.value && step.value <= step.upper
        };
        let predictions = self.forecast(&views, spec.horizon);
        let whole = |p: &Prediction| p.steps.len() == spec.horizon && p.steps.iter().all(usable);
        if predictions.iter().all(whole) {
            Ok(())
        } else {
            Err("its forecast of a plain series is no finite number".to_owned())
        }
    }

    /// Whether a history is long enough for the model itself, or gets the rule for short ones.
    pub fn suits(&self, view: View<'_>) -> bool {
        view.len() >= self.model.min_history()
    }

    /// Observations that a history needs to get any forecast.
    pub fn min_history(&self) -> usize {
        if self.card.fallback.is_some() { 1 } else { self.model.min_history() }
    }

    /// Forecasts with intervals. Every view has at least [`Artifact::min_history`] values, and
    /// `horizon` is at most that of the spec.
    pub fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Prediction> {
        let long: Vec<View<'_>> = views.iter().copied().filter(|v| self.suits(*v)).collect();
        let mut of_long = self.by_model(&long, horizon).into_iter();
        let any = |view: &View<'_>| match (&self.card.fallback, self.suits(*view)) {
            (Some(rule), false) => by_rule(rule, *view, horizon),
            _ => of_long.next().expect("a forecast of each long history"),
        };
        views.iter().map(any).collect()
    }

    fn by_model(&self, views: &[View<'_>], horizon: usize) -> Vec<Prediction> {
        let calibration = &self.card.calibration;
        let prediction = |(view, path): (&View<'_>, crate::families::Path)| {
            let change = calibration.change(*view);
            let step = |(step, &value): (usize, &f64)| {
                let place = calibration.place(*view, step, path.spreads.get(step).copied());
                let spread = calibration.spread(value, &place);
                let (lower, upper) = calibration.interval(&spread);
                PredictedStep { value, lower, upper, spread }
            };
            let steps = path.points.iter().enumerate().map(step).collect();
            Prediction { steps, change, by_rule: false }
        };
        views.iter().zip(self.model.paths(views, horizon)).map(prediction).collect()
    }

    /// What the quantiles of a forecast come from: the model's errors, or those of the rule for
    /// short histories.
    pub fn calibration_of(&self, prediction: &Prediction) -> &Calibration {
        let rule = self.card.fallback.as_ref().filter(|_| prediction.by_rule);
        rule.map_or(&self.card.calibration, Fallback::calibration)
    }

    /// What is counted of a forecast, to find drift.
    pub fn observed(&self, history: &[f64], prediction: &Prediction) -> Option<Observed> {
        let nearest = prediction.steps.first()?;
        let (season, transform) = (self.card.spec.frequency.season(), self.card.spec.transform);
        let (value, interval) = (nearest.value, (nearest.lower, nearest.upper));
        Some(
            Seen { history, season, transform, change: prediction.change, value, interval }
                .statistics(),
        )
    }

    /// The version: the shortened hash of the card, which holds the hash of the weights.
    pub fn version(&self) -> String {
        sha256(&self.card_bytes)[..16].to_owned()
    }

    /// What `current.json` says when this model is in service.
    pub fn pointer(&self) -> ModelPointer {
        ModelPointer { version: self.version(), card_sha256: sha256(&self.card_bytes) }
    }

    /// What a forecast says about its model.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef {
            id: self.card.id.clone(),
            version: self.version(),
            backtest: self.card.backtest.model,
        }
    }
}

/// The forecast of a history that is too short for the model.
fn by_rule(rule: &Fallback, view: View<'_>, horizon: usize) -> Prediction {
    let step = |(value, spread): (f64, Spread)| {
        let (lower, upper) = rule.calibration().interval(&spread);
        PredictedStep { value, lower, upper, spread }
    };
    let steps = rule.forecast(view, horizon).into_iter().map(step).collect();
    Prediction { steps, change: rule.calibration().change(view), by_rule: true }
}

/// An error with everything beneath it.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn sha256(bytes: &[u8]) -> String {
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

fn assemble(mut models: Vec<(f64, Model)>, card: &ModelCard) -> Model {
    if card.family != Family::Combination && models.len() == 1 {
        return models.remove(0).1;
    }
    Model::combine(models, &card.spec)
}

fn member(weight: f64, model: &Model) -> Member {
    let (frame, coefficients) = match model {
        Model::Lstm(ensemble) => (Some(ensemble.frame.clone()), None),
        Model::GradientBoosting(trees) => (Some(trees.frame.clone()), None),
        Model::PooledAutoregression(pooled) => (None, Some(pooled.clone())),
        _ => (None, None),
    };
    Member { family: model.family(), weight, frame, coefficients }
}

fn weights_to_bytes(models: &[(f64, Model)]) -> Vec<u8> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (_, model) in models {
        match model {
            Model::Lstm(ensemble) => {
                tensors.extend(ensemble.members.iter().enumerate().flat_map(|(i, net)| {
                    let shape = net.shape;
                    let gates = vec![shape.gate_rows(), 4 * shape.hidden];
                    [
                        (format!("lstm.{i}.gates"), Dtype::F32, gates, to_bytes(&net.gates)),
                        (
                            format!("lstm.{i}.head"),
                            Dtype::F32,
                            vec![shape.hidden + 1, shape.outputs],
                            to_bytes(&net.head),
                        ),
                    ]
                }))
            }
            Model::GradientBoosting(trees) => {
                let text = trees.json().as_bytes().to_vec();
                tensors.push((TREES_TENSOR.to_owned(), Dtype::U8, vec![text.len()], text));
            }
            _ => {}
        }
    }
    let tensor = |shape: &[usize], dtype, bytes| {
        TensorView::new(dtype, shape.to_vec(), bytes).expect("the shape is the data's")
    };
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.as_str(), tensor(shape, *dtype, bytes)));
    safetensors::serialize(views.collect::<std::collections::BTreeMap<_, _>>(), None)
        .expect("every view is valid")
}

fn load_member(
    member: &Member,
    spec: &TrainSpec,
    tensors: &SafeTensors<'_>,
) -> Result<Model, ArtifactError> {
    let frame = || {
        member
            .frame
            .clone()
            .ok_or_else(|| ArtifactError::Model(format!("`{}` has no frame", member.family.name())))
    };
    match member.family {
        Family::Lstm => {
            let frame = frame()?;
            let shape = Ensemble::shape(&frame, spec);
            let read = |name: String, expected: usize| {
                let tensor = tensors.tensor(&name)?;
                let values = from_bytes(tensor.data());
                if tensor.dtype() != Dtype::F32 || !values.iter().all(|v| v.is_finite()) {
                    let defect = format!("tensor `{name}` has weights that are no finite numbers");
                    return Err(ArtifactError::Defect(defect));
                }
                let found = values.len();
                if found == expected {
                    Ok(values)
                } else {
                    Err(ArtifactError::Shape { tensor: name, found, expected })
                }
            };
            let network = |i: usize| {
                let gates = read(format!("lstm.{i}.gates"), shape.gate_len())?;
                let head = read(format!("lstm.{i}.head"), shape.head_len())?;
                Ok(Lstm { shape, gates, head })
            };
            let networks =
                (0..spec.lstm.members.max(1)).map(network).collect::<Result<_, ArtifactError>>()?;
            Ok(Model::Lstm(Ensemble::new(frame, networks)))
        }
        Family::GradientBoosting => {
            let text = String::from_utf8(tensors.tensor(TREES_TENSOR)?.data().to_vec());
            let text = text.map_err(|e| ArtifactError::Model(e.to_string()))?;
            Trees::from_json(frame()?, text)
                .map(Model::GradientBoosting)
                .map_err(ArtifactError::Model)
        }
        Family::PooledAutoregression => {
            let coefficients = member
                .coefficients
                .clone()
                .ok_or_else(|| ArtifactError::Model("the coefficients are missing".to_owned()))?;
            Ok(Model::PooledAutoregression(coefficients))
        }
        family => Model::local(family, spec)
            .ok_or_else(|| ArtifactError::Model(format!("`{}` cannot be a member", family.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Quiet;
    use crate::spec::tests::spec;
    use steppe_spec::Kind;

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
        for family in Family::ALL.iter().copied() {
            let a = train(
                &data(),
                &TrainSpec { kind: Kind::Of(family), candidates: vec![Family::Theta], ..spec() },
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
                    let quantiles = loaded.card.calibration.quantiles(&step.spread);
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
        let auto = TrainSpec {
            kind: Kind::Auto,
            candidates: vec![Family::Theta, Family::ExponentialSmoothing],
            ..spec()
        };
        let artifact = train(&data(), &auto).expect("trains");
        let test = &artifact.card.backtest;
        let naive = test
            .candidates
            .iter()
            .find(|c| c.family == Family::LastValue)
            .expect("always takes part");
        assert!(test.model.mae < naive.errors.mae / 4.0, "{}", artifact.card.to_text("v"));
        assert!(test.better_baseline().is_none());
        let lazy = train(&data(), &TrainSpec { kind: Kind::Of(Family::MeanOfThree), ..spec() })
            .expect("trains");
        assert_eq!(lazy.card.backtest.better_baseline().map(|b| b.family), Some(Family::Drift));
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
            .replacen("\"schema_version\": 4", "\"schema_version\": 1", 1)
            .into_bytes();
        assert!(
            refuse(other.clone(), a.weights_bytes.clone(), &a.pointer())
                .starts_with("card.json has SHA-256")
        );
        let pointer = ModelPointer { card_sha256: sha256(&other), ..a.pointer() };
        assert!(
            refuse(other, a.weights_bytes.clone(), &pointer)
                .contains("schema version 1, this program reads 4")
        );
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
