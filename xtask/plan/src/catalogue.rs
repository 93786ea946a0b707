//! Names of the raw file's columns, as the catalogue takes them.
//!
//! The table `raw` lies directly on the file, so it has exactly the file's columns, in its order.
//! It is for looking: the cleaning job reads the header itself and judges it.

use std::collections::BTreeSet;

use steppe_wire::etl::ColumnName;

/// Longest name that is made; Glue takes 255 characters, and a number may follow.
const NAME_CHARS_MAX: usize = 200;
/// Longest comment on a column that Glue takes.
const COMMENT_CHARS_MAX: usize = 255;

/// A column of the table `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawColumn {
    /// Its name: lower-case letters, digits and underscores, unlike every other's.
    pub name: String,
    /// What the file calls it, when that is something else.
    pub comment: Option<String>,
}

impl RawColumn {
    /// A column that the file calls so, too.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), comment: None }
    }
}

/// The columns of the file that begins with `bytes`: the pipeline's own names for `own`, plain ones
/// for the others. Every field of the header is a column, whatever it is called.
pub fn raw_columns(bytes: &[u8], delimiter: char, own: &[ColumnName]) -> Vec<RawColumn> {
    let header = header(bytes, delimiter);
    let owned = |field: &str| own.iter().find(|c| c.source == field).map(|c| c.name.clone());
    let mut taken: BTreeSet<String> = header.iter().filter_map(|field| owned(field)).collect();
    let mut given = BTreeSet::new();
    let mut columns = Vec::new();
    for (position, field) in header.iter().enumerate() {
        // Only the first column of that name is the pipeline's.
        let name = match owned(field).filter(|name| given.insert(name.clone())) {
            Some(name) => name,
            None => free(&plain(field, position + 1), &taken),
        };
        taken.insert(name.clone());
        let comment = (name != *field).then(|| comment(field)).filter(|text| !text.is_empty());
        columns.push(RawColumn { name, comment });
    }
    columns
}

/// The fields of the first record, without the spaces around them.
fn header(bytes: &[u8], delimiter: char) -> Vec<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Ok(delimiter) = u8::try_from(delimiter) else { return Vec::new() };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    if reader.read_byte_record(&mut record).is_err() {
        return Vec::new();
    }
    record.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect()
}

/// `Value, per 1000` as `value_per_1000`; the column's number when nothing is left of its name.
fn plain(field: &str, number: usize) -> String {
    let letters = field.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => ' ',
    });
    let words: String = letters.collect();
    let name = words.split_whitespace().collect::<Vec<_>>().join("_");
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    if name.is_empty() { format!("column_{number}") } else { name }
}

/// `name`, or with the first number after it that nobody has.
fn free(name: &str, taken: &BTreeSet<String>) -> String {
    if !taken.contains(name) {
        return name.to_owned();
    }
    (2..).map(|n| format!("{name}_{n}")).find(|n| !taken.contains(n)).unwrap_or_default()
}

/// A comment has one line.
fn comment(field: &str) -> String {
    let line = field.split(char::is_control).collect::<Vec<_>>().join(" ");
    line.chars().take(COMMENT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(header: &str) -> Vec<String> {
        let own = [("region", "region"), ("year", "year"), ("Number", "marriages")]
            .map(|(source, name)| ColumnName { source: source.into(), name: name.into() });
        raw_columns(header.as_bytes(), ',', &own).into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn every_field_of_the_header_is_a_column() {
        assert_eq!(
            names("\"Notes, source\",region,year,\"value\nper 1000\",Number\n1,2,3,4,5\n"),
            ["notes_source", "region", "year", "value_per_1000", "marriages"]
        );
        assert_eq!(names("region,year,Number\rA,2000,1\r"), ["region", "year", "marriages"]);
        assert_eq!(names("\u{feff}region, year, Number\r\n"), ["region", "year", "marriages"]);
        assert_eq!(names("region,year,,\n"), ["region", "year", "column_3", "column_4"]);
        assert_eq!(names(""), [""; 0]);
    }

    #[test]
    fn names_stay_different() {
        assert_eq!(
            names("region,Район,Город,a b,a-b,A_B\n"),
            ["region", "column_2", "column_3", "a_b", "a_b_2", "a_b_3"]
        );
        assert_eq!(names("null,true,123,1e3,~\n"), ["null", "true", "123", "1e3", "column_5"]);
        assert_eq!(
            names("marriages,Number,region,region\n"),
            ["marriages_2", "marriages", "region", "region_2"],
            "the pipeline's own name is the pipeline's column"
        );
        assert_eq!(names("column_2,~\n"), ["column_2", "column_2_2"]);
    }

    #[test]
    fn what_the_file_says_is_kept_as_a_comment() {
        let columns = raw_columns("region;\"Value\nper 1\"\n".as_bytes(), ';', &[]);
        assert_eq!(columns[0], RawColumn::plain("region"));
        assert_eq!(columns[1].comment.as_deref(), Some("Value per 1"));
        let long = "x".repeat(400);
        let column = &raw_columns(long.as_bytes(), ',', &[])[0];
        assert_eq!(column.name.len(), NAME_CHARS_MAX);
        assert_eq!(column.comment.as_ref().map(String::len), Some(COMMENT_CHARS_MAX));
    }
}
