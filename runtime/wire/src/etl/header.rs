//! What a file's columns are called: one rule for the cleaning job and for the catalogue's table
//! `raw`. The Glue script has the same rule in Python, and `make parity` compares the two.
//!
//! A column of the pipeline has the pipeline's name. It is found by its own name exactly, or else
//! without regard to upper and lower case. Every other column keeps the words of its name as far as
//! they are ASCII, in lower case and with underscores; one of which nothing is left is called by
//! its number, and what would have another's name gets a number behind it.

use std::collections::BTreeSet;

use super::{ColumnName, CsvOptions};

/// The column that numbers records.
pub const ROW_COLUMN: &str = "_row";
/// Longest name that is made; Glue takes 255 characters, and a number may follow.
pub const NAME_CHARS_MAX: usize = 200;
/// Delimiters that tables have, with how the manifest writes them.
const DELIMITERS: [(char, &str); 4] = [(',', ","), (';', ";"), ('\t', "\\t"), ('|', "|")];
/// Columns named like years that make a table wide.
const WIDE_YEARS: usize = 3;

/// What keeps a header from having names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderDefect {
    /// There is no text in it.
    #[error("the file is empty; expected a header with the columns {columns}")]
    Empty {
        /// The columns that it should have.
        columns: String,
    },
    /// It lacks columns.
    #[error("column {missing} is missing; the header has {found}")]
    Missing {
        /// The columns that it lacks.
        missing: String,
        /// Those that it has.
        found: String,
        /// What to do about it.
        hint: String,
    },
    /// A column has the name of the record's number.
    #[error("column {number} of the header is called `{field}`, as the number of the record is")]
    Row {
        /// Its number, from 1.
        number: usize,
        /// Its name in the file.
        field: String,
    },
    /// Two columns are one of the pipeline's.
    #[error(
        "columns {first} (`{first_field}`) and {second} (`{second_field}`) of the header are both \
         the manifest's column `{name}`"
    )]
    Twice {
        /// The pipeline's column.
        name: String,
        /// Number of one.
        first: usize,
        /// What the file calls it.
        first_field: String,
        /// Number of the other.
        second: usize,
        /// What the file calls it.
        second_field: String,
    },
    /// A column has the name that the pipeline gives to another.
    #[error(
        "column {number} of the header is called `{field}`, as the manifest calls the column \
         `{source_field}`"
    )]
    Clash {
        /// Number of the column.
        number: usize,
        /// What the file calls it.
        field: String,
        /// The column that the manifest calls so.
        source_field: String,
    },
}

impl HeaderDefect {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty { .. } => return None,
            Self::Missing { hint, .. } => hint.clone(),
            Self::Row { .. } => "rename the column in the file".to_owned(),
            Self::Twice { .. } => {
                "rename one of them in the file, or give the other's exact name as `source`"
                    .to_owned()
            }
            Self::Clash { field, source_field, .. } => format!(
                "give `{source_field}` another `name` in the manifest, or rename `{field}` in the \
                 file"
            ),
        })
    }
}

/// A field of a header without the white space and marks of byte order around it.
pub fn trimmed(field: &str) -> &str {
    field.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Names of the columns of a header, whose fields are [`trimmed`], when it has all that the
/// pipeline needs.
pub fn complete_names(
    fields: &[String],
    own: &[ColumnName],
    csv: &CsvOptions,
) -> Result<Vec<String>, HeaderDefect> {
    if fields.iter().all(String::is_empty) {
        let names: Vec<&str> = required(own, csv).map(|(source, _)| source).collect();
        return Err(HeaderDefect::Empty { columns: names.join(", ") });
    }
    let names = column_names(fields, own)?;
    let missing: Vec<String> = required(own, csv)
        .filter(|(source, name)| !is_there(fields, &names, source, name))
        .map(|(source, _)| format!("`{source}`"))
        .collect();
    if missing.is_empty() {
        return Ok(names);
    }
    let columns: Vec<&str> = fields.iter().map(String::as_str).collect();
    Err(HeaderDefect::Missing {
        missing: missing.join(", "),
        found: columns.join(", "),
        hint: missing_hint(&columns, csv.delimiter),
    })
}

/// Columns that the file must have: names in the file and in `raw`.
fn required<'a>(
    own: &'a [ColumnName],
    csv: &'a CsvOptions,
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let made = |c: &&ColumnName| {
        csv.wide.as_ref().is_none_or(|wide| ![&wide.names, &wide.values].contains(&&c.name))
    };
    let own = own.iter().filter(made);
    let own = own.map(|c| (c.source.as_str(), Some(c.name.as_str())));
    let kept = csv.wide.iter().flat_map(|wide| &wide.keep).map(|name| (name.as_str(), None));
    let mut seen = BTreeSet::new();
    own.chain(kept).filter(move |(source, _)| seen.insert(trimmed(source).to_lowercase()))
}

fn is_there(fields: &[String], names: &[String], source: &str, name: &Option<&str>) -> bool {
    match name {
        Some(name) => names.iter().any(|n| n == name),
        None => fields.iter().any(|f| f.to_lowercase() == trimmed(source).to_lowercase()),
    }
}

/// What to do about a header that lacks columns.
fn missing_hint(columns: &[&str], delimiter: char) -> String {
    let found = |&(other, _): &(char, &str)| {
        other != delimiter && columns.len() == 1 && columns[0].contains(other)
    };
    if let Some((_, written)) = DELIMITERS.into_iter().find(|d| found(d)) {
        return format!(
            "the header is one column with `{written}` in it: set `delimiter = \
             \"{written}\"` of the input in the manifest"
        );
    }
    let year = |c: &&&str| {
        let digits = c.bytes().take_while(u8::is_ascii_digit).count();
        digits == 4 && c[..4].parse::<u16>().is_ok_and(|y| (1800..2200).contains(&y))
    };
    if columns.iter().filter(year).count() >= WIDE_YEARS {
        return "the table is wide, with years as columns: in the manifest `wide` makes a \
                record of each cell, with `keep`: columns of the file that stay, `names` and \
                `values`: columns that get the years and the cells"
            .to_owned();
    }
    if columns.iter().filter(|c| !c.is_empty()).count() == 1 {
        return "this line has one field, as a title has: when the header is below, say in the \
                manifest how many lines are before it: `skip_lines = 1`"
            .to_owned();
    }
    "name the file's columns in `columns` of the manifest, as `from`, or rename them in the file"
        .to_owned()
}

/// Names of the columns of a header, whose fields are [`trimmed`].
pub fn column_names(header: &[String], own: &[ColumnName]) -> Result<Vec<String>, HeaderDefect> {
    let mut names = vec![None; header.len()];
    for column in own {
        if let Some(index) = position(header, column)? {
            names[index] = Some(column.name.clone());
        }
    }
    let mut taken: BTreeSet<String> = own.iter().map(|c| c.name.clone()).collect();
    let mut given = Vec::with_capacity(header.len());
    for (index, (field, name)) in header.iter().zip(names).enumerate() {
        let name = match name {
            Some(name) => name,
            None => {
                refuse_misleading(index + 1, field, own)?;
                free(&plain(field, index + 1), &taken)
            }
        };
        taken.insert(name.clone());
        given.push(name);
    }
    Ok(given)
}

/// Where a column of the pipeline stands in a header.
pub fn position(header: &[String], own: &ColumnName) -> Result<Option<usize>, HeaderDefect> {
    let wanted = trimmed(&own.source);
    let folded = wanted.to_lowercase();
    let indices = |fits: &dyn Fn(&String) -> bool| -> Vec<usize> {
        header.iter().enumerate().filter(|(_, f)| fits(f)).map(|(index, _)| index).collect()
    };
    let mut found = indices(&|field| field == wanted);
    if found.is_empty() {
        found = indices(&|field| field.to_lowercase() == folded);
    }
    match found[..] {
        [first, second, ..] => Err(HeaderDefect::Twice {
            name: own.name.clone(),
            first: first + 1,
            first_field: header[first].clone(),
            second: second + 1,
            second_field: header[second].clone(),
        }),
        _ => Ok(found.first().copied()),
    }
}

/// A column that is none of the pipeline's must not look like one.
fn refuse_misleading(number: usize, field: &str, own: &[ColumnName]) -> Result<(), HeaderDefect> {
    let (field, folded) = (field.to_owned(), field.to_lowercase());
    if folded == ROW_COLUMN {
        return Err(HeaderDefect::Row { number, field });
    }
    let other = |c: &&ColumnName| c.name == folded && trimmed(&c.source).to_lowercase() != folded;
    match own.iter().find(other) {
        Some(c) => Err(HeaderDefect::Clash { number, field, source_field: c.source.clone() }),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<ColumnName> {
        let column = |source: &str, name: &str| ColumnName {
            source: source.to_owned(),
            name: name.to_owned(),
            kind: "string".to_owned(),
            zone: None,
        };
        vec![column("region", "region"), column("year", "year"), column("Number", "marriages")]
    }

    fn names(fields: &[&str]) -> Result<Vec<String>, HeaderDefect> {
        let header: Vec<String> = fields.iter().map(|f| trimmed(f).to_owned()).collect();
        column_names(&header, &own())
    }

    #[test]
    fn the_pipelines_columns_are_found_by_their_words() {
        for fields in [
            ["region", "year", "Number"],
            ["\u{feff}region", " year\u{a0}", "Number"],
            ["REGION", "Year", "number"],
        ] {
            assert_eq!(names(&fields), Ok(own().into_iter().map(|c| c.name).collect()));
        }
        // The exact name is the pipeline's column; the other one is not.
        let found = names(&["Year", "year", "region", "Number"]);
        assert_eq!(found.expect("names"), ["year_2", "year", "region", "marriages"]);
    }

    #[test]
    fn every_other_column_has_a_name_of_its_own() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["Notes, source", "value\nper 1000"], &["notes_source", "value_per_1000"]),
            (
                &["region", "Район", "Город", "a b", "a-b", "A_B"],
                &["region", "column_2", "column_3", "a_b", "a_b_2", "a_b_3"],
            ),
            (
                &["null", "true", "123", "1e3", "~", ""],
                &["null", "true", "123", "1e3", "column_5", "column_6"],
            ),
            (&["column_2", "~"], &["column_2", "column_2_2"]),
            (&["_rule", "a", "a_2", "a"], &["rule", "a", "a_2", "a_3"]),
        ];
        for (fields, expected) in cases {
            assert_eq!(names(fields).expect("names"), expected, "{fields:?}");
        }
        assert_eq!(names(&["x".repeat(400).as_str()]).expect("names")[0].len(), NAME_CHARS_MAX);
    }

    #[test]
    fn columns_that_cannot_be_told_apart_are_refused_by_name() {
        let told = |fields: &[&str]| names(fields).expect_err("a defect").to_string();
        assert!(
            told(&["region", "year", "_ROW"]).contains("column 3 of the header is called `_ROW`")
        );
        let twice = told(&["region", "Year", "number", "YEAR"]);
        assert!(twice.contains("columns 2 (`Year`) and 4 (`YEAR`)"), "{twice}");
        assert!(twice.contains("the manifest's column `year`"), "{twice}");
        let clash = told(&["Marriages", "Number", "region", "year"]);
        assert!(clash.contains("column 1 of the header is called `Marriages`"), "{clash}");
        assert!(clash.contains("as the manifest calls the column `Number`"), "{clash}");
    }

    #[test]
    fn headers_get_a_hint_that_helps() {
        assert!(missing_hint(&["region;year"], ',').contains("delimiter = \";\""));
        assert!(missing_hint(&["region", "2000", "2001", "2002"], ',').contains("`wide`"));
        assert!(missing_hint(&["год", "2000 г.", "2001 г.", "2002 г."], ',').contains("wide"));
        assert!(missing_hint(&["Браки", "", ""], ',').contains("skip_lines = 1"));
        assert!(missing_hint(&["a", "b"], ',').contains("`columns`"));
    }
}
