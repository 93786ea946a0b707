//! A model as two files, `card.json` and `weights.safetensors`, that refuse to load when they do
//! not belong together.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use steppe_wire::predict::{ModelPointer, ModelRef};
use thiserror::Error;

use crate::backtest::backtest;
use crate::card::{ARTIFACT_SCHEMA_VERSION, DataSummary, ModelCard};
use crate::dataset::Dataset;
use crate::forecaster::{Forecaster, TrainError, train};
use crate::lstm::{Lstm, Shape};
use crate::spec::TrainSpec;
use crate::window::FEATURES;

/// File name of the card.
pub const CARD_FILE: &str = "card.json";
/// File name of the weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// Why an artifact was refused.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// A file is not what its hash says.
    #[error("{file} has SHA-256 {actual}, expected {expected}; the artifact is damaged or mixed up")]
    Hash {
        /// The file.
        file: &'static str,
        /// Its hash.
        actual: String,
        /// The expected hash.
        expected: String,
    },
    /// Another layout.
    #[error("the artifact has schema version {found}, this program reads {ARTIFACT_SCHEMA_VERSION}; train again with `cargo xtask train`")]
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
}

/// A model in memory with the exact bytes of its files.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The card.
    pub card: ModelCard,
    /// The model.
    pub forecaster: Forecaster,
    /// Bytes of [`CARD_FILE`].
    pub card_bytes: Vec<u8>,
    /// Bytes of [`WEIGHTS_FILE`].
    pub weights_bytes: Vec<u8>,
}

impl Artifact {
    /// Backtests, then trains on everything.
    pub fn train(data: &Dataset, spec: &TrainSpec) -> Result<Self, TrainError> {
        let backtest = backtest(data, spec)?;
        let forecaster = train(data, spec)?;
        let weights_bytes = weights_to_bytes(&forecaster.members);
        let years = data.series().iter().map(|s| s.first_year);
        let card = ModelCard {
            schema_version: ARTIFACT_SCHEMA_VERSION,
            id: format!("{}-lstm", spec.pipeline),
            kind: "lstm".to_owned(),
            spec: spec.clone(),
            data: DataSummary {
                series: data.series().len(),
                rows: data.rows(),
                first_year: years.min().unwrap_or(0),
                last_year: data.last_year(),
                fingerprint: data.fingerprint(),
            },
            scaler: forecaster.scaler,
            backtest,
            weights_sha256: sha256(&weights_bytes),
        };
        let card_bytes = serde_json::to_vec_pretty(&card).expect("a card has only string keys");
        Ok(Self { card, forecaster, card_bytes, weights_bytes })
    }

    /// Loads an artifact and checks everything that can be checked.
    pub fn load(card_bytes: Vec<u8>, weights_bytes: Vec<u8>, pointer: &ModelPointer) -> Result<Self, ArtifactError> {
        check_hash(CARD_FILE, &card_bytes, &pointer.card_sha256)?;
        let value: serde_json::Value = serde_json::from_slice(&card_bytes)?;
        let found = value["schema_version"].as_u64().unwrap_or(0);
        if found != u64::from(ARTIFACT_SCHEMA_VERSION) {
            return Err(ArtifactError::Schema { found });
        }
        let card: ModelCard = serde_json::from_value(value)?;
        check_hash(WEIGHTS_FILE, &weights_bytes, &card.weights_sha256)?;
        let members = weights_from_bytes(&weights_bytes, &card.spec)?;
        let forecaster = Forecaster { context: card.spec.context, horizon: card.spec.horizon, scaler: card.scaler, members };
        Ok(Self { card, forecaster, card_bytes, weights_bytes })
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
        ModelRef { id: self.card.id.clone(), version: self.version(), backtest: self.card.backtest.model }
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn check_hash(file: &'static str, bytes: &[u8], expected: &str) -> Result<(), ArtifactError> {
    let actual = sha256(bytes);
    if actual == expected { Ok(()) } else { Err(ArtifactError::Hash { file, actual, expected: expected.to_owned() }) }
}

fn weights_to_bytes(members: &[Lstm]) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let named: Vec<(String, Vec<usize>, Vec<u8>)> = (0..)
        .zip(members)
        .flat_map(|(i, m)| {
            let Shape { hidden, outputs, .. } = m.shape;
            [
                (format!("member.{i}.gates"), vec![m.shape.gate_rows(), 4 * hidden], bytes(&m.gates)),
                (format!("member.{i}.head"), vec![hidden + 1, outputs], bytes(&m.head)),
            ]
        })
        .collect();
    let views: BTreeMap<&str, TensorView<'_>> = named
        .iter()
        .map(|(name, shape, data)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).expect("the shape is the data's")))
        .collect();
    safetensors::serialize(views, None).expect("every view is valid")
}

fn weights_from_bytes(bytes: &[u8], spec: &TrainSpec) -> Result<Vec<Lstm>, ArtifactError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let shape = Shape { features: FEATURES, hidden: spec.hidden, outputs: spec.horizon };
    let read = |name: String, expected: usize| {
        let data = tensors.tensor(&name)?.data();
        if data.len() != expected * 4 {
            return Err(ArtifactError::Shape { tensor: name, found: data.len() / 4, expected });
        }
        Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    (0..spec.members.max(1))
        .map(|i| {
            let gates = read(format!("member.{i}.gates"), shape.gate_len())?;
            let head = read(format!("member.{i}.head"), shape.head_len())?;
            Ok(Lstm { shape, gates, head })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TrainSpec {
        TrainSpec {
            pipeline: "test".into(),
            series_column: "s".into(),
            time_column: "t".into(),
            target_column: "v".into(),
            horizon: 2,
            context: 4,
            hidden: 6,
            epochs: 8,
            members: 2,
            learning_rate: 0.01,
            weight_decay: 1e-3,
            seed: 5,
            origins: 3,
            interval_level: 0.9,
        }
    }

    /// Three series that grow by 5, 2 and −3 percent a year.
    fn data() -> Dataset {
        let value = |s: i32, t: i32| 100.0 * f64::from(s + 1) * [1.05f64, 1.02, 0.97][s as usize].powi(t);
        Dataset::from_rows((0..3).flat_map(|s| (0..16).map(move |t| (format!("s{s}"), 2000 + t, value(s, t))))).expect("valid")
    }

    #[test]
    fn training_is_reproducible_and_survives_saving() {
        let (a, b) = (Artifact::train(&data(), &spec()).expect("a"), Artifact::train(&data(), &spec()).expect("b"));
        assert_eq!((&a.card_bytes, &a.weights_bytes), (&b.card_bytes, &b.weights_bytes));
        let loaded = Artifact::load(a.card_bytes.clone(), a.weights_bytes.clone(), &a.pointer()).expect("loads");
        assert_eq!(loaded.forecaster, a.forecaster);
        assert!(a.card.backtest.interval_half_widths.is_sorted());
    }

    #[test]
    fn a_learnable_trend_beats_the_last_value() {
        let artifact = Artifact::train(&data(), &TrainSpec { epochs: 80, ..spec() }).expect("trains");
        let test = &artifact.card.backtest;
        assert!(test.model.mae < test.baselines[0].errors.mae / 2.0, "{}", artifact.card.to_text("v"));
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let a = Artifact::train(&data(), &spec()).expect("trains");
        let refuse = |card: Vec<u8>, weights: Vec<u8>, pointer: &ModelPointer| {
            Artifact::load(card, weights, pointer).expect_err("refused").to_string()
        };
        let mut weights = a.weights_bytes.clone();
        *weights.last_mut().expect("weights") ^= 1;
        assert!(refuse(a.card_bytes.clone(), weights, &a.pointer()).starts_with("weights.safetensors has SHA-256"));
        let other = String::from_utf8(a.card_bytes.clone())
            .expect("UTF-8")
            .replacen("\"schema_version\": 1", "\"schema_version\": 2", 1)
            .into_bytes();
        assert!(refuse(other.clone(), a.weights_bytes.clone(), &a.pointer()).starts_with("card.json has SHA-256"));
        let pointer = ModelPointer { card_sha256: sha256(&other), ..a.pointer() };
        assert!(refuse(other, a.weights_bytes.clone(), &pointer).contains("schema version 2, this program reads 1"));
    }

    #[test]
    fn too_short_a_series_is_named() {
        let short = data().until(2004);
        assert!(train(&short, &spec()).expect_err("short").to_string().starts_with("series `s0` has 5 values"));
        assert!(Artifact::train(&data().until(2008), &spec()).is_err());
    }
}
