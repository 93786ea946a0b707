//! The cleaning job as data: one plan that the embedded engine and Spark both execute.

pub mod header;
pub mod records;

use serde::{Deserialize, Serialize};

/// Version of the plan's schema.
pub const ETL_PLAN_SCHEMA_VERSION: u32 = 3;
/// Series whose newest records were rejected that a report names; the others it counts.
pub const REJECTED_NEWEST_SHOWN: usize = 20;

/// What a cleaning job does.
///
/// The records of the file are the view `file`: every column a string, plus `_row`, their number
/// from 1. The view `raw` is the same with [`EtlPlan::forms`] in place of their columns. The table
/// `typed` is what [`EtlPlan::cleaning_sql`] makes of them, and `judged` what
/// [`EtlPlan::judged_sql`] makes of that; both are made once, and what follows reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtlPlan {
    /// [`ETL_PLAN_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Field separator of the CSV, one ASCII character.
    pub delimiter: char,
    /// Lines before the header.
    #[serde(default)]
    pub skip_lines: u64,
    /// Whether the table ends where footnotes begin.
    #[serde(default)]
    pub leave_out_footnotes: bool,
    /// Columns that the pipeline knows, with their names in `raw`.
    pub columns: Vec<ColumnName>,
    /// How columns become records.
    #[serde(default)]
    pub wide: Option<Wide>,
    /// Expressions that give the plain form of what a column of `file` says.
    #[serde(default)]
    pub forms: Vec<Form>,
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
}

/// A column of the CSV and what `raw` calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnName {
    /// Name in the file's header.
    pub source: String,
    /// Name in `raw`.
    pub name: String,
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
    /// Data records in the input; of a wide table, cells with a value.
    pub raw_rows: u64,
    /// Rows of the clean table.
    pub clean_rows: u64,
    /// Records turned away.
    pub rejected_rows: u64,
    /// Records turned away, by rule.
    pub rejected_by_rule: std::collections::BTreeMap<String, u64>,
    /// The object that was read; runs of earlier versions do not say.
    #[serde(default)]
    pub input: Option<InputObject>,
    /// Number of series whose newest records were turned away by rules.
    #[serde(default)]
    pub rejected_newest_count: u64,
    /// The first [`REJECTED_NEWEST_SHOWN`] of them.
    #[serde(default)]
    pub rejected_newest: Vec<RejectedNewest>,
    /// Addresses of the objects that the run wrote: `s3://bucket/processed/x/part-00000.parquet`.
    /// The next run deletes these when it does not write them again, and nothing else.
    #[serde(default)]
    pub objects: Vec<String>,
}

/// What a run read, as it was when the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputObject {
    /// Its size.
    pub bytes: u64,
    /// When it was written, in seconds since 1970.
    pub modified: i64,
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

impl EtlReport {
    /// Whether every record is accounted for.
    pub fn adds_up(&self) -> bool {
        self.raw_rows == self.clean_rows + self.rejected_rows
            && self.rejected_rows == self.rejected_by_rule.values().sum::<u64>()
    }
}
