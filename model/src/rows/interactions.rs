//! Which products of two columns help a logistic regression, found on rows it may learn from.
//!
//! Step by step: of all products, those whose score test (Rao 1948) is highest at the present model
//! are tried on folds, and the best one is kept if the log loss there falls by more than chance.

use crate::parallel;

use super::error::RowsError;
use super::linear::{gram, products};
use super::linear_model::{expanded, product};
use super::logistic::{self, Options, probability};
use super::matrix::{Matrix, select};
use super::metrics::{log_loss_of, mean};
use super::split::{Fold, stratified_folds};
use crate::least_squares::cholesky_solve;

/// Bounds of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Products that are added, at most.
    pub pairs_max: usize,
    /// Products that are tried on folds in each step.
    pub tried: usize,
    /// Folds.
    pub folds: usize,
    /// Repeats of them.
    pub repeats: usize,
    /// Deviations of the mean difference by which the loss has to fall.
    pub deviations: f64,
    /// Its chance.
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { pairs_max: 5, tried: 8, folds: 5, repeats: 2, deviations: 1.0, seed: 0 }
    }
}

/// Those of `candidates` whose products help, in the order in which they were found. `options` has
/// the penalty, the weights and the pairs that take part anyway, which are not among those
/// returned.
pub fn search(
    columns: &Matrix,
    labels: &[bool],
    candidates: &[(usize, usize)],
    options: &Options<'_>,
    search: &Search,
) -> Result<Vec<(usize, usize)>, RowsError> {
    let classes: Vec<usize> = labels.iter().map(|label| usize::from(*label)).collect();
    let folds = stratified_folds(&classes, search.folds, search.repeats, search.seed)?;
    let given = |&(a, b): &(usize, usize)| {
        options.pairs.contains(&(a, b)) || options.pairs.contains(&(b, a))
    };
    let mut candidates: Vec<(usize, usize)> = candidates.to_vec();
    candidates.retain(|pair| !given(pair));
    let mut pairs = options.pairs.to_vec();
    let mut present = losses(columns, labels, &pairs, options, &folds)?;
    while pairs.len() < options.pairs.len() + search.pairs_max {
        let scores = score_tests(columns, labels, &pairs, options, &candidates)?;
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let tried = order.into_iter().take(search.tried).map(|candidate| {
            let with = [&pairs[..], &[candidates[candidate]]].concat();
            Ok((losses(columns, labels, &with, options, &folds)?, candidate))
        });
        let tried = tried.collect::<Result<Vec<_>, RowsError>>()?;
        let best = tried.into_iter().min_by(|a, b| sum(&a.0).total_cmp(&sum(&b.0)));
        let Some((losses, candidate)) = best else { break };
        if gain(&present, &losses) <= search.deviations {
            break;
        }
        present = losses;
        pairs.push(candidates.remove(candidate));
    }
    Ok(pairs.split_off(options.pairs.len()))
}

fn sum(losses: &[f64]) -> f64 {
    losses.iter().sum()
}

/// By how many deviations of their mean the losses of rows fell.
fn gain(before: &[f64], after: &[f64]) -> f64 {
    let differences = || before.iter().zip(after).map(|(a, b)| a - b);
    let centre = mean(differences());
    let variance = mean(differences().map(|d| (d - centre).powi(2)));
    centre / (variance / before.len() as f64).sqrt().max(f64::MIN_POSITIVE)
}

/// Mean log loss of each row over repeats, in folds that had not seen it.
fn losses(
    columns: &Matrix,
    labels: &[bool],
    pairs: &[(usize, usize)],
    options: &Options<'_>,
    folds: &[Fold],
) -> Result<Vec<f64>, RowsError> {
    let answers = parallel::of(folds, |fold| {
        let weights = options.weights.map(|weights| select(weights, &fold.train));
        let options = Options { pairs, weights: weights.as_deref(), ..*options };
        let known = select(labels, &fold.train);
        let model = logistic::fit(&columns.select(&fold.train), &known, &options)?;
        Ok(model.margins(&columns.select(&fold.test)))
    });
    let answers = answers.into_iter().collect::<Result<Vec<_>, RowsError>>()?;
    let mut losses = vec![0.0; labels.len()];
    for (fold, margins) in folds.iter().zip(answers) {
        for (&row, margin) in fold.test.iter().zip(margins) {
            losses[row] += log_loss_of(labels[row], probability(margin));
        }
    }
    Ok(losses)
}

/// How much each product would add to the present model, by the slope and the curvature of its
/// loss there: χ² of one degree of freedom if it were of no use.
fn score_tests(
    columns: &Matrix,
    labels: &[bool],
    pairs: &[(usize, usize)],
    options: &Options<'_>,
    candidates: &[(usize, usize)],
) -> Result<Vec<f64>, RowsError> {
    let present = Options { pairs, ..options.clone() };
    let margins = logistic::fit(columns, labels, &present)?.margins(columns);
    let weight = |row: usize| options.weights.map_or(1.0, |weights| weights[row]);
    let chances: Vec<f64> = margins.into_iter().map(probability).collect();
    let rows = 0..labels.len();
    let curve = |row: usize| weight(row) * chances[row] * (1.0 - chances[row]);
    let slope = |row: usize| weight(row) * (f64::from(u8::from(labels[row])) - chances[row]);
    let curves: Vec<f64> = rows.clone().map(curve).collect();
    let slopes: Vec<f64> = rows.map(slope).collect();
    let all = expanded(columns, pairs)?;
    let n = all.columns() + 1;
    let (mut hessian, _) = gram(&all, &curves, &slopes);
    present.penalties(&all).iter().enumerate().for_each(|(i, l2)| hessian[i * n + i] += l2);
    let score = |&pair: &(usize, usize)| {
        let values = product(columns, pair);
        let curved: Vec<f64> = values.iter().zip(&curves).map(|(v, c)| v * c).collect();
        // What of it the present columns already say.
        let shared = products(&all, &curved);
        let mut solved = shared.clone();
        if !cholesky_solve(&mut hessian.clone(), &mut solved, n) {
            return 0.0;
        }
        let own: f64 = values.iter().zip(&curved).map(|(v, c)| v * c).sum();
        let said: f64 = shared.iter().zip(&solved).map(|(a, b)| a * b).sum();
        let steep: f64 = values.iter().zip(&slopes).map(|(v, s)| v * s).sum();
        let left = own - said;
        if left > 1e-9 * own.max(f64::MIN_POSITIVE) { steep * steep / left } else { 0.0 }
    };
    Ok(parallel::of(candidates, score))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six columns; the log odds have one product, of the second and the fifth.
    fn sample(rows: usize, strength: f64, seed: u64) -> (Matrix, Vec<bool>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let values: Vec<f64> = (0..rows * 6).map(|_| rng.f64() * 3.0 - 1.5).collect();
        let columns = Matrix::new(rows, 6, values);
        let margin = |row: usize| {
            let at = |column| columns.at(row, column);
            at(0) - 0.5 * at(1) + strength * at(1) * at(4) - 1.0
        };
        let labels = (0..rows).map(|row| rng.f64() < probability(margin(row))).collect();
        (columns, labels)
    }

    fn all() -> Vec<(usize, usize)> {
        (0..6).flat_map(|a| (a + 1..6).map(move |b| (a, b))).collect()
    }

    #[test]
    fn a_product_that_matters_is_found_first() {
        let options = Options { l2: 1.0, ..Options::default() };
        for seed in 0..5 {
            let (columns, labels) = sample(1_500, 1.0, seed);
            let bounds = Search { seed, ..Search::default() };
            let found = search(&columns, &labels, &all(), &options, &bounds).expect("pairs");
            assert_eq!(found.first(), Some(&(1, 4)), "{found:?}");
            assert!(found.len() <= bounds.pairs_max);
            let again = search(&columns, &labels, &all(), &options, &bounds).expect("pairs");
            assert_eq!(found, again);
        }
    }

    #[test]
    fn what_takes_part_anyway_is_not_found() {
        let (columns, labels) = sample(1_500, 1.0, 3);
        let options = Options { l2: 1.0, pairs: &[(4, 1)], ..Options::default() };
        let found = search(&columns, &labels, &all(), &options, &Search::default());
        assert!(!found.expect("pairs").contains(&(1, 4)));
    }
}
