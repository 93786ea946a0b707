//! How good groups are without knowing the true ones: how apart they lie, and how much two
//! groupings of the same rows agree.

use std::collections::BTreeMap;

use crate::parallel;

use super::draw;
use super::matrix::{Matrix, select};
use super::metrics::mean;

/// Mean silhouette (Rousseeuw 1987): by how much each row is nearer to its own group than to the
/// next one, from −1 to 1; 0 of a row that is alone in its group. `None` with fewer than two
/// groups, or as many as rows, as scikit-learn has it. It compares all rows with all.
///
/// # Panics
/// If there are not as many labels as rows.
pub fn silhouette(columns: &Matrix, labels: &[usize]) -> Option<f64> {
    assert_eq!(labels.len(), columns.rows(), "every row has a label");
    let mut rows_of = vec![0_usize; labels.iter().max()? + 1];
    labels.iter().for_each(|&label| rows_of[label] += 1);
    let groups = rows_of.iter().filter(|rows| **rows > 0).count();
    if groups < 2 || groups == labels.len() {
        return None;
    }
    let of = |row| silhouette_of(columns, labels, &rows_of, row);
    let each: Vec<f64> = parallel::each(labels.len(), of);
    Some(mean(each.into_iter()))
}

/// The same of at most `rows` rows, drawn by a seed.
///
/// # Panics
/// If there are not as many labels as rows.
pub fn silhouette_of_sample(
    columns: &Matrix,
    labels: &[usize],
    rows: usize,
    seed: u64,
) -> Option<f64> {
    if columns.rows() <= rows {
        return silhouette(columns, labels);
    }
    let drawn = draw::rows(&mut draw::rng(seed, 0), columns.rows(), rows);
    silhouette(&columns.select(&drawn), &select(labels, &drawn))
}

fn silhouette_of(columns: &Matrix, labels: &[usize], rows_of: &[usize], row: usize) -> f64 {
    let own = labels[row];
    if rows_of[own] == 1 {
        return 0.0;
    }
    let mut squares = vec![0.0; labels.len()];
    for column in 0..columns.columns() {
        let values = columns.column(column);
        for (square, value) in squares.iter_mut().zip(values) {
            let difference = value - values[row];
            *square += difference * difference;
        }
    }
    let mut sums = vec![0.0; rows_of.len()];
    for (square, &label) in squares.iter().zip(labels) {
        sums[label] += square.sqrt();
    }
    let others = (0..sums.len()).filter(|&label| label != own && rows_of[label] > 0);
    let nearest = others.map(|label| sums[label] / rows_of[label] as f64);
    let nearest = nearest.fold(f64::INFINITY, f64::min);
    let own = sums[own] / (rows_of[own] as f64 - 1.0);
    match own.max(nearest) {
        larger if larger > 0.0 => (nearest - own) / larger,
        _ => 0.0,
    }
}

/// How much two groupings of the same rows agree (Hubert and Arabie 1985): 1 if they are the same
/// but for numbers, around 0 if they agree no more than chance.
///
/// # Panics
/// If they are of different numbers of rows.
pub fn adjusted_rand_index(one: &[usize], other: &[usize]) -> f64 {
    assert_eq!(one.len(), other.len(), "both group the same rows");
    let both = squares(one.iter().zip(other));
    let (ones, others) = (squares(one.iter()), squares(other.iter()));
    let rows = one.len() as f64;
    // Pairs of different rows, each twice: together in both, in one only, in neither.
    let together = both - rows;
    let (in_one, in_other) = (ones - both, others - both);
    let neither = rows * rows - ones - others + both;
    if in_one == 0.0 && in_other == 0.0 {
        return 1.0;
    }
    let above_chance = 2.0 * (together * neither - in_one * in_other);
    let most =
        (together + in_one) * (in_one + neither) + (together + in_other) * (in_other + neither);
    above_chance / most
}

/// The sum of squares of how often each thing comes.
fn squares<T: Ord>(things: impl Iterator<Item = T>) -> f64 {
    let mut counts: BTreeMap<T, f64> = BTreeMap::new();
    things.for_each(|thing| *counts.entry(thing).or_default() += 1.0);
    counts.values().map(|count| count * count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} instead of {expected}");
    }

    #[test]
    fn agreement_is_as_scikit_learn_has_it() {
        let close_to = |one: &[usize], other: &[usize], expected| {
            close(adjusted_rand_index(one, other), expected);
            close(adjusted_rand_index(other, one), expected);
        };
        close_to(&[0, 0, 1, 1], &[7, 7, 3, 3], 1.0);
        close_to(&[0, 0, 1, 1], &[0, 0, 1, 2], 0.571_428_571_428_571_4);
        close_to(&[0, 0, 0, 0], &[0, 1, 2, 3], 0.0);
        close_to(&[0, 0, 1, 1], &[0, 1, 0, 1], -0.5);
        close_to(&[0, 0, 0], &[1, 1, 1], 1.0);
        close_to(&[5], &[2], 1.0);
        close_to(&[], &[], 1.0);
    }

    #[test]
    fn silhouettes_are_as_by_hand() {
        let line = Matrix::new(4, 1, vec![0.0, 2.0, 10.0, 12.0]);
        // Own 2; the other group is 11 and 9 away.
        close(silhouette(&line, &[0, 0, 1, 1]).expect("two"), (9.0 / 11.0 + 7.0 / 9.0) / 2.0);
        // The last one is alone: 0. The others: own 6, 5 and 9; the other group 12, 10 and 2.
        let three = (6.0 / 12.0 + 5.0 / 10.0 - 7.0 / 9.0) / 4.0;
        close(silhouette(&line, &[3, 3, 3, 9]).expect("two"), three);
        assert_eq!(silhouette(&line, &[0; 4]), None);
        assert_eq!(silhouette(&line, &[0, 1, 2, 3]), None);
        assert_eq!(silhouette(&Matrix::empty(0), &[]), None);
        assert_eq!(silhouette(&Matrix::new(3, 1, vec![1.0; 3]), &[0, 0, 1]), Some(0.0));
    }

    #[test]
    fn a_sample_is_near_to_all() {
        let mut rng = fastrand::Rng::with_seed(1);
        let labels: Vec<usize> = (0..1_000).map(|row| row % 2).collect();
        let values = labels.iter().map(|&label| label as f64 * 3.0 + rng.f64()).collect();
        let columns = Matrix::new(1_000, 1, values);
        let all = silhouette(&columns, &labels).expect("two");
        assert_eq!(silhouette_of_sample(&columns, &labels, 1_000, 1), Some(all));
        let sample = silhouette_of_sample(&columns, &labels, 200, 1).expect("two");
        assert!(sample != all && (sample - all).abs() < 0.02, "{sample} of {all}");
    }
}
