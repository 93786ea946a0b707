//! Which groups the rows of a table form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fits, features, names, need_column, need_numbers, need_seen};
use crate::column::Columns;
use crate::defects::Defects;

/// Which groups there are in which table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusteringEntry {
    /// Name of the task and of the table that it makes: a lower-case letter, then lower-case
    /// letters, digits and underscores.
    pub name: String,
    /// The input or table that it looks at.
    pub table: String,
    /// What is looked for.
    #[serde(flatten)]
    pub task: ClusteringTask,
}

/// The kind of a task about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClusteringKind {
    /// Rows that are alike form a group.
    Clustering,
}

/// Which groups are looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusteringTask {
    /// The kind of task.
    pub kind: ClusteringKind,
    /// Column that names what a row is about, such as a household.
    pub entity: String,
    /// Columns of numbers that are looked at; every one of the table when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub features: Option<Vec<String>>,
    /// Columns that are not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub ignore: Vec<String>,
    /// Columns that are looked at as ln(1 + value), as counts and amounts should be; their values
    /// are at least 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub log: Vec<String>,
    /// How groups are found.
    #[serde(default)]
    pub model: ClusteringModel,
}

/// How groups are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusteringModel {
    /// The family.
    pub kind: ClusteringFamily,
    /// Groups of `k-means`; chosen from 2 to `clusters_max` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub clusters: Option<usize>,
    /// Groups of `k-means`, at most, where their number is chosen.
    #[schemars(range(min = 2, max = 100))]
    pub clusters_max: usize,
    /// Distance within which rows are near to each other, in standard deviations, for `dbscan`;
    /// chosen when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub eps: Option<f64>,
    /// Rows near to a row that make it a core, itself counted, for `dbscan`.
    #[schemars(range(min = 1, max = 10_000))]
    pub min_points: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for ClusteringModel {
    fn default() -> Self {
        Self {
            kind: ClusteringFamily::KMeans,
            clusters: None,
            clusters_max: 10,
            eps: None,
            min_points: 5,
            seed: 1,
        }
    }
}

/// Families that form groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClusteringFamily {
    /// Groups around means; every row is in one.
    KMeans,
    /// Groups where rows are dense; what lies between is in none.
    Dbscan,
}

impl ClusteringFamily {
    /// As manifests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::KMeans => "k-means",
            Self::Dbscan => "dbscan",
        }
    }
}

impl ClusteringTask {
    /// About the rows of `entity`, with everything else as it is by default.
    pub fn new(entity: &str) -> Self {
        Self {
            kind: ClusteringKind::Clustering,
            entity: entity.to_owned(),
            features: None,
            ignore: vec![],
            log: vec![],
            model: ClusteringModel::default(),
        }
    }

    /// The columns of numbers that it looks at.
    pub(super) fn features(&self, columns: &Columns) -> Vec<String> {
        features(columns, self.features.as_ref(), &self.ignore, &[&self.entity])
    }

    /// What is wrong with it as a task about `table`.
    pub(crate) fn defects(&self, table: (&str, &Columns), out: &mut Defects) {
        let name = (names as Fits, "`string`, `int` or `bigint`");
        need_column(("task.entity", &self.entity), table, name, out);
        let named = self.features.as_deref().unwrap_or_default();
        let log = ("log", &*self.log);
        need_numbers(&[("features", named), ("ignore", &self.ignore), log], table, out);
        need_seen(&self.features(table.1), &[log], table.0, out);
    }
}
