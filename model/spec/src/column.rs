//! `[[data.columns]]`: names and types of the clean table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A column of the clean table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name of the column: lower-case letters, digits and inner underscores.
    pub name: String,
    /// Its name in the file, when that differs.
    pub source: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

impl Column {
    /// Its name in the file.
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.name)
    }
}

/// Types of the clean table; the names are Hive's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text.
    String,
    /// 32-bit whole number.
    Int,
    /// 64-bit whole number.
    Bigint,
    /// 64-bit floating-point number.
    Double,
}

impl ColumnType {
    /// Hive's word.
    pub fn hive(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bigint => "bigint",
            Self::Double => "double",
        }
    }
}
