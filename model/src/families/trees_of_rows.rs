//! Trees on rows: boosted ones, and a forest.

use steppe_spec::tabular::{Boosting, Forest, TabularSpec};

use crate::rows::matrix::Matrix;
use crate::rows::plan::Taken;
use crate::rows::prepare::Preparation;
use crate::rows::trees::Trees;
use crate::rows::tuning::Parameter;
use crate::rows::{RowsError, boosting, forest};
use crate::tabular::model::{Link, Output, Prepared, Way};

/// Trees that are grown to see what they read.
const TREES_OF_A_CHECK: usize = 3;

/// Trees, each of which learns what is left of those before it.
pub type BoostedRows = Prepared<Boosted>;
/// Trees on drawn rows and columns, whose answers are averaged.
pub type RandomForest = Prepared<Averaged>;

/// Each tree learns what is left.
#[derive(Debug, Clone, PartialEq)]
pub struct Boosted;

/// Answers are averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Averaged;

impl Way for Boosted {
    type Fitted = Trees;
    const TAKEN: Taken = Taken::Trees;

    fn fit(
        _: &Preparation,
        columns: &Matrix,
        output: Output<'_>,
        spec: &TabularSpec,
    ) -> Result<Trees, RowsError> {
        let options = &spec.task.model.boosting;
        let number = output.target.is_number();
        let loss = if number { boosting::Loss::Squared } else { boosting::Loss::Log };
        let (values, seed) = (output.values(), spec.task.model.seed);
        boosting::fit(columns, &values, output.weights, loss, options, seed)
    }

    fn about(spec: &TabularSpec) -> Option<String> {
        let Boosting { rounds, depth, .. } = &spec.task.model.boosting;
        Some(format!("{rounds} trees, depth {depth}"))
    }

    fn shorten(spec: &mut TabularSpec) {
        spec.task.model.boosting.rounds = TREES_OF_A_CHECK;
    }

    fn parameters(spec: &TabularSpec) -> Vec<Parameter> {
        let boosting = &spec.task.model.boosting;
        // What is searched by ratios is more than nothing.
        let l2 = boosting.l2.max(1e-3);
        vec![
            Parameter::whole("rounds", 20, 300, boosting.rounds),
            Parameter::whole("depth", 1, 6, boosting.depth),
            Parameter::log("learning_rate", 0.01, 0.3, boosting.learning_rate),
            Parameter::log("min_leaf_weight", 0.3, 30.0, boosting.min_leaf_weight),
            Parameter::log("l2", 0.1, 30.0, l2),
        ]
    }

    fn set(spec: &mut TabularSpec, values: &[f64]) {
        if let [rounds, depth, learning_rate, min_leaf_weight, l2] = values {
            let boosting = &mut spec.task.model.boosting;
            (boosting.rounds, boosting.depth) = (*rounds as usize, *depth as usize);
            boosting.learning_rate = *learning_rate;
            (boosting.min_leaf_weight, boosting.l2) = (*min_leaf_weight, *l2);
        }
    }
}

impl Way for Averaged {
    type Fitted = Trees;
    const TAKEN: Taken = Taken::Trees;
    // Exact ones of hundreds of deep trees take milliseconds.
    const QUICK_REASONS: bool = false;

    /// The mean of leaves is a probability, or the number.
    fn link(_: bool) -> Link {
        Link::Identity
    }

    fn fit(
        _: &Preparation,
        columns: &Matrix,
        output: Output<'_>,
        spec: &TabularSpec,
    ) -> Result<Trees, RowsError> {
        let options = &spec.task.model.forest;
        let number = output.target.is_number();
        let asked = if number { forest::Asked::Number } else { forest::Asked::Class };
        let (values, seed) = (output.values(), spec.task.model.seed);
        forest::fit(columns, &values, output.weights, asked, options, seed)
    }

    fn about(spec: &TabularSpec) -> Option<String> {
        let Forest { trees, min_leaf, .. } = &spec.task.model.forest;
        Some(format!("{trees} trees, at least {min_leaf} rows in a leaf"))
    }

    fn shorten(spec: &mut TabularSpec) {
        spec.task.model.forest.trees = TREES_OF_A_CHECK;
    }

    fn parameters(spec: &TabularSpec) -> Vec<Parameter> {
        let forest = &spec.task.model.forest;
        vec![
            Parameter::whole("min_leaf", 2, 50, forest.min_leaf),
            Parameter::whole("depth", 4, 32, forest.depth),
        ]
    }

    fn set(spec: &mut TabularSpec, values: &[f64]) {
        if let [min_leaf, depth] = values {
            let forest = &mut spec.task.model.forest;
            (forest.min_leaf, forest.depth) = (*min_leaf as usize, *depth as usize);
        }
    }
}
