//! Histograms of numbers: bounds from the first round, counts by the second.

use serde::Serialize;
use steppe_spec::ColumnType;

use super::sql::double;
use super::{Numbers, Question, Rows, Shape, Subject, TableProfile, row};

/// Bins of a column, at most.
const BINS_MAX: f64 = 24.0;
/// Columns of a statement: each has up to 26 counts.
const COLUMNS: usize = 20;
/// What lies further from the middle 90 % than these is wide is counted beside the bins.
const FAR: f64 = 1.5;

/// Counts between bounds of equal distance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The bins, from low to high.
    pub bins: Vec<Bin>,
    /// Values below the first one.
    pub below: u64,
    /// Values from the end of the last one on.
    pub above: u64,
}

/// Values from a bound on, and below the next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// The bound.
    pub from: f64,
    /// The next bound.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// The bounds of a column's bins: none when it has no two different values.
fn bounds(kind: ColumnType, numbers: &Numbers) -> Option<Vec<f64>> {
    let (min, max) = (numbers.min.as_f64()?, numbers.max.as_f64()?);
    let [low, .., high] = numbers.quantiles?;
    // Both bounds may be so far away that their distance is none.
    let far = (high - low) * FAR;
    let (from, to) = if far > 0.0 { (min.max(low - far), max.min(high + far)) } else { (min, max) };
    let span = to - from;
    if !(span > 0.0 && span.is_finite()) {
        return None;
    }
    let width =
        if is_whole(kind) { nice(span / BINS_MAX).ceil().max(1.0) } else { nice(span / BINS_MAX) };
    let first = (from / width).floor();
    let count = ((to / width).floor() - first) as usize + 1;
    let bounds: Vec<f64> = (0..=count).map(|at| (first + at as f64) * width).collect();
    // Numbers so large that a width is lost in them have no bins.
    bounds.is_sorted_by(|a, b| a < b).then_some(bounds)
}

fn is_whole(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Int | ColumnType::Bigint)
}

/// The next larger of 1, 2, 2.5, 5 times a power of ten.
fn nice(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= least).unwrap_or(10.0);
    step * power
}

/// Columns with bins, and their bounds.
fn columns(subject: &Subject, profile: &TableProfile) -> Vec<(usize, Vec<f64>, f64)> {
    let of = |(at, column): (usize, &super::ColumnProfile)| {
        let Shape::Numbers(numbers) = &column.shape else { return None };
        let bounds = bounds(subject.columns[at].1, numbers)?;
        Some((at, bounds, numbers.quantiles?[2]))
    };
    profile.columns.iter().enumerate().filter_map(of).collect()
}

pub fn questions(subject: &Subject, profile: &TableProfile) -> Vec<Question> {
    let question = |part: &[(usize, Vec<f64>, f64)]| {
        let counts = part.iter().map(|(at, bounds, median)| {
            let count = |condition: String| format!("count(CASE WHEN {condition} THEN 1 END)");
            let (first, last) = (double(bounds[0]), double(bounds[bounds.len() - 1]));
            let ends = [
                count(format!("c{at} = {}", double(*median))),
                count(format!("c{at} < {first}")),
                count(format!("c{at} >= {last}")),
            ];
            let bins = bounds.windows(2).map(|pair| {
                let (from, to) = (double(pair[0]), double(pair[1]));
                count(format!("c{at} >= {from} AND c{at} < {to}"))
            });
            format!("  {}", ends.into_iter().chain(bins).collect::<Vec<_>>().join(", "))
        });
        let counts = counts.collect::<Vec<_>>().join(",\n");
        let columns: Vec<usize> = part.iter().map(|(at, ..)| *at).collect();
        Question { sql: format!("SELECT\n{counts}\n{}", subject.rows(&columns)), rows_max: 1 }
    };
    columns(subject, profile).chunks(COLUMNS).map(question).collect()
}

pub fn read(
    subject: &Subject,
    whole: &TableProfile,
    profile: &mut TableProfile,
    answers: &mut std::slice::Iter<'_, Rows>,
) -> Result<(), String> {
    for part in columns(subject, whole).chunks(COLUMNS) {
        let mut cells = row(answers)?;
        for (at, bounds, _) in part {
            let (at_median, below, above) = (cells.count()?, cells.count()?, cells.count()?);
            let bins = bounds
                .windows(2)
                .map(|pair| Ok(Bin { from: pair[0], to: pair[1], count: cells.count()? }));
            let bins = bins.collect::<Result<Vec<_>, String>>()?;
            let column = &mut profile.columns[*at];
            // Bins of one whole number each tell how many different ones there are.
            if is_whole(subject.columns[*at].1)
                && bounds[1] - bounds[0] == 1.0
                && below + above == 0
            {
                column.distinct = bins.iter().filter(|bin: &&Bin| bin.count > 0).count() as u64;
                column.distinct_is_exact = true;
            }
            if let Shape::Numbers(numbers) = &mut column.shape {
                numbers.at_median = at_median;
                numbers.histogram = Some(Histogram { bins, below, above });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ColumnType, min: f64, max: f64, quantiles: [f64; 5]) -> Option<Vec<f64>> {
        let numbers = Numbers {
            min: min.into(),
            max: max.into(),
            quantiles: Some(quantiles),
            ..Numbers::default()
        };
        bounds(kind, &numbers)
    }

    #[test]
    fn bins_are_few_of_round_width_and_hold_both_ends() {
        let whole = of(ColumnType::Int, 0.0, 9.0, [0.0, 2.0, 5.0, 7.0, 9.0]).expect("bins");
        assert_eq!(whole, (0..=10).map(f64::from).collect::<Vec<_>>());
        let years = of(ColumnType::Int, 2000.0, 2023.0, [2001.0, 2006.0, 2012.0, 2018.0, 2022.0]);
        assert_eq!(years.expect("bins").len(), 25);
        let shares = of(ColumnType::Double, 0.0, 1.0, [0.05, 0.25, 0.5, 0.75, 0.95]).expect("bins");
        assert_eq!((shares.len(), shares[0]), (22, 0.0));
        assert!((shares[1] - 0.05).abs() < 1e-12 && shares[21] > 1.0);
        let far = of(ColumnType::Double, -1e9, 1e12, [-1.0, 0.0, 0.0, 0.0, 1.0]).expect("bins");
        assert!(far[0] >= -5.0 && far[far.len() - 1] <= 5.0, "{far:?}");
        // Most values are one, so the middle says nothing.
        let one = of(ColumnType::Double, 0.0, 100.0, [7.0; 5]).expect("bins");
        assert!(one[0] <= 0.0 && one[one.len() - 1] > 100.0);
        for (min, max) in [(1.0, 1.0), (f64::MIN, f64::MAX), (1e18, 1e18 + 256.0)] {
            let bins = of(ColumnType::Double, min, max, [min, min, min, max, max]);
            assert!(bins.is_none_or(|b| b.len() <= 27), "{min} {max}");
        }
    }
}
