//! Gradient-boosted trees over all series, by the `forust-ml` library.

use std::fmt;
use std::sync::Arc;

use forust_ml::Matrix;
use forust_ml::gradientbooster::GradientBooster;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::Frame;
use crate::rows::matrix::Matrix as Columns;
use steppe_spec::TrainSpec;

use crate::artifact::ArtifactError;
use crate::families::trees_of_series::{self, Grown};
use crate::family::Family;
use crate::forecast::{Forecast, Forecaster};
use crate::host::Stage;
use crate::stored::{Saved, Stored};

/// Fitted trees and the frame of their features.
#[derive(Clone)]
pub struct Trees {
    /// Features and scales.
    pub frame: Frame,
    booster: Arc<GradientBooster>,
    /// The booster as its library writes it: what an artifact holds.
    json: String,
}

impl fmt::Debug for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trees")
            .field("frame", &self.frame)
            .field("bytes", &self.json.len())
            .finish()
    }
}

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        self.frame == other.frame && self.json == other.json
    }
}

/// Name of the text that holds the trees.
const TREES: &str = "trees.json";
/// Trees that are grown to see what they read.
const TREES_OF_A_CHECK: usize = 3;

impl Family<Forecast> for Trees {
    const QUICK: bool = false;

    fn fit(data: &Dataset, spec: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        train(data, spec)
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(&self.frame);
        saved.text(TREES, &self.json);
    }

    fn load(stored: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        let (frame, json): (Frame, String) = (stored.record()?, stored.text(TREES)?);
        frame.check(spec).map_err(ArtifactError::Defect)?;
        let booster = GradientBooster::from_json(&json);
        let booster = booster.map_err(|e| ArtifactError::Model(e.to_string()))?;
        // The library follows whatever numbers a tree holds.
        check(&booster, frame.columns()).map_err(ArtifactError::Model)?;
        Ok(Self { frame, booster: Arc::new(booster), json })
    }

    fn about(spec: &TrainSpec) -> Option<String> {
        Some(format!("{} trees, depth {}", spec.model.trees.rounds, spec.model.trees.depth))
    }

    fn shorten(spec: &mut TrainSpec) {
        spec.model.trees.rounds = TREES_OF_A_CHECK;
    }
}

impl Forecaster for Trees {
    fn min_history(&self) -> usize {
        self.frame.min_history()
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        trees_of_series::forecast(&self.frame, views, horizon, |rows| {
            let columns = Columns::from_rows(self.frame.columns(), rows);
            self.booster.predict(&matrix(&columns), false)
        })
    }
}

/// Trees that are read, at most.
const TREES_MAX: usize = 10_000;

/// Checks that every way through the trees ends at a leaf.
fn check(booster: &GradientBooster, columns: usize) -> Result<(), String> {
    let trees = &booster.trees;
    if trees.len() > TREES_MAX || booster.prediction_iteration.is_some_and(|n| n > trees.len()) {
        return Err(format!("there are {} trees, more or fewer than can be run", trees.len()));
    }
    if !booster.base_score.is_finite() {
        return Err("the trees start from a value that is not finite".to_owned());
    }
    for (number, tree) in trees.iter().enumerate() {
        let mut sound = !tree.nodes.is_empty();
        for (place, node) in tree.nodes.iter().enumerate() {
            // Children come after their parents, so no way goes in a circle.
            let child = |child: usize| child > place && child < tree.nodes.len();
            let children = [node.left_child, node.right_child, node.missing_node];
            let splits = node.split_feature < columns && node.split_value.is_finite();
            sound &= match node.is_leaf {
                true => node.weight_value.is_finite(),
                false => splits && children.into_iter().all(child),
            };
        }
        if !sound {
            return Err(format!("tree {number} has a way that ends at no leaf"));
        }
    }
    Ok(())
}

/// Grows trees, each on what those before it have left.
fn train(data: &Dataset, spec: &TrainSpec) -> Result<Trees, TrainError> {
    let options = &spec.model.trees;
    let Grown { frame, features, targets } = trees_of_series::grown(data, spec, options.rows_max)?;
    let (columns, rows) = (Columns::from_rows(frame.columns(), &features), targets.len());
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::SquaredLoss)
        .set_sample_method(SampleMethod::Random)
        .set_iterations(options.rounds)
        .set_max_depth(options.depth)
        .set_max_leaves(1 << options.depth.min(12))
        .set_learning_rate(options.learning_rate as f32)
        .set_l2(1.0)
        .set_min_leaf_weight((rows as f32 / 2_000.0).max(3.0))
        .set_subsample(0.8)
        .set_seed(spec.model.seed)
        .set_base_score(0.0)
        .set_initialize_base_score(false);
    let failed = |e: forust_ml::errors::ForustError| TrainError::Trees(e.to_string());
    booster.fit(&matrix(&columns), &targets, &vec![1.0; rows], None).map_err(failed)?;
    let json = booster.json_dump().map_err(failed)?;
    Ok(Trees { frame, booster: Arc::new(booster), json })
}

/// As the library wants it.
fn matrix(columns: &Columns) -> Matrix<'_, f64> {
    Matrix::new(columns.values(), columns.rows(), columns.columns())
}

#[cfg(test)]
mod tests {
    use steppe_spec::Frequency;

    use super::*;
    use crate::forecast::dataset::Series;
    use crate::forecast::window::NEWEST;
    use crate::training_key::tests::spec;

    #[test]
    fn the_windows_do_not_depend_on_the_networks_context() {
        let value = |t: i32| 100.0 + f64::from(t % 12) * 5.0 + f64::from(t);
        let series = Series::new("A", 0, (0..60).map(value).collect());
        let data = Dataset::new(Frequency::Monthly, vec![series]);
        let grown = |context: usize| {
            let spec = spec().with(|s| {
                s.task.set_frequency(Frequency::Monthly);
                s.model.lstm.context = context;
            });
            train(&data, &spec).expect("trees")
        };
        let (short, long) = (grown(3), grown(40));
        assert_eq!(short, long);
        assert_eq!(short.min_history(), 12 + NEWEST + 1);
    }
}
