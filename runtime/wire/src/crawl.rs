//! A crawl: what the embedded cloud asks the engine to look at, and what the engine found there.
//!
//! The cloud sends a [`Crawl`] as a line of JSON, the engine answers with [`Crawled`]. The engine
//! says what files have; names, parameters and policies of the catalogue are the cloud's.

use serde::{Deserialize, Serialize};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crawl {
    /// Each of them is looked at by itself.
    pub targets: Vec<Target>,
    /// Whether schemas that are not similar become one table, too, as long as data are compatible.
    pub combine: bool,
}

/// A folder in S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `s3://bucket/prefix/`.
    pub path: String,
    /// Patterns of what is left out, relative to the path.
    pub exclusions: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crawled {
    /// Tables, in the order of their places.
    pub tables: Vec<Found>,
    /// What is worth a line in a log: files of which nothing is known.
    pub notes: Vec<String>,
}

/// A table that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Name of its folder or file, as it is.
    pub name: String,
    /// `s3://bucket/prefix/`, or `s3://bucket/key` of a file that is no table with its neighbours.
    pub location: String,
    /// What its files have.
    pub content: Content,
    /// Names of its partition keys; none when its files lie in one folder.
    pub keys: Vec<String>,
    /// Its partitions, when it has keys.
    pub partitions: Vec<Partition>,
}

/// The files of one folder of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// A value for each key.
    pub values: Vec<String>,
    /// `s3://bucket/prefix/`.
    pub location: String,
    /// What its files have.
    pub content: Content,
}

/// What files have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Their format.
    pub classification: Classification,
    /// Whether each file as a whole is compressed by gzip.
    pub gzip: bool,
    /// Names and Hive types, in order.
    pub columns: Vec<(String, String)>,
    /// How many files there are.
    pub objects: u64,
    /// How large they are.
    pub bytes: u64,
    /// How many records they have, estimated where only a sample was read.
    pub records: u64,
}

/// A format that a classifier recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classification {
    /// Apache Parquet.
    Parquet,
    /// Apache ORC.
    Orc,
    /// Apache Avro, with the text of its schema.
    Avro(String),
    /// Objects of JSON, with the names of their members as they are.
    Json(Vec<String>),
    /// Separated values.
    Csv(CsvForm),
    /// None recognised it.
    Unknown,
}

/// How values are separated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvForm {
    /// What stands between values.
    pub delimiter: char,
    /// Whether the first line has names.
    pub header: bool,
    /// Whether values stand in quotes.
    pub quoted: bool,
}
