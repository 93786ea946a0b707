//! A random forest over all series.

use steppe_spec::TrainSpec;
use steppe_spec::tabular::Forest as Options;

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::families::trees_of_series::{self, Grown};
use crate::family::Family;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::Frame;
use crate::forecast::{Forecast, Forecaster};
use crate::host::Stage;
use crate::rows::forest::{self, Asked};
use crate::rows::matrix::Matrix;
use crate::rows::trees::Trees;
use crate::stored::{Saved, Stored};

/// A fitted forest and the frame of its features.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    frame: Frame,
    trees: Trees,
}

/// Name of the text that holds the trees.
const TREES: &str = "forest.json";
/// Trees that are grown to see what they read.
const TREES_OF_A_CHECK: usize = 3;
/// Of so many rows one is in a leaf, at least, if nothing is said, and of few rows so many.
const ROWS_A_LEAF: usize = 1_000;
const LEAF_MIN: usize = 5;
/// Splits in a row: leaves are bounded by their rows.
const DEPTH: usize = 32;

impl Family<Forecast> for Forest {
    const QUICK: bool = false;

    fn fit(data: &Dataset, spec: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        let asked = &spec.model.forest;
        let grown = trees_of_series::grown(data, spec, asked.rows_max)?;
        let Grown { frame, features, targets } = grown;
        let columns = Matrix::from_rows(frame.columns(), &features);
        let usual = (targets.len() / ROWS_A_LEAF).max(LEAF_MIN);
        let (trees, min_leaf) = (asked.trees, asked.min_leaf.unwrap_or(usual));
        let options = Options { trees, depth: DEPTH, min_leaf, columns: None };
        let seed = spec.model.seed;
        let trees = forest::fit(&columns, &targets, None, Asked::Number, &options, seed);
        trees.map(|trees| Self { frame, trees }).map_err(|e| TrainError::Trees(e.to_string()))
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(&self.frame);
        let trees = serde_json::to_string(&self.trees).expect("a record of plain values");
        saved.text(TREES, &trees);
    }

    fn load(stored: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        let frame: Frame = stored.record()?;
        frame.check(spec).map_err(ArtifactError::Defect)?;
        let trees: Trees = serde_json::from_str(&stored.text(TREES)?)
            .map_err(|e| ArtifactError::Model(e.to_string()))?;
        trees.check(frame.columns()).map_err(|e| ArtifactError::Model(e.to_string()))?;
        Ok(Self { frame, trees })
    }

    fn about(spec: &TrainSpec) -> Option<String> {
        Some(format!("{} trees", spec.model.forest.trees))
    }

    fn shorten(spec: &mut TrainSpec) {
        spec.model.forest.trees = TREES_OF_A_CHECK;
    }
}

impl Forecaster for Forest {
    fn min_history(&self) -> usize {
        self.frame.min_history()
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        trees_of_series::forecast(&self.frame, views, horizon, |rows| {
            self.trees.margins(&Matrix::from_rows(self.frame.columns(), rows))
        })
    }
}
