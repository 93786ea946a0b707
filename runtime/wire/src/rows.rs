//! Rows of one file of a table: what is asked of the engine's process, and its answer.

use serde::{Deserialize, Serialize};

use crate::etl::TableFormat;

/// Rows that one question may ask for.
pub const ROWS_MAX: usize = 10_000;

/// Which rows are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsAsked {
    /// `s3://bucket/key`.
    pub object: String,
    /// What the file is.
    pub format: TableFormat,
    /// Names of columns in the wanted order; all of them when empty.
    pub columns: Vec<String>,
    /// Only rows that have this text in this column.
    pub only: Option<(String, String)>,
    /// At most so many, from the beginning.
    pub rows: usize,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsColumn {
    /// Its name.
    pub name: String,
    /// Its type, in Hive's words.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// The rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsSeen {
    /// The columns.
    pub columns: Vec<RowsColumn>,
    /// Names of columns of types that are not read.
    pub unread: Vec<String>,
    /// A value of each column as text; nothing for NULL.
    pub rows: Vec<Vec<Option<String>>>,
}
