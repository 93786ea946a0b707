//! An input as the manifest will have it.

use anyhow::{Result, bail};
use steppe_spec::{Format, Rule};
use steppe_wire::etl::TableFormat;
use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::hint::Hinted;
use steppe_wire::look::{ColumnLook, Dialect, InputLook};

use super::columns::{self, ColumnDraft, Columns};
use super::names::Names;
use super::numbers::{Convention, PLAIN};
use super::wide::{self, WideDraft};

/// What is known of an input.
#[derive(Debug, Clone)]
pub struct InputDraft {
    /// Its name.
    pub name: String,
    /// Places of its files among those that were given.
    pub files: Vec<usize>,
    /// Their format.
    pub format: TableFormat,
    /// How their text becomes fields.
    pub dialect: Option<Dialect>,
    /// Whether other lines follow the table.
    pub has_footnotes: bool,
    /// What stands between digits.
    pub by: Convention,
    /// How columns become records.
    pub wide: Option<WideDraft>,
    /// Its columns.
    pub columns: Columns,
    /// Records in its files.
    pub records: u64,
    /// Columns that no two records have in common.
    pub unique: Vec<String>,
    /// Whether records that have them in common are set aside.
    pub rejects_duplicates: bool,
    /// Rules, when those that follow from the task do not do.
    pub rules: Vec<Rule>,
    /// SQL of its own.
    pub sql: Option<String>,
}

/// File of the cleaning SQL of an input.
pub fn sql_file(name: &str) -> String {
    format!("{name}.sql")
}

impl InputDraft {
    /// Of files that look so.
    pub fn of(
        look: &InputLook,
        format: TableFormat,
        dialect: Option<Dialect>,
        name: String,
    ) -> Result<Self> {
        let looks: Vec<&ColumnLook> = look.columns.iter().collect();
        let text = matches!(format, TableFormat::Csv | TableFormat::Json);
        let by = if text { Convention::of(&looks) } else { PLAIN };
        let mut wide = dialect.and_then(|_| wide::of(&look.columns));
        refuse_header(&looks, dialect.is_some() && wide.is_none())?;
        let unread = |look: &&&ColumnLook| columns::unread(look, &looks).is_some();
        let mut names = Names::without(looks.iter().filter(unread).map(|look| look.name.as_str()));
        let kept = |at: &usize| wide.as_ref().is_none_or(|wide| !wide.periods.contains(at));
        let places: Vec<usize> = (0..looks.len()).filter(kept).collect();
        let kept: Vec<&ColumnLook> = places.iter().map(|at| looks[*at]).collect();
        let mut columns = columns::of(&kept, &places, by, &mut names);
        if let Some(found) = &mut wide {
            match found.columns(&look.columns, by, &mut names) {
                Some(made) => columns.all.extend(made),
                None => {
                    bail!(Hinted::new(
                        "its columns are called as periods, and what is in them is not read as \
                         numbers",
                        "write the numbers in one form, without units",
                    ));
                }
            }
            if let Some(name) = found.repeated(&look.columns) {
                bail!(Hinted::new(
                    format!("two columns of the header are called `{name}`"),
                    "rename one of them in the file",
                ));
            }
        }
        let records = wide.as_ref().map_or(look.records, |wide| wide.records);
        Ok(Self {
            name,
            files: look.files.clone(),
            format,
            dialect,
            has_footnotes: look.has_footnotes,
            by,
            wide,
            columns,
            records,
            unique: vec![],
            rejects_duplicates: false,
            rules: vec![],
            sql: None,
        })
    }

    /// Its column with this name, in the file or in the manifest.
    pub fn find(&self, name: &str) -> Option<usize> {
        let all = &self.columns.all;
        let by = |fits: &dyn Fn(&ColumnDraft) -> bool| all.iter().position(fits);
        by(&|c| c.column.source() == name)
            .or_else(|| by(&|c| c.column.name == name))
            .or_else(|| by(&|c| c.column.source().to_lowercase() == name.to_lowercase()))
    }

    /// What stands where there is no number.
    pub fn missing(&self) -> Vec<String> {
        let mut marks: Vec<String> =
            self.columns.all.iter().flat_map(|c| c.marks.iter().cloned()).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }
}

/// Refuses what cannot be read whatever the manifest says, and, of text, values for names.
fn refuse_header(looks: &[&ColumnLook], is_plain_text: bool) -> Result<()> {
    if let Some(at) = looks.iter().position(|look| look.name.to_lowercase() == ROW_COLUMN) {
        let number = at + 1;
        bail!(Hinted::new(
            format!("column {number} is called `{ROW_COLUMN}`, as the number of a record is"),
            "rename the column in the file",
        ));
    }
    if let Some(value) = looks.iter().find(|look| is_plain_text && is_value(&look.name)) {
        bail!(Hinted::new(
            format!("its first line has values, such as `{}`", value.name),
            "put a line with the names of the columns before it",
        ));
    }
    Ok(())
}

/// Whether the name of a column is a number or a date, as values are.
fn is_value(name: &str) -> bool {
    let plain = name.replace([' ', '\u{a0}'], "").replace(',', ".");
    let number = plain.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c));
    number && (plain.parse::<f64>().is_ok() || name.parse::<jiff::civil::DateTime>().is_ok())
}

/// A format as manifests say it.
pub fn format_of(format: TableFormat) -> Format {
    match format {
        TableFormat::Csv => Format::Csv,
        TableFormat::Json => Format::Json,
        TableFormat::Parquet => Format::Parquet,
        TableFormat::Avro => Format::Avro,
        TableFormat::Orc => Format::Orc,
    }
}
