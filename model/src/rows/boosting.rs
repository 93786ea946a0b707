//! Gradient-boosted trees by the `forust-ml` library, which only grows them: answers, effects,
//! checks and what is stored are those of every sum of trees. Its own Shapley values are of single
//! precision, and a tree that it reads is followed unchecked.

use forust_ml::gradientbooster::GradientBooster;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;
use steppe_spec::tabular::Boosting;

use super::error::RowsError;
use super::logistic::check_weights;
use super::matrix::Matrix;
use super::trees::{DEPTH_MAX, TREES_MAX, Tree, Trees};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Log loss of targets 0 and 1; answers are log odds.
    Log,
    /// Squared error.
    Squared,
}

/// Values from which on histograms are made by several threads; below, threads cost more.
const PARALLEL_VALUES_MIN: usize = 1_000_000;

/// Grows trees. Missing values go to the side of each split that is better for them.
pub fn fit(
    columns: &Matrix,
    targets: &[f64],
    weights: Option<&[f64]>,
    loss: Loss,
    options: &Boosting,
    seed: u64,
) -> Result<Trees, RowsError> {
    check(columns, targets, loss, options)?;
    check_weights(weights, columns.rows(), options.l2)?;
    let (rows, count) = (columns.rows(), columns.columns());
    let objective = match loss {
        Loss::Log => ObjectiveType::LogLoss,
        Loss::Squared => ObjectiveType::SquaredLoss,
    };
    let sampled = if options.subsample < 1.0 { SampleMethod::Random } else { SampleMethod::None };
    let mut booster = GradientBooster::default()
        .set_objective_type(objective)
        .set_sample_method(sampled)
        .set_subsample(options.subsample as f32)
        // The library rounds the number of columns down.
        .set_colsample_bytree(at_least_one_column(options.column_share, count))
        .set_iterations(options.rounds)
        .set_max_depth(options.depth)
        .set_max_leaves(usize::MAX)
        .set_learning_rate(options.learning_rate as f32)
        .set_l2(options.l2 as f32)
        .set_min_leaf_weight(options.min_leaf_weight as f32)
        .set_parallel(rows * count >= PARALLEL_VALUES_MIN)
        // Faster from about ten thousand rows on; of fewer it makes no use.
        .set_tiled_histograms(true)
        .set_seed(seed)
        .set_initialize_base_score(true);
    let ones;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            ones = vec![1.0; rows];
            &ones
        }
    };
    let data = forust_ml::Matrix::new(columns.values(), rows, count);
    let failed = |e: forust_ml::errors::ForustError| RowsError::Trees(e.to_string());
    booster.fit(&data, targets, weights, None).map_err(failed)?;
    let trees = booster.trees.iter().map(converted).collect::<Result<_, _>>()?;
    let trees = Trees { base: booster.base_score, trees };
    trees.check(count)?;
    Ok(trees)
}

fn at_least_one_column(share: f64, columns: usize) -> f64 {
    let wanted = (share * columns as f64).round().max(1.0);
    // Rounded down again, this is `wanted` whatever the division left of it.
    ((wanted + 0.5) / columns as f64).min(1.0)
}

fn check(
    columns: &Matrix,
    targets: &[f64],
    loss: Loss,
    options: &Boosting,
) -> Result<(), RowsError> {
    let refuse = |what: String| Err(RowsError::Unsuitable(what));
    columns.not_infinite("gradient boosting")?;
    if targets.len() != columns.rows() || targets.len() < 2 || columns.columns() == 0 {
        let (rows, count) = (columns.rows(), columns.columns());
        return refuse(format!("{} targets of {rows} rows, {count} columns", targets.len()));
    }
    let fits = |target: &f64| match loss {
        Loss::Log => *target == 0.0 || *target == 1.0,
        Loss::Squared => target.is_finite(),
    };
    if let Some(row) = targets.iter().position(|target| !fits(target)) {
        return refuse(format!("the target of row {row} is {}", targets[row]));
    }
    if loss == Loss::Log && targets.iter().all(|target| *target == targets[0]) {
        return refuse("all rows are of one class: both must be there".to_owned());
    }
    let share = |share: f64| share > 0.0 && share <= 1.0;
    let numbers = options.learning_rate > 0.0 && options.min_leaf_weight > 0.0;
    let sizes = options.rounds <= TREES_MAX && options.depth <= DEPTH_MAX;
    match numbers && sizes && share(options.subsample) && share(options.column_share) {
        true => Ok(()),
        false => refuse(format!("trees cannot be grown with {options:?}")),
    }
}

/// The library's tree as numbers in lists.
fn converted(tree: &forust_ml::tree::Tree) -> Result<Tree, RowsError> {
    let mut lists = Tree::default();
    convert(tree, 0, &mut lists, 0)?;
    Ok(lists)
}

fn convert(
    tree: &forust_ml::tree::Tree,
    at: usize,
    lists: &mut Tree,
    depth: usize,
) -> Result<(), RowsError> {
    let node = &tree.nodes[at];
    if node.is_leaf {
        lists.leaf(f64::from(node.weight_value), f64::from(node.hessian_sum));
        return Ok(());
    }
    let missing_left = node.missing_node == node.left_child;
    if depth == DEPTH_MAX || !(missing_left || node.missing_node == node.right_child) {
        return Err(RowsError::Trees("a tree is of a form that was not asked for".to_owned()));
    }
    let parent = lists.split(node.split_feature, node.split_value, missing_left);
    convert(tree, node.left_child, lists, depth + 1)?;
    lists.join(parent);
    convert(tree, node.right_child, lists, depth + 1)?;
    lists.close(parent);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::forest::tests::{sample, targets_of};
    use crate::rows::logistic::probability;
    use crate::rows::metrics::{log_loss, roc_auc};
    use crate::rows::tree_shap;

    fn grown(seed: u64) -> (Matrix, Vec<bool>, Trees) {
        let (columns, labels) = sample(400, 1);
        let options = Boosting { rounds: 30, ..Boosting::default() };
        let trees = fit(&columns, &targets_of(&labels), None, Loss::Log, &options, seed);
        (columns, labels, trees.expect("trees"))
    }

    #[test]
    fn it_learns_and_is_seeded() {
        let (columns, labels, trees) = grown(7);
        let (unseen, truth) = sample(2_000, 2);
        let margins = trees.margins(&unseen);
        assert!(roc_auc(&truth, &margins).expect("both") > 0.85);
        let chances: Vec<f64> = margins.iter().map(|m| probability(*m)).collect();
        assert!(log_loss(&truth, &chances) < 0.5, "{}", log_loss(&truth, &chances));
        assert_eq!(grown(7).2, trees);
        assert_ne!(grown(8).2, trees);
        assert_eq!((columns.rows(), labels.len()), (400, 400));
    }

    #[test]
    fn answers_are_those_of_the_library() {
        let (columns, labels) = sample(400, 1);
        let mut booster = GradientBooster::default().set_iterations(20).set_max_depth(3);
        let data = forust_ml::Matrix::new(columns.values(), 400, columns.columns());
        booster.fit_unweighted(&data, &targets_of(&labels), None).expect("trees");
        let trees = booster.trees.iter().map(converted).collect::<Result<_, _>>();
        let trees = Trees { base: booster.base_score, trees: trees.expect("trees") };
        assert_eq!(trees.margins(&columns), booster.predict(&data, false));
    }

    #[test]
    fn effects_are_shapley_values_by_definition() {
        let (columns, _, trees) = grown(7);
        let with_missing = (0..400).filter(|&row| columns.row(row).iter().any(|v| v.is_nan()));
        for row in (0..4).chain(with_missing.take(4)) {
            tree_shap::tests::check(&trees, &columns.row(row));
        }
    }

    #[test]
    fn a_number_is_learnt_too() {
        let (columns, _) = sample(400, 1);
        let targets: Vec<f64> = (0..400).map(|row| 100.0 + 10.0 * columns.at(row, 1)).collect();
        let options = Boosting { subsample: 1.0, column_share: 1.0, ..Boosting::default() };
        let trees = fit(&columns, &targets, None, Loss::Squared, &options, 1).expect("trees");
        let r_squared = crate::rows::metrics::r_squared(&targets, &trees.margins(&columns));
        assert!(r_squared.expect("varies") > 0.95, "{r_squared:?}");
    }

    #[test]
    fn what_is_stored_is_what_is_read() {
        let (_, _, trees) = grown(7);
        let text = serde_json::to_string(&trees).expect("text");
        assert_eq!(serde_json::from_str::<Trees>(&text).expect("trees"), trees);
    }

    #[test]
    fn what_cannot_be_learnt_from_is_refused() {
        let (columns, labels) = sample(50, 1);
        let targets = targets_of(&labels);
        let refused = |columns: &Matrix, targets: &[f64], options: &Boosting| {
            let refused = fit(columns, targets, None, Loss::Log, options, 1);
            refused.expect_err("refused").to_string()
        };
        let options = Boosting::default();
        assert!(refused(&columns, &[1.0; 50], &options).contains("all rows are of one class"));
        assert!(refused(&columns, &[0.5; 50], &options).contains("the target of row 0 is 0.5"));
        let infinite = Matrix::new(50, 1, vec![f64::INFINITY; 50]);
        assert!(refused(&infinite, &targets, &options).contains("row 0 has inf in column 0"));
        let none = Boosting { subsample: 0.0, ..options };
        assert!(refused(&columns, &targets, &none).contains("subsample: 0.0"));
    }

    #[test]
    fn a_share_of_columns_is_at_least_one() {
        for columns in 1..50_usize {
            for share in [0.001, 0.3, 0.5, 0.8, 1.0] {
                let taken = (at_least_one_column(share, columns) * columns as f64).floor();
                assert_eq!(taken, (share * columns as f64).round().max(1.0), "{share} {columns}");
            }
        }
    }
}
