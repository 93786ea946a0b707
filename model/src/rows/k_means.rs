//! k-means: rows in groups around means, so that squared distances to the own one are least.
//!
//! Starts are drawn far from each other (k-means++, Arthur and Vassilvitskii 2007, the best of some
//! candidates at a time), improved by Lloyd's steps until no row changes, and the best of several
//! starts is kept. Columns should be of one size: [`super::standard`] makes them so.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::parallel;
use serde::{Deserialize, Serialize};

use super::agreement::{adjusted_rand_index, silhouette_of_sample};
use super::draw;
use super::error::RowsError;
use super::matrix::Matrix;
use super::metrics::mean;

/// How groups are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KMeans {
    /// Starts of which the best one is kept.
    pub restarts: usize,
    /// Steps from each start, at most.
    pub steps_max: usize,
}

impl Default for KMeans {
    fn default() -> Self {
        Self { restarts: 10, steps_max: 300 }
    }
}

/// The means that rows are near to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Centres {
    /// Number of columns.
    pub columns: usize,
    /// Values of the first centre, then those of the second one.
    pub values: Vec<f64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// The means, that of the largest group first.
    pub centres: Centres,
    /// The group of each row.
    pub labels: Vec<usize>,
    /// How far each row is from its own centre.
    pub distances: Vec<f64>,
    /// The sum of their squares.
    pub inertia: f64,
    /// Whether no row would change its group any more.
    pub converged: bool,
}

/// One number of groups that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Number of groups.
    pub clusters: usize,
    /// Sum of squared distances; it always falls with more groups.
    pub inertia: f64,
    /// How much nearer rows are to their own group than to the next one; none of one group.
    pub silhouette: Option<f64>,
    /// How much searches of different seeds agree: mean adjusted Rand index of their pairs.
    pub stability: f64,
}

/// A number of groups that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// All that were tried.
    pub candidates: Vec<Candidate>,
    /// The groups of the chosen one.
    pub clusters: Clusters,
}

/// Searches whose agreement is stability.
const RUNS: usize = 4;
/// Below, what a number of groups finds depends on the seed, and its groups mean nothing.
pub const STABLE_FROM: f64 = 0.9;
/// Silhouettes that differ by less are alike: two standard errors of as many rows as it looks at.
const ALIKE: f64 = 0.01;
/// Rows that a silhouette looks at, at most: it compares all with all.
const SILHOUETTE_ROWS_MAX: usize = 2_000;

/// Looks for `clusters` groups.
///
/// # Errors
/// If a value is missing or infinite, there is no column, or there are fewer different rows than
/// groups.
pub fn fit(
    columns: &Matrix,
    clusters: usize,
    options: &KMeans,
    seed: u64,
) -> Result<Clusters, RowsError> {
    check(columns, clusters, options)?;
    Ok(found(columns, clusters, options, seed))
}

/// Tries numbers of groups and chooses the one of the largest silhouette among those that are
/// stable, or among all if none is; of those alike the smallest number. One group has no
/// silhouette, so it is chosen only where there is nothing else: that there are groups at all is
/// not tested.
///
/// # Errors
/// As [`fit`] has for the least number; larger ones than there are different rows are not tried.
pub fn choose(
    columns: &Matrix,
    clusters: RangeInclusive<usize>,
    options: &KMeans,
    seed: u64,
) -> Result<Choice, RowsError> {
    check(columns, *clusters.start(), options)?;
    if clusters.is_empty() {
        let what = format!("no number of groups is from {clusters:?}");
        return Err(RowsError::Setting { what, hint: "give the least one first, as 2 to 10" });
    }
    let last = (*clusters.end()).min(different_rows(columns));
    let tried = (*clusters.start()..=last).map(|k| candidate(columns, k, options, seed));
    let tried: Vec<(Candidate, Clusters)> = tried.collect();
    let stable = |candidate: &Candidate| candidate.stability >= STABLE_FROM;
    let any_stable = tried.iter().any(|(c, _)| c.silhouette.is_some() && stable(c));
    let value = |candidate: &Candidate| match candidate.silhouette {
        Some(silhouette) if stable(candidate) || !any_stable => silhouette,
        _ => f64::NEG_INFINITY,
    };
    let candidates: Vec<Candidate> = tried.iter().map(|(candidate, _)| *candidate).collect();
    let largest = candidates.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
    let alike = |(candidate, _): &(Candidate, _)| value(candidate) >= largest - ALIKE;
    let chosen = tried.into_iter().find(alike);
    let (_, clusters) = chosen.expect("the least number was checked");
    Ok(Choice { candidates, clusters })
}

fn candidate(
    columns: &Matrix,
    clusters: usize,
    options: &KMeans,
    seed: u64,
) -> (Candidate, Clusters) {
    let seeds = (0..RUNS as u64).map(|run| seed.wrapping_add(run * options.restarts as u64));
    let mut runs: Vec<Clusters> =
        seeds.map(|seed| found(columns, clusters, options, seed)).collect();
    let pairs = (0..RUNS).flat_map(|a| (0..a).map(move |b| (a, b)));
    let agreement = pairs.map(|(a, b)| adjusted_rand_index(&runs[a].labels, &runs[b].labels));
    let stability = mean(agreement);
    let best = (0..RUNS).reduce(|a, b| if runs[b].inertia < runs[a].inertia { b } else { a });
    let best = runs.swap_remove(best.unwrap_or_default());
    let silhouette = silhouette_of_sample(columns, &best.labels, SILHOUETTE_ROWS_MAX, seed);
    (Candidate { clusters, inertia: best.inertia, silhouette, stability }, best)
}

fn check(columns: &Matrix, clusters: usize, options: &KMeans) -> Result<(), RowsError> {
    let refuse = |what: String, hint| Err(RowsError::Setting { what, hint });
    columns.squarable("k-means")?;
    if columns.columns() == 0 {
        return refuse("k-means has no columns".to_owned(), "give at least one column");
    }
    if clusters == 0 || options.restarts == 0 || options.steps_max == 0 {
        let what = format!("k-means cannot look for {clusters} groups with {options:?}");
        return refuse(what, "each of these numbers is at least 1");
    }
    match different_rows(columns) {
        different if different >= clusters => Ok(()),
        different => refuse(
            format!("{clusters} groups were asked for, and only {different} rows are different"),
            "ask for at most as many groups as there are different rows",
        ),
    }
}

fn different_rows(columns: &Matrix) -> usize {
    // Zero has two signs, which are no difference.
    let bits = |value: f64| (value + 0.0).to_bits();
    let key = |row| columns.row(row).into_iter().map(bits).collect::<Vec<_>>();
    (0..columns.rows()).map(key).collect::<HashSet<_>>().len()
}

/// The best of several starts.
fn found(columns: &Matrix, clusters: usize, options: &KMeans, seed: u64) -> Clusters {
    let from = |number: usize| {
        let mut rng = draw::rng(seed, number);
        improved(columns, starts(columns, clusters, &mut rng), options.steps_max)
    };
    let all: Vec<Clusters> = parallel::each(options.restarts, from);
    let best = all.into_iter().reduce(|a, b| if b.inertia < a.inertia { b } else { a });
    best.expect("there is a start").largest_first()
}

/// Centres far from each other: each is the best of some rows that were drawn by their squared
/// distance to the centres before.
fn starts(columns: &Matrix, clusters: usize, rng: &mut fastrand::Rng) -> Centres {
    let mut centres = Centres { columns: columns.columns(), values: Vec::new() };
    centres.values.extend(columns.row(rng.usize(..columns.rows())));
    let mut nearest = Vec::new();
    squares_to(columns, &centres.values, &mut nearest);
    let trials = 2 + (clusters as f64).ln() as usize;
    let mut best = (f64::INFINITY, 0, Vec::new());
    let mut squares = Vec::new();
    for _ in 1..clusters {
        best.0 = f64::INFINITY;
        let total = nearest.iter().sum::<f64>();
        for _ in 0..trials {
            let row = drawn(&nearest, total, rng);
            squares_to(columns, &columns.row(row), &mut squares);
            let least = squares.iter_mut().zip(&nearest);
            least.for_each(|(square, nearest)| *square = square.min(*nearest));
            let left = squares.iter().sum();
            if left < best.0 {
                (best.0, best.1) = (left, row);
                std::mem::swap(&mut best.2, &mut squares);
            }
        }
        centres.values.extend(columns.row(best.1));
        nearest.clone_from(&best.2);
    }
    centres
}

/// A row by its weight; any if none weighs.
fn drawn(weights: &[f64], total: f64, rng: &mut fastrand::Rng) -> usize {
    let mut left = rng.f64() * total;
    let mut last = rng.usize(..weights.len());
    for (row, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = row;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Squared distances of all rows to one point.
fn squares_to(columns: &Matrix, point: &[f64], squares: &mut Vec<f64>) {
    squares.clear();
    squares.resize(columns.rows(), 0.0);
    add_squares(columns, 0, point, squares);
}

/// Adds squared distances of the rows from `first` on to a point: column by column, so that many
/// rows are computed at once.
fn add_squares(columns: &Matrix, first: usize, point: &[f64], squares: &mut [f64]) {
    for (column, &centre) in point.iter().enumerate() {
        let values = &columns.column(column)[first..first + squares.len()];
        for (square, value) in squares.iter_mut().zip(values) {
            let difference = value - centre;
            *square += difference * difference;
        }
    }
}

/// Lloyd's steps until no row changes.
fn improved(columns: &Matrix, mut centres: Centres, steps_max: usize) -> Clusters {
    let mut near = Nearest::of(columns);
    near.look(columns, &centres);
    let mut converged = false;
    for _ in 0..steps_max {
        near.fill_empty(centres.count());
        near.means(columns, &mut centres);
        if !near.look(columns, &centres) {
            converged = true;
            break;
        }
    }
    let inertia = near.squares.iter().sum();
    let distances = near.squares.iter().map(|square| square.sqrt()).collect();
    let labels = near.labels.iter().map(|&label| label as usize).collect();
    Clusters { centres, labels, distances, inertia, converged }
}

/// The nearest centre of each row, and the square of how far it is.
struct Nearest {
    labels: Vec<u32>,
    squares: Vec<f64>,
}

/// Rows whose distances are kept near the processor.
const ROWS_A_PIECE: usize = 512;

impl Nearest {
    fn of(columns: &Matrix) -> Self {
        Self { labels: vec![0; columns.rows()], squares: vec![0.0; columns.rows()] }
    }

    /// Looks for the nearest centres; of equally near ones it is the first. Whether one changed.
    fn look(&mut self, columns: &Matrix, centres: &Centres) -> bool {
        let mut changed = false;
        let pieces = self.labels.chunks_mut(ROWS_A_PIECE);
        for (piece, (labels, least)) in
            pieces.zip(self.squares.chunks_mut(ROWS_A_PIECE)).enumerate()
        {
            let mut nearest = [0_u32; ROWS_A_PIECE];
            least.fill(f64::INFINITY);
            let mut squares = [0.0; ROWS_A_PIECE];
            let squares = &mut squares[..labels.len()];
            for (number, centre) in centres.each().enumerate() {
                squares.fill(0.0);
                add_squares(columns, piece * ROWS_A_PIECE, centre, squares);
                for ((square, least), label) in squares.iter().zip(&mut *least).zip(&mut nearest) {
                    let nearer = *square < *least;
                    *label = if nearer { number as u32 } else { *label };
                    *least = if nearer { *square } else { *least };
                }
            }
            let nearest = &nearest[..labels.len()];
            changed |= *labels != *nearest;
            labels.copy_from_slice(nearest);
        }
        changed
    }

    /// Gives each group that lost its rows the row that is farthest from its centre, of a group
    /// that has others.
    fn fill_empty(&mut self, clusters: usize) {
        let mut rows = vec![0_usize; clusters];
        self.labels.iter().for_each(|&label| rows[label as usize] += 1);
        for empty in 0..clusters {
            if rows[empty] > 0 {
                continue;
            }
            let spare = |row: &usize| rows[self.labels[*row] as usize] > 1;
            let farthest = (0..self.labels.len())
                .filter(spare)
                .reduce(|a, b| if self.squares[b] > self.squares[a] { b } else { a });
            let row = farthest.expect("there are at least as many rows as groups");
            rows[self.labels[row] as usize] -= 1;
            rows[empty] = 1;
            self.labels[row] = empty as u32;
            self.squares[row] = 0.0;
        }
    }

    fn means(&self, columns: &Matrix, centres: &mut Centres) {
        let clusters = centres.count();
        let mut rows = vec![0.0; clusters];
        self.labels.iter().for_each(|&label| rows[label as usize] += 1.0);
        for column in 0..columns.columns() {
            let mut sums = vec![0.0; clusters];
            for (&label, value) in self.labels.iter().zip(columns.column(column)) {
                sums[label as usize] += value;
            }
            for (number, (sum, rows)) in sums.iter().zip(&rows).enumerate() {
                centres.values[number * centres.columns + column] = sum / rows;
            }
        }
    }
}

impl Centres {
    /// Number of centres.
    pub fn count(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// The values of each.
    pub fn each(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The nearest centre of rows, which need not be those it was fitted on, and how far it is.
    ///
    /// # Errors
    /// If a value is missing or infinite, or there are other columns.
    pub fn nearest(&self, columns: &Matrix) -> Result<(Vec<usize>, Vec<f64>), RowsError> {
        columns.squarable("k-means")?;
        self.check(columns.columns())?;
        let mut near = Nearest::of(columns);
        near.look(columns, self);
        let labels = near.labels.iter().map(|&label| label as usize).collect();
        Ok((labels, near.squares.iter().map(|square| square.sqrt()).collect()))
    }

    /// Refuses centres that are not of `columns` columns.
    ///
    /// # Errors
    /// If it is so, there is none, or one is nowhere.
    pub fn check(&self, columns: usize) -> Result<(), RowsError> {
        let defect = |why: String| Err(RowsError::stored("a model of k-means", why));
        if self.columns != columns || columns == 0 {
            return defect(format!("it has {} columns instead of {columns}", self.columns));
        }
        if self.values.is_empty() || !self.values.len().is_multiple_of(columns) {
            return defect(format!("{} values are not of whole centres", self.values.len()));
        }
        match self.values.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => defect("a centre is not finite".to_owned()),
        }
    }
}

impl Clusters {
    /// Numbers the groups by their size, so that numbers do not depend on the seed.
    fn largest_first(mut self) -> Self {
        let mut rows = vec![0_usize; self.centres.count()];
        let mut first = vec![usize::MAX; rows.len()];
        for (row, &label) in self.labels.iter().enumerate() {
            rows[label] += 1;
            first[label] = first[label].min(row);
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&label| (std::cmp::Reverse(rows[label]), first[label]));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &label)| place[label] = at);
        self.labels.iter_mut().for_each(|label| *label = place[*label]);
        let each: Vec<&[f64]> = self.centres.each().collect();
        self.centres.values = order.iter().flat_map(|&label| each[label]).copied().collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows around some points, as many as told, at most 1 away in each of two columns.
    fn around(points: &[(f64, f64, usize)]) -> Matrix {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut values = Vec::new();
        for (x, y, rows) in points {
            (0..*rows).for_each(|_| values.extend([x + rng.f64() - 0.5, y + rng.f64() - 0.5]));
        }
        Matrix::from_rows(2, &values)
    }

    fn three() -> Matrix {
        around(&[(0.0, 0.0, 30), (6.0, 0.0, 50), (0.0, 6.0, 20)])
    }

    fn found(columns: &Matrix, clusters: usize) -> Clusters {
        fit(columns, clusters, &KMeans::default(), 1).expect("groups")
    }

    #[test]
    fn groups_are_found_and_numbered_by_size() {
        let clusters = found(&three(), 3);
        let expected = [1, 0, 2].iter().zip([30, 50, 20]);
        let expected: Vec<usize> =
            expected.flat_map(|(label, rows)| std::iter::repeat_n(*label, rows)).collect();
        assert_eq!(clusters.labels, expected);
        assert!(clusters.converged);
        let squares: f64 = clusters.distances.iter().map(|d| d * d).sum();
        assert!((squares - clusters.inertia).abs() < 1e-9);
        let again = clusters.centres.nearest(&three()).expect("nearest");
        assert_eq!(again, (clusters.labels.clone(), clusters.distances.clone()));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        assert_eq!(one.install(|| found(&three(), 3)), clusters, "on any number of cores");
    }

    #[test]
    fn inertia_is_as_by_hand_and_falls_with_more_groups() {
        let line = Matrix::new(4, 1, vec![0.0, 2.0, 10.0, 12.0]);
        let of = |clusters| found(&line, clusters);
        assert_eq!([1, 2, 3, 4].map(|k| of(k).inertia), [104.0, 4.0, 2.0, 0.0]);
        assert_eq!(of(2).centres.values, [1.0, 11.0]);
        assert_eq!(of(2).distances, [1.0; 4]);
        assert_eq!((of(1).labels, of(1).centres.values), (vec![0; 4], vec![6.0]));
        assert_eq!(found(&Matrix::new(1, 1, vec![3.0]), 1).inertia, 0.0);
    }

    #[test]
    fn a_group_that_lost_its_rows_gets_the_farthest_one() {
        let line = Matrix::new(5, 1, vec![0.0, 1.0, 2.0, 3.0, 20.0]);
        // Both far centres are nearest to nothing.
        let centres = Centres { columns: 1, values: vec![1.0, 900.0, 901.0] };
        let clusters = improved(&line, centres, 100).largest_first();
        assert!((0..3).all(|label| clusters.labels.contains(&label)), "{clusters:?}");
        // 20 alone, and 3, which was the next one; 2 is as near to 1 as to it and stays.
        assert_eq!(clusters.labels, [0, 0, 0, 1, 2]);
        assert!(clusters.inertia == 2.0 && clusters.converged);
    }

    #[test]
    fn equal_rows_and_constant_columns_are_no_error() {
        let mut columns = three();
        columns.push(&[4.0; 100]);
        assert_eq!(found(&columns, 3).labels, found(&three(), 3).labels);
        let twice = Matrix::new(6, 1, vec![1.0, 1.0, 1.0, 5.0, 5.0, -0.0]);
        assert_eq!(found(&twice, 3).labels, [0, 0, 0, 1, 1, 2]);
        let refused = |rows: Vec<f64>, clusters| {
            let refused = fit(&Matrix::new(rows.len(), 1, rows), clusters, &KMeans::default(), 1);
            let refused = refused.expect_err("refused");
            assert!(refused.hint().is_some());
            refused.to_string()
        };
        let few = "4 groups were asked for, and only 3 rows are different";
        assert_eq!(refused(vec![1.0, 1.0, 1.0, 5.0, 5.0, 0.0], 4), few);
        assert!(refused(vec![0.0, -0.0], 2).contains("only 1 rows"));
        assert!(refused(vec![], 1).contains("only 0 rows"));
        assert!(refused(vec![1.0], 0).contains("0 groups"));
        assert!(refused(vec![1.0, f64::NAN], 1).contains("row 1 has NaN"));
        assert!(refused(vec![1.0, -1e200], 2).contains("too large"));
        assert!(fit(&Matrix::empty(3), 1, &KMeans::default(), 1).is_err());
    }

    #[test]
    fn the_number_of_groups_is_chosen() {
        let choice = choose(&three(), 1..=6, &KMeans::default(), 1).expect("chosen");
        assert_eq!(choice.clusters.centres.count(), 3);
        let [one, _, three, ..] = choice.candidates[..] else { panic!("six were tried") };
        assert_eq!((one.clusters, one.silhouette, one.stability), (1, None, 1.0));
        assert!(three.silhouette > Some(0.8) && three.stability == 1.0, "{three:?}");
        let falls = choice.candidates.is_sorted_by(|a, b| a.inertia > b.inertia);
        assert!(falls && choice.candidates.len() == 6);
        let few = Matrix::new(3, 1, vec![1.0, 1.0, 9.0]);
        let choice = choose(&few, 2..=10, &KMeans::default(), 1).expect("chosen");
        assert_eq!(choice.candidates.len(), 1, "only two rows are different");
        let equal = Matrix::new(3, 1, vec![1.0; 3]);
        assert!(choose(&equal, 2..=3, &KMeans::default(), 1).is_err());
        let one = choose(&equal, 1..=3, &KMeans::default(), 1).expect("chosen");
        assert_eq!(one.clusters.labels, [0; 3]);
        #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
        let none = choose(&few, 2..=1, &KMeans::default(), 1);
        assert!(none.is_err());
    }

    #[test]
    fn centres_that_are_no_centres_are_refused() {
        let centres = found(&three(), 3).centres;
        assert_eq!(centres.check(2), Ok(()));
        assert!(centres.check(3).is_err());
        assert!(Centres { values: vec![1.0; 3], ..centres.clone() }.check(2).is_err());
        assert!(Centres { values: vec![], ..centres.clone() }.check(2).is_err());
        assert!(Centres { values: vec![1.0, f64::NAN], ..centres.clone() }.check(2).is_err());
        assert!(centres.nearest(&Matrix::from_rows(2, &[1.0, f64::NAN])).is_err());
    }
}
