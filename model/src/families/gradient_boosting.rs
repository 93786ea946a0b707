//! Gradient-boosted trees over all series, by the `forust-ml` library, on lags, levels, calendar,
//! features and static features of single steps. A feature that is known ahead enters with its value
//! of the period that is forecast, a past one with its newest value at the origin.

use std::fmt;
use std::sync::Arc;

use forust_ml::Matrix;
use forust_ml::gradientbooster::GradientBooster;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::{Frame, NEWEST};
use crate::forecast::windows::Windows;
use steppe_spec::{Frequency, TrainSpec};

use crate::artifact::ArtifactError;
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
        let mut rows = Vec::with_capacity(views.len() * horizon * self.frame.columns());
        let windows: Vec<_> = views
            .iter()
            .map(|&view| {
                let window = self.frame.window(view);
                let history = self.frame.transform().all(view.history());
                (0..horizon)
                    .for_each(|step| self.frame.row(view, &window, &history, step, &mut rows));
                window
            })
            .collect();
        let columns = by_column(&rows, self.frame.columns());
        let answers = self
            .booster
            .predict(&Matrix::new(&columns, views.len() * horizon, self.frame.columns()), false);
        let value = |(window, answers): (&crate::forecast::window::Window, &[f64])| {
            let value = |(step, answer): (usize, &f64)| {
                self.frame.transform().invert(window.absolute(step, *answer))
            };
            answers.iter().enumerate().map(value).collect()
        };
        windows.iter().zip(answers.chunks(horizon)).map(value).collect()
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

/// Departures beyond this many units are cut: squared errors must not follow a year like 2020.
const TARGET_MAX: f64 = 6.0;

/// Observations whose typical change is a window's unit, and without which trees neither learn nor
/// forecast: the longest season once, and the newest values of a row. It follows from the frequency
/// alone, so no setting of another family changes the trees.
fn context(frequency: Frequency) -> usize {
    frequency.seasons().last().copied().unwrap_or(1) + NEWEST
}

/// Grows trees on every step of every window, or on a random choice of them.
fn train(data: &Dataset, spec: &TrainSpec) -> Result<Trees, TrainError> {
    let frame = Frame::fit(data, spec, context(data.frequency()));
    let windows = Windows::all(data, frame.min_history(), spec.task.horizon)?;
    let mut rng = fastrand::Rng::with_seed(spec.model.seed ^ 0x7ee5);
    let rows = (windows.len() * spec.task.horizon).min(spec.model.trees.rows_max.max(1));
    let all = rows == windows.len() * spec.task.horizon;
    let (mut features, mut targets) =
        (Vec::with_capacity(rows * frame.columns()), Vec::with_capacity(rows));
    for row in 0..rows {
        let (at, step) = if all {
            (row / spec.task.horizon, row % spec.task.horizon)
        } else {
            (rng.usize(..windows.len()), rng.usize(..spec.task.horizon))
        };
        let (view, future) = windows.get(at);
        let window = frame.window(view);
        frame.row(view, &window, &frame.transform().all(view.history()), step, &mut features);
        let target = window.relative(step, frame.transform().apply(future[step]));
        targets.push(target.clamp(-TARGET_MAX, TARGET_MAX));
    }
    let columns = by_column(&features, frame.columns());
    let matrix = Matrix::new(&columns, rows, frame.columns());
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::SquaredLoss)
        .set_sample_method(SampleMethod::Random)
        .set_iterations(spec.model.trees.rounds)
        .set_max_depth(spec.model.trees.depth)
        .set_max_leaves(1 << spec.model.trees.depth.min(12))
        .set_learning_rate(spec.model.trees.learning_rate as f32)
        .set_l2(1.0)
        .set_min_leaf_weight((rows as f32 / 2_000.0).max(3.0))
        .set_subsample(0.8)
        .set_seed(spec.model.seed)
        .set_base_score(0.0)
        .set_initialize_base_score(false);
    let failed = |e: forust_ml::errors::ForustError| TrainError::Trees(e.to_string());
    booster.fit(&matrix, &targets, &vec![1.0; rows], None).map_err(failed)?;
    let json = booster.json_dump().map_err(failed)?;
    Ok(Trees { frame, booster: Arc::new(booster), json })
}

/// Rows after each other to columns after each other, as the library wants them.
fn by_column(rows: &[f64], columns: usize) -> Vec<f64> {
    let count = rows.len() / columns.max(1);
    (0..columns).flat_map(|c| (0..count).map(move |r| rows[r * columns + c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;
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

    #[test]
    fn every_frequency_has_a_context_that_can_be_read_again() {
        for (frequency, expected) in [
            (Frequency::Yearly, 6),
            (Frequency::Quarterly, 9),
            (Frequency::Monthly, 17),
            (Frequency::Weekly, 57),
            (Frequency::Daily, 12),
            (Frequency::Hourly, 173),
            (Frequency::HalfHourly, 341),
        ] {
            assert_eq!(context(frequency), expected);
            assert!(expected <= steppe_spec::CONTEXT_MAX);
        }
    }
}
