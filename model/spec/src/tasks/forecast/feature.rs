//! Numeric columns beside the target, and when their values are known.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// When the value that a feature has for a period is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// When the target of that period is: a model sees nothing of it after the origin.
    #[default]
    Past,
    /// Before, as a forecast: backtests take what the table has as if it had been forecast.
    Forecast,
    /// Always, as a calendar is: records of periods to come have it.
    Always,
}

impl Known {
    /// Whether periods to come have a value.
    pub fn ahead(self) -> bool {
        self != Self::Past
    }
}

/// A numeric column beside the target: its name, or a table with the name and when it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Feature {
    /// The column.
    pub column: String,
    /// When its values are known.
    pub known: Known,
}

impl Feature {
    /// The column `name` with values that are known as `known` says.
    pub fn new(name: &str, known: Known) -> Self {
        Self { column: name.to_owned(), known }
    }
}

/// A feature as manifests have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    /// What is known with the target.
    Name(String),
    Said(Said),
}

/// A numeric column, and when its values are known.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The column.
    column: String,
    /// When its values are known.
    #[serde(default)]
    known: Known,
}

impl From<Written> for Feature {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(column) => Self { column, known: Known::default() },
            Written::Said(Said { column, known }) => Self { column, known },
        }
    }
}

impl From<Feature> for Written {
    fn from(Feature { column, known }: Feature) -> Self {
        match known {
            Known::Past => Self::Name(column),
            known => Self::Said(Said { column, known }),
        }
    }
}

impl JsonSchema for Feature {
    fn schema_name() -> Cow<'static, str> {
        "Feature".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let said = Said::json_schema(generator);
        json_schema!({ "anyOf": [{ "type": "string", "description": "The column." }, said] })
    }
}
