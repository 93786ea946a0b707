//! Records of JSON as rows of Parquet, as Firehose converts them.
//!
//! A record is an object, or several one after the other; an array is none. Keys that are no
//! columns are left out, columns without a key are null. Of a record of which anything does not fit
//! the columns nothing is taken, and the reason is told.
//!
//! Times are `2017-02-07T15:13:01.39256Z`, `2017-02-07 15:13:01.14`, or numbers: seconds since 1970
//! with or without a fraction, and milliseconds.
//! <https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion.html>

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::reader::Decoder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression as Codec, GzipLevel};
use datafusion::parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};
use steppe_wire::convert::{Compression, Convert, Converted, Misfit};
use tokio::sync::mpsc::Receiver;

use crate::query::arrow_type;

/// Records that are converted together.
const RECORDS: usize = 1_024;
/// Bytes of a record.
const RECORD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Bytes of a row group after which the next one begins.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Characters of a reason.
const MESSAGE_CHARS_MAX: usize = 512;
/// From here on a whole number is one of milliseconds: it would be a second of the year 5138.
const MILLIS_FROM: i64 = 100_000_000_000;

/// Converts what the first line asks for.
pub async fn answer(mut lines: Receiver<String>) -> Result<Converted> {
    let line = lines.recv().await.context("nobody said what to convert")?;
    let asked: Convert = serde_json::from_str(&line).context("what to convert cannot be read")?;
    tokio::task::spawn_blocking(move || convert(&asked)).await?
}

/// Converts records.
pub fn convert(asked: &Convert) -> Result<Converted> {
    let schema = schema_of(asked)?;
    let records = File::open(&asked.records)
        .with_context(|| format!("cannot read {}", asked.records.display()))?;
    let mut records = BufReader::new(records);
    let mut work = Work {
        asked,
        writer: writer(asked, &schema)?,
        misfits: BufWriter::new(File::create(&asked.misfits)?),
        schema,
        converted: Converted::default(),
    };
    let mut index = 0;
    loop {
        let chunk = read_chunk(&mut records)?;
        if chunk.is_empty() {
            break;
        }
        work.chunk(index, &chunk)?;
        index += chunk.len();
    }
    work.misfits.flush()?;
    work.writer.close()?;
    Ok(work.converted)
}

fn schema_of(asked: &Convert) -> Result<SchemaRef> {
    let field = |column: &steppe_wire::convert::Column| -> Result<Field> {
        let kind = arrow_type(&column.kind).map_err(|words| anyhow!(words))?;
        Ok(Field::new(&column.name, kind, true))
    };
    let fields = asked.columns.iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn writer(asked: &Convert, schema: &SchemaRef) -> Result<ArrowWriter<File>> {
    let codec = match asked.compression {
        Compression::Uncompressed => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
    };
    let properties = WriterProperties::builder().set_compression(codec).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let out = File::create(&asked.parquet)
        .with_context(|| format!("cannot write {}", asked.parquet.display()))?;
    Ok(ArrowWriter::try_new_with_options(out, schema.clone(), options)?)
}

/// The next records; none at the end.
fn read_chunk(records: &mut impl Read) -> Result<Vec<Vec<u8>>> {
    let mut chunk = Vec::new();
    while chunk.len() < RECORDS {
        let mut length = [0; 4];
        match records.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        let length = u32::from_le_bytes(length);
        if length > RECORD_BYTES_MAX {
            return Err(anyhow!("a record has more than {RECORD_BYTES_MAX} bytes"));
        }
        let mut record = vec![0; length as usize];
        records.read_exact(&mut record)?;
        chunk.push(record);
    }
    Ok(chunk)
}

struct Work<'a> {
    asked: &'a Convert,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    misfits: BufWriter<File>,
    converted: Converted,
}

impl Work<'_> {
    /// Converts records all together, and one by one when any of them does not fit.
    fn chunk(&mut self, first: usize, chunk: &[Vec<u8>]) -> Result<()> {
        let mut rows = Vec::new();
        for (index, record) in chunk.iter().enumerate() {
            match objects(record) {
                Ok(objects) => {
                    let objects = objects.into_iter().map(|object| self.row(object));
                    rows.push((first + index, objects.collect::<Vec<_>>()));
                }
                Err(message) => self.misfit(first + index, false, &message)?,
            }
        }
        let all: Vec<&Value> = rows.iter().flat_map(|(_, objects)| objects).collect();
        if let Ok(batch) = self.decode(&all) {
            return self.write(batch);
        }
        for (index, objects) in rows {
            match self.decode(&objects.iter().collect::<Vec<_>>()) {
                Ok(batch) => self.write(batch)?,
                Err(message) => self.misfit(index, true, &message)?,
            }
        }
        Ok(())
    }

    fn decode(&self, rows: &[&Value]) -> Result<Option<RecordBatch>, String> {
        let mut decoder: Decoder = ReaderBuilder::new(self.schema.clone())
            .with_batch_size(rows.len().max(1))
            .with_coerce_primitive(true)
            .build_decoder()
            .map_err(|error| error.to_string())?;
        decoder.serialize(rows).map_err(|error| error.to_string())?;
        decoder.flush().map_err(|error| error.to_string())
    }

    fn write(&mut self, batch: Option<RecordBatch>) -> Result<()> {
        let Some(batch) = batch else { return Ok(()) };
        self.converted.rows += batch.num_rows();
        self.writer.write(&batch)?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn misfit(&mut self, index: usize, is_json: bool, message: &str) -> Result<()> {
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        serde_json::to_writer(&mut self.misfits, &Misfit { index, is_json, message })?;
        self.misfits.write_all(b"\n")?;
        self.converted.misfits += 1;
        Ok(())
    }

    /// An object with the columns' names as keys and times as the columns have them.
    fn row(&self, object: Map<String, Value>) -> Value {
        let mut object = named(object, self.asked.case_insensitive);
        for (column, key) in &self.asked.keys {
            let key = if self.asked.case_insensitive { key.to_lowercase() } else { key.clone() };
            if let Some(value) = object.remove(&key) {
                object.insert(column.clone(), value);
            }
        }
        fields(&mut object, self.schema.fields(), self.asked.case_insensitive);
        Value::Object(object)
    }
}

/// The objects of a record.
fn objects(record: &[u8]) -> Result<Vec<Map<String, Value>>, String> {
    let mut objects = Vec::new();
    for value in serde_json::Deserializer::from_slice(record).into_iter::<Value>() {
        match value.map_err(|error| error.to_string())? {
            Value::Object(object) => objects.push(object),
            _ => return Err("a record is an object of JSON, or several of them".to_owned()),
        }
    }
    if objects.is_empty() {
        return Err("the record is empty".to_owned());
    }
    Ok(objects)
}

fn named(object: Map<String, Value>, small: bool) -> Map<String, Value> {
    match small {
        true => object.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect(),
        false => object,
    }
}

fn fields(object: &mut Map<String, Value>, fields: &Fields, small: bool) {
    for field in fields {
        if let Some(value) = object.get_mut(field.name()) {
            settle(value, field.data_type(), small);
        }
    }
}

/// Makes a value what the reader of a type takes: keys of structures, and times.
fn settle(value: &mut Value, kind: &DataType, small: bool) {
    match (kind, &mut *value) {
        (DataType::Struct(inner), Value::Object(object)) => {
            *object = named(std::mem::take(object), small);
            fields(object, inner, small);
        }
        (DataType::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|value| settle(value, item.data_type(), small));
        }
        (DataType::Map(entries, _), Value::Object(object)) => {
            if let DataType::Struct(pair) = entries.data_type() {
                let kind = pair[1].data_type();
                object.iter_mut().for_each(|(_, value)| settle(value, kind, small));
            }
        }
        (DataType::Timestamp(TimeUnit::Millisecond, _), Value::Number(number)) => {
            let millis = match number.as_i64() {
                Some(whole) if whole.abs() >= MILLIS_FROM => Some(whole),
                Some(secs) => secs.checked_mul(1_000),
                None => number.as_f64().map(|secs| (secs * 1_000.0) as i64),
            };
            *value = millis.map_or(Value::Null, Value::from);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use steppe_wire::convert::Column;

    use super::*;

    fn run(columns: &[(&str, &str)], records: &[&str]) -> (Vec<Value>, Vec<Misfit>) {
        let folder = tempfile::tempdir().expect("a folder");
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
        };
        let asked = Convert {
            columns: columns.iter().map(column).collect(),
            case_insensitive: true,
            keys: BTreeMap::from([("renamed".to_owned(), "Other".to_owned())]),
            compression: Compression::Snappy,
            records: folder.path().join("records"),
            parquet: folder.path().join("parquet"),
            misfits: folder.path().join("misfits"),
        };
        let mut framed = Vec::new();
        for record in records {
            framed.extend_from_slice(&(record.len() as u32).to_le_bytes());
            framed.extend_from_slice(record.as_bytes());
        }
        std::fs::write(&asked.records, framed).expect("written");
        let converted = convert(&asked).expect("converted");
        let misfits = std::fs::read_to_string(&asked.misfits).expect("there");
        let misfits: Vec<Misfit> =
            misfits.lines().map(|line| serde_json::from_str(line).expect("a misfit")).collect();
        assert_eq!(misfits.len(), converted.misfits);
        let file = File::open(&asked.parquet).expect("there");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let mut out = datafusion::arrow::json::ArrayWriter::new(Vec::new());
        for batch in reader.build().expect("a reader") {
            out.write(&batch.expect("rows")).expect("JSON");
        }
        out.finish().expect("JSON");
        let rows = serde_json::from_slice(&out.into_inner()).unwrap_or_else(|_| Value::Null);
        (rows.as_array().cloned().unwrap_or_default(), misfits)
    }

    #[test]
    fn records_become_rows_and_misfits_are_told() {
        let columns = [
            ("id", "int"),
            ("renamed", "string"),
            ("inner", "struct<a:double,b:array<timestamp>>"),
        ];
        let (rows, misfits) = run(
            &columns,
            &[
                r#"{"ID": 1, "other": 2.5, "unknown": true, "Inner": {"A": 1, "b": [1518033528]}}"#,
                r#"{"id": 2}{"id": 3}"#,
                "[1]",
                r#"{"id": "x"}"#,
                "{",
                r#"{"id": 4, "inner": {"b": ["2017-02-07T15:13:01.39Z", 1518033528123, 1.5]}}"#,
            ],
        );
        let ids: Vec<&Value> = rows.iter().map(|row| &row["id"]).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(rows[0]["renamed"], "2.5");
        assert_eq!(rows[0]["inner"]["a"], 1.0);
        assert_eq!(rows[0]["inner"]["b"][0], "2018-02-07T19:58:48");
        let times = &rows[3]["inner"]["b"];
        assert_eq!(times[0], "2017-02-07T15:13:01.390");
        assert_eq!(times[1], "2018-02-07T19:58:48.123");
        assert_eq!(times[2], "1970-01-01T00:00:01.500");
        let told: Vec<(usize, bool)> = misfits.iter().map(|m| (m.index, m.is_json)).collect();
        assert_eq!(told, [(2, false), (4, false), (3, true)]);
    }

    #[test]
    fn no_records_are_an_empty_file() {
        assert_eq!(run(&[("id", "bigint")], &[]), (vec![], vec![]));
    }
}
