//! `[data]`: the file, and what its columns say.

use serde::Deserialize;

/// The input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Field separator of the CSV.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// The sheet of a workbook that is given as data; its first visible one when absent.
    pub sheet: Option<String>,
    /// Lines before the header, such as titles.
    #[serde(default)]
    pub skip_lines: u64,
    /// What happens to lines after the table.
    #[serde(default)]
    pub footnotes: Footnotes,
    /// What separates thousands in numbers; a space stands for every kind of space.
    pub thousands: Option<char>,
    /// What stands before the decimals of numbers.
    #[serde(default = "point")]
    pub decimal: char,
    /// What stands where there is no value.
    #[serde(default)]
    pub missing: Vec<String>,
    /// How columns become records; none when every record is a line of its own.
    pub wide: Option<Wide>,
    /// Series that are not wanted, such as the total of the others; their records are rejected.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// File of the cleaning SQL, beside the manifest; what follows from the columns when absent.
    pub sql: Option<String>,
    /// Columns of the clean table, in order.
    pub columns: Vec<Column>,
    /// Invented data for a first try.
    pub sample: Option<Sample>,
}

fn comma() -> char {
    ','
}

fn point() -> char {
    '.'
}

/// What happens to lines after the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Footnotes {
    /// They are an error.
    #[default]
    Refuse,
    /// The table ends at the first line that is empty or has one field; the rest is left out.
    LeaveOut,
}

/// A table with periods as columns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// Columns of the file that stay columns; all others are periods.
    pub keep: Vec<String>,
    /// The column that gets the periods.
    pub names: String,
    /// The column that gets their values.
    pub values: String,
}

/// A column of the clean table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

/// Invented data: one level per region, and a seed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Seed of everything random.
    pub seed: u64,
    /// First year.
    pub first_year: i32,
    /// Last year.
    pub last_year: i32,
    /// The regions.
    pub regions: Vec<SampleRegion>,
}

/// One region of the sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRegion {
    /// Its name.
    pub name: String,
    /// Value of its first year.
    pub level: f64,
}
