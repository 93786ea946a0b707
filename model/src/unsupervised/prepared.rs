//! Columns as searches take them, and what is chosen on some of the rows.

use crate::rows::RowsError;
use crate::rows::draw;
use crate::rows::k_means::{self, Candidate, KMeans};
use crate::rows::matrix::Matrix;
use crate::stats::median;

/// Rows on which numbers of groups and distances are chosen, at most: choosing looks many times.
const CHOSEN_ON: usize = 2_000;

/// The median of what is there.
pub(super) fn middle(column: &[f64]) -> Option<f64> {
    median(column.iter().copied().filter(|value| !value.is_nan()).collect())
}

/// Columns in which a missing value is the median of the others; 0 where there are none.
pub(super) fn filled(columns: &Matrix) -> Matrix {
    let mut filled = Matrix::empty(columns.rows());
    for column in (0..columns.columns()).map(|number| columns.column(number)) {
        let middle = middle(column).unwrap_or_default();
        let fill = |value: &f64| if value.is_nan() { middle } else { *value };
        filled.push(&column.iter().map(fill).collect::<Vec<_>>());
    }
    filled
}

/// Some of the rows where there are many, drawn by a seed.
pub(super) fn sample(columns: &Matrix, seed: u64) -> Matrix {
    if columns.rows() <= CHOSEN_ON {
        return columns.clone();
    }
    columns.select(&draw::rows(&mut draw::rng(seed, 0), columns.rows(), CHOSEN_ON))
}

/// How many groups there are: as many as are asked for, or of at most `most` the number that is
/// chosen, with all that were tried.
pub(super) fn clusters(
    columns: &Matrix,
    (asked, most): (Option<usize>, usize),
    options: &KMeans,
    seed: u64,
) -> Result<(usize, Vec<Candidate>), RowsError> {
    if let Some(clusters) = asked {
        return Ok((clusters, vec![]));
    }
    let chosen = k_means::choose(&sample(columns, seed), 1..=most, options, seed)?;
    Ok((chosen.clusters.centres.count(), chosen.candidates))
}
