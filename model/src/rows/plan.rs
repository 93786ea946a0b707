//! What is to be done with a source column, before any numbers of its rows are known.

use serde::{Deserialize, Serialize};

use super::table::Column;

/// What a family takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Finite numbers of one size, a column per level.
    Sums,
    /// Numbers as they are, NaN where missing, levels by their order.
    Trees,
}

/// What takes the place of a missing number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impute {
    /// The median of those that are there.
    Median,
    /// A number.
    Constant(f64),
    /// Nothing: it stays NaN.
    Keep,
}

/// Bounds of a number; beyond, it counts as the bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// The bounds.
    Values(f64, f64),
    /// Quantiles of the rows it is fitted on.
    Quantiles(f64, f64),
}

/// How levels become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// A column of zeros and ones for each.
    OneHot,
    /// One column with their place.
    Ordinal,
}

/// How a column of numbers or truth values is prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberPlan {
    /// What takes the place of a missing one.
    pub impute: Impute,
    /// Whether a column tells that it was missing: if nothing is said, where one is imputed and
    /// more than 1 % of the fitted rows are missing.
    pub flag_missing: Option<bool>,
    /// Bounds.
    pub clip: Option<Clip>,
    /// Whether its logarithm is taken: ln(1 + x).
    pub log: bool,
    /// Edges that cut it into levels; an edge belongs to what is above.
    pub bins: Vec<f64>,
    /// How those become numbers.
    pub encode: Encode,
    /// Whether it is centred and divided by its deviation.
    pub scale: bool,
}

/// How a column of categories is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryPlan {
    /// A level of fewer rows has no column of its own.
    pub rare_below: usize,
    /// Levels of their own, at most: the most frequent ones.
    pub levels_max: usize,
    /// How levels become numbers.
    pub encode: Encode,
}

/// How a column is prepared.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Of numbers or truth values.
    Number(NumberPlan),
    /// Of categories.
    Category(CategoryPlan),
}

/// Share of missing values from which on that they are missing is told.
pub(crate) const FLAGGED_ABOVE: f64 = 0.01;

impl Plan {
    /// What is done if nothing is said.
    pub fn usual(column: &Column, taken: Taken) -> Self {
        let sums = taken == Taken::Sums;
        let encode = if sums { Encode::OneHot } else { Encode::Ordinal };
        match column {
            Column::Category { .. } => {
                Self::Category(CategoryPlan { rare_below: 10, levels_max: 100, encode })
            }
            Column::Number(_) | Column::Boolean(_) => Self::Number(NumberPlan {
                impute: if sums { Impute::Median } else { Impute::Keep },
                flag_missing: None,
                clip: None,
                log: false,
                bins: Vec::new(),
                encode,
                scale: sums && matches!(column, Column::Number(_)),
            }),
        }
    }
}
