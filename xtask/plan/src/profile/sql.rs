//! Parts of statements, and cells of their answers.

use std::str::FromStr;

use steppe_spec::ColumnType;

use super::Subject;

/// Statements in parts stay below Athena's limit of 262,144 bytes.
pub const COLUMNS_PER_STATEMENT: usize = 40;

/// A name as Trino takes every name.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Subject {
    /// A column with its declared type.
    pub(super) fn column(&self, at: usize) -> String {
        let (name, kind) = &self.columns[at];
        let quoted = quoted(name);
        match (self.is_text, kind) {
            (false, _) => quoted,
            (true, ColumnType::String) => format!("nullif({quoted}, '')"),
            (true, kind) => format!("TRY_CAST(nullif({quoted}, '') AS {})", trino(*kind)),
        }
    }

    /// The rows in which a column is `rN` as it is and, if it has numbers, `cN` as a finite
    /// double.
    pub(super) fn rows(&self, columns: &[usize]) -> String {
        let parts = columns.iter().map(|at| {
            let (column, kind) = (self.column(*at), self.columns[*at].1);
            match kind {
                ColumnType::Double => format!(
                    "    {column} AS r{at}, CASE WHEN is_finite({column}) THEN {column} END AS \
                     c{at}"
                ),
                kind if kind.is_number() => {
                    format!("    {column} AS r{at}, CAST({column} AS double) AS c{at}")
                }
                _ => format!("    {column} AS r{at}"),
            }
        });
        let parts = parts.collect::<Vec<_>>().join(",\n");
        format!("FROM (\n  SELECT\n{parts}\n  FROM {}\n)", quoted(&self.name))
    }
}

fn trino(kind: ColumnType) -> String {
    match kind {
        ColumnType::Int => "integer".to_owned(),
        kind => kind.hive().into_owned(),
    }
}

/// A number as Trino takes a double.
pub fn double(number: f64) -> String {
    let text = format!("{number:E}");
    if text.starts_with('-') { format!("({text})") } else { text }
}

/// The cells of a row, one after another.
pub struct Cells<'a> {
    rest: std::slice::Iter<'a, Option<String>>,
}

impl<'a> Cells<'a> {
    /// From the first on.
    pub fn new(row: &'a [Option<String>]) -> Self {
        Self { rest: row.iter() }
    }

    /// The next one; none is NULL.
    pub fn text(&mut self) -> Result<Option<&'a str>, String> {
        let next = self.rest.next().ok_or("a row is too short")?;
        Ok(next.as_deref())
    }

    /// The next one as a value.
    pub fn value<T: FromStr>(&mut self) -> Result<Option<T>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number"));
        self.text()?.map(parse).transpose()
    }

    /// The next one as a count.
    pub fn count(&mut self) -> Result<u64, String> {
        self.value()?.ok_or_else(|| "a count is NULL".to_owned())
    }

    /// The next one as a finite number.
    pub fn finite(&mut self) -> Result<Option<f64>, String> {
        Ok(self.value()?.filter(|number: &f64| number.is_finite()))
    }
}
