//! DBSCAN (Ester, Kriegel, Sander, Xu 1996): groups where rows are dense, and noise between.
//!
//! A row with enough others near is a core; cores near each other are of one group, and so is what
//! is near to one of them. Anything else is noise. Columns should be of one size:
//! [`super::standard`] makes them so.

use crate::parallel;
use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::matrix::Matrix;
use super::neighbours::{Neighbours, Pool};

/// What is dense.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dbscan {
    /// Rows are near if they are no farther from each other.
    pub eps: f64,
    /// Rows near to a core, itself counted.
    pub min_points: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Density {
    /// The group of each row, as scikit-learn numbers them: by their first core. `None` is noise.
    pub labels: Vec<Option<usize>>,
    /// Number of groups.
    pub clusters: usize,
    /// Whether each row is a core.
    pub cores: Vec<bool>,
    /// How far each row is from the nearest core, which is how much of an exception it is: 0 of a
    /// core, above `eps` of noise, infinite where there is no core.
    pub distances: Vec<f64>,
}

/// Looks for dense groups. A row near to cores of several groups is of the first one.
///
/// # Errors
/// If a value is missing or infinite, there is no column, or an option is out of range.
pub fn fit(columns: &Matrix, options: &Dbscan) -> Result<Density, RowsError> {
    check(columns, options.min_points)?;
    // What is near is told by squares, and the square of a small number may be zero.
    let square = options.eps * options.eps;
    if !(options.eps > 0.0 && square > 0.0 && options.eps.is_finite()) {
        let what = format!("rows cannot be as near as eps = {}", options.eps);
        let hint = "give a distance above 0, or let it be chosen from the distances of neighbours";
        return Err(RowsError::Setting { what, hint });
    }
    let all = Neighbours::new(columns, (0..columns.rows()).collect());
    let enough = options.min_points;
    let is_core = |row| all.count_within(&columns.row(row), square, enough) >= enough;
    let cores: Vec<bool> = parallel::each(columns.rows(), is_core);
    let tree = Neighbours::new(columns, (0..cores.len()).filter(|&row| cores[row]).collect());
    let (of_places, clusters) = grown(&tree, square);
    let mut of_cores = vec![None; columns.rows()];
    of_places.iter().enumerate().for_each(|(at, label)| of_cores[tree.row(at)] = Some(*label));
    let of = |row: usize| match of_cores[row] {
        Some(label) => (Some(label), 0.0),
        None => of_row(&tree, &of_places, &columns.row(row), square),
    };
    let rows = parallel::each(columns.rows(), of);
    let (labels, distances) = rows.into_iter().unzip();
    Ok(Density { labels, clusters, cores, distances })
}

fn check(columns: &Matrix, min_points: usize) -> Result<(), RowsError> {
    let refuse = |what: &str, hint| Err(RowsError::Setting { what: what.to_owned(), hint });
    columns.squarable("DBSCAN")?;
    match (columns.columns(), min_points) {
        (0, _) => refuse("DBSCAN has no columns", "give at least one column"),
        (_, 0) => refuse("no rows make no core", "give at least 1 for its points"),
        _ => Ok(()),
    }
}

/// Groups of cores, by their places in the tree, and how many there are. The cores of a group
/// leave the tree, so that each is looked for only until it is found.
fn grown(tree: &Neighbours, square: f64) -> (Vec<usize>, usize) {
    let mut by_row: Vec<usize> = (0..tree.count()).collect();
    by_row.sort_unstable_by_key(|&place| tree.row(place));
    let mut pool = Pool::new(tree);
    let (mut labels, mut clusters) = (vec![0; tree.count()], 0);
    for start in by_row {
        if pool.is_taken(start) {
            continue;
        }
        let mut reached = Vec::new();
        pool.take_within(tree.point(start), square, &mut reached);
        while let Some(place) = reached.pop() {
            labels[place] = clusters;
            pool.take_within(tree.point(place), square, &mut reached);
        }
        clusters += 1;
    }
    (labels, clusters)
}

/// The first group that has a core near to a point, and how far the nearest core is.
fn of_row(
    tree: &Neighbours,
    of_places: &[usize],
    point: &[f64],
    square: f64,
) -> (Option<usize>, f64) {
    let nearest = tree.nearest(point, 1).pop().unwrap_or(f64::INFINITY);
    let mut first: Option<usize> = None;
    if nearest <= square {
        tree.each_within(point, square, &mut |place| {
            first = Some(first.map_or(of_places[place], |label| label.min(of_places[place])));
        });
    }
    (first, nearest.sqrt())
}

/// How far away each row has `min_points` rows, itself counted, least first: from that distance on
/// it is a core.
///
/// # Errors
/// If a value is missing or infinite, there is no column, or fewer rows than `min_points`.
pub fn core_distances(columns: &Matrix, min_points: usize) -> Result<Vec<f64>, RowsError> {
    check(columns, min_points)?;
    if columns.rows() < min_points {
        let what = format!("{} rows are too few to make a core of {min_points}", columns.rows());
        return Err(RowsError::Setting { what, hint: "ask for fewer points of a core" });
    }
    let tree = Neighbours::new(columns, (0..columns.rows()).collect());
    let of = |row| tree.nearest(&columns.row(row), min_points).pop().unwrap_or_default().sqrt();
    let mut distances: Vec<f64> = parallel::each(columns.rows(), of);
    distances.sort_by(f64::total_cmp);
    Ok(distances)
}

/// A distance for [`Dbscan`]: the knee of the curve of [`core_distances`]. The curve is flat
/// where rows are dense and steep where they are alone; its knee is the point that is farthest
/// below the line from its first to its last one (Satopää et al. 2011).
///
/// # Errors
/// As [`core_distances`] has, and if it is 0, because most rows have equals.
pub fn knee(columns: &Matrix, min_points: usize) -> Result<f64, RowsError> {
    let distances = core_distances(columns, min_points)?;
    let (first, last) = (distances[0], distances[distances.len() - 1]);
    let (width, height) = (distances.len() as f64 - 1.0, last - first);
    let below = |at: usize| match height > 0.0 {
        true => at as f64 / width - (distances[at] - first) / height,
        false => 0.0,
    };
    let at = (0..distances.len()).reduce(|a, b| if below(b) > below(a) { b } else { a });
    match distances[at.unwrap_or_default()] {
        eps if eps > 0.0 => Ok(eps),
        _ => Err(RowsError::Setting {
            what: format!("no distance makes cores: most rows equal {} others", min_points - 1),
            hint: "give a distance, or more points of a core than rows that are equal",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(columns: &Matrix, eps: f64, min_points: usize) -> Density {
        fit(columns, &Dbscan { eps, min_points }).expect("groups")
    }

    fn line(values: &[f64]) -> Matrix {
        Matrix::new(values.len(), 1, values.to_vec())
    }

    #[test]
    fn groups_and_noise_are_as_by_hand() {
        let density = found(&line(&[9.0, 0.0, 1.0, 2.0, 20.0, 10.0, 11.0, 5.0]), 1.0, 3);
        let (a, b) = (Some(0), Some(1));
        assert_eq!(density.labels, [b, a, a, a, None, b, b, None]);
        assert_eq!(density.clusters, 2);
        let cores: Vec<usize> = (0..8).filter(|&row| density.cores[row]).collect();
        assert_eq!(cores, [2, 5], "those with three within 1, themselves counted");
        assert_eq!(density.distances, [1.0, 1.0, 0.0, 1.0, 10.0, 0.0, 1.0, 4.0]);
    }

    #[test]
    fn groups_are_numbered_by_their_first_core() {
        // The first row is near to the group at 5, whose core comes later than the one at 20.
        let density = found(&line(&[4.0, 20.0, 20.5, 19.5, 5.0, 5.5, 6.0]), 1.0, 3);
        let (first, second) = (Some(0), Some(1));
        assert_eq!(density.labels, [second, first, first, first, second, second, second]);
    }

    #[test]
    fn a_row_between_two_groups_is_of_the_first() {
        let values = [0.0, 0.5, 1.0, 2.0, 3.0, 3.5, 4.0];
        let labels = |values: &[f64]| found(&line(values), 1.0, 4).labels;
        let (a, b) = (Some(0), Some(1));
        assert_eq!(labels(&values), [a, a, a, a, b, b, b]);
        let reversed: Vec<f64> = values.into_iter().rev().collect();
        assert_eq!(labels(&reversed), [a, a, a, a, b, b, b], "the order of rows decides");
    }

    #[test]
    fn it_finds_what_comparing_all_rows_finds() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (eps, min_points) in [(0.2, 3), (0.35, 8), (0.5, 1), (2.0, 500)] {
            let columns = Matrix::new(400, 3, (0..1_200).map(|_| rng.f64() * 2.5).collect());
            let density = found(&columns, eps, min_points);
            let near = |a: usize, b: usize| {
                let squares = columns.row(a).into_iter().zip(columns.row(b));
                squares.map(|(a, b)| (a - b) * (a - b)).sum::<f64>() <= eps * eps
            };
            for row in 0..400 {
                let count = (0..400).filter(|&other| near(row, other)).count();
                assert_eq!(density.cores[row], count >= min_points);
                let around = (0..400).filter(|&other| density.cores[other] && near(row, other));
                let first = around.clone().filter_map(|other| density.labels[other]).min();
                assert_eq!(density.labels[row], first);
                assert_eq!(density.distances[row] <= eps, first.is_some());
                let together = |other| density.labels[other] == density.labels[row];
                assert!(!density.cores[row] || around.clone().all(together));
            }
        }
    }

    #[test]
    fn few_or_equal_rows_are_no_error() {
        let one = found(&line(&[3.0]), 1.0, 1);
        assert_eq!((one.labels, one.distances), (vec![Some(0)], vec![0.0]));
        let alone = found(&line(&[3.0, 3.0]), 1.0, 3);
        assert_eq!(alone.labels, [None; 2]);
        assert_eq!((alone.clusters, alone.distances), (0, vec![f64::INFINITY; 2]));
        let equal = found(&Matrix::new(100, 2, vec![5.0; 200]), 0.1, 5);
        assert_eq!(equal.labels, [Some(0); 100]);
        assert_eq!(found(&Matrix::new(0, 1, vec![]), 1.0, 1).labels, []);
    }

    #[test]
    fn what_cannot_be_near_is_refused() {
        let refused = |columns: &Matrix, eps, min_points| {
            let refused = fit(columns, &Dbscan { eps, min_points }).expect_err("refused");
            assert!(refused.hint().is_some());
            refused.to_string()
        };
        let columns = line(&[1.0, 2.0]);
        for eps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-200] {
            assert!(refused(&columns, eps, 2).contains("eps"));
        }
        assert!(refused(&columns, 1.0, 0).contains("no core"));
        assert!(refused(&Matrix::empty(2), 1.0, 1).contains("no columns"));
        assert!(refused(&line(&[f64::NAN]), 1.0, 1).contains("row 0 has NaN"));
        assert!(refused(&line(&[1e200]), 1.0, 1).contains("too large"));
        assert!(core_distances(&columns, 3).expect_err("few").hint().is_some());
        assert!(knee(&line(&[1.0; 9]), 3).expect_err("equal").to_string().contains("2 others"));
    }

    #[test]
    fn the_knee_is_between_dense_and_alone() {
        let values: Vec<f64> = (0..50).map(f64::from).chain([80.0, 120.0]).collect();
        let distances = core_distances(&line(&values), 3).expect("distances");
        // Inside, the second neighbour is 1 away; at both ends 2; alone 31 or 32, and 70 or 71.
        assert_eq!(distances[..48], [1.0; 48]);
        assert_eq!(distances[48..], [2.0, 2.0, 32.0, 71.0]);
        assert_eq!(knee(&line(&values), 3), Ok(2.0));
        let density = found(&line(&values), 2.0, 3);
        assert_eq!(density.labels.iter().filter(|label| label.is_none()).count(), 2);
        assert_eq!(knee(&line(&[1.0, 2.0, 3.0]), 2), Ok(1.0), "a flat curve");
        assert!(knee(&line(&[1.0]), 1).is_err(), "a row is no distance from itself");
    }
}
