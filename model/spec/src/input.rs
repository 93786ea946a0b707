//! `[data]`: the file, and what its columns say.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steppe_wire::etl::header::trimmed;

use crate::column::Column;
use crate::defects::Defects;
use crate::problems::nearest;

/// What may separate thousands.
const THOUSANDS: [char; 6] = [' ', ',', '.', '\'', '’', '_'];

/// The file, and what its columns say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// What separates fields: one ASCII character, `"\t"` for a tab.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Sheet of a workbook that is given with `--data`; its first visible one when absent.
    pub sheet: Option<String>,
    /// Lines before the header, such as titles, whatever is in them.
    #[serde(default)]
    #[schemars(range(max = 1_000))]
    pub skip_lines: u64,
    /// What happens to lines after the table, such as notes.
    #[serde(default)]
    pub footnotes: Footnotes,
    /// What separates thousands in numbers: one of `,`, `.`, `'`, `’`, `_` and the space, which
    /// stands for every kind of space.
    pub thousands: Option<char>,
    /// What stands before the decimals of numbers: `.` or `,`.
    #[serde(default = "point")]
    pub decimal: char,
    /// Texts that stand where there is no value, such as `…`.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub missing: Vec<String>,
    /// How a table with a column per period becomes records; absent when records are lines.
    pub wide: Option<Wide>,
    /// Names of series whose records are rejected, such as the total of the others.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// File of the cleaning SQL, beside the manifest; what follows from the columns when absent.
    pub sql: Option<String>,
    /// Columns of the clean table, in order.
    pub columns: Vec<Column>,
    /// Invented data for a first try without a file.
    pub sample: Option<Sample>,
}

fn comma() -> char {
    ','
}

fn point() -> char {
    '.'
}

/// What happens to lines after the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Footnotes {
    /// They are an error.
    #[default]
    Refuse,
    /// The table ends at the first line that is empty or has one field; the rest is left out.
    LeaveOut,
}

/// How a table with a column per period becomes records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// Columns of the file that stay columns; all others are periods.
    pub keep: Vec<String>,
    /// The column that gets the periods.
    pub names: String,
    /// The column that gets their values.
    pub values: String,
}

/// Invented data: one level per region, and a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Seed of everything random in it.
    pub seed: u64,
    /// First year.
    #[schemars(range(min = 1_000, max = 2_999))]
    pub first_year: i32,
    /// Last year.
    #[schemars(range(min = 1_000, max = 2_999))]
    pub last_year: i32,
    /// The regions.
    pub regions: Vec<SampleRegion>,
}

/// One region of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleRegion {
    /// Name of the region.
    pub name: String,
    /// Value of its first year.
    pub level: f64,
}

impl Data {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The column that `key` names; notes a defect when there is none.
    pub(crate) fn known(&self, key: &str, name: &str, out: &mut Defects) -> Option<&Column> {
        let found = self.column(name);
        if found.is_none() {
            let near = nearest(name, self.columns.iter().map(|column| column.name.as_str()));
            out.add_with(
                key,
                format!("`{key}` is `{name}`, but `data.columns` has no such column"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
        found
    }

    pub(crate) fn defects(&self, out: &mut Defects) {
        let delimiter = self.delimiter;
        let usable = delimiter == '\t' || (delimiter.is_ascii_punctuation() && delimiter != '"');
        out.need("data.delimiter", usable || delimiter == ' ', || {
            format!("`data.delimiter` is {delimiter:?}; expected one ASCII character such as `;`")
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
