//! Separated values, by the rules of Glue's classifier: comma, pipe, tab, semicolon and Ctrl-A; at
//! least two columns and two rows of data; a header when every column of the first row is text,
//! shorter than 150 characters except for the last, is a name, and a row after it has something
//! that is no text. Without one, columns are `col0`, `col1` and so on.
//!
//! The first thousand records or the first megabyte are read. A delimiter is one that every record
//! has as often as the first. Types are `bigint`, `double`, `boolean` and `string`. Decisions of
//! this project: a value in quotes is text, because the SerDe that Glue names for these files does
//! not take quotes away; names that are equal in small letters are no header.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/add-classifier.html#classifier-builtin-rules>,
//! <https://repost.aws/knowledge-center/glue-crawler-detect-schema>

use std::collections::HashSet;

use steppe_wire::crawl::{Classification, CsvForm};

use super::hive::{Column, Hive, Joining};
use super::sample::Sample;
use super::seen::Seen;

/// In the order in which they are tried.
const DELIMITERS: [u8; 5] = [b',', b'|', b'\t', b';', 0x01];
/// Records that are read.
const RECORDS_MAX: usize = 1_000;
/// Rows of data, at least.
const ROWS_MIN: usize = 2;
/// Characters of a name.
const NAME_CHARS: usize = 150;

/// What the records of a sample have; nothing when it is none of these.
pub fn see(sample: &mut Sample) -> Option<Seen> {
    // A text that is read in part may end within a line.
    let whole = match (sample.is_all, sample.text()) {
        (true, text) => text,
        (false, text) => &text[..text.iter().rposition(|b| *b == b'\n').unwrap_or(0)],
    };
    let (seen, length) = DELIMITERS.iter().find_map(|delimiter| {
        let mut text = Text { rest: whole, delimiter: *delimiter };
        let rows = Rows::read(&mut text)?;
        Some((rows.seen()?, whole.len() - text.rest.len()))
    })?;
    sample.counted_bytes = length;
    Some(seen)
}

/// Records of a text that has as many values in each.
struct Rows {
    delimiter: u8,
    rows: Vec<Vec<Field>>,
}

/// A value, and whether it stands in quotes.
#[derive(Debug, Default)]
struct Field {
    text: String,
    quoted: bool,
}

/// What is left of a text.
struct Text<'a> {
    rest: &'a [u8],
    delimiter: u8,
}

impl Text<'_> {
    /// The next record that is no empty line; nothing at the end, or when it is no text in UTF-8.
    fn record(&mut self) -> Option<Vec<Field>> {
        while let Some(rest) = self.rest.strip_prefix(b"\r").or(self.rest.strip_prefix(b"\n")) {
            self.rest = rest;
        }
        let mut fields = vec![];
        while !self.rest.is_empty() || !fields.is_empty() {
            fields.push(self.field()?);
            match self.rest.split_first() {
                Some((byte, rest)) if *byte == self.delimiter => self.rest = rest,
                Some((_, rest)) => {
                    self.rest = rest;
                    return Some(fields);
                }
                None => return Some(fields),
            }
        }
        None
    }

    fn field(&mut self) -> Option<Field> {
        let mut bytes = vec![];
        let quoted = self.rest.starts_with(b"\"");
        if quoted {
            let mut inside = &self.rest[1..];
            loop {
                let end = inside.iter().position(|byte| *byte == b'"')?;
                bytes.extend_from_slice(&inside[..end]);
                inside = &inside[end + 1..];
                // Two of them are one.
                match inside.strip_prefix(b"\"") {
                    Some(rest) => (inside, _) = (rest, bytes.push(b'"')),
                    None => break,
                }
            }
            self.rest = inside;
        }
        let ends = |byte: &u8| *byte == self.delimiter || *byte == b'\n';
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        bytes.extend_from_slice(&self.rest[..end]);
        self.rest = &self.rest[end..];
        let text = String::from_utf8(bytes).ok()?;
        Some(Field { text: text.trim_end_matches('\r').to_owned(), quoted })
    }
}

impl Rows {
    fn read(text: &mut Text<'_>) -> Option<Self> {
        let mut rows: Vec<Vec<Field>> = vec![];
        while rows.len() < RECORDS_MAX && !text.rest.is_empty() {
            let Some(row) = text.record() else { break };
            if row.len() < 2 || rows.first().is_some_and(|first| first.len() != row.len()) {
                return None;
            }
            rows.push(row);
        }
        Some(Self { delimiter: text.delimiter, rows })
    }

    fn seen(self) -> Option<Seen> {
        let first = self.rows.first()?;
        let header = self.has_header();
        let data = &self.rows[usize::from(header)..];
        if data.len() < ROWS_MIN {
            return None;
        }
        let named = |(at, field): (usize, &Field)| -> Column {
            let name = match header && !field.text.is_empty() {
                true => field.text.to_lowercase(),
                false => format!("col{at}"),
            };
            (name, column(data, at))
        };
        let columns = first.iter().enumerate().map(named).collect();
        let quoted = self.rows.iter().flatten().any(|field| field.quoted);
        let form = CsvForm { delimiter: char::from(self.delimiter), header, quoted };
        Some(Seen {
            classification: Classification::Csv(form),
            gzip: false,
            columns,
            objects: 1,
            bytes: 0,
            records: data.len() as u64,
        })
    }

    fn has_header(&self) -> bool {
        let Some((first, data)) = self.rows.split_first() else { return false };
        let last = first.len() - 1;
        let is_name = |(at, field): (usize, &Field)| {
            let is_text = field.kind() == Hive::String;
            let is_short = at == last || field.text.chars().count() < NAME_CHARS;
            let is_line = !field.text.chars().any(|c| c.is_control() && c != '\t');
            is_text && is_short && is_line || at == last && field.text.is_empty()
        };
        let mut names = HashSet::new();
        let own = first.iter().all(|field| names.insert(field.text.to_lowercase()));
        let is_other = |at: usize| !matches!(column(data, at), Hive::String | Hive::Unseen);
        own && first.iter().enumerate().all(is_name) && (0..first.len()).any(is_other)
    }
}

impl Field {
    /// The type that the value shows.
    fn kind(&self) -> Hive {
        match &self.text[..] {
            _ if self.quoted => Hive::String,
            "" => Hive::Unseen,
            text if text.parse::<i64>().is_ok() => Hive::BigInt,
            text if is_number(text) => Hive::Double,
            text if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => {
                Hive::Boolean
            }
            _ => Hive::String,
        }
    }
}

/// Digits with a point or an exponent: `nan` and `inf`, which parse as well, are words.
fn is_number(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// The type of the values of a column.
fn column(rows: &[Vec<Field>], at: usize) -> Hive {
    rows.iter().fold(Hive::Unseen, |joined, row| {
        joined.join(&row[at].kind(), Joining::Texts).unwrap_or(Hive::String)
    })
}
