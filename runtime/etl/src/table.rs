//! The records of the table in a file: after its header, and before its footnotes.

use std::io::Read;

use anyhow::{Result, bail};
use csv::ByteRecord;
use steppe_wire::etl::header::trimmed;
use steppe_wire::etl::records::{Records, Stand};
use steppe_wire::format::CONVERTS;
use steppe_wire::hint::Hinted;

use crate::shape;

/// Fields of the lines after a table that are no part of it: a number and a note.
const FOOTNOTE_FIELDS_MAX: usize = 2;

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What separates fields.
    pub delimiter: u8,
    /// Lines before the header.
    pub skip_lines: u64,
    /// Whether the table ends where footnotes begin.
    pub leave_out_footnotes: bool,
}

/// A table whose header is read.
#[derive(Debug)]
pub struct Table<R> {
    records: Records<R>,
    options: Options,
    /// How many records were read of lines without a header, of which each is one.
    lines: Option<u64>,
    /// Fields of the header, trimmed.
    pub header: Vec<String>,
    ended: Option<u64>,
}

impl<R: Read> Table<R> {
    /// Reads the header of a file; an empty file has none.
    pub fn open(file: R, options: Options) -> Result<Self> {
        let mut records = Records::new(file, options.delimiter, options.skip_lines);
        let header = records.header()?;
        Ok(Self { records, options, lines: None, header, ended: None })
    }

    /// Of lines without a header, each of them a record with these columns.
    pub fn without_header(lines: R, delimiter: u8, columns: Vec<String>) -> Self {
        let options = Options { delimiter, skip_lines: 0, leave_out_footnotes: false };
        let records = Records::new(lines, delimiter, 0);
        Self { records, options, lines: Some(0), header: columns, ended: None }
    }

    /// Reads the next record; returns the line on which it begins.
    pub fn read(&mut self, record: &mut ByteRecord) -> Result<Option<u64>> {
        while let Some(stand) = self.records.read(record)? {
            if self.options.leave_out_footnotes && self.is_footnote(record, stand)? {
                continue;
            }
            let (line, fields, expected) = (stand.line, record.len(), self.header.len());
            if let Some(lines) = &mut self.lines {
                *lines += 1;
                return check_line(record, *lines, expected).map(|()| Some(*lines));
            }
            if fields != expected {
                bail!(Hinted::new(
                    format!(
                        "line {line}: the record has {fields} fields, the header has {expected}"
                    ),
                    shape::record_hint(fields as u64, expected as u64)
                ));
            }
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Whether a record stands after the table. One that looks like the table's is an error there:
    /// a torn file must not pass for a shorter one.
    fn is_footnote(&mut self, record: &ByteRecord, stand: Stand) -> Result<bool> {
        let is_filled = |field: &&[u8]| !trimmed(&String::from_utf8_lossy(field)).is_empty();
        let filled = record.iter().filter(is_filled).count();
        let single = (filled <= 1).then_some(stand.line);
        self.ended = self.ended.or(stand.empty_line).or(single);
        let Some(end) = self.ended else { return Ok(false) };
        let fields = record.len();
        let is_note = fields <= FOOTNOTE_FIELDS_MAX && fields < self.header.len();
        if filled > 1 && !is_note {
            bail!(Hinted::new(
                format!(
                    "line {}: a record follows, but line {end} ends the table: it is empty or has \
                     one field",
                    stand.line
                ),
                format!(
                    "delete line {end}, or give its other fields; `footnotes = \"leave-out\"` \
                     reads up to the first line of that kind"
                )
            ));
        }
        Ok(true)
    }
}

/// Refuses a line without a header that is not one whole record.
fn check_line(record: &ByteRecord, number: u64, expected: usize) -> Result<()> {
    if record.as_slice().contains(&b'\n') {
        bail!(Hinted::new(
            format!("record {number}: a quote in it is not closed"),
            "quotes in quotes are doubled"
        ));
    }
    let fields = record.len();
    if fields != expected {
        bail!(Hinted::new(
            format!("record {number} has {fields} fields, the manifest has {expected} columns"),
            "`columns` of the input are all fields in their order, and `delimiter` is what \
             separates them"
        ));
    }
    Ok(())
}

/// A field as text.
pub fn text(field: &[u8], line: u64) -> Result<&str> {
    std::str::from_utf8(field).map_err(|_| not_utf8(line))
}

/// What is said of bytes that are no text.
pub fn not_utf8(line: u64) -> anyhow::Error {
    Hinted::new(format!("line {line}: the text is not UTF-8"), CONVERTS).into()
}
