//! Linear regression with a quadratic penalty (ridge).
//!
//! It minimises Σ weight·(error)² + l2·Σ coefficient², without a penalty on the intercept, which
//! is scikit-learn's `Ridge` with alpha = l2.

use super::error::RowsError;
use super::linear_model::{LinearModel, expanded};
use super::logistic::Options;
use super::matrix::Matrix;
use super::metrics::mean;
use crate::least_squares::{cholesky_solve, dot};

const FAMILY: &str = "linear regression";

/// Fits it.
pub fn fit(
    columns: &Matrix,
    targets: &[f64],
    options: &Options<'_>,
) -> Result<LinearModel, RowsError> {
    columns.finite(FAMILY)?;
    if targets.len() != columns.rows() || targets.is_empty() {
        let what = format!("{} targets of {} rows", targets.len(), columns.rows());
        return Err(RowsError::Unsuitable(what));
    }
    if let Some(row) = targets.iter().position(|target| !target.is_finite()) {
        let what = format!("the target of row {row} is {}, no finite number", targets[row]);
        return Err(RowsError::Unsuitable(what));
    }
    options.check(targets.len())?;
    let all = expanded(columns, options.pairs)?;
    let centred = Centred::new(&all, targets, options.weights);
    let coefficients = centred.solve(&options.penalties(&all))?;
    let moved: f64 = coefficients.iter().zip(&centred.means).map(|(c, mean)| c * mean).sum();
    Ok(LinearModel::new(centred.target - moved, &coefficients, columns, options.pairs))
}

/// Columns and target around their weighted means, so that the intercept needs no equation and
/// large values keep their digits.
struct Centred {
    columns: Matrix,
    targets: Vec<f64>,
    weights: Vec<f64>,
    means: Vec<f64>,
    target: f64,
}

impl Centred {
    fn new(all: &Matrix, targets: &[f64], weights: Option<&[f64]>) -> Self {
        let weights = weights.map_or_else(|| vec![1.0; targets.len()], <[f64]>::to_vec);
        let total = mean(weights.iter().copied());
        let around = |values: &[f64]| {
            let centre = mean(values.iter().zip(&weights).map(|(v, w)| v * w / total));
            (centre, values.iter().map(|v| v - centre).collect::<Vec<f64>>())
        };
        let (target, targets) = around(targets);
        let (mut columns, mut means) = (Matrix::empty(all.rows()), Vec::new());
        for column in 0..all.columns() {
            let (centre, values) = around(all.column(column));
            means.push(centre);
            columns.push(&values);
        }
        Self { columns, targets, weights, means, target }
    }

    fn solve(&self, penalties: &[f64]) -> Result<Vec<f64>, RowsError> {
        let n = self.columns.columns();
        let weighted: Vec<f64> =
            self.targets.iter().zip(&self.weights).map(|(target, w)| target * w).collect();
        let (with_intercept, right) = gram(&self.columns, &self.weights, &weighted);
        let mut gram: Vec<f64> =
            with_intercept.chunks(n + 1).take(n).flat_map(|row| row[..n].iter().copied()).collect();
        let mut coefficients = right[..n].to_vec();
        penalties.iter().enumerate().for_each(|(i, penalty)| gram[i * n + i] += penalty);
        match cholesky_solve(&mut gram, &mut coefficients, n) {
            true if coefficients.iter().all(|c| c.is_finite()) => Ok(coefficients),
            _ => Err(RowsError::NoSolution {
                family: FAMILY,
                why: "some columns follow from others".to_owned(),
            }),
        }
    }
}

/// Lower half of XᵀWX and XᵀS, where X has a last column of ones, W is diagonal with `curves`, and
/// S is `slopes`.
pub(crate) fn gram(all: &Matrix, curves: &[f64], slopes: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = all.columns() + 1;
    let mut gram = vec![0.0; n * n];
    for i in 0..n - 1 {
        let column = all.column(i);
        let weighted: Vec<f64> = column.iter().zip(curves).map(|(v, w)| v * w).collect();
        for j in 0..=i {
            gram[i * n + j] = dot(&weighted, all.column(j));
        }
        gram[(n - 1) * n + i] = weighted.iter().sum();
    }
    gram[n * n - 1] = curves.iter().sum();
    (gram, products(all, slopes))
}

/// XᵀS, where X has a last column of ones and S is `slopes`.
pub(crate) fn products(all: &Matrix, slopes: &[f64]) -> Vec<f64> {
    let own = (0..all.columns()).map(|column| dot(all.column(column), slopes));
    own.chain([slopes.iter().sum()]).collect()
}

/// What rows get of coefficients, the last of which is the intercept.
pub(crate) fn shift(all: &Matrix, coefficients: &[f64]) -> Vec<f64> {
    let (intercept, coefficients) = coefficients.split_last().expect("the intercept is there");
    let mut sums = vec![*intercept; all.rows()];
    for (column, coefficient) in coefficients.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(all.column(column)) {
            *sum += coefficient * value;
        }
    }
    sums
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 60 rows of three columns of different sizes, which NumPy makes alike.
    pub(crate) fn columns() -> Matrix {
        let value = |row: usize, column: usize| {
            ((row + 1) as f64 * (column + 1) as f64 * 0.7).sin() * [1.0, 10.0, 0.1][column]
                + [0.0, 50.0, 0.0][column]
        };
        let column = |column: usize| (0..60).map(move |row| value(row, column));
        Matrix::new(60, 3, (0..3).flat_map(column).collect())
    }

    pub(crate) fn noise(row: usize) -> f64 {
        ((row + 1) as f64 * 1.3).cos()
    }

    pub(crate) fn weights() -> Vec<f64> {
        (0..60).map(|row| 1.0 + (row % 3) as f64).collect()
    }

    #[track_caller]
    pub(crate) fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-7 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }

    fn fitted(l2: f64, weights: Option<&[f64]>) -> Vec<f64> {
        let columns = columns();
        let target = |row: usize| {
            2.0 * columns.at(row, 0) - 0.3 * columns.at(row, 1)
                + 5.0 * columns.at(row, 2)
                + noise(row)
        };
        let targets: Vec<f64> = (0..60).map(target).collect();
        let options = Options { l2, weights, ..Options::default() };
        let model = fit(&columns, &targets, &options).expect("coefficients");
        [&model.coefficients[..], &[model.intercept]].concat()
    }

    /// The expected numbers are of scikit-learn 1.9.1: `Ridge(alpha=l2)`.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        close(
            &fitted(1.0, None),
            &[1.921_559_532_706, -0.300_972_777_639, 1.217_238_608_116, 0.042_061_954_170],
        );
        close(
            &fitted(0.0, None),
            &[1.984_118_393_319, -0.300_203_624_267, 5.254_255_484_220, 0.000_689_582_500],
        );
        close(
            &fitted(5.0, Some(&weights())),
            &[1.831_241_455_278, -0.305_596_301_118, 0.444_368_801_355, 0.214_507_150_926],
        );
    }

    #[test]
    fn what_cannot_be_learnt_from_is_refused() {
        let options = Options::default();
        let refused = fit(&columns(), &[f64::NAN; 60], &options).expect_err("refused");
        assert_eq!(refused.to_string(), "the target of row 0 is NaN, no finite number");
        assert!(fit(&columns(), &[1.0; 59], &options).is_err());
        let mut twice = columns();
        twice.push(columns().column(1));
        assert!(fit(&twice, &[1.0; 60], &options).is_err(), "nothing tells the columns apart");
        assert!(fit(&twice, &[1.0; 60], &Options { l2: 0.1, ..options }).is_ok());
    }
}
