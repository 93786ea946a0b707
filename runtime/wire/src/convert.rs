//! A conversion of records: what the embedded Firehose asks the engine to make of a buffer.
//!
//! The cloud sends a [`Convert`] as a line of JSON, the engine writes files on this machine and
//! answers with [`Converted`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convert {
    /// The columns of the table, in order.
    pub columns: Vec<Column>,
    /// Whether keys of JSON are compared in small letters.
    pub case_insensitive: bool,
    /// Keys of JSON by the columns that have other names.
    pub keys: BTreeMap<String, String>,
    /// How pages are compressed.
    pub compression: Compression,
    /// File with the records: each has its length, four bytes, the smallest first, before it.
    pub records: PathBuf,
    /// Parquet file that is written.
    pub parquet: PathBuf,
    /// File that is written with a [`Misfit`] as a line of JSON for each record that does not fit.
    pub misfits: PathBuf,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in Hive's words: `array<int>`.
    pub kind: String,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    #[serde(rename = "UNCOMPRESSED")]
    Uncompressed,
    /// By Snappy.
    #[serde(rename = "SNAPPY")]
    Snappy,
    /// By gzip.
    #[serde(rename = "GZIP")]
    Gzip,
}

/// A record that does not fit the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// Its place among the records, from 0.
    pub index: usize,
    /// Whether it is JSON at all.
    pub is_json: bool,
    /// Why.
    pub message: String,
}

/// What became of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converted {
    /// Rows of the Parquet file; a record may have several objects.
    pub rows: usize,
    /// Records that do not fit.
    pub misfits: usize,
}
