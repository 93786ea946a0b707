//! Days that are not like others.

use std::borrow::Cow;

use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Where holidays are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Holidays {
    /// Nowhere: every day is like its weekday.
    #[default]
    None,
    /// In the manifest.
    Dates(Vec<Date>),
    /// In the column `day` of this table.
    Table(String),
}

impl Holidays {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Dates(dates) => dates.is_empty(),
            Self::Table(_) => false,
        }
    }

    /// Those in the manifest.
    pub fn dates(&self) -> &[Date] {
        match self {
            Self::Dates(dates) => dates,
            _ => &[],
        }
    }
}

/// Holidays as manifests have them; none are absent.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Table(String),
    Dates(Vec<Date>),
}

impl Serialize for Holidays {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Table(name) => serializer.serialize_str(name),
            dates => dates.dates().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Holidays {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Table(name) => Self::Table(name),
            Written::Dates(dates) if dates.is_empty() => Self::None,
            Written::Dates(dates) => Self::Dates(dates),
        })
    }
}

impl JsonSchema for Holidays {
    fn schema_name() -> Cow<'static, str> {
        "Holidays".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let dates = Vec::<Date>::json_schema(generator);
        json_schema!({ "anyOf": [{ "type": "string", "description": "A table." }, dates] })
    }
}
