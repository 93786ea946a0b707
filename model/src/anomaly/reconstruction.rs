//! All of a series at once: how badly a few shapes make up each part of it.
//!
//! Principal components of all windows of the series; what they leave of a window is its error.
//! Everything is known to it, the future too, so its scores are for looking back.

use serde::{Deserialize, Serialize};

use super::error::{AnomalyError, at_least_one};
use super::known;
use super::tail::tail_score;

/// Rounds over all pairs after which Jacobi's method has converged on any matrix of this size.
const SWEEPS_MAX: usize = 30;
/// Share of the matrix's size below which what lies beside the diagonal is rounding.
const PRECISION: f64 = 1e-12;

/// What [`reconstruction_scores`] takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconstructionOptions {
    /// Values of a window.
    pub window: usize,
    /// Principal components that are kept.
    pub components: usize,
}

impl Default for ReconstructionOptions {
    fn default() -> Self {
        Self { window: 4, components: 2 }
    }
}

/// The score of every value: the root mean square error of the window that ends there, as a tail
/// probability among the errors of all windows.
///
/// A value scores 0 that ends no window without missing values, and so does every value of a
/// series with fewer such windows than a window has values.
pub fn reconstruction_scores(
    values: &[f64],
    options: &ReconstructionOptions,
) -> Result<Vec<f64>, AnomalyError> {
    at_least_one(&[("window", options.window), ("components", options.components)])?;
    let ends: Vec<usize> = known_windows(values, options.window);
    let mut scores = vec![0.0; values.len()];
    if ends.len() < options.window {
        return Ok(scores);
    }
    let window = |end: usize| &values[end + 1 - options.window..=end];
    let windows: Vec<&[f64]> = ends.iter().map(|end| window(*end)).collect();
    let components = Components::of(&windows, options.components);
    let errors: Vec<f64> = windows.iter().map(|window| components.error(window)).collect();
    for (end, score) in ends.into_iter().zip(tail_scores(&errors)) {
        scores[end] = score;
    }
    Ok(scores)
}

/// Where windows end of which all values are known.
fn known_windows(values: &[f64], window: usize) -> Vec<usize> {
    let mut length = 0;
    let mut ends = Vec::new();
    for (at, value) in values.iter().enumerate() {
        length = if known(*value) { length + 1 } else { 0 };
        if length >= window {
            ends.push(at);
        }
    }
    ends
}

/// Each error as a tail probability among all of them.
fn tail_scores(errors: &[f64]) -> Vec<f64> {
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let variance = errors.iter().map(|error| (error - mean) * (error - mean)).sum::<f64>() / count;
    if variance <= 0.0 {
        return vec![0.0; errors.len()];
    }
    errors.iter().map(|error| tail_score((error - mean) / variance.sqrt())).collect()
}

/// The mean window and the directions in which windows differ most.
struct Components {
    mean: Vec<f64>,
    directions: Vec<Vec<f64>>,
}

impl Components {
    fn of(windows: &[&[f64]], components: usize) -> Self {
        let (width, count) = (windows[0].len(), windows.len() as f64);
        let column = |at: usize| windows.iter().map(move |window| window[at]);
        let mean: Vec<f64> = (0..width).map(|at| column(at).sum::<f64>() / count).collect();
        let mut covariance = vec![vec![0.0; width]; width];
        for (i, j) in (0..width).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let products = column(i).zip(column(j)).map(|(a, b)| (a - mean[i]) * (b - mean[j]));
            covariance[i][j] = products.sum::<f64>() / count;
            covariance[j][i] = covariance[i][j];
        }
        let mut directions = eigenvectors(covariance);
        directions.truncate(components);
        Self { mean, directions }
    }

    /// Root mean square of what the directions leave of a window.
    fn error(&self, window: &[f64]) -> f64 {
        let mut rest: Vec<f64> = window.iter().zip(&self.mean).map(|(v, mean)| v - mean).collect();
        let scale = window.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
        for direction in &self.directions {
            let length: f64 = rest.iter().zip(direction).map(|(r, d)| r * d).sum();
            rest.iter_mut().zip(direction).for_each(|(r, d)| *r -= length * d);
        }
        let squares: f64 = rest.iter().map(|r| r * r).sum();
        let error = (squares / rest.len() as f64).sqrt();
        // Below this the error is the rounding of the projection.
        if error <= PRECISION * scale { 0.0 } else { error }
    }
}

/// The eigenvectors of a symmetric matrix, that of the largest eigenvalue first, by Jacobi's method
/// (1846): rotations that make one entry beside the diagonal zero at a time.
fn eigenvectors(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let size = matrix.len();
    let unit = |i: usize| (0..size).map(move |j| f64::from(u8::from(i == j))).collect();
    // Rows are the vectors: the transposed product of all rotations.
    let mut vectors: Vec<Vec<f64>> = (0..size).map(unit).collect();
    let total: f64 = matrix.iter().flatten().map(|entry| entry * entry).sum();
    for _ in 0..SWEEPS_MAX {
        if beside_diagonal(&matrix) <= PRECISION * PRECISION * total {
            break;
        }
        for (p, q) in (0..size).flat_map(|p| (p + 1..size).map(move |q| (p, q))) {
            rotate(&mut matrix, &mut vectors, p, q);
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    order.into_iter().map(|at| std::mem::take(&mut vectors[at])).collect()
}

/// Sum of the squares beside the diagonal.
fn beside_diagonal(matrix: &[Vec<f64>]) -> f64 {
    let square = |i: usize, j: usize| if i == j { 0.0 } else { matrix[i][j] * matrix[i][j] };
    (0..matrix.len()).map(|i| (0..matrix.len()).map(|j| square(i, j)).sum::<f64>()).sum()
}

/// Makes the entry of a row and a column zero, by the smaller of the two angles that do.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    turn(matrix, (p, q), (cosine, sine));
    turn(vectors, (p, q), (cosine, sine));
}

/// Rotates two rows in their plane; the first is before the second.
fn turn(rows: &mut [Vec<f64>], (p, q): (usize, usize), (cosine, sine): (f64, f64)) {
    let (before, from_second) = rows.split_at_mut(q);
    for (a, b) in before[p].iter_mut().zip(&mut from_second[0]) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[f64]) -> Vec<f64> {
        let options = ReconstructionOptions { window: 12, components: 3 };
        reconstruction_scores(values, &options).expect("good options")
    }

    /// A wave, which two components make up, with a little noise.
    fn wave(rows: usize) -> Vec<f64> {
        let mut rng = fastrand::Rng::with_seed(3);
        (0..rows).map(|i| (i as f64 * 0.4).sin() * 10.0 + rng.f64() * 0.1).collect()
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_in_order() {
        // Eigenvalues 4, 2 and 1: (1, 1, 0), (1, −1, 0) over √2 and (0, 0, 1).
        let matrix = vec![vec![3.0, 1.0, 0.0], vec![1.0, 3.0, 0.0], vec![0.0, 0.0, 1.0]];
        let vectors = eigenvectors(matrix);
        let half = 0.5_f64.sqrt();
        let expected = [[half, half, 0.0], [half, -half, 0.0], [0.0, 0.0, 1.0]];
        for (vector, expected) in vectors.iter().zip(&expected) {
            let product: f64 = vector.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!((product.abs() - 1.0).abs() < 1e-12, "{vector:?}");
        }
    }

    #[test]
    fn what_breaks_the_pattern_is_found() {
        let mut values = wave(600);
        let flat = values[400];
        values[400..410].fill(flat);
        let scores = scores(&values);
        let highest = (0..600).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        assert!((400..422).contains(&highest.expect("some")), "{highest:?}");
        assert!(scores[highest.expect("some")] > 0.5);
    }

    #[test]
    fn constants_and_what_is_missing_score_zero() {
        assert_eq!(scores(&[0.1; 100]), vec![0.0; 100]);
        assert_eq!(scores(&wave(20)), vec![0.0; 20], "fewer windows than a window has values");
        let mut values = wave(200);
        values[100] = f64::NAN;
        let scores = scores(&values);
        assert_eq!(scores[100..112], [0.0; 12]);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        assert!(scores[112..].iter().any(|score| *score > 0.0));
        let none = ReconstructionOptions { window: 0, components: 1 };
        assert!(reconstruction_scores(&values, &none).is_err());
    }
}
