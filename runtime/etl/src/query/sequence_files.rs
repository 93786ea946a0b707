//! Hadoop sequence files as Athena reads them: with Hive's LazySimpleSerDe, from values of `Text`.
//!
//! A value is split at every delimiter, whatever quotes say; `\N` is NULL, as is a field that is
//! missing; fields behind the last column are left out.
//!
//! <https://github.com/trinodb/trino>: `SequenceFileReader`, `SimpleDeserializer` and
//! `SimpleSequenceFilePageSourceFactory`, the only one that reads such files.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};

use super::described::cannot_open;
use super::files::{Batches, FileReader, OneFile};
use crate::formats::sequence::{ValueClass, Values};

/// Values per batch.
const BATCH_VALUES: usize = 8_192;
/// Bytes of values after which a batch ends.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How Hive writes what is not there.
const NULL: &[u8] = b"\\N";

/// How a value is split; every column is text.
#[derive(Debug)]
pub struct SequenceFields {
    bucket: String,
    delimiter: u8,
}

impl SequenceFields {
    /// Of a table in a bucket.
    pub fn new(bucket: String, delimiter: char) -> Result<Self, String> {
        let delimiter = u8::try_from(delimiter);
        let delimiter = delimiter.map_err(|_| "`field.delim` is not one byte".to_owned())?;
        Ok(Self { bucket, delimiter })
    }
}

impl FileReader for SequenceFields {
    fn read(&self, file: OneFile, schema: &SchemaRef) -> Result<Batches> {
        let split = format!("s3://{}/{}", self.bucket, file.key);
        let refused = |what: &str| cannot_open(&split, file.size, what);
        let values = Values::open(file.bytes).map_err(|error| refused(&format!("{error:#}")))?;
        if values.class != ValueClass::Text {
            let class = "org.apache.hadoop.io.BytesWritable";
            let what = format!("Sequence File {split} value class {class} is not supported");
            return Err(refused(&what));
        }
        let (delimiter, schema) = (self.delimiter, schema.clone());
        let mut rows = Rows { values, delimiter, value: vec![], split };
        Ok(Box::new(std::iter::from_fn(move || rows.next(&schema).transpose())))
    }
}

/// The rows of one file.
struct Rows {
    values: Values,
    delimiter: u8,
    value: Vec<u8>,
    split: String,
}

impl Rows {
    fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let mut columns: Vec<StringBuilder> =
            schema.fields().iter().map(|_| StringBuilder::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_VALUES && bytes < BATCH_BYTES_MAX {
            self.value.clear();
            let next = self.values.next(&mut self.value).map_err(|error| {
                let what = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                DataFusionError::Execution(format!("HIVE_BAD_DATA: {}: {what}", self.split))
            })?;
            if !next {
                break;
            }
            let mut fields = self.value.split(|byte| *byte == self.delimiter);
            for column in &mut columns {
                let field = fields.next().filter(|field| *field != NULL);
                column.append_option(field.map(String::from_utf8_lossy));
            }
            (rows, bytes) = (rows + 1, bytes + self.value.len());
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> =
            columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?))
    }
}
