//! How a column is prepared where that differs from what is usual for a family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::defects::Defects;

/// How a column is prepared; what is absent is done as is usual for the family.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prepare {
    /// What takes the place of a missing number: `median`, `keep`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impute: Option<Impute>,
    /// Whether a column tells that the number was missing; where more than 1 % are, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag_missing: Option<bool>,
    /// Bounds of a number: beyond, it counts as the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 2))]
    pub clip: Option<Vec<f64>>,
    /// Whether the logarithm of a number is taken: ln(1 + x).
    pub log: bool,
    /// Edges that cut a number into levels; an edge belongs to what is above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub bins: Vec<f64>,
    /// Whether a number is centred and divided by its deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<bool>,
    /// Rows below which a level has no column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rare_below: Option<usize>,
    /// Levels with a column of their own, at most: the most frequent ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub levels_max: Option<usize>,
    /// How levels become numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<Encode>,
}

/// What takes the place of a missing number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Impute {
    /// By a rule.
    Word(ImputeWord),
    /// A number.
    Constant(f64),
}

/// Rules for missing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImputeWord {
    /// The median of those that are there.
    Median,
    /// Nothing: it stays missing, which only trees take.
    Keep,
}

/// How levels become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// A column of zeros and ones for each.
    OneHot,
    /// One column with their place.
    Ordinal,
}

impl Prepare {
    pub(super) fn defects(&self, key: &str, out: &mut Defects) {
        let clip = self.clip.as_deref().unwrap_or(&[0.0, 0.0]);
        let bounds = matches!(clip, [low, high] if low <= high);
        out.need(format!("{key}.clip"), bounds, || {
            format!("`{key}.clip` is a lower and an upper bound")
        });
        let rising = self.bins.is_sorted_by(|a, b| a < b);
        out.need(format!("{key}.bins"), rising, || {
            format!("`{key}.bins` must rise from edge to edge")
        });
    }
}
