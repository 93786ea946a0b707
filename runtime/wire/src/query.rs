//! A SQL query over catalogued objects, as the embedded cloud hands it to the engine's process.

use serde::{Deserialize, Serialize};

/// How the bytes of a table are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values; every column is a string.
    Csv,
    /// One JSON object per line.
    Json,
}

/// One catalogued table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Name of its database.
    pub database: String,
    /// Name of the table.
    pub name: String,
    /// `s3://bucket/prefix/`.
    pub location: String,
    /// Layout of its files.
    pub format: TableFormat,
    /// Whether the first line of each CSV file names the columns.
    pub has_header: bool,
    /// Columns with their Hive types, in order.
    pub columns: Vec<(String, String)>,
}

/// A query and everything it may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The statement.
    pub sql: String,
    /// The database that unqualified names belong to.
    pub database: Option<String>,
    /// The catalogue.
    pub tables: Vec<Table>,
    /// `s3://bucket/key.csv` for the result.
    pub output: String,
}

/// What a query answered; the rows themselves are in the CSV at `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Columns with their types in Athena's words.
    pub columns: Vec<(String, String)>,
    /// Rows of the result.
    pub rows: u64,
}
