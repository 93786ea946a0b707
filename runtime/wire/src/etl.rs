//! The cleaning job as data: one plan that the embedded engine and Spark both execute.

use serde::{Deserialize, Serialize};

/// Version of the plan's schema.
pub const ETL_PLAN_SCHEMA_VERSION: u32 = 1;

/// What a cleaning job does. Both statements read a view named `raw` that has every CSV column as
/// a string, plus `_row`, the number of the data record from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtlPlan {
    /// [`ETL_PLAN_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Field separator of the CSV, one ASCII character.
    pub delimiter: char,
    /// Columns that the CSV must have, with their names in `raw`.
    pub columns: Vec<ColumnName>,
    /// SQL whose result is the clean table.
    pub clean_sql: String,
    /// SQL whose result is the rejected records: the raw columns, `_row`, `_rule`, `_reason`.
    pub rejects_sql: String,
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

/// What a cleaning job did; its counts add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtlReport {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The engine: `datafusion` or `spark`, with its version.
    pub engine: String,
    /// Data records in the input.
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

impl EtlReport {
    /// Whether every record is accounted for.
    pub fn adds_up(&self) -> bool {
        self.raw_rows == self.clean_rows + self.rejected_rows
            && self.rejected_rows == self.rejected_by_rule.values().sum::<u64>()
    }
}
