//! Which families compete, and their options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TabularKind;
use crate::defects::Defects;
use crate::families::{Does, Family, Kind};

/// With which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TabularModel {
    /// The family that serves, or `auto`.
    pub kind: Kind,
    /// Families that compete; `logistic` or `linear`, `gradient-boosting` and `random-forest` when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<Family>>,
    /// Seed of everything random.
    pub seed: u64,
    /// Options of `logistic` and `linear`.
    pub sum: Sum,
    /// Options of `gradient-boosting`.
    pub boosting: Boosting,
    /// Options of `random-forest`.
    pub forest: Forest,
}

impl Default for TabularModel {
    fn default() -> Self {
        Self {
            kind: Kind::Auto,
            candidates: None,
            seed: 1,
            sum: Sum::default(),
            boosting: Boosting::default(),
            forest: Forest::default(),
        }
    }
}

/// Sums over columns, and over products of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sum {
    /// The penalty on squared coefficients; larger is smoother.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub l2: f64,
    /// The penalty of products; `l2` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub products_l2: Option<f64>,
    /// Products of two columns: `all` of numbers as long as they are at most 100, `search` for
    /// those that help, `none`, or pairs of prepared columns such as `[["age", "bmi = missing"]]`.
    pub products: Products,
}

impl Default for Sum {
    fn default() -> Self {
        Self { l2: 1.0, products_l2: None, products: Products::Word(ProductWord::All) }
    }
}

/// Products of two columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Products {
    /// By a rule.
    Word(ProductWord),
    /// These.
    Pairs(Vec<[String; 2]>),
}

/// Rules for products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProductWord {
    /// Of all pairs of numbers, if they are at most 100.
    All,
    /// Those that help in folds of what is learnt from.
    Search,
    /// None.
    None,
}

/// Gradient-boosted trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Boosting {
    /// Number of trees.
    #[schemars(range(min = 1, max = 10_000))]
    pub rounds: usize,
    /// Depth of a tree.
    #[schemars(range(min = 1, max = 12))]
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub learning_rate: f64,
    /// Least sum of second derivatives in a leaf: rows for numbers, Σ p·(1 − p) for classes.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000_000))]
    pub min_leaf_weight: f64,
    /// Penalty on leaves.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub l2: f64,
    /// Share of rows that a tree sees.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub subsample: f64,
    /// Share of columns that a tree sees.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub column_share: f64,
}

/// A random forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forest {
    /// Number of trees.
    #[schemars(range(min = 1, max = 2_000))]
    pub trees: usize,
    /// Depth of a tree.
    #[schemars(range(min = 1, max = 40))]
    pub depth: usize,
    /// Rows in a leaf, at least; a row that was drawn twice is two.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_leaf: usize,
    /// Columns that are drawn for a split: the root of their number for a class, a third for a
    /// number, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub columns: Option<usize>,
}

impl Default for Boosting {
    fn default() -> Self {
        Self {
            rounds: 100,
            depth: 3,
            learning_rate: 0.05,
            min_leaf_weight: 1.0,
            l2: 1.0,
            subsample: 0.8,
            column_share: 0.8,
        }
    }
}

impl Default for Forest {
    fn default() -> Self {
        // Leaves of fewer rows say 0 of what happens to one row in a hundred.
        Self { trees: 200, depth: 32, min_leaf: 10, columns: None }
    }
}

impl TabularModel {
    /// The families that compete in predicting numbers, or classes.
    pub fn candidates(&self, numbers: bool) -> Vec<Family> {
        let sum = if numbers { Family::Linear } else { Family::Logistic };
        let usual = || vec![sum, Family::GradientBoosting, Family::RandomForest];
        self.candidates.clone().unwrap_or_else(usual)
    }

    /// Families that are compared: the baselines, the candidates, and what is asked for.
    pub fn families(&self, numbers: bool) -> Vec<Family> {
        let candidates = self.candidates(numbers);
        let does = if numbers { Does::Numbers } else { Does::Classes };
        let wanted = |family: &Family| {
            let asked = self.kind == Kind::Of(*family) || candidates.contains(family);
            family.does(does) && (family.is_baseline() || asked)
        };
        Family::ALL.iter().copied().filter(wanted).collect()
    }

    pub(super) fn defects(&self, kind: TabularKind, out: &mut Defects) {
        let does = |family: Family| match kind {
            TabularKind::Classification => family.does(Does::Classes),
            TabularKind::Regression => family.does(Does::Numbers),
            TabularKind::Auto => family.does(Does::Classes) && family.does(Does::Numbers),
        };
        let asked = match self.kind {
            Kind::Auto => None,
            Kind::Of(family) => Some(("task.model.kind".to_owned(), family)),
        };
        let listed = self.candidates.iter().flatten().enumerate();
        let listed = listed.map(|(at, family)| (format!("task.model.candidates[{at}]"), *family));
        for (key, family) in asked.into_iter().chain(listed) {
            out.need(&key, does(family), || {
                let can = Family::ALL.iter().filter(|family| does(**family));
                let can: Vec<&str> = can.map(|family| family.name()).collect();
                let name = family.name();
                format!(
                    "`{key}` is `{name}`, which cannot do this; there are `{}`",
                    can.join("`, `")
                )
            });
        }
    }
}
