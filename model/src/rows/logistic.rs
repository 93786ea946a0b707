//! Logistic regression with a quadratic penalty, by Newton's method.
//!
//! It minimises Σ weight·loss + ½·l2·Σ coefficient², without a penalty on the intercept, which is
//! scikit-learn's `LogisticRegression` with C = 1 / l2. Products may have a penalty of their own.

use super::error::RowsError;
use super::linear::{gram, shift};
use super::linear_model::{LinearModel, expanded};
use super::matrix::Matrix;
use crate::least_squares::cholesky_solve;

const FAMILY: &str = "logistic regression";
/// Steps, at most. Newton's method needs about ten.
const STEPS_MAX: usize = 100;
/// Steps that are halved, at most, until the penalised loss falls.
const HALVINGS_MAX: usize = 40;
/// A step so small, relative to the coefficients, that they are found.
const TOLERANCE: f64 = 1e-10;

/// What fitting needs beside data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options<'a> {
    /// The penalty; larger is smoother.
    pub l2: f64,
    /// The penalty of products; that of columns without.
    pub products_l2: Option<f64>,
    /// Pairs of columns whose products take part.
    pub pairs: &'a [(usize, usize)],
    /// A weight per row; all alike without.
    pub weights: Option<&'a [f64]>,
}

impl Options<'_> {
    /// Refuses weights and penalties that are none.
    pub(super) fn check(&self, rows: usize) -> Result<(), RowsError> {
        check_weights(self.weights, rows, self.l2)?;
        self.products_l2.map_or(Ok(()), |l2| check_weights(self.weights, rows, l2))
    }

    /// The penalty of each of the columns that [`expanded`] gives.
    pub(super) fn penalties(&self, all: &Matrix) -> Vec<f64> {
        let mut penalties = vec![self.l2; all.columns()];
        let products = all.columns() - self.pairs.len();
        penalties[products..].fill(self.products_l2.unwrap_or(self.l2));
        penalties
    }
}

/// Fits it.
pub fn fit(
    columns: &Matrix,
    labels: &[bool],
    options: &Options<'_>,
) -> Result<LinearModel, RowsError> {
    columns.finite(FAMILY)?;
    let ones = labels.iter().filter(|label| **label).count();
    if labels.len() != columns.rows() || ones == 0 || ones == labels.len() {
        let what = format!("{ones} of {} rows are of the class: both must be there", labels.len());
        return Err(RowsError::Unsuitable(what));
    }
    options.check(labels.len())?;
    let all = expanded(columns, options.pairs)?;
    let coefficients = newton(&all, labels, options)?;
    let (intercept, coefficients) = coefficients.split_last().expect("the intercept is there");
    Ok(LinearModel::new(*intercept, coefficients, columns, options.pairs))
}

/// Probability of given log odds.
pub fn probability(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

/// Log odds of a given probability; never infinite.
pub fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    (p / (1.0 - p)).ln()
}

pub(crate) fn check_weights(
    weights: Option<&[f64]>,
    rows: usize,
    l2: f64,
) -> Result<(), RowsError> {
    let fit = |w: &[f64]| w.len() == rows && w.iter().all(|w| w.is_finite() && *w >= 0.0);
    if weights.is_none_or(fit) && l2.is_finite() && l2 >= 0.0 {
        return Ok(());
    }
    let what = "weights are one finite number per row, and they and the penalty not below zero";
    Err(RowsError::Unsuitable(what.to_owned()))
}

/// Coefficients, and the intercept at the end.
fn newton(all: &Matrix, labels: &[bool], options: &Options<'_>) -> Result<Vec<f64>, RowsError> {
    let (rows, n) = (all.rows(), all.columns() + 1);
    let weight = |row: usize| options.weights.map_or(1.0, |weights| weights[row]);
    let failed = |why: &str| RowsError::NoSolution { family: FAMILY, why: why.to_owned() };
    let mut coefficients = vec![0.0; n];
    let mut margins = vec![0.0; rows];
    let penalties = options.penalties(all);
    let penalised = |margins: &[f64], coefficients: &[f64]| {
        penalised(margins, coefficients, labels, (options.weights, &penalties))
    };
    let mut loss = penalised(&margins, &coefficients);
    for _ in 0..STEPS_MAX {
        let chances: Vec<f64> = margins.iter().map(|margin| probability(*margin)).collect();
        let curve = |row: usize| weight(row) * chances[row] * (1.0 - chances[row]);
        let slope = |row: usize| weight(row) * (f64::from(u8::from(labels[row])) - chances[row]);
        let curves: Vec<f64> = (0..rows).map(curve).collect();
        let slopes: Vec<f64> = (0..rows).map(slope).collect();
        let (mut hessian, mut step) = gram(all, &curves, &slopes);
        for (i, penalty) in penalties.iter().enumerate() {
            hessian[i * n + i] += penalty;
            step[i] -= penalty * coefficients[i];
        }
        if !cholesky_solve(&mut hessian, &mut step, n) {
            return Err(failed("some columns follow from others, or the classes are separable"));
        }
        let largest = step.iter().fold(0.0, |most: f64, step| most.max(step.abs()));
        let scale = coefficients.iter().fold(1.0, |most: f64, c| most.max(c.abs()));
        let change = shift(all, &step);
        // Near the end, rounding hides whether the loss still falls: the full step is right there.
        let last = largest <= 1e-6 * scale;
        let mut length = 1.0;
        for halving in 0.. {
            let tried: Vec<f64> =
                coefficients.iter().zip(&step).map(|(c, step)| c + length * step).collect();
            let moved: Vec<f64> =
                margins.iter().zip(&change).map(|(m, change)| m + length * change).collect();
            let new = penalised(&moved, &tried);
            if last || new <= loss || halving == HALVINGS_MAX {
                (coefficients, margins, loss) = (tried, moved, new);
                break;
            }
            length /= 2.0;
        }
        if !loss.is_finite() {
            return Err(failed("they grow without bound"));
        }
        if largest <= TOLERANCE * scale {
            return Ok(coefficients);
        }
    }
    Err(failed("the classes are separable, so they grow without bound"))
}

/// What is minimised.
fn penalised(
    margins: &[f64],
    coefficients: &[f64],
    labels: &[bool],
    (weights, penalties): (Option<&[f64]>, &[f64]),
) -> f64 {
    let loss = |(row, &margin): (usize, &f64)| {
        let weight = weights.map_or(1.0, |weights| weights[row]);
        let towards = if labels[row] { -margin } else { margin };
        // ln(1 + eˣ) without overflow.
        weight * (towards.max(0.0) + (-towards.abs()).exp().ln_1p())
    };
    // The intercept, at the end, has none.
    let penalty: f64 = coefficients.iter().zip(penalties).map(|(c, penalty)| c * c * penalty).sum();
    margins.iter().enumerate().map(loss).sum::<f64>() + penalty / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::linear::tests::{close, columns, noise, weights};

    fn labels() -> Vec<bool> {
        let columns = columns();
        let label =
            |row: usize| columns.at(row, 0) + 0.05 * (columns.at(row, 1) - 50.0) + noise(row) > 0.2;
        (0..60).map(label).collect()
    }

    fn fitted(labels: &[bool], l2: f64, weights: Option<&[f64]>) -> Vec<f64> {
        let options = Options { l2, weights, ..Options::default() };
        let model = fit(&columns(), labels, &options).expect("coefficients");
        [&model.coefficients[..], &[model.intercept]].concat()
    }

    /// The expected numbers are of scikit-learn 1.9.1: `LogisticRegression(C=1/l2, tol=1e-12,
    /// solver="newton-cholesky")`, which `lbfgs` with `tol=1e-10` gives within 8e-7.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        close(
            &fitted(&labels(), 1.0, None),
            &[2.057_858_234_251, 0.150_211_664_516, 0.046_712_655_887, -7.802_437_425_320],
        );
        close(
            &fitted(&labels(), 10.0, Some(&weights())),
            &[1.048_383_608_925, 0.083_176_799_229, -0.004_178_032_034, -4.422_060_321_689],
        );
    }

    #[test]
    fn separable_classes_have_coefficients_with_a_penalty_only() {
        let columns = columns();
        let apart = |row: usize| columns.at(row, 0) + 0.05 * (columns.at(row, 1) - 50.0) > 0.0;
        let labels: Vec<bool> = (0..60).map(apart).collect();
        close(
            &fitted(&labels, 0.001, None),
            &[20.046_881_279, -0.225_943_361, 4.252_005_877, 15.427_369_613],
        );
        let none = fit(&columns, &labels, &Options::default()).expect_err("separable");
        assert!(matches!(none, RowsError::NoSolution { .. }), "{none}");
    }

    #[test]
    fn a_product_is_a_column_that_was_multiplied() {
        let (columns, labels) = (columns(), labels());
        let pairs = [(0, 1)];
        let with =
            fit(&columns, &labels, &Options { l2: 1.0, pairs: &pairs, ..Options::default() });
        let with = with.expect("coefficients");
        let multiplied = expanded(&columns, &pairs).expect("columns");
        let options = Options { l2: 1.0, ..Options::default() };
        let plain = fit(&multiplied, &labels, &options).expect("coefficients");
        assert_eq!(with.products[0].coefficient, plain.coefficients[3]);
        close(&with.margins(&columns), &plain.margins(&multiplied));
    }

    #[test]
    fn products_may_have_a_penalty_of_their_own() {
        let (columns, labels) = (columns(), labels());
        let of = |products_l2| Options {
            l2: 1.0,
            products_l2,
            pairs: &[(0, 1), (0, 2)],
            ..Options::default()
        };
        let fitted = |options: &Options<'_>| fit(&columns, &labels, options).expect("coefficients");
        assert_eq!(fitted(&of(Some(1.0))), fitted(&of(None)));
        // So large that nothing is left of them: the regression on columns alone.
        let none = fitted(&of(Some(1e14)));
        close(
            &none.margins(&columns),
            &fitted(&Options { pairs: &[], ..of(None) }).margins(&columns),
        );
        assert!(fit(&columns, &labels, &of(Some(-1.0))).is_err());
    }

    #[test]
    fn what_cannot_be_learnt_from_is_refused() {
        let (columns, labels) = (columns(), labels());
        let options = Options { l2: 1.0, ..Options::default() };
        let refused = |columns: &Matrix, labels: &[bool], options: &Options<'_>| {
            fit(columns, labels, options).expect_err("refused").to_string()
        };
        let missing = Matrix::new(60, 1, vec![f64::NAN; 60]);
        assert!(refused(&missing, &labels, &options).contains("row 0 has NaN in column 0"));
        let one_class = refused(&columns, &[true; 60], &options);
        assert!(one_class.starts_with("60 of 60 rows are of the class"), "{one_class}");
        let negative = Options { weights: Some(&[-1.0; 60]), ..options.clone() };
        assert!(refused(&columns, &labels, &negative).contains("not below zero"));
        let mut twice = columns.clone();
        twice.push(columns.column(0));
        assert!(refused(&twice, &labels, &Options::default()).contains("follow from others"));
        assert!(fit(&twice, &labels, &options).is_ok(), "a penalty shares the effect");
    }

    #[test]
    fn log_odds_and_probability_are_inverse() {
        for p in [1e-9, 0.1, 0.5, 0.97] {
            assert!((probability(log_odds(p)) - p).abs() < 1e-15);
        }
        assert!(log_odds(0.0).is_finite() && log_odds(1.0).is_finite());
    }
}
