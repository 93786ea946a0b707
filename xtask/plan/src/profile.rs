//! What a table holds, column by column: the questions to Athena, and what their answers say.
//!
//! Questions are made of declared columns and of earlier answers, so that the same table is always
//! asked the same. They are of what Athena has and the embedded engine answers alike, and few: one
//! statement asks about many columns, so that files are read a few times only. A first round
//! summarises; a second one counts, between bounds that the first one gave. Distinct values and
//! quantiles are approximations of Athena's where no count of the second round tells them exactly.

mod bins;
mod counts;
mod notes;
mod pairs;
mod sql;
mod summary;

use serde::Serialize;
use serde_json::Value;
use steppe_spec::{ColumnType, Format, Manifest, Source};
use thiserror::Error;

pub use bins::{Bin, Histogram};
pub use counts::{Count, Period};
pub use pairs::{Correlations, Pair};

use sql::Cells;

/// Rows of an answer.
pub type Rows = Vec<Vec<Option<String>>>;

/// An answer that does not fit to its question.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Athena's answer about the table `{table}` does not fit to the question: {what}")]
pub struct OddAnswer {
    table: String,
    what: String,
}

/// A table to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What it holds, in words; may be empty.
    pub description: String,
    /// Its columns with their types.
    pub columns: Vec<(String, ColumnType)>,
    /// Columns that no two records may have in common; may be empty.
    pub key: Vec<String>,
    /// Whether the catalogue knows its columns as texts only.
    pub is_text: bool,
}

/// A statement, and how many rows it answers at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The statement.
    pub sql: String,
    /// Rows.
    pub rows_max: usize,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableProfile {
    /// Its name.
    pub table: String,
    /// What it is, in words.
    pub description: String,
    /// Its records.
    pub records: u64,
    /// Columns that no two records may have in common.
    pub key: Vec<String>,
    /// Values of the key that more than one record has; none without a key.
    pub repeated_keys: Option<u64>,
    /// Its columns.
    pub columns: Vec<ColumnProfile>,
    /// How numbers go together; none with fewer than two columns that vary.
    pub correlations: Option<Correlations>,
    /// Where people should look, in words.
    pub notes: Vec<String>,
    /// Statements that were asked.
    pub statements: usize,
    /// Bytes that Athena read for them.
    pub scanned_bytes: u64,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnProfile {
    /// Its name.
    pub column: String,
    /// Its type, as the manifest has it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Records with a value.
    pub values: u64,
    /// Records without.
    pub missing: u64,
    /// Their share.
    pub missing_share: f64,
    /// Different values.
    pub distinct: u64,
    /// Whether that is exact.
    pub distinct_is_exact: bool,
    /// What there is to say of values of its kind.
    #[serde(flatten)]
    pub shape: Shape,
}

/// What there is to say of values of a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "shape", rename_all = "lowercase")]
pub enum Shape {
    /// Numbers.
    Numbers(Box<Numbers>),
    /// Texts: characters of the shortest and the longest, and the most frequent ones.
    Text {
        /// Characters of the shortest.
        shortest: Option<u64>,
        /// Characters of the longest.
        longest: Option<u64>,
        /// The most frequent texts.
        top: Vec<Count>,
    },
    /// Truth values.
    Truth {
        /// Records in which it is true.
        yes: u64,
    },
    /// Days or times.
    Times {
        /// The first.
        first: Option<String>,
        /// The last.
        last: Option<String>,
        /// How long the periods are in which records are counted.
        period: Option<Period>,
        /// Records per period, without periods that have none.
        counts: Vec<Count>,
    },
}

/// What there is to say of numbers. Everything but `not_finite` is about finite ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Values that are infinite or no number.
    pub not_finite: u64,
    /// The least.
    pub min: Value,
    /// The largest.
    pub max: Value,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation of the sample.
    pub standard_deviation: Option<f64>,
    /// Quantiles at 5, 25, 50, 75 and 95 %.
    pub quantiles: Option<[f64; 5]>,
    /// Values that are the median.
    pub at_median: u64,
    /// Values between bounds.
    pub histogram: Option<Histogram>,
}

impl Subject {
    /// Every table that a run of the pipeline stores.
    pub fn all(manifest: &Manifest) -> Vec<Self> {
        let of = |source: Source<'_>| {
            let made = manifest.tables.iter().find(|table| table.name == source.name);
            let key = match source.input {
                Some(input) => input.unique.clone(),
                None => made.map(|table| table.keys.clone()).unwrap_or_default(),
            };
            Self {
                name: source.name.to_owned(),
                description: source.description.to_owned(),
                columns: source.columns.iter().map(|c| (c.name.clone(), c.kind)).collect(),
                key,
                is_text: source.format == Format::Csv,
            }
        };
        manifest.stored().map(of).collect()
    }

    /// The first round.
    pub fn summaries(&self) -> Vec<Question> {
        summary::questions(self)
    }

    /// What the first round says.
    pub fn summarised(&self, answers: &[Rows]) -> Result<TableProfile, OddAnswer> {
        summary::read(self, answers).map_err(|what| self.odd(what))
    }

    /// The second round.
    pub fn details(&self, profile: &TableProfile) -> Vec<Question> {
        if profile.records == 0 {
            return vec![];
        }
        let key = counts::key(self).into_iter();
        let bins = bins::questions(self, profile).into_iter();
        let counts = counts::questions(self, profile).into_iter();
        key.chain(bins).chain(counts).chain(pairs::questions(self, profile)).collect()
    }

    /// What both rounds say; `answers` are those of [`Subject::details`], in order.
    pub fn detailed(
        &self,
        mut profile: TableProfile,
        answers: &[Rows],
    ) -> Result<TableProfile, OddAnswer> {
        if profile.records > 0 {
            let whole = profile.clone();
            let mut rest = answers.iter();
            counts::read_key(self, &mut profile, &mut rest)
                .and_then(|()| bins::read(self, &whole, &mut profile, &mut rest))
                .and_then(|()| counts::read(&whole, &mut profile, &mut rest))
                .and_then(|()| pairs::read(&whole, &mut profile, &mut rest))
                .map_err(|what| self.odd(what))?;
        }
        profile.notes = notes::notes(&profile);
        Ok(profile)
    }

    fn odd(&self, what: String) -> OddAnswer {
        OddAnswer { table: self.name.clone(), what }
    }
}

/// The next answer.
fn next<'a>(answers: &mut std::slice::Iter<'a, Rows>) -> Result<&'a Rows, String> {
    answers.next().ok_or_else(|| "an answer is missing".to_owned())
}

/// The one row of the next answer.
fn row<'a>(answers: &mut std::slice::Iter<'a, Rows>) -> Result<Cells<'a>, String> {
    match &next(answers)?[..] {
        [row] => Ok(Cells::new(row)),
        rows => Err(format!("{} rows instead of one", rows.len())),
    }
}
