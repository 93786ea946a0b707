//! A CSV file as a streaming table: every column a string, plus `_row`, the number of the record.
//!
//! Only a few thousand records are in memory at a time. The engine's own CSV reader is not used
//! because it cannot say where a record stands in the file.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use steppe_wire::etl::ColumnName;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::shape;
use crate::storage::Place;

/// The column that numbers data records from 1.
pub const ROW_COLUMN: &str = "_row";
/// Records per batch.
const BATCH_ROWS: usize = 8_192;

/// A CSV file with its header read.
#[derive(Debug, Clone)]
pub struct CsvSource {
    place: Place,
    delimiter: u8,
    schema: SchemaRef,
}

type CsvReader = csv::Reader<Box<dyn Read + Send>>;

impl CsvSource {
    /// Reads the header and checks that the required columns are there.
    pub async fn open(place: Place, delimiter: char, expected: &[ColumnName]) -> Result<Self> {
        let delimiter =
            u8::try_from(delimiter).context("the delimiter must be one ASCII character")?;
        let source = Self { place, delimiter, schema: Arc::new(Schema::empty()) };
        let bytes = source.bytes().await?;
        let defect = tokio::task::spawn_blocking(move || shape::defect(bytes)).await??;
        if let Some(defect) = defect {
            bail!("{}: {defect}", source.place.name);
        }
        let mut reader = source.reader().await?;
        let header = tokio::task::spawn_blocking(move || reader.headers().cloned()).await?;
        let header = header
            .with_context(|| format!("{}:1: the header cannot be read", source.place.name))?;
        let columns: Vec<&str> = header.iter().map(str::trim).collect();
        source.check_header(&columns, expected)?;
        let rename = |c: &str| {
            expected.iter().find(|e| e.source == c).map_or_else(|| c.to_owned(), |e| e.name.clone())
        };
        let fields = columns.iter().map(|c| Field::new(rename(c), DataType::Utf8, true));
        let fields: Vec<Field> =
            fields.chain([Field::new(ROW_COLUMN, DataType::Int64, false)]).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)), ..source })
    }

    fn check_header(&self, columns: &[&str], expected: &[ColumnName]) -> Result<()> {
        let url = &self.place.name;
        if columns.iter().all(|c| c.is_empty()) {
            bail!(
                "{url}:1: the file is empty; expected a header with the columns {}",
                sources(expected).join(", ")
            );
        }
        if let Some(twice) = columns.iter().enumerate().find(|(i, c)| columns[..*i].contains(c)) {
            bail!("{url}:1: the column `{}` stands twice in the header", twice.1);
        }
        let missing: Vec<_> = sources(expected)
            .into_iter()
            .filter(|s| !columns.contains(s))
            .map(|s| format!("`{s}`"))
            .collect();
        if !missing.is_empty() {
            bail!(
                "{url}:1: column {} is missing; the header has {}\nhint: {}",
                missing.join(", "),
                columns.join(", "),
                shape::header_hint(columns, char::from(self.delimiter))
            );
        }
        Ok(())
    }

    async fn reader(&self) -> Result<CsvReader> {
        Ok(ReaderBuilder::new().delimiter(self.delimiter).from_reader(self.bytes().await?))
    }

    /// The file from its beginning.
    async fn bytes(&self) -> Result<Box<dyn Read + Send>> {
        let object = self
            .place
            .store
            .get(&self.place.path)
            .await
            .with_context(|| format!("cannot read {}", self.place.name))?;
        let stream = object.into_stream().map_err(std::io::Error::other);
        Ok(Box::new(SyncIoBridge::new(StreamReader::new(stream))))
    }

    /// The lines on which the records `rows` (ascending) begin.
    pub async fn lines_of(&self, rows: Vec<i64>) -> Result<Vec<u64>> {
        let mut reader = self.reader().await?;
        let lines = tokio::task::spawn_blocking(move || {
            let (mut record, mut lines, mut row) = (ByteRecord::new(), Vec::new(), 0i64);
            while lines.len() < rows.len() && reader.read_byte_record(&mut record)? {
                row += 1;
                if rows[lines.len()] == row {
                    lines.push(record.position().map_or(0, csv::Position::line));
                }
            }
            Ok::<_, csv::Error>(lines)
        });
        Ok(lines.await??)
    }

    fn next_batch(
        schema: &SchemaRef,
        reader: &mut CsvReader,
        row: &mut i64,
    ) -> Result<Option<RecordBatch>, DataFusionError> {
        let width = schema.fields().len() - 1;
        let mut columns: Vec<StringBuilder> = (0..width).map(|_| StringBuilder::new()).collect();
        let (mut rows, mut record) = (Vec::with_capacity(BATCH_ROWS), ByteRecord::new());
        while rows.len() < BATCH_ROWS
            && reader.read_byte_record(&mut record).map_err(|e| external(describe(&e)))?
        {
            *row += 1;
            rows.push(*row);
            for (column, field) in columns.iter_mut().zip(record.iter()) {
                let text = std::str::from_utf8(field).map_err(|_| {
                    let line = record.position().map_or(0, csv::Position::line);
                    external(format!(
                        "line {line}: the text is not UTF-8\nhint: {}",
                        shape::CONVERTS
                    ))
                })?;
                // An empty field is "no value", as Spark's CSV reader has it.
                column.append_option((!text.is_empty()).then_some(text));
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let mut arrays: Vec<ArrayRef> =
            columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        arrays.push(Arc::new(Int64Array::from(rows)));
        Ok(Some(RecordBatch::try_new(schema.clone(), arrays)?))
    }
}

impl PartitionStream for CsvSource {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, source) = (builder.tx(), self.clone());
        builder.spawn(async move {
            let mut reader = source.reader().await.map_err(|e| external(format!("{e:#}")))?;
            let work = tokio::task::spawn_blocking(move || {
                let mut row = 0;
                while let Some(batch) = Self::next_batch(&source.schema, &mut reader, &mut row)? {
                    if sender.blocking_send(Ok(batch)).is_err() {
                        break;
                    }
                }
                Ok(())
            });
            work.await.map_err(|e| external(e.to_string()))?
        });
        builder.build()
    }
}

fn sources(expected: &[ColumnName]) -> Vec<&str> {
    expected.iter().map(|c| c.source.as_str()).collect()
}

fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line}: the record has {len} fields, the header has {expected_len}\n\
                 hint: {}",
                shape::record_hint(*len, *expected_len)
            )
        }
        _ => error.to_string(),
    }
}

fn external(message: String) -> DataFusionError {
    DataFusionError::External(message.into())
}
