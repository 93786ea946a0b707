//! Rows: what each of them is (classification), or is worth (regression).

mod model;
mod prepare;
mod spec;
mod split;
mod threshold;
mod tune;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::{Column, ColumnType, Columns};
use crate::defects::Defects;
pub use model::{Boosting, Forest, ProductWord, Products, Sum, TabularModel};
pub use prepare::{Encode, Impute, ImputeWord, Prepare};
pub use spec::{FeatureColumn, TabularSpec};
pub use split::{Split, SplitKind};
pub use threshold::{Cost, Maximise, Threshold};
pub use tune::{Objective, Tune};

/// What is predicted of each row of a table, and with which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TabularEntry {
    /// Name of the task: lower-case letters, digits and inner hyphens.
    pub name: String,
    /// The input or table that it is about; the only input when absent.
    pub table: Option<String>,
    /// What is predicted.
    #[serde(flatten)]
    pub task: TabularTask,
}

/// What is asked about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TabularKind {
    /// Which class a row is of, with the probability of each.
    Classification,
    /// A number.
    Regression,
    /// What suits the target: a class where it is a truth value, text, or a whole number of at most
    /// ten different values, otherwise a number.
    Auto,
}

/// What is predicted of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TabularTask {
    /// The kind of task.
    pub kind: TabularKind,
    /// Column that is predicted. Rows without it are scored, and neither learnt from nor judged by.
    pub target: String,
    /// Column that names what a row is about, such as a person; models do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Column of when a row was known, a `date` or `timestamp`; models do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Labels that the target may have; of two, the last is what is predicted. Those that the
    /// data have, in order, when absent; of truth values `true` is predicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub labels: Vec<String>,
    /// Columns that models see; every other one of the table when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2_000))]
    pub features: Option<Vec<String>>,
    /// Columns that models do not see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    pub ignore: Vec<String>,
    /// Column with the weight of each row in fitting, a number; all alike when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Whether all classes weigh the same in fitting, however few rows they have. Probabilities
    /// are put right by the calibration; without it they are right from the start.
    #[serde(default)]
    pub balanced: bool,
    /// How columns are prepared where that differs from what is usual for a family.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prepare: BTreeMap<String, Prepare>,
    /// Which rows models learn from, and which they are judged on.
    #[serde(default)]
    pub split: Split,
    /// With which model.
    #[serde(default)]
    pub model: TabularModel,
    /// The search for options of the family that is served; none without this section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    /// From which probability on the answer of two classes is yes.
    #[serde(default)]
    pub threshold: Threshold,
    /// Columns by whose values scores are told, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub report_by: Vec<String>,
    /// Reasons that a scored row has in `predictions`, the strongest first; none with 0.
    #[serde(default = "three")]
    #[schemars(range(max = 100))]
    pub explain: usize,
}

fn three() -> usize {
    3
}

impl TabularTask {
    /// Of a target, with everything else as it is by default.
    pub fn new(kind: TabularKind, target: &str) -> Self {
        Self {
            kind,
            target: target.to_owned(),
            entity: None,
            time: None,
            labels: vec![],
            features: None,
            ignore: vec![],
            weights: None,
            balanced: false,
            prepare: BTreeMap::new(),
            split: Split::default(),
            model: TabularModel::default(),
            tune: None,
            threshold: Threshold::default(),
            report_by: vec![],
            explain: three(),
        }
    }

    /// The columns of a table that models see, in its order.
    pub fn features<'a>(&'a self, columns: &'a Columns) -> impl Iterator<Item = &'a Column> {
        let own =
            [Some(&self.target), self.entity.as_ref(), self.time.as_ref(), self.weights.as_ref()];
        columns.iter().filter(move |column| {
            let name = &column.name;
            let named = self.features.as_ref().is_none_or(|features| features.contains(name));
            named && !own.contains(&Some(name)) && !self.ignore.contains(name)
        })
    }

    /// Columns that no two rows have in common, if nothing else is said. Where groups are told
    /// apart, an entity has several rows.
    pub(crate) fn keys(&self) -> Vec<String> {
        let several = self.time.is_none() && self.split.kind == Some(SplitKind::Group);
        let entity = self.entity.iter().filter(|_| !several);
        entity.chain(self.entity.as_ref().and(self.time.as_ref())).cloned().collect()
    }

    /// What is wrong with it whatever the data are.
    pub(crate) fn defects(&self, out: &mut Defects) {
        let labels: BTreeSet<&String> = self.labels.iter().collect();
        out.need("task.labels", labels.len() == self.labels.len(), || {
            "`task.labels` has a label twice".to_owned()
        });
        out.need("task.labels", self.labels.len() != 1, || {
            "`task.labels` has one label; there are at least two to choose between".to_owned()
        });
        let numeric = self.kind == TabularKind::Regression;
        out.need("task.labels", self.labels.is_empty() || !numeric, || {
            "`task.labels` are of classes, and `kind = \"regression\"` predicts a number".to_owned()
        });
        out.need("task.balanced", !self.balanced || !numeric, || {
            "`task.balanced` is of classes, and `kind = \"regression\"` predicts a number"
                .to_owned()
        });
        self.split.defects(self, out);
        self.threshold.defects(out);
        self.model.defects(self.kind, out);
        if let Some(tune) = &self.tune {
            tune.defects(self.kind, out);
        }
        for (name, prepare) in &self.prepare {
            prepare.defects(&format!("task.prepare.{name}"), out);
        }
    }

    /// What is wrong with it as a task about these columns of `table`.
    pub(crate) fn column_defects(&self, table: &str, columns: &Columns, out: &mut Defects) {
        use ColumnType::{Bigint, Boolean, Date, Int, String as Text, Timestamp};
        let known = |key: &str, name: &str, out: &mut Defects| {
            columns.known(table, key, name, out).map(|column| column.kind)
        };
        if let Some(kind) = known("task.target", &self.target, out) {
            let (fits, expected) = match self.kind {
                TabularKind::Regression => (kind.is_number(), "a number"),
                TabularKind::Classification => (
                    matches!(kind, Boolean | Text | Int | Bigint),
                    "`boolean`, `string` or a whole number",
                ),
                TabularKind::Auto => (
                    kind.is_number() || matches!(kind, Boolean | Text),
                    "`boolean`, `string` or a number",
                ),
            };
            out.need("task.target", fits, || {
                format!("the target column `{}` must have the type {expected}", self.target)
            });
        }
        if let Some(entity) = &self.entity
            && let Some(kind) = known("task.entity", entity, out)
        {
            out.need("task.entity", matches!(kind, Text | Int | Bigint), || {
                format!(
                    "the entity column `{entity}` must have the type `string`, `int` or `bigint`"
                )
            });
        }
        if let Some(time) = &self.time
            && let Some(kind) = known("task.time", time, out)
        {
            out.need("task.time", matches!(kind, Date | Timestamp), || {
                format!("the time column `{time}` must have the type `date` or `timestamp`")
            });
        }
        if let Some(weights) = &self.weights
            && let Some(kind) = known("task.weights", weights, out)
        {
            out.need("task.weights", kind.is_number(), || {
                format!("the column of weights `{weights}` must be a number")
            });
        }
        let by = self.split.by.iter().map(|name| ("task.split.by".to_owned(), name));
        for (key, name) in by.chain(self.named()) {
            known(&key, name, out);
        }
        for name in self.prepare.keys() {
            let key = format!("task.prepare.{name}");
            if known(&key, name, out).is_some() {
                let seen = self.features(columns).any(|column| column.name == *name);
                out.need(key, seen, || format!("models do not see `{name}`, which is prepared"));
            }
        }
        out.need("task.features", self.features(columns).next().is_some(), || {
            format!("the table `{table}` has no column left that models could see")
        });
    }

    /// Columns in its lists.
    fn named(&self) -> impl Iterator<Item = (String, &String)> {
        let lists = [
            ("features", self.features.as_deref().unwrap_or_default()),
            ("ignore", &self.ignore),
            ("report_by", &self.report_by),
        ];
        lists.into_iter().flat_map(|(list, names)| {
            let key = move |(at, name)| (format!("task.{list}[{at}]"), name);
            names.iter().enumerate().map(key)
        })
    }
}
