//! The cleaning job as data: one plan that the embedded engine and Spark both execute.

pub mod header;
mod quotes;
pub mod records;

use serde::{Deserialize, Serialize};

/// Version of the plan's schema.
pub const ETL_PLAN_SCHEMA_VERSION: u32 = 4;
/// Series whose newest records were rejected that a report names; the others it counts.
pub const REJECTED_NEWEST_SHOWN: usize = 20;

/// What a cleaning job does: inputs become clean tables, and of these, tables are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtlPlan {
    /// [`ETL_PLAN_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Under what all places are: `s3://bucket/`, or a folder of this machine.
    pub root: String,
    /// Where the report lies under it.
    pub report: String,
    /// The inputs.
    pub inputs: Vec<InputPlan>,
    /// Tables made of their clean tables and of each other, in the order of making.
    pub tables: Vec<TablePlan>,
}

/// How files become a clean table.
///
/// Their records are the view `file`: the columns as the files have them (those of CSV and JSON are
/// strings), plus `_row`, the number of the record. The view `raw` is the same with
/// [`InputPlan::forms`] in place of their columns. The table `typed` is what
/// [`InputPlan::cleaning_sql`] makes of them, and `judged` what [`InputPlan::judged_sql`] makes of
/// that; both are made once, and what follows reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPlan {
    /// Name of the input and of its clean table.
    pub name: String,
    /// The prefix of its files.
    pub prefix: String,
    /// Format of its files.
    pub format: TableFormat,
    /// What holds the records of text.
    #[serde(default, skip_serializing_if = "Container::is_lines")]
    pub container: Container,
    /// How CSV is read.
    #[serde(default)]
    pub csv: Option<CsvOptions>,
    /// Columns that the pipeline knows, with their names in `raw`.
    pub columns: Vec<ColumnName>,
    /// Expressions that give the plain form of what a column of `file` says.
    #[serde(default)]
    pub forms: Vec<Form>,
    /// Columns of `file` that are in no table, not even among the rejected records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// The pipeline's own SQL: one row per record of `raw`, with its `_row`.
    pub cleaning_sql: String,
    /// SQL over `typed`, and over `file` for what only the file says: its rows in the order of the
    /// clean table, with `_rule`, the first rule that each breaks, or null.
    pub judged_sql: String,
    /// SQL over `judged` whose result is the clean table.
    pub clean_sql: String,
    /// SQL over `judged` and `file` whose result is the rejected records: the file's columns,
    /// `_row`, `_rule`, `_reason`.
    pub rejects_sql: String,
    /// SQL over `judged` that names the series whose newest records are rejected: `_series`,
    /// `_period`, `_records`, `_rule`, and `_all`, their number. None when no rule rejects.
    #[serde(default)]
    pub newest_sql: Option<String>,
    /// Names of the rules that stop the job when any record breaks them.
    pub fatal_rules: Vec<String>,
    /// The column that each rule looks at, for messages.
    pub rule_columns: Vec<(String, String)>,
    /// Where the clean table goes.
    pub output: Output,
    /// The prefix of rejected records.
    pub rejects: String,
}

/// How a table is made of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// Its name.
    pub name: String,
    /// Spark SQL over the tables before it.
    pub sql: String,
    /// Names and types, Hive's words, of the columns that it must have.
    pub columns: Vec<(String, String)>,
    /// Columns that no two rows have in common.
    pub keys: Vec<String>,
    /// Where it goes.
    pub output: Output,
}

/// Where a table goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its prefix, which is the job's own.
    pub prefix: String,
    /// Its format.
    pub format: TableFormat,
}

/// Formats of tables in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Lines of fields under a header.
    Csv,
    /// A JSON object per line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Avro.
    Avro,
    /// Apache ORC.
    Orc,
}

impl TableFormat {
    /// Its name, which is the extension of its files, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Orc => "orc",
        }
    }
}

/// What holds records that are text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// Lines of a file.
    #[default]
    Lines,
    /// A Hadoop sequence file whose values are a record each. CSV in it has no header: its fields
    /// are the columns of the plan.
    Sequence,
}

impl Container {
    /// Whether records are lines of a file.
    pub fn is_lines(&self) -> bool {
        *self == Self::Lines
    }
}

/// How CSV is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// Field separator, one ASCII character.
    pub delimiter: char,
    /// Lines before the header.
    pub skip_lines: u64,
    /// Whether the table ends where footnotes begin.
    pub leave_out_footnotes: bool,
    /// How columns become records.
    #[serde(default)]
    pub wide: Option<Wide>,
}

/// A column of a file and what `raw` calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnName {
    /// Name in the file's header.
    pub source: String,
    /// Name in `raw`.
    pub name: String,
    /// Hive's word for its type, which files with types must have.
    #[serde(rename = "type")]
    pub kind: String,
    /// Time zone of what the clean table has in it, where the manifest says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A table whose columns are periods: each of its cells is a record of `file`.
///
/// The cell of record `r` in the `c`-th of `n` columns with a name that are not kept has the `_row`
/// `(r - 1) * n + c`. An empty cell and one that says that it is missing make no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wide {
    /// Columns of the file that stay columns.
    pub keep: Vec<String>,
    /// The column that gets the names of the others.
    pub names: String,
    /// The column that gets their values.
    pub values: String,
    /// What a cell without a value says.
    pub missing: Vec<String>,
}

/// The plain form of what a column says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// Name of the column in `file` and `raw`.
    pub column: String,
    /// An expression over the columns of `file`.
    pub sql: String,
}

/// What a cleaning job did; its counts add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtlReport {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The engine: `datafusion` or `spark`, with its version.
    pub engine: String,
    /// What became of each input.
    pub inputs: Vec<InputReport>,
    /// The tables made of them.
    #[serde(default)]
    pub tables: Vec<TableReport>,
    /// Addresses of the objects that the run wrote: `s3://bucket/processed/x/y/part-00000.parquet`.
    /// The next run deletes these when it does not write them again, and nothing else.
    #[serde(default)]
    pub objects: Vec<String>,
}

/// What became of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReport {
    /// Its name.
    pub name: String,
    /// Data records in its files; of a wide table, cells with a value.
    pub raw_rows: u64,
    /// Rows of the clean table.
    pub clean_rows: u64,
    /// Records turned away.
    pub rejected_rows: u64,
    /// Records turned away, by rule.
    pub rejected_by_rule: std::collections::BTreeMap<String, u64>,
    /// The objects that were read.
    pub read: InputObjects,
    /// Number of series whose newest records were turned away by rules.
    #[serde(default)]
    pub rejected_newest_count: u64,
    /// The first [`REJECTED_NEWEST_SHOWN`] of them.
    #[serde(default)]
    pub rejected_newest: Vec<RejectedNewest>,
}

/// A table made of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// What a run read, as it was when the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputObjects {
    /// How many objects.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
    /// When the newest was written, in seconds since 1970.
    pub modified: i64,
}

/// What `deploy` uploaded last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The hash of all of it.
    pub sha256: String,
    /// Keys and ETags of the objects.
    pub objects: std::collections::BTreeMap<String, String>,
}

/// A series whose newest records were turned away: what is forecast of it begins earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedNewest {
    /// Its name.
    pub series: String,
    /// The newest period that was turned away.
    pub period: String,
    /// Records after the newest clean one.
    pub records: u64,
    /// The rule that turned the newest away, or the first by name of several.
    pub rule: String,
}

impl InputReport {
    /// Whether every record is accounted for.
    pub fn adds_up(&self) -> bool {
        self.raw_rows == self.clean_rows + self.rejected_rows
            && self.rejected_rows == self.rejected_by_rule.values().sum::<u64>()
    }
}

impl EtlReport {
    /// Records that all inputs have.
    pub fn raw_rows(&self) -> u64 {
        self.inputs.iter().map(|input| input.raw_rows).sum()
    }

    /// Rows of all clean tables.
    pub fn clean_rows(&self) -> u64 {
        self.inputs.iter().map(|input| input.clean_rows).sum()
    }

    /// Rows of a table, clean or made of others.
    pub fn rows_of(&self, table: &str) -> Option<u64> {
        let clean = self.inputs.iter().find(|input| input.name == table);
        let made = || self.tables.iter().find(|made| made.name == table).map(|made| made.rows);
        clean.map(|input| input.clean_rows).or_else(made)
    }

    /// What the runs read.
    pub fn read(&self) -> InputObjects {
        let sum = |read: InputObjects, input: &InputReport| InputObjects {
            objects: read.objects + input.read.objects,
            bytes: read.bytes + input.read.bytes,
            modified: read.modified.max(input.read.modified),
        };
        self.inputs.iter().fold(InputObjects::default(), sum)
    }
}
