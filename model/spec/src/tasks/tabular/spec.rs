//! What decides a model of rows: the task, and the columns that it reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TabularKind, TabularTask};
use crate::column::ColumnType;
use crate::manifest::Manifest;
use crate::training::{Training, checked};

/// A column that models see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// Configuration of one training about rows. Two equal specs on equal data give equal artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TabularSpec {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the task.
    pub name: String,
    /// Name of the table that it reads.
    pub table: String,
    /// The columns that models see, in the table's order.
    #[schemars(length(min = 1, max = 2_000))]
    pub columns: Vec<FeatureColumn>,
    /// Columns that say something about people that must not decide by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// What is predicted.
    pub task: TabularTask,
}

impl TabularSpec {
    /// What a manifest says about the training of its task, when that is about rows.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let entry = manifest.task().tabular()?;
        let source = manifest.source();
        let feature =
            |column: &crate::Column| FeatureColumn { name: column.name.clone(), kind: column.kind };
        let sensitive = source.input.map(|input| input.sensitive.clone()).unwrap_or_default();
        Some(Self {
            pipeline: manifest.name.clone(),
            name: entry.name.clone(),
            table: source.name.to_owned(),
            columns: entry.task.features(source.columns).map(feature).collect(),
            sensitive,
            task: entry.task.clone(),
        })
    }

    /// About a table with these columns, with everything else as it is by default.
    pub fn new(
        pipeline: &str,
        kind: TabularKind,
        target: &str,
        columns: &[(&str, ColumnType)],
    ) -> Self {
        let feature = |(name, kind): &(&str, ColumnType)| FeatureColumn {
            name: (*name).to_owned(),
            kind: *kind,
        };
        Self {
            pipeline: pipeline.to_owned(),
            name: pipeline.to_owned(),
            table: pipeline.to_owned(),
            columns: columns.iter().map(feature).collect(),
            sensitive: vec![],
            task: TabularTask::new(kind, target),
        }
    }

    /// The same, changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The type of a column that models see.
    pub fn column(&self, name: &str) -> Option<ColumnType> {
        self.columns.iter().find(|column| column.name == name).map(|column| column.kind)
    }
}

impl Training for TabularSpec {
    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    fn table(&self) -> &str {
        &self.table
    }

    fn check(&self) -> Result<(), String> {
        checked(self, |defects| self.task.defects(defects))
    }

    fn reads_like(&self, other: &Self) -> bool {
        let read = |spec: &Self| {
            let TabularTask { target, labels, entity, time, .. } = spec.task.clone();
            (spec.columns.clone(), target, labels, entity, time)
        };
        read(self) == read(other)
    }
}
