//! JSON lines: an object per line, as Spark, Hive and Athena read and write them.
//!
//! Values are read as text, numbers as they are written, because the SQL that cleans casts texts.
//! Keys are those of all lines together, so that one is missing is known only at the end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use serde::de::DeserializeSeed;
use serde_json::Deserializer;
use serde_json::value::RawValue;
use steppe_wire::etl::ColumnName;
use steppe_wire::etl::records::RECORD_BYTES_MAX;
use steppe_wire::hint::Hinted;

use self::keys::{Keys, Object};
use super::columns::{Written, batch, field};
use super::text::{Kind, columns};
use super::{BATCH_BYTES_MAX, BATCH_ROWS, Bytes, Format, Reader, Writer};

mod keys;
mod names;

/// JSON lines.
pub struct Json;

impl Format for Json {
    fn columns(&self, bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>> {
        let (mut lines, mut names) = (Lines::new(bytes), names::Names::default());
        while let Some(line) = lines.next()? {
            let number = line.number;
            names
                .see(line.text)
                .map_err(|e| told(line.text, &e))
                .with_context(|| format!("line {number}"))?;
        }
        let kind =
            |(name, is_nested): (String, bool)| (name, (!is_nested).then_some(DataType::Utf8));
        Ok(names.into_all().into_iter().map(kind).collect())
    }

    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader> {
        let fields: Vec<_> = wanted.iter().map(|c| field(&c.name, DataType::Utf8)).collect();
        let schema = Arc::new(Schema::new(fields));
        let rows = Rows::new(bytes, wanted, schema.clone());
        Ok(Reader { schema, batches: Box::new(rows) })
    }

    fn writer(&self, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
        let written = Written::new(&schema)?;
        let key = |(index, name): (usize, &String)| {
            let before = if index == 0 { '{' } else { ',' };
            Ok(format!("{before}{}:", serde_json::to_string(name)?))
        };
        let names = written.schema.fields().iter().map(|field| field.name());
        let keys = names.enumerate().map(key).collect::<Result<_>>()?;
        Ok(Box::new(JsonWriter { written, keys, out, lines: vec![] }))
    }
}

/// The rows of a file.
struct Rows {
    lines: Lines,
    keys: Keys,
    schema: SchemaRef,
    columns: Vec<StringBuilder>,
    is_done: bool,
}

impl Rows {
    fn new(bytes: Bytes, wanted: &[ColumnName], schema: SchemaRef) -> Self {
        let columns = wanted.iter().map(|_| StringBuilder::new()).collect();
        Self { lines: Lines::new(bytes), keys: Keys::new(wanted), schema, columns, is_done: false }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS
            && bytes < BATCH_BYTES_MAX
            && let Some(line) = self.lines.next()?
        {
            let number = line.number;
            let object =
                object(line.text, &mut self.keys).with_context(|| format!("line {number}"))?;
            for ((raw, column), field) in
                object.into_iter().zip(&mut self.columns).zip(self.schema.fields())
            {
                append(raw, column)
                    .with_context(|| format!("line {number}: column `{}`", field.name()))?;
            }
            (rows, bytes) = (rows + 1, bytes + line.text.len());
        }
        if rows == 0 {
            self.keys.refuse_missing()?;
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef);
        Ok(Some(batch(&self.schema, arrays.collect(), rows)?))
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let next = self.read();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

/// The values of the wanted columns of a line.
fn object<'a>(line: &'a str, keys: &mut Keys) -> Result<Vec<Option<&'a RawValue>>> {
    let values = parse(line, keys)?;
    if keys.learn()? { parse(line, keys) } else { Ok(values) }
}

fn parse<'a>(line: &'a str, keys: &mut Keys) -> Result<Vec<Option<&'a RawValue>>> {
    let mut deserializer = Deserializer::from_str(line);
    let values = Object(keys).deserialize(&mut deserializer);
    let values = values.and_then(|values| deserializer.end().map(|()| values));
    values.map_err(|error| told(line, &error))
}

/// What is wrong with a line.
fn told(line: &str, error: &serde_json::Error) -> anyhow::Error {
    let (told, column) = (error.to_string(), error.column());
    // It sees one line only.
    let told = told.split(" at line ").next().unwrap_or_default();
    let told = Hinted::from(format!("byte {column}: {told}"));
    if error.is_eof() || line.trim_start().starts_with('[') {
        let hint = "each line must be one whole object; `jq -c .` writes objects so, and \
                    `jq -c '.[]'` those of an array";
        return told.and(hint).into();
    }
    told.into()
}

/// Appends a value as text.
fn append(raw: Option<&RawValue>, column: &mut StringBuilder) -> Result<()> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
        column.append_null();
        return Ok(());
    };
    match raw.as_bytes().first() {
        Some(b'{' | b'[') => bail!(Hinted::new(
            "the value is nested, which is not read",
            "leave the column out of the manifest, or make columns of its values"
        )),
        Some(b'"') => match raw.get(1..raw.len() - 1) {
            Some(text) if !text.contains('\\') => column.append_value(text),
            _ => column.append_value(serde_json::from_str::<String>(raw)?),
        },
        _ => column.append_value(raw),
    }
    Ok(())
}

/// The lines of a file that are not empty.
struct Lines {
    file: BufReader<Bytes>,
    bytes: Vec<u8>,
    number: u64,
}

struct Line<'a> {
    /// Its number, from 1.
    number: u64,
    text: &'a str,
}

impl Lines {
    fn new(file: Bytes) -> Self {
        Self { file: BufReader::with_capacity(256 * 1024, file), bytes: vec![], number: 0 }
    }

    fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            self.bytes.clear();
            let mut limited = (&mut self.file).take(RECORD_BYTES_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.bytes);
            let after = self.number;
            if read.with_context(|| format!("the file cannot be read after line {after}"))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.bytes.len() > RECORD_BYTES_MAX {
                let (number, most) = (self.number, RECORD_BYTES_MAX / 1024 / 1024);
                bail!(Hinted::new(
                    format!("line {number} is longer than {most} MiB"),
                    "each line must be one whole object; `jq -c '.[]'` writes so those of an array"
                ));
            }
            if self.number == 1 && self.bytes.starts_with(b"\xef\xbb\xbf") {
                self.bytes.drain(..3);
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let number = self.number;
        let text = str::from_utf8(&self.bytes);
        let text = text.map_err(|_| anyhow!("line {number}: the text is not UTF-8"))?;
        Ok(Some(Line { number, text }))
    }
}

struct JsonWriter {
    written: Written,
    /// What stands before each value.
    keys: Vec<String>,
    out: File,
    lines: Vec<u8>,
}

impl Writer for JsonWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.written.rows(batch)?;
        let columns = columns(&rows)?;
        for row in 0..rows.num_rows() {
            for (key, column) in self.keys.iter().zip(&columns) {
                self.lines.extend_from_slice(key.as_bytes());
                if let Some(text) = column.text(row) {
                    serde_json::to_writer(&mut self.lines, text)?;
                    continue;
                }
                let start = self.lines.len();
                match column.append(row, &mut self.lines)? {
                    Kind::Null => self.lines.extend_from_slice(b"null"),
                    Kind::Literal => {}
                    Kind::Word => {
                        self.lines.insert(start, b'"');
                        self.lines.push(b'"');
                    }
                }
            }
            self.lines.extend_from_slice(b"}\n");
        }
        self.out.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
