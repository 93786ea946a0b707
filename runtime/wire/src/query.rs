//! A SQL query over catalogued objects: what the embedded cloud and the engine's process say to
//! each other, one JSON value a line.
//!
//! The cloud sends a [`Query`]. The engine reads the statement and says what it [`Needs`] of the
//! catalogue; the cloud checks the caller's permissions and sends that part as a [`Catalogue`]. A
//! view that it finds there is a statement of its own, so the engine may need more, until it has
//! everything. What a statement changes of the catalogue are [`Call`]s of the API, which the cloud
//! makes for the caller and answers with [`Called`]. The engine ends with [`Said::Done`] or
//! [`Said::Failed`]. Only the engine parses SQL.

mod statement;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use statement::{Executed, Statement, Written};

/// How the bytes of a table are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Separated values as Hive's OpenCSVSerde or LazySimpleSerDe reads them.
    Csv(CsvLayout),
    /// One JSON object per line, with the names of members as they are, where they are known.
    Json(Vec<String>),
    /// Fields in the values of Hadoop sequence files, as Hive's LazySimpleSerDe reads them, with
    /// `field.delim`.
    Sequence(char),
    /// Apache ORC.
    Orc(OrcAccess),
    /// Apache Avro, with the text of `avro.schema.literal`.
    Avro(Option<String>),
}

/// How columns are found in the files of a table of ORC: `orc.column.index.access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrcAccess {
    /// By their places, as Athena does it unless it is told.
    Index,
    /// By their names.
    Name,
}

/// The parameters of what reads separated values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvLayout {
    /// `separatorChar` or `field.delim`.
    pub separator: char,
    /// Of OpenCSVSerde; LazySimpleSerDe takes quotes for letters.
    pub quotes: Option<Quotes>,
    /// `escape.delim` of LazySimpleSerDe.
    pub escape: Option<char>,
    /// `serialization.null.format` of LazySimpleSerDe.
    pub null: String,
    /// Lines before the first record of each file: `skip.header.line.count`.
    pub header_lines: u64,
}

/// The parameters of OpenCSVSerde that say where a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotes {
    /// `quoteChar`.
    pub quote: char,
    /// `escapeChar`.
    pub escape: char,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its Hive type: `array<struct<step:int>>`.
    pub hive_type: String,
    /// What it is.
    pub comment: Option<String>,
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
    /// Layout of its files; the error of a table that the engine cannot read.
    pub format: Result<TableFormat, String>,
    /// Columns in order.
    pub columns: Vec<TableColumn>,
    /// Keys of its partitions, which are columns as well.
    pub keys: Vec<TableColumn>,
    /// Its partitions, when it has keys.
    pub partitions: Vec<Partition>,
    /// Its parameters: `projection.enabled`.
    pub parameters: BTreeMap<String, String>,
    /// The statement that it stands for, when it is a view.
    pub view: Option<View>,
}

/// A view as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its statement.
    pub sql: String,
    /// The database that unqualified names of the statement belong to.
    pub database: Option<String>,
}

impl Table {
    /// The columns that a statement sees.
    pub fn all_columns(&self) -> impl Iterator<Item = &TableColumn> {
        self.columns.iter().chain(&self.keys)
    }
}

/// The files of a folder, with values for all keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// A value for each key.
    pub values: Vec<String>,
    /// `s3://bucket/prefix/`.
    pub location: String,
    /// Its own columns in order.
    pub columns: Vec<TableColumn>,
}

/// A statement and where its result goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The statement.
    pub sql: String,
    /// What stands for its `?`, in order.
    pub parameters: Vec<String>,
    /// The expressions behind `USING`, when it is a prepared statement.
    pub using: Option<String>,
    /// The database that unqualified names belong to.
    pub database: Option<String>,
    /// `s3://bucket/prefix/ID.csv` for the result.
    pub output: String,
    /// The ID of the execution.
    pub id: String,
    /// Bytes of tables after which the query is cancelled.
    pub scanned_bytes_max: Option<u64>,
}

/// A list of the catalogue that a statement asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// No list.
    #[default]
    Nothing,
    /// Names of the databases.
    Databases,
    /// The tables of one database.
    Tables(String),
    /// All databases and tables that the caller may see.
    All,
}

/// What a statement reads of the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Tables by database and name, in lower case.
    pub tables: Vec<(String, String)>,
    /// Lists.
    pub listing: Listing,
}

/// The part of the catalogue that a query was allowed to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Names of databases.
    pub databases: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A column of a result, as Athena's `ColumnInfo` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in Athena's words: `varchar`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Digits, or characters.
    pub precision: u32,
    /// Digits after the point.
    pub scale: u32,
    /// Whether comparing its values minds upper and lower case.
    pub case_sensitive: bool,
}

/// What a query answered; the rows themselves are in the file at `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Rows of the result.
    pub rows: u64,
    /// Rows that were written into a table, or elsewhere.
    pub update_count: Option<u64>,
    /// `s3://bucket/prefix/ID-manifest.csv`, the list of the files that were written.
    pub manifest: Option<String>,
    /// Bytes of tables that were read.
    pub scanned_bytes: u64,
    /// Milliseconds until the plan was ready.
    pub planning_ms: u64,
    /// Milliseconds in all, planning included.
    pub engine_ms: u64,
}

/// How a query ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The statement is not SQL, or not of a kind that is implemented.
    Malformed,
    /// It failed.
    Failed,
    /// It was cancelled by a limit.
    Cancelled,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryFailure {
    /// How it ended.
    pub kind: FailureKind,
    /// In Athena's words: `TABLE_NOT_FOUND: line 1:15: …`.
    pub message: String,
}

/// A call of an API that the engine asks for, with the caller's rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Of which service.
    pub service: Service,
    /// `CreateTable`.
    pub operation: String,
    /// Its input.
    pub input: Value,
}

/// The services that statements change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// The catalogue.
    Glue,
    /// Prepared statements.
    Athena,
}

/// What became of a call.
pub type Called = Result<Value, CallError>;

/// Why an API refused a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// `EntityNotFoundException`.
    pub code: String,
    /// In the API's words.
    pub message: String,
}

/// A line from the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It has read the statement and waits for the catalogue.
    Needs(Needs),
    /// It waits for the answer of an API.
    Call(Call),
    /// The result is written.
    Done(QueryResult),
    /// There will be no result.
    Failed(QueryFailure),
}
