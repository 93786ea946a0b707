//! `[[tasks]]`: what is predicted, of which table, and with which model.
//!
//! What a task says depends on its kind. To add a kind, write its folder here and its lines in the
//! enums below.

pub mod forecast;
pub mod tabular;
pub mod unsupervised;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{schema, shape};
use forecast::ForecastEntry;
use tabular::TabularEntry;
use unsupervised::anomaly::AnomalyEntry;
use unsupervised::clustering::ClusteringEntry;

/// What is predicted or looked for, of which table, and with which model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TaskEntry {
    /// The next values of series.
    Forecast(Box<ForecastEntry>),
    /// What rows are or are worth.
    Tabular(Box<TabularEntry>),
    /// What is unusual.
    Anomaly(Box<AnomalyEntry>),
    /// Which groups there are.
    Clustering(Box<ClusteringEntry>),
}

/// The task of a pipeline whose model is trained and served.
#[derive(Debug, Clone, Copy)]
pub enum Served<'a> {
    /// The next values of series.
    Forecast(&'a ForecastEntry),
    /// What rows are or are worth.
    Tabular(&'a TabularEntry),
}

impl TaskEntry {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Forecast(entry) => &entry.name,
            Self::Tabular(entry) => &entry.name,
            Self::Anomaly(entry) => &entry.name,
            Self::Clustering(entry) => &entry.name,
        }
    }

    /// It, if its model is trained and served.
    pub(crate) fn served(&self) -> Option<Served<'_>> {
        match self {
            Self::Forecast(entry) => Some(Served::Forecast(entry)),
            Self::Tabular(entry) => Some(Served::Tabular(entry)),
            Self::Anomaly(_) | Self::Clustering(_) => None,
        }
    }
}

impl<'a> Served<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Forecast(entry) => &entry.name,
            Self::Tabular(entry) => &entry.name,
        }
    }

    /// The input or table that it is about, if it says so.
    pub(crate) fn table(&self) -> Option<&'a str> {
        match self {
            Self::Forecast(entry) => entry.table.as_deref(),
            Self::Tabular(entry) => entry.table.as_deref(),
        }
    }

    /// Columns that no two records of its table have in common, if nothing else is said.
    pub(crate) fn keys(&self) -> Vec<String> {
        match self {
            Self::Forecast(entry) => vec![entry.task.series.clone(), entry.task.time.clone()],
            Self::Tabular(entry) => entry.task.keys(),
        }
    }

    /// It, when it is of forecasts.
    pub fn forecast(&self) -> Option<&'a ForecastEntry> {
        match self {
            Self::Forecast(entry) => Some(entry),
            Self::Tabular(_) => None,
        }
    }

    /// It, when it is about rows.
    pub fn tabular(&self) -> Option<&'a TabularEntry> {
        match self {
            Self::Forecast(_) => None,
            Self::Tabular(entry) => Some(entry),
        }
    }
}

impl<'de> Deserialize<'de> for TaskEntry {
    /// By its kind, so that what is wrong is told of that kind.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let schema = schema::json_schema::<Self>();
        let entry = match shape::of_kind(&schema, &value).map(|(place, _)| place) {
            Some(1) => TabularEntry::deserialize(value).map(Box::new).map(Self::Tabular),
            Some(2) => AnomalyEntry::deserialize(value).map(Box::new).map(Self::Anomaly),
            Some(3) => ClusteringEntry::deserialize(value).map(Box::new).map(Self::Clustering),
            _ => ForecastEntry::deserialize(value).map(Box::new).map(Self::Forecast),
        };
        entry.map_err(D::Error::custom)
    }
}

impl JsonSchema for TaskEntry {
    fn schema_name() -> Cow<'static, str> {
        "TaskEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [
            ForecastEntry::json_schema(generator),
            TabularEntry::json_schema(generator),
            AnomalyEntry::json_schema(generator),
            ClusteringEntry::json_schema(generator),
        ];
        json_schema!({ "anyOf": forms })
    }
}
