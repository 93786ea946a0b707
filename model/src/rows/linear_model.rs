//! A fitted sum: intercept + coefficient × value, over columns and over products of two columns.
//!
//! The same for classification, where it is the log odds, and for regression.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::matrix::Matrix;
use super::metrics::mean;

/// A sum over columns and products of columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearModel {
    /// Its value where all columns are zero.
    pub intercept: f64,
    /// One per column.
    pub coefficients: Vec<f64>,
    /// Columns that are multiplied, with the product's coefficient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Product>,
    /// Mean of each column where it was fitted: what effects are relative to.
    pub means: Vec<f64>,
}

/// A product of two columns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The two columns.
    pub columns: (usize, usize),
    /// What the product is multiplied by.
    pub coefficient: f64,
}

/// A sum's parts: `base` and an effect per column, which add up to the margin.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// What would be answered if nothing were known of the row.
    pub base: f64,
    /// What each column adds to that.
    pub effects: Vec<f64>,
}

impl LinearModel {
    /// Of coefficients of [`expanded`] columns: those of `columns` and then those of `pairs`.
    pub(crate) fn new(
        intercept: f64,
        coefficients: &[f64],
        columns: &Matrix,
        pairs: &[(usize, usize)],
    ) -> Self {
        let (own, products) = coefficients.split_at(columns.columns());
        let product = |(&columns, &coefficient)| Product { columns, coefficient };
        let mean_of = |column| mean(columns.column(column).iter().copied());
        Self {
            intercept,
            coefficients: own.to_vec(),
            products: pairs.iter().zip(products).map(product).collect(),
            means: (0..columns.columns()).map(mean_of).collect(),
        }
    }

    /// The same sum whatever the columns are.
    pub fn constant(margin: f64, columns: &Matrix) -> Self {
        Self::new(margin, &vec![0.0; columns.columns()], columns, &[])
    }

    /// The sum for each row.
    pub fn margins(&self, columns: &Matrix) -> Vec<f64> {
        let mut margins = vec![self.intercept; columns.rows()];
        for (column, coefficient) in self.coefficients.iter().enumerate() {
            for (margin, value) in margins.iter_mut().zip(columns.column(column)) {
                *margin += coefficient * value;
            }
        }
        for Product { columns: (a, b), coefficient } in &self.products {
            let values = columns.column(*a).iter().zip(columns.column(*b));
            for (margin, (a, b)) in margins.iter_mut().zip(values) {
                *margin += coefficient * a * b;
            }
        }
        margins
    }

    /// The sum for one row of values, one per column.
    pub fn margin(&self, row: &[f64]) -> f64 {
        let own: f64 = self.coefficients.iter().zip(row).map(|(c, value)| c * value).sum();
        let product = |p: &Product| p.coefficient * row[p.columns.0] * row[p.columns.1];
        self.intercept + own + self.products.iter().map(product).sum::<f64>()
    }

    /// What each column adds to the sum of the means: coefficient × (value − mean). A product's
    /// effect is shared between its columns as Shapley (1953) shares it: each gets its own
    /// difference times the mean of the other's value and the other's mean.
    pub fn effects(&self, row: &[f64]) -> Effects {
        let off = |column: usize| row[column] - self.means[column];
        let own = self.coefficients.iter().enumerate();
        let mut effects: Vec<f64> = own.map(|(column, c)| c * off(column)).collect();
        for Product { columns: (a, b), coefficient } in &self.products {
            let middle = |column: usize| f64::midpoint(row[column], self.means[column]);
            effects[*a] += coefficient * off(*a) * middle(*b);
            effects[*b] += coefficient * off(*b) * middle(*a);
        }
        Effects { base: self.margin(&self.means), effects }
    }

    /// Refuses what cannot be followed for rows of `columns` columns: a model that was read is
    /// what somebody wrote.
    pub fn check(&self, columns: usize) -> Result<(), RowsError> {
        let defect = |why: &str| Err(RowsError::stored("a linear model", why));
        let products = self.products.iter().map(|product| product.coefficient);
        let numbers = self.coefficients.iter().chain(&self.means).copied().chain(products);
        if self.coefficients.len() != columns || self.means.len() != columns {
            return defect("it has more or fewer coefficients or means than there are columns");
        }
        if !numbers.chain([self.intercept]).all(f64::is_finite) {
            return defect("it has numbers that are not finite");
        }
        if self.products.iter().any(|p| p.columns.0.max(p.columns.1) >= columns) {
            return defect("it multiplies columns that do not exist");
        }
        Ok(())
    }
}

/// The columns, and a column for each product of a pair.
///
/// # Errors
/// If a pair names no column, or comes twice.
pub(crate) fn expanded(columns: &Matrix, pairs: &[(usize, usize)]) -> Result<Matrix, RowsError> {
    let mut seen = BTreeSet::new();
    let mut all = columns.clone();
    for &(a, b) in pairs {
        if a.max(b) >= columns.columns() || !seen.insert((a.min(b), a.max(b))) {
            let what =
                format!("the product of columns {a} and {b} is of no columns or there twice");
            return Err(RowsError::Unsuitable(what));
        }
        all.push(&product(columns, (a, b)));
    }
    Ok(all)
}

/// The product of two columns.
pub(crate) fn product(columns: &Matrix, (a, b): (usize, usize)) -> Vec<f64> {
    columns.column(a).iter().zip(columns.column(b)).map(|(a, b)| a * b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tree_shap::tests::brute_force;

    fn model() -> LinearModel {
        LinearModel {
            intercept: -1.0,
            coefficients: vec![0.5, -2.0, 0.25],
            products: vec![
                Product { columns: (0, 1), coefficient: 3.0 },
                Product { columns: (2, 2), coefficient: -0.7 },
            ],
            means: vec![0.1, -0.3, 2.0],
        }
    }

    #[test]
    fn effects_are_shapley_values() {
        let (model, row) = (model(), [1.5, 0.4, -1.0]);
        let with = |known: &[bool]| {
            let value = |c: usize| if known[c] { row[c] } else { model.means[c] };
            model.margin(&[value(0), value(1), value(2)])
        };
        let parts = model.effects(&row);
        for (effect, exact) in parts.effects.iter().zip(brute_force(3, &with)) {
            assert!((effect - exact).abs() < 1e-12, "{effect} instead of {exact}");
        }
        let sum = parts.base + parts.effects.iter().sum::<f64>();
        assert!((sum - model.margin(&row)).abs() < 1e-12);
        let matrix = Matrix::from_rows(3, &row);
        assert!((model.margins(&matrix)[0] - model.margin(&row)).abs() < 1e-12);
    }

    #[test]
    fn a_model_that_cannot_be_followed_is_refused() {
        assert_eq!(model().check(3), Ok(()));
        assert!(model().check(4).is_err());
        assert!(LinearModel { intercept: f64::NAN, ..model() }.check(3).is_err());
        let far = vec![Product { columns: (0, 3), coefficient: 1.0 }];
        assert!(LinearModel { products: far, ..model() }.check(3).is_err());
    }

    #[test]
    fn a_pair_of_no_columns_is_refused() {
        let columns = Matrix::from_rows(2, &[2.0, 3.0]);
        assert_eq!(expanded(&columns, &[(0, 1)]).expect("columns").row(0), [2.0, 3.0, 6.0]);
        assert!(expanded(&columns, &[(0, 2)]).is_err());
        assert!(expanded(&columns, &[(0, 1), (1, 0)]).is_err());
    }
}
