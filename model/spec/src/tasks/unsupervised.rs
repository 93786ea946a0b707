//! Tasks without a target: what is unusual in a table, and which groups there are in it.
//!
//! Nothing is trained and served: each run looks at the whole table again, and what it finds is a
//! table of its own.

pub mod anomaly;
pub mod clustering;

use serde::{Deserialize, Serialize};

use crate::column::{ColumnType, Columns};
use crate::defects::Defects;
use crate::manifest::Manifest;
use crate::tasks::TaskEntry;
use anomaly::{AnomalyEntry, AnomalyTask};
use clustering::{ClusteringEntry, ClusteringTask};

/// A task without a target, as a manifest has it.
#[derive(Debug, Clone, Copy)]
pub enum Unsupervised<'a> {
    /// What is unusual.
    Anomaly(&'a AnomalyEntry),
    /// Which groups there are.
    Clustering(&'a ClusteringEntry),
}

impl<'a> Unsupervised<'a> {
    /// It, if an entry of a manifest is of this kind.
    pub(crate) fn of(entry: &'a TaskEntry) -> Option<Self> {
        match entry {
            TaskEntry::Anomaly(entry) => Some(Self::Anomaly(entry)),
            TaskEntry::Clustering(entry) => Some(Self::Clustering(entry)),
            TaskEntry::Forecast(_) | TaskEntry::Tabular(_) => None,
        }
    }

    /// Its name, which is that of the table it makes.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Anomaly(entry) => &entry.name,
            Self::Clustering(entry) => &entry.name,
        }
    }

    /// The table that it looks at.
    pub fn table(&self) -> &'a str {
        match self {
            Self::Anomaly(entry) => &entry.table,
            Self::Clustering(entry) => &entry.table,
        }
    }

    /// Column that names what a row is about; of series, the one that names the series.
    pub fn entity(&self) -> &'a str {
        match self {
            Self::Anomaly(entry) => entry.task.entity(),
            Self::Clustering(entry) => &entry.task.entity,
        }
    }
}

/// What a run looks for in one table: part of the manifest, and nothing else of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsupervisedSpec {
    /// Name of the task.
    pub name: String,
    /// Name of the table that it looks at.
    pub table: String,
    /// The columns of numbers that it looks at, in the table's order; none of series.
    pub columns: Vec<String>,
    /// What is looked for.
    pub task: UnsupervisedTask,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UnsupervisedTask {
    /// What is unusual.
    Anomaly(Box<AnomalyTask>),
    /// Which groups there are.
    Clustering(Box<ClusteringTask>),
}

impl UnsupervisedSpec {
    /// All of a manifest, in its order.
    pub fn all(manifest: &Manifest) -> Vec<Self> {
        let of = |found: Unsupervised<'_>| {
            let columns = manifest.stored().find(|table| table.name == found.table());
            let columns = columns.expect("a manifest's tables are checked").columns;
            let (columns, task) = match found {
                Unsupervised::Anomaly(entry) => (
                    entry.task.features(columns),
                    UnsupervisedTask::Anomaly(Box::new(entry.task.clone())),
                ),
                Unsupervised::Clustering(entry) => (
                    entry.task.features(columns),
                    UnsupervisedTask::Clustering(Box::new(entry.task.clone())),
                ),
            };
            Self { name: found.name().to_owned(), table: found.table().to_owned(), columns, task }
        };
        manifest.unsupervised().map(of).collect()
    }
}

/// The columns of numbers that a task looks at: those that it names, or all but `own` and those
/// that it leaves out.
fn features(
    columns: &Columns,
    named: Option<&Vec<String>>,
    ignored: &[String],
    own: &[&str],
) -> Vec<String> {
    let seen = |name: &str| {
        let wanted = named.is_none_or(|named| named.iter().any(|named| named == name));
        wanted && !ignored.iter().any(|ignored| ignored == name) && !own.contains(&name)
    };
    let numbers = columns.iter().filter(|column| column.kind.is_number());
    numbers.map(|column| column.name.clone()).filter(|name| seen(name)).collect()
}

/// Whether a type is one that is needed.
pub(crate) type Fits = fn(ColumnType) -> bool;

/// What is wrong with the column `name` that stands at `key` of a task about `table`: it is not
/// there, or not of a type that `fits`.
pub(crate) fn need_column(
    (key, name): (&str, &str),
    (table, columns): (&str, &Columns),
    (fits, expected): (Fits, &str),
    out: &mut Defects,
) {
    if let Some(column) = columns.known(table, key, name, out) {
        out.need(key, fits(column.kind), || {
            format!("the column `{name}` must have the type {expected}")
        });
    }
}

/// Whether values of a type can name something.
fn names(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::String | ColumnType::Int | ColumnType::Bigint)
}

/// What is wrong with lists of columns of numbers.
fn need_numbers(lists: &[(&str, &[String])], table: (&str, &Columns), out: &mut Defects) {
    for (list, listed) in lists {
        for (at, name) in listed.iter().enumerate() {
            let key = format!("task.{list}[{at}]");
            need_column((&key, name), table, (ColumnType::is_number, "of a number"), out);
        }
    }
}

/// What is wrong with what is looked at of `table`: nothing, or not what lists say more of.
fn need_seen(seen: &[String], lists: &[(&str, &[String])], table: &str, out: &mut Defects) {
    out.need("task.features", !seen.is_empty(), || {
        format!("the table `{table}` has no column of numbers left to look at")
    });
    for (list, listed) in lists {
        for (at, name) in listed.iter().enumerate() {
            out.need(format!("task.{list}[{at}]"), seen.contains(name), || {
                format!("`{list}` says more of `{name}`, which is not looked at")
            });
        }
    }
}
