//! Columns of one size: each less its mean and divided by its deviation.
//!
//! Distances add up columns; without this, the one with the largest numbers decides alone.

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::matrix::Matrix;
use super::metrics::mean;

/// Means and deviations of columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Of each column.
    pub means: Vec<f64>,
    /// Of each column, divided by the number of rows; 1 of a constant one, which becomes 0.
    pub deviations: Vec<f64>,
}

impl Standard {
    /// Those of some rows.
    ///
    /// # Errors
    /// If a value is missing or infinite, there is no row, or values are too large to be squared.
    pub fn fit(columns: &Matrix) -> Result<Self, RowsError> {
        columns.squarable("standardising")?;
        if columns.rows() == 0 {
            let what = "no rows have no mean".to_owned();
            return Err(RowsError::Setting { what, hint: "give at least one row" });
        }
        let each = (0..columns.columns()).map(|column| columns.column(column));
        let (means, deviations) = each.map(mean_and_deviation).unzip();
        Ok(Self { means, deviations })
    }

    /// Columns of mean 0 and deviation 1, if they are those it was fitted on.
    ///
    /// # Errors
    /// If there are more or fewer columns.
    pub fn apply(&self, columns: &Matrix) -> Result<Matrix, RowsError> {
        self.check(columns.columns())?;
        let mut standard = Matrix::empty(columns.rows());
        for (number, (mean, deviation)) in self.means.iter().zip(&self.deviations).enumerate() {
            let values = columns.column(number).iter();
            standard.push(&values.map(|v| (v - mean) / deviation).collect::<Vec<_>>());
        }
        Ok(standard)
    }

    /// Refuses what does not fit `columns` columns or divides by what is no deviation.
    ///
    /// # Errors
    /// If it is so.
    pub fn check(&self, columns: usize) -> Result<(), RowsError> {
        let (means, deviations) = (self.means.len(), self.deviations.len());
        let defect = |why: String| Err(RowsError::stored("a standardisation", why));
        if means != columns || deviations != columns {
            return defect(format!("{means} means, {deviations} deviations, {columns} columns"));
        }
        let finite = self.means.iter().chain(&self.deviations).all(|value| value.is_finite());
        match finite && self.deviations.iter().all(|deviation| *deviation > 0.0) {
            true => Ok(()),
            false => defect("a mean or a deviation is no number to compute with".to_owned()),
        }
    }
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    // The mean of equal numbers may be another one by rounding, and with it a deviation.
    if values.iter().all(|value| *value == values[0]) {
        return (values[0], 1.0);
    }
    let centre = mean(values.iter().copied());
    let deviation = mean(values.iter().map(|value| (value - centre).powi(2))).sqrt();
    (centre, if deviation > 0.0 { deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_of_one_size() {
        let columns = Matrix::from_rows(3, &[1.0, 0.1, 100.0, 3.0, 0.1, 300.0, 5.0, 0.1, 200.0]);
        let standard = Standard::fit(&columns).expect("fitted");
        assert_eq!(standard.means, [3.0, 0.1, 200.0]);
        let applied = standard.apply(&columns).expect("applied");
        let size = 1.5_f64.sqrt();
        for (value, expected) in applied.column(0).iter().zip([-size, 0.0, size]) {
            assert!((value - expected).abs() < 1e-12);
        }
        assert_eq!(applied.column(1), [0.0; 3], "a constant one");
        assert_eq!(applied.column(2)[1], applied.column(0)[2]);
        let one = Standard::fit(&columns.select(&[1])).expect("one row");
        assert_eq!(one.apply(&columns).expect("applied").row(1), [0.0; 3]);
    }

    #[test]
    fn what_has_no_deviation_is_refused() {
        let refused = |values: Vec<f64>| Standard::fit(&Matrix::new(values.len(), 1, values));
        assert!(refused(vec![0.0, f64::NAN]).is_err());
        assert!(refused(vec![]).expect_err("none").hint().is_some());
        let large = refused(vec![f64::MAX, -f64::MAX]).expect_err("large");
        assert!(large.to_string().contains("too large"));
        let standard = refused(vec![1.0, 2.0]).expect("fitted");
        assert!(standard.apply(&Matrix::empty(2)).is_err());
        let zero = Standard { deviations: vec![0.0], ..standard.clone() };
        let gap = Standard { means: vec![f64::NAN], ..standard };
        assert!(zero.check(1).is_err() && gap.check(1).is_err());
    }
}
