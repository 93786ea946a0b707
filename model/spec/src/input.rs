//! `[data]`: the file, and what its columns say.

use std::collections::BTreeSet;

use serde::Deserialize;
use steppe_wire::etl::header::trimmed;

use crate::defects::Defects;

/// What may separate thousands.
const THOUSANDS: [char; 6] = [' ', ',', '.', '\'', '’', '_'];
/// Most lines before a header.
const SKIP_LINES_MAX: u64 = 1_000;
/// Most marks of missing values.
const MISSING_MAX: usize = 100;

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

impl Data {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    pub(crate) fn defects(&self, out: &mut Defects) {
        let delimiter = self.delimiter;
        let usable = delimiter == '\t' || (delimiter.is_ascii_punctuation() && delimiter != '"');
        out.need("data.delimiter", usable || delimiter == ' ', || {
            format!("`data.delimiter` is {delimiter:?}; expected one ASCII character such as `;`")
        });
        out.need("data.skip_lines", self.skip_lines <= SKIP_LINES_MAX, || {
            format!("`data.skip_lines` is {}; expected 0 to {SKIP_LINES_MAX}", self.skip_lines)
        });
        self.numbers(out);
        self.marks(out);
        self.names(out);
        self.wide_defects(out);
        let shaped =
            self.wide.is_some() || self.skip_lines > 0 || self.footnotes != Footnotes::Refuse;
        out.need("data.sample", self.sample.is_none() || !shaped, || {
            "`data.sample` is a plain table, so it cannot be with `wide`, `skip_lines` or \
             `footnotes`"
                .to_owned()
        });
    }

    /// A comma or point has one meaning in a number.
    fn numbers(&self, out: &mut Defects) {
        out.need("data.decimal", matches!(self.decimal, '.' | ','), || {
            format!("`data.decimal` is `{}`; expected `.` or `,`", self.decimal)
        });
        let Some(thousands) = self.thousands else { return };
        out.need("data.thousands", THOUSANDS.contains(&thousands), || {
            format!(
                "`data.thousands` is `{thousands}`; expected one of {}; a space stands for every \
                 kind of space",
                THOUSANDS.map(|c| format!("`{c}`")).join(", ")
            )
        });
        out.need("data.thousands", thousands != self.decimal, || {
            format!(
                "`data.thousands` and `data.decimal` are both `{thousands}`, so `1{thousands}234` \
                 could be either; set the other of `.` and `,` for one of them"
            )
        });
    }

    fn marks(&self, out: &mut Defects) {
        out.need("data.missing", self.missing.len() <= MISSING_MAX, || {
            format!("`data.missing` has {} marks; at most {MISSING_MAX}", self.missing.len())
        });
        for (at, mark) in self.missing.iter().enumerate() {
            let key = format!("data.missing[{at}]");
            let plain = !mark.is_empty() && trimmed(mark) == mark && !mark.contains(['\n', '\r']);
            out.need(&key, plain, || {
                format!("`data.missing` has `{mark}`; expected text without spaces around it")
            });
            let number = mark.bytes().all(|b| b.is_ascii_digit());
            out.need(&key, !number || mark.is_empty(), || {
                format!(
                    "`data.missing` has `{mark}`, which is a number; let the cleaning SQL leave \
                     it out"
                )
            });
        }
    }

    fn names(&self, out: &mut Defects) {
        let (mut seen, mut sources) = (BTreeSet::new(), BTreeSet::new());
        for (at, column) in self.columns.iter().enumerate() {
            let (key, name) = (format!("data.columns[{at}].name"), &column.name);
            let plain =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            out.need(&key, plain && !name.is_empty() && !name.starts_with('_'), || {
                format!(
                    "the column name `{name}` must consist of lower-case letters, digits and \
                     inner underscores; give the file's own name as `source`"
                )
            });
            out.need(&key, seen.insert(name), || format!("the column `{name}` is declared twice"));
            let source = column.source();
            let other = sources.insert(trimmed(source)) || column.source.is_none();
            out.need(format!("data.columns[{at}].source"), other, || {
                format!("two columns have the source `{source}`")
            });
        }
    }

    fn wide_defects(&self, out: &mut Defects) {
        let Some(wide) = &self.wide else { return };
        out.need("data.wide.values", wide.names != wide.values, || {
            format!("`data.wide.names` and `data.wide.values` are both `{}`", wide.names)
        });
        for (key, name) in [("names", &wide.names), ("values", &wide.values)] {
            let own = self.column(name).is_some_and(|c| c.source.is_none());
            out.need(format!("data.wide.{key}"), own, || {
                format!(
                    "`data.wide.{key}` is `{name}`; expected a column of `data.columns` without \
                     `source`, because the file does not have it"
                )
            });
        }
        let folded = |name: &str| trimmed(name).to_lowercase();
        let kept: BTreeSet<String> = wide.keep.iter().map(|name| folded(name)).collect();
        for column in &self.columns {
            let made = [&wide.names, &wide.values].contains(&&column.name);
            out.need("data.wide.keep", made || kept.contains(&folded(column.source())), || {
                format!(
                    "`data.wide.keep` lacks `{}`, the column `{}` in the file",
                    column.source(),
                    column.name
                )
            });
        }
    }
}
