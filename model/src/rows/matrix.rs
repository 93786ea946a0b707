//! Numbers in rows and columns, column after column; NaN is a missing value.

use super::error::RowsError;

/// The sum of as many squares as memory holds is still a number.
const SQUARABLE_MAX: f64 = 1e140;

/// A table of numbers, column after column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    values: Vec<f64>,
    columns: usize,
}

impl Matrix {
    /// `values` are those of the first column, then those of the second one.
    ///
    /// # Panics
    /// If there are more or fewer values than rows × columns.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), rows * columns, "every row has a value in every column");
        Self { rows, values, columns }
    }

    /// No columns yet, of `rows` rows.
    pub fn empty(rows: usize) -> Self {
        Self { rows, values: Vec::new(), columns: 0 }
    }

    /// Of rows after each other, each of `columns` values.
    pub fn from_rows(columns: usize, by_row: &[f64]) -> Self {
        let rows = by_row.len() / columns.max(1);
        let column = |c: usize| (0..rows).map(move |r| by_row[r * columns + c]);
        Self::new(rows, columns, (0..columns).flat_map(column).collect())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, column after column.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values of a column.
    pub fn column(&self, column: usize) -> &[f64] {
        &self.values[column * self.rows..(column + 1) * self.rows]
    }

    /// One value.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[column * self.rows + row]
    }

    /// Writes a row into `to`, which has as many values as there are columns.
    pub fn copy_row(&self, row: usize, to: &mut [f64]) {
        to.iter_mut().enumerate().for_each(|(column, value)| *value = self.at(row, column));
    }

    /// A row's values.
    pub fn row(&self, row: usize) -> Vec<f64> {
        (0..self.columns).map(|column| self.at(row, column)).collect()
    }

    /// One more column at the end.
    ///
    /// # Panics
    /// If it has more or fewer values than there are rows.
    pub fn push(&mut self, column: &[f64]) {
        assert_eq!(column.len(), self.rows, "a column has a value for every row");
        self.values.extend_from_slice(column);
        self.columns += 1;
    }

    /// Some of the rows, in the order of their numbers in `rows`; a number may come twice.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        for column in 0..self.columns {
            let column = self.column(column);
            values.extend(rows.iter().map(|&row| column[row]));
        }
        Self { rows: rows.len(), values, columns: self.columns }
    }

    /// Refuses a value that is missing or infinite, with its place.
    pub fn finite(&self, family: &'static str) -> Result<(), RowsError> {
        self.refuse(family, |value| !value.is_finite())
    }

    /// Refuses an infinite value, with its place; a missing one may be.
    pub fn not_infinite(&self, family: &'static str) -> Result<(), RowsError> {
        self.refuse(family, f64::is_infinite)
    }

    /// Refuses what [`Matrix::finite`] does, and values whose squares could not be added up.
    pub(crate) fn squarable(&self, family: &'static str) -> Result<(), RowsError> {
        self.finite(family)?;
        match self.values.iter().position(|value| value.abs() > SQUARABLE_MAX) {
            None => Ok(()),
            Some(at) => Err(RowsError::Setting {
                what: format!(
                    "row {} has {} in column {}, too large for distances",
                    at % self.rows,
                    self.values[at],
                    at / self.rows
                ),
                hint: "divide the column, or take its logarithm",
            }),
        }
    }

    fn refuse(&self, family: &'static str, is_bad: impl Fn(f64) -> bool) -> Result<(), RowsError> {
        match self.values.iter().position(|value| is_bad(*value)) {
            None => Ok(()),
            Some(at) => Err(RowsError::NotFinite {
                family,
                row: at % self.rows,
                column: at / self.rows,
                value: self.values[at],
            }),
        }
    }
}

/// Some of `values`, by their numbers.
pub fn select<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_where_they_were_put() {
        let matrix = Matrix::from_rows(2, &[1.0, 10.0, 2.0, 20.0, 3.0, f64::INFINITY]);
        assert_eq!((matrix.rows(), matrix.columns()), (3, 2));
        assert_eq!(matrix.column(0), [1.0, 2.0, 3.0]);
        assert_eq!(matrix.row(1), [2.0, 20.0]);
        assert_eq!(matrix.select(&[1, 1, 0]).column(1), [20.0, 20.0, 10.0]);
        let refused = matrix.finite("a family").expect_err("infinite");
        assert_eq!(
            refused.to_string(),
            "row 2 has inf in column 1, and a family needs finite numbers"
        );
        let mut wider = Matrix::empty(2);
        wider.push(&[5.0, 6.0]);
        assert_eq!(wider, Matrix::new(2, 1, vec![5.0, 6.0]));
    }
}
