//! How far beyond the others a value lies in its column: peaks over a threshold.
//!
//! Beyond a high threshold most distributions fall off nearly exponentially (Pickands 1975), so the
//! mean excess of the few values there tells how improbable a larger one is. A row is as unusual as
//! its strangest column is: one strange value among many usual ones is not averaged away, as it is
//! in distances.

use super::error::RowsError;
use super::matrix::Matrix;

/// Share of the values that a tail consists of.
const TAIL: f64 = 0.1;
/// Mean excesses above which a value may lie, at most: of one value alone nothing is known.
const TIMES_MAX: f64 = 100.0;
/// Values of a tail, at least: the mean of fewer tells little.
const TAIL_MIN: usize = 5;

/// The tails of one column, of values that are there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tails {
    /// Values above, and their probability of it.
    high: Tail,
    /// The same of the negative values; none where small ones are usual.
    low: Option<Tail>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tail {
    threshold: f64,
    /// Sum of the excesses of the values above the threshold; 0 where there is none.
    excess: f64,
    /// How many values they are.
    count: f64,
    /// Minus the logarithm of the share of values above it.
    surprise: f64,
}

impl Tails {
    /// Those of a column; NaN is missing. `only_high` says that small values are never unusual.
    pub fn of(column: &[f64], only_high: bool) -> Self {
        let mut values: Vec<f64> = column.iter().copied().filter(|v| v.is_finite()).collect();
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        let high = Tail::of(&values);
        values.reverse();
        values.iter_mut().for_each(|value| *value = -*value);
        Self { high, low: (!only_high).then(|| Tail::of(&values)) }
    }

    /// Minus the natural logarithm of the probability of a value at least as extreme, on the side
    /// where it lies, among the others of the column, which it is one of; 0 of a value that is in
    /// no tail, or missing.
    pub fn surprise(&self, value: f64) -> f64 {
        match self.low {
            None => self.high.surprise(value),
            // Two sides on which to be strange.
            Some(low) => {
                let either = self.high.surprise(value).max(low.surprise(-value));
                (either - std::f64::consts::LN_2).max(0.0)
            }
        }
    }
}

impl Tail {
    /// Of values, the largest first.
    fn of(values: &[f64]) -> Self {
        let count = ((TAIL * values.len() as f64).ceil() as usize).max(TAIL_MIN);
        let Some(&threshold) = values.get(count) else {
            return Self { threshold: 0.0, excess: 0.0, count: 1.0, surprise: 0.0 };
        };
        let above = values.iter().take_while(|value| **value > threshold);
        let excess: f64 = above.map(|value| value - threshold).sum();
        let surprise = (values.len() as f64 / count as f64).ln();
        Self { threshold, excess, count: count as f64, surprise }
    }

    /// A value is held against the others of its tail: beside itself the mean excess would grow
    /// with it.
    fn surprise(&self, value: f64) -> f64 {
        let own = value - self.threshold;
        if !(own > 0.0 && self.excess > 0.0) {
            return 0.0;
        }
        let others = (self.excess - own).max(0.0) / (self.count - 1.0);
        self.surprise + own / (others + own / TIMES_MAX)
    }
}

/// The surprise of every value, column by column. `high` are the columns of which only large values
/// are unusual.
///
/// # Errors
/// If a value is infinite, or there is no column.
pub fn surprises(columns: &Matrix, high: &[usize]) -> Result<Matrix, RowsError> {
    columns.not_infinite("a tail")?;
    if columns.columns() == 0 {
        let what = "no columns have no tails".to_owned();
        return Err(RowsError::Setting { what, hint: "give at least one column" });
    }
    let mut found = Matrix::empty(columns.rows());
    for number in 0..columns.columns() {
        let values = columns.column(number);
        let tails = Tails::of(values, high.contains(&number));
        found.push(&values.iter().map(|value| tails.surprise(*value)).collect::<Vec<_>>());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 values of an exponential distribution, evenly spread, and one far away.
    fn column(far: f64) -> Vec<f64> {
        let quantile = |at: usize| -(1.0 - (at as f64 + 0.5) / 100.0_f64).ln();
        (0..100).map(quantile).chain([far]).collect()
    }

    #[test]
    fn a_tail_tells_the_probability_of_what_lies_beyond() {
        // Of this distribution a value above 8 has the probability e^−8.
        let tails = Tails::of(&column(8.0), true);
        assert!((tails.surprise(8.0) - 8.0).abs() < 1.0, "{}", tails.surprise(8.0));
        assert_eq!(tails.surprise(1.0), 0.0, "in the midst of the others");
        assert!(Tails::of(&column(9.0), true).surprise(9.0) > tails.surprise(8.0));
        assert_eq!(tails.surprise(f64::NAN), 0.0);
    }

    #[test]
    fn both_sides_are_strange_unless_only_one_is() {
        let values: Vec<f64> = (0..101).map(|v| (f64::from(v) - 50.0).powi(3)).collect();
        let both = Tails::of(&values, false);
        assert!((both.surprise(2e5) - both.surprise(-2e5)).abs() < 1e-9);
        assert!(both.surprise(2e5) > 0.0);
        let high = Tails::of(&values, true);
        assert_eq!(high.surprise(-2e5), 0.0);
        assert!((high.surprise(2e5) - both.surprise(2e5) - 2_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn few_values_equal_values_and_none_are_not_strange() {
        for values in [vec![], vec![3.0], vec![1.0, 2.0, 900.0], vec![7.0; 50], vec![f64::NAN; 9]] {
            let tails = Tails::of(&values, false);
            assert!([-1e9, 0.0, 7.0, 1e9].iter().all(|value| tails.surprise(*value) == 0.0));
        }
        // Mostly zeros: what differs is strange, the zeros are not.
        let mut mostly = vec![0.0; 97];
        mostly.extend([1.0, 2.0, 9.0]);
        let tails = Tails::of(&mostly, true);
        assert!(tails.surprise(9.0) > tails.surprise(2.0) && tails.surprise(0.0) == 0.0);
    }

    #[test]
    fn what_has_no_tail_is_refused() {
        let infinite = Matrix::new(2, 1, vec![0.0, f64::INFINITY]);
        assert!(surprises(&infinite, &[]).is_err());
        let none = surprises(&Matrix::empty(3), &[]).expect_err("no columns");
        assert!(none.hint().is_some());
        let one = Matrix::new(101, 1, column(40.0));
        let found = surprises(&one, &[0]).expect("surprises");
        let highest = (0..101).max_by(|a, b| found.at(*a, 0).total_cmp(&found.at(*b, 0)));
        assert_eq!(highest, Some(100));
    }
}
