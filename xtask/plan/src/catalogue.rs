//! Names of the raw file's columns, as the catalogue takes them.
//!
//! The table `raw` lies directly on the file, so it has exactly the file's columns, in its order.
//! It is for looking: the cleaning job reads the header itself and judges it.

use steppe_wire::etl::header::{HeaderDefect, column_names, trimmed};
use steppe_wire::etl::records::Records;
use steppe_wire::etl::{ColumnName, InputPlan};

/// Longest comment on a column that Glue takes.
const COMMENT_CHARS_MAX: usize = 255;

/// What the table `raw` has of the file's beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHeader {
    /// Its columns.
    pub columns: Vec<RawColumn>,
    /// Lines before the first record.
    pub lines: u64,
}

/// A column of the table `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawColumn {
    /// Its name: lower-case letters, digits and underscores, unlike every other's.
    pub name: String,
    /// Hive's word for its type.
    pub kind: String,
    /// What the file calls it, when that is something else.
    pub comment: Option<String>,
}

impl RawColumn {
    /// A column that the file calls so, too.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), kind: "string".to_owned(), comment: None }
    }
}

impl From<Vec<RawColumn>> for RawHeader {
    fn from(columns: Vec<RawColumn>) -> Self {
        Self { columns, lines: 1 }
    }
}

/// The header of the file that begins with `bytes`, as `plan` reads it: the pipeline's own names
/// for its columns, plain ones for the others. Every field is a column, whatever it is called. Of a
/// format without a header, the pipeline's columns as the file calls them; of fields that have no
/// names in the file, as the pipeline calls them.
pub fn raw_header(bytes: &[u8], plan: &InputPlan) -> Result<RawHeader, HeaderDefect> {
    if !plan.container.is_lines() {
        let columns = plan.columns.iter().map(|column| RawColumn::plain(&column.name));
        return Ok(RawHeader { columns: columns.collect(), lines: 0 });
    }
    match &plan.csv {
        Some(csv) => header(bytes, csv.delimiter, csv.skip_lines, &plan.columns),
        None => Ok(RawHeader { columns: plan.columns.iter().map(as_filed).collect(), lines: 0 }),
    }
}

/// Readers of such files find columns by their own names, without regard to case.
fn as_filed(column: &ColumnName) -> RawColumn {
    RawColumn { name: column.source.to_lowercase(), kind: column.kind.clone(), comment: None }
}

fn header(
    bytes: &[u8],
    delimiter: char,
    skip_lines: u64,
    own: &[ColumnName],
) -> Result<RawHeader, HeaderDefect> {
    let (mut record, mut fields, mut lines) = (csv::ByteRecord::new(), Vec::new(), skip_lines);
    // A file that cannot be read has no columns; the cleaning job says why.
    if let Ok(delimiter) = u8::try_from(delimiter)
        && let Ok(Some(stand)) = Records::new(bytes, delimiter, skip_lines).read(&mut record)
    {
        let text = |field: &[u8]| trimmed(&String::from_utf8_lossy(field)).to_owned();
        fields = record.iter().map(text).collect();
        lines = stand.next_line - 1;
    }
    let names = column_names(&fields, own)?.into_iter();
    let columns = names.zip(&fields).map(|(name, field)| {
        let comment = (name != *field).then(|| comment(field)).filter(|text| !text.is_empty());
        RawColumn { comment, ..RawColumn::plain(&name) }
    });
    Ok(RawHeader { columns: columns.collect(), lines })
}

/// A comment has one line.
fn comment(field: &str) -> String {
    let line = field.split(char::is_control).collect::<Vec<_>>().join(" ");
    line.chars().take(COMMENT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str, skip_lines: u64) -> (Vec<String>, u64) {
        let own = [("region", "region"), ("year", "year"), ("Number", "marriages")].map(
            |(source, name)| ColumnName {
                source: source.into(),
                name: name.into(),
                kind: "string".into(),
                zone: None,
            },
        );
        let header = header(file.as_bytes(), ',', skip_lines, &own).expect("names");
        (header.columns.into_iter().map(|c| c.name).collect(), header.lines)
    }

    #[test]
    fn every_field_of_the_header_is_a_column() {
        let (columns, lines) =
            names("\"Notes, source\",region,year,\"value\nper 1000\",Number\n1,2,3,4,5\n", 0);
        assert_eq!(columns, ["notes_source", "region", "year", "value_per_1000", "marriages"]);
        assert_eq!(lines, 2, "the second line of the header is no record");
        let own = || (["region", "year", "marriages"].map(str::to_owned).to_vec(), 1);
        assert_eq!(names("region,year,Number\rA,2000,1\r", 0), own());
        assert_eq!(names("\u{feff}region, Year, Number\r\n", 0), own());
        assert_eq!(names("\u{feff}Marriages, \"all\n\nregion,year,Number\n", 2), (own().0, 3));
        assert_eq!(names("region,year,,\n", 0).0, ["region", "year", "column_3", "column_4"]);
        assert_eq!(names("", 0), (vec![], 0));
    }

    #[test]
    fn what_the_file_says_is_kept_as_a_comment() {
        let columns = header("region;\"Value\nper 1\"\n".as_bytes(), ';', 0, &[]);
        let columns = columns.expect("names").columns;
        assert_eq!(columns[0], RawColumn::plain("region"));
        assert_eq!(columns[1].comment.as_deref(), Some("Value per 1"));
        let long = "x".repeat(400);
        let column = &header(long.as_bytes(), ',', 0, &[]).expect("names").columns[0];
        assert_eq!(column.comment.as_ref().map(String::len), Some(COMMENT_CHARS_MAX));
    }
}
