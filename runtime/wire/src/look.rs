//! What is seen in data files before there is a manifest: the request to the engine, and its
//! answer.
//!
//! Facts only, about every record: which texts a column has in which form. What follows from them
//! is for whoever asks.

use serde::{Deserialize, Serialize};

use crate::etl::TableFormat;

/// Distinct values of a column that are counted, at most.
pub const DISTINCT_MAX: usize = 100_000;
/// Distinct moments of a column that are told, at most.
pub const MOMENTS_MAX: usize = 300_000;
/// Distinct other texts of a column that are told, at most.
pub const TEXTS_MAX: usize = 64;
/// Columns that a file may have.
pub const COLUMNS_MAX: usize = 5_000;
/// Keys of records that are remembered, over all sets of columns.
pub const KEYS_MAX: usize = 20_000_000;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRequest {
    /// The files.
    pub files: Vec<LookFile>,
    /// Sets of columns, by their places, of which it is counted how many records have them in
    /// common. With any, the files are of one input, the columns are the first one's, and nothing
    /// else is counted.
    pub keys: Vec<Vec<usize>>,
}

/// A file of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookFile {
    /// Where it is.
    pub path: String,
    /// What messages call it.
    pub called: String,
    /// The input that it was given for, when somebody said so.
    pub input: Option<String>,
    /// Its format.
    pub format: TableFormat,
    /// How its text becomes fields, of CSV.
    pub csv: Option<Dialect>,
    /// Whether other lines follow its table; found out when nothing is said.
    pub has_footnotes: Option<bool>,
}

/// How lines become fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// What separates fields: one ASCII character.
    pub delimiter: char,
    /// Lines before the header.
    pub skip_lines: u64,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Files of the same format, dialect and columns are one input.
    pub inputs: Vec<InputLook>,
    /// What was asked of sets of columns.
    pub keys: Vec<KeyLook>,
}

/// Files that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputLook {
    /// Their places in the request.
    pub files: Vec<usize>,
    /// Records in all of them.
    pub records: u64,
    /// Whether other lines follow the table, such as notes.
    pub has_footnotes: bool,
    /// The columns, in the order of the first file.
    pub columns: Vec<ColumnLook>,
}

/// How many records have a set of columns in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLook {
    /// Places of the columns.
    pub columns: Vec<usize>,
    /// Records that were compared: the first ones.
    pub compared: u64,
    /// Records that have what one before them has.
    pub repeated: u64,
    /// Whether counting stopped, because the set identifies nothing.
    pub is_given_up: bool,
    /// The first that is repeated.
    pub example: Option<Vec<String>>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnLook {
    /// Its name, without white space around it.
    pub name: String,
    /// Hive's word for its type, in a format with types; none for text.
    pub kind: Option<String>,
    /// Whether its values are read: those of nested types are not.
    pub is_read: bool,
    /// Records without a value.
    pub empty: u64,
    /// Letters of all values.
    pub characters: u64,
    /// Different values; none when there are more than [`DISTINCT_MAX`].
    pub distinct: Option<u64>,
    /// Forms of its values.
    pub forms: Vec<FormLook>,
    /// Values that are neither numbers nor moments, with how often each is there.
    pub texts: Vec<(String, u64)>,
    /// Whether there are more of them.
    pub has_more_texts: bool,
    /// Every different value, when each names a moment or a period.
    pub moments: Option<Vec<String>>,
}

/// Values of a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormLook {
    /// The form.
    pub form: Form,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub example: String,
    /// How many are negative.
    pub negative: u64,
    /// Most digits of one.
    pub digits: u32,
    /// Fewest digits behind the last separator.
    pub last_digits_min: u32,
    /// Most digits behind the last separator.
    pub last_digits_max: u32,
    /// The least, its digits as one whole number; none when one has more than 18.
    pub least: Option<i64>,
    /// The most.
    pub most: Option<i64>,
}

/// Forms of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Digits and separators, as a pattern: `1`, `3` and `4` stand for a run of one or two, of
    /// three, and of more digits, `z` for a single zero in front, `0` for digits in front that
    /// begin with a zero; separators are themselves, a space stands for every kind of space; `e`
    /// is an exponent.
    Number(String),
    /// `2026-01-31`.
    Date,
    /// `2026-01-31 12:00:00`, also with `T` and fractions.
    Time,
    /// The same in UTC, with `Z`.
    TimeUtc,
    /// A time with an offset, or one without seconds and with a zone.
    TimeOffset,
    /// What may name a period: `2015-Q1`, `Jan 2015`, `2015-01-31T05:30`.
    Period,
    /// A date in another order or with other separators.
    OtherDate,
    /// Anything else.
    Text,
}
