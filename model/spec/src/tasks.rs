//! `[[tasks]]`: what is predicted, of which table, and with which model.
//!
//! What a task says depends on its kind. To add a kind, write its folder here and its lines in the
//! enums below.

pub mod forecast;
pub mod tabular;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{schema, shape};
use forecast::ForecastEntry;
use tabular::TabularEntry;

/// What is predicted, of which table, and with which model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TaskEntry {
    /// The next values of series.
    Forecast(Box<ForecastEntry>),
    /// What rows are or are worth.
    Tabular(Box<TabularEntry>),
}

impl TaskEntry {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Forecast(entry) => &entry.name,
            Self::Tabular(entry) => &entry.name,
        }
    }

    /// The input or table that it is about, if it says so.
    pub(crate) fn table(&self) -> Option<&str> {
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
    pub fn forecast(&self) -> Option<&ForecastEntry> {
        match self {
            Self::Forecast(entry) => Some(entry),
            Self::Tabular(_) => None,
        }
    }

    /// It, when it is about rows.
    pub fn tabular(&self) -> Option<&TabularEntry> {
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
        let tabular = shape::of_kind(&schema::json_schema::<Self>(), &value)
            .is_some_and(|(place, _)| place == 1);
        if tabular {
            return TabularEntry::deserialize(value)
                .map(Box::new)
                .map(Self::Tabular)
                .map_err(D::Error::custom);
        }
        ForecastEntry::deserialize(value)
            .map(Box::new)
            .map(Self::Forecast)
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for TaskEntry {
    fn schema_name() -> Cow<'static, str> {
        "TaskEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [ForecastEntry::json_schema(generator), TabularEntry::json_schema(generator)];
        json_schema!({ "anyOf": forms })
    }
}
