//! Text files as Athena's OpenCSVSerde and LazySimpleSerDe read them: line by line, whatever quotes
//! say.
//!
//! With OpenCSVSerde, a line that is empty has no values; a field that is missing or whose quote
//! does not end on its line has none. A space before a quote is part of the value here, while
//! Athena leaves it out. With LazySimpleSerDe, quotes are letters like others, an empty line is an
//! empty first field, and `\N` is NULL.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use steppe_wire::etl::records::Lines;
use steppe_wire::query::{CsvLayout, Quotes};

use super::files::{Batches, FileReader, OneFile};

/// Lines per batch.
const BATCH_LINES: usize = 8_192;

/// How a line is split; every column is text.
#[derive(Debug, Clone)]
pub struct Split {
    separator: u8,
    /// Quote and escape.
    quotes: Option<(u8, u8)>,
    /// What stands before a separator that belongs to a value, without quotes.
    escape: Option<u8>,
    /// What stands for NULL, without quotes.
    null: Vec<u8>,
    header_lines: u64,
}

impl FileReader for Split {
    fn read(&self, file: OneFile, schema: &SchemaRef) -> Result<Batches, DataFusionError> {
        let (mut rows, schema) = (Rows::new(file.bytes, self.clone()), schema.clone());
        Ok(Box::new(std::iter::from_fn(move || rows.next(&schema).transpose())))
    }
}

/// The rows of one file.
struct Rows<R> {
    lines: BufReader<Lines<R>>,
    split: Split,
    line: Vec<u8>,
    is_first: bool,
}

impl<R: Read> Rows<R> {
    fn new(file: R, split: Split) -> Self {
        let lines = BufReader::new(Lines::new(file, split.header_lines));
        let is_first = split.header_lines == 0;
        Self { lines, split, line: vec![], is_first }
    }

    fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>, DataFusionError> {
        let mut columns: Vec<StringBuilder> =
            schema.fields().iter().map(|_| StringBuilder::new()).collect();
        let mut rows = 0;
        while rows < BATCH_LINES && self.read_line()? {
            let fields = self.split.fields(&self.line)?;
            for (index, column) in columns.iter_mut().enumerate() {
                let is_there =
                    |field: &&[u8]| self.split.quotes.is_some() || **field != *self.split.null;
                let field = fields.get(index).filter(is_there);
                column.append_option(field.map(String::from_utf8_lossy));
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> =
            columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?))
    }

    /// Reads a line with its end; whether there is one.
    fn read_line(&mut self) -> std::io::Result<bool> {
        self.line.clear();
        let read = self.lines.read_until(b'\n', &mut self.line)?;
        self.lines.get_mut().record_ends();
        if std::mem::take(&mut self.is_first) && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        Ok(read > 0)
    }
}

impl Split {
    /// As a table has it.
    pub fn new(layout: &CsvLayout) -> Result<Self, String> {
        let byte = |what: &str, c: char| {
            u8::try_from(c).map_err(|_| format!("the {what} `{c}` is not one byte"))
        };
        Ok(Self {
            separator: byte("separatorChar", layout.separator)?,
            quotes: match layout.quotes {
                Some(Quotes { quote, escape }) => {
                    Some((byte("quoteChar", quote)?, byte("escapeChar", escape)?))
                }
                None => None,
            },
            escape: layout.escape.map(|escape| byte("escape.delim", escape)).transpose()?,
            null: layout.null.clone().into_bytes(),
            header_lines: layout.header_lines,
        })
    }

    /// Fields where a separator behind an escape is a letter. NULL stays as it is written.
    fn unescaped(&self, text: &[u8], escape: u8) -> ByteRecord {
        let (mut record, mut field, mut start) = (ByteRecord::new(), Vec::new(), 0);
        let mut at = 0;
        while at <= text.len() {
            if at == text.len() || text[at] == self.separator {
                let is_null = text[start..at] == *self.null;
                record.push_field(if is_null { &text[start..at] } else { &field });
                field.clear();
                start = at + 1;
            } else if text[at] == escape && at + 1 < text.len() {
                at += 1;
                field.push(text[at]);
            } else {
                field.push(text[at]);
            }
            at += 1;
        }
        record
    }

    /// The fields of a line that ends with LF.
    fn fields(&self, line: &[u8]) -> Result<ByteRecord, DataFusionError> {
        let mut record = ByteRecord::new();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let quotes = self.quotes.filter(|(quote, escape)| {
            text.is_empty() || text.iter().any(|byte| byte == quote || byte == escape)
        });
        let Some((quote, escape)) = quotes else {
            if let Some(escape) = self.escape.filter(|escape| text.contains(escape)) {
                return Ok(self.unescaped(text, escape));
            }
            text.split(|byte| *byte == self.separator).for_each(|field| record.push_field(field));
            return Ok(record);
        };
        if text.is_empty() {
            return Ok(record);
        }
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.separator).quote(quote).escape(Some(escape));
        builder.has_headers(false).buffer_capacity(line.len());
        let mut reader = builder.from_reader(line);
        reader.read_byte_record(&mut record).map_err(|e| DataFusionError::External(e.into()))?;
        // Only a quote that is open takes the end of the line along.
        if record.iter().next_back().is_some_and(|field| field.ends_with(b"\n")) {
            record.truncate(record.len() - 1);
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn lines_are_split_as_the_reader_of_athena_splits_them() {
        let fields = |quotes: Option<(u8, u8)>, line: &str| -> Vec<String> {
            let null = b"\\N".to_vec();
            let split = Split { separator: b';', quotes, escape: None, null, header_lines: 0 };
            let record = split.fields(line.as_bytes()).expect("fields");
            record.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect()
        };
        let quoted = |line: &str| fields(Some((b'"', b'\\')), line);
        assert_eq!(quoted("a;;b\n"), ["a", "", "b"]);
        assert_eq!(quoted("\"a;\"\"b\";c\n"), ["a;\"b", "c"]);
        assert_eq!(quoted("\"a\\\"b\";c\n"), ["a\"b", "c"]);
        assert_eq!(quoted("a;\"b\n"), ["a"], "a quote that does not end");
        assert_eq!(quoted("\n"), [""; 0]);
        assert_eq!(fields(None, "\"a;b\";\\N\n"), ["\"a", "b\"", "\\N"]);
        assert_eq!(fields(None, "\n"), [""]);
    }

    #[test]
    fn separators_behind_an_escape_are_letters() {
        let null = b"\\N".to_vec();
        let split =
            Split { separator: b',', quotes: None, escape: Some(b'\\'), null, header_lines: 0 };
        let record = split.fields(b"a\\,b,\\N,c\\\\\n").expect("fields");
        let fields: Vec<&[u8]> = record.iter().collect();
        assert_eq!(fields, [&b"a,b"[..], b"\\N", b"c\\"]);
    }

    #[test]
    fn lines_before_the_records_are_skipped() {
        let split = |header_lines| Split {
            separator: b',',
            quotes: Some((b'"', b'\\')),
            escape: None,
            null: vec![],
            header_lines,
        };
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Utf8, true),
        ]));
        let rows = |file: &str, header_lines| {
            let mut rows = Rows::new(file.as_bytes(), split(header_lines));
            rows.next(&schema).expect("a batch").map_or(0, |batch| batch.num_rows())
        };
        for end in ["\n", "\r", "\r\n"] {
            let file = "A \"title\n\na,b\n1,2\n3,4".replace('\n', end);
            assert_eq!(rows(&file, 3), 2, "{end:?}");
        }
        assert_eq!(rows("a,b\n", 1), 0);
        assert_eq!(rows("\u{feff}1,2\n", 0), 1);
    }
}
