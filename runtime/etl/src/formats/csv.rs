//! CSV as RFC 4180 has it, with a header and lines that end with LF. A field is in quotes when it
//! needs them, and an empty text is, too: an empty field is no value.

use std::fs::File;
use std::io::Write;

use anyhow::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::Writer;
use super::columns::Written;
use super::text::{Kind, columns};

/// Writes rows of `schema`.
pub fn writer(schema: &Schema, mut out: File) -> Result<Box<dyn Writer>> {
    let written = Written::new(schema)?;
    let mut header = Vec::new();
    for (index, field) in written.schema.fields().iter().enumerate() {
        separate(index, &mut header);
        append(field.name(), &mut header);
    }
    header.push(b'\n');
    out.write_all(&header)?;
    Ok(Box::new(CsvWriter { written, out, lines: vec![] }))
}

struct CsvWriter {
    written: Written,
    out: File,
    lines: Vec<u8>,
}

impl Writer for CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.written.rows(batch)?;
        let columns = columns(&rows)?;
        for row in 0..rows.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                separate(index, &mut self.lines);
                match column.text(row) {
                    Some(text) => append(text, &mut self.lines),
                    // An empty line would be no record.
                    None if column.append(row, &mut self.lines)? == Kind::Null
                        && columns.len() == 1 =>
                    {
                        self.lines.extend_from_slice(b"\"\"");
                    }
                    None => {}
                }
            }
            self.lines.push(b'\n');
        }
        self.out.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn append(text: &str, out: &mut Vec<u8>) {
    let needs_quotes = |byte| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let is_padded = text.starts_with(' ') || text.ends_with(' ');
    if !text.is_empty() && !is_padded && !text.bytes().any(needs_quotes) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
