//! A CSV file as a streaming table: every column a string, plus `_row`, the number of the record.
//!
//! Only a few thousand records are in memory at a time. The engine's own CSV reader is not used
//! because it cannot say where a record stands in the file.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use csv::ByteRecord;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use steppe_wire::etl::EtlPlan;
pub use steppe_wire::etl::header::ROW_COLUMN;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::header::{Header, Origin};
use crate::scan::on_own_thread;
use crate::shape;
use crate::storage::Place;
use crate::table::{Options, Table, text};

/// Rows per batch, about: the cells of a record are never parted.
const BATCH_ROWS: usize = 8_192;

type File = Box<dyn Read + Send>;

/// A CSV file with its header read.
#[derive(Debug, Clone)]
pub struct CsvSource {
    place: Place,
    options: Options,
    header: Arc<Header>,
    schema: SchemaRef,
    rows: Arc<OnceLock<u64>>,
}

impl CsvSource {
    /// Reads the header and checks that the required columns are there.
    pub async fn open(place: Place, plan: &EtlPlan) -> Result<Self> {
        let options = Options {
            delimiter: u8::try_from(plan.delimiter)
                .context("the delimiter must be one ASCII character")?,
            skip_lines: plan.skip_lines,
            leave_out_footnotes: plan.leave_out_footnotes,
        };
        let bytes = file(&place).await?;
        let defect = on_own_thread(move || Ok(shape::defect(bytes)?)).await?;
        if let Some(defect) = defect {
            bail!("{}: {defect}", place.name);
        }
        let line = options.skip_lines + 1;
        let bytes = file(&place).await?;
        let table = on_own_thread(move || Table::open(bytes, options)).await;
        let fields = table.map(|table| table.header).with_context(|| place.name.clone())?;
        let header = Header::new(fields, plan).with_context(|| format!("{}:{line}", place.name))?;
        let columns = header.columns().iter().map(|c| Field::new(c, DataType::Utf8, true));
        let fields: Vec<Field> =
            columns.chain([Field::new(ROW_COLUMN, DataType::Int64, false)]).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { place, options, header: Arc::new(header), schema, rows: Arc::default() })
    }

    /// How many rows there are, once the file was read to its end.
    pub fn rows(&self) -> Option<u64> {
        self.rows.get().copied()
    }

    /// The lines of the records of `rows` (ascending), and the column of the file of a cell.
    pub async fn origins_of(&self, rows: Vec<i64>) -> Result<Vec<(u64, Option<String>)>> {
        let (bytes, options) = (file(&self.place).await?, self.options);
        let header = self.header.clone();
        let origins = on_own_thread(move || {
            let mut table = Table::open(bytes, options)?;
            let (mut record, mut found, mut number, mut line) = (ByteRecord::new(), vec![], 0, 0);
            for row in rows {
                let Origin { record: wanted, column } = header.origin(row);
                while number < wanted
                    && let Some(next) = table.read(&mut record)?
                {
                    (number, line) = (number + 1, next);
                }
                found.push((line, column.map(str::to_owned)));
            }
            Ok(found)
        });
        origins.await
    }
}

/// A file from its beginning.
async fn file(place: &Place) -> Result<File> {
    let object = place
        .store
        .get(&place.path)
        .await
        .with_context(|| format!("cannot read {}", place.name))?;
    let stream = object.into_stream().map_err(std::io::Error::other);
    Ok(Box::new(SyncIoBridge::new(StreamReader::new(stream))))
}

/// Rows on their way into a batch.
struct Batches {
    table: Table<File>,
    header: Arc<Header>,
    schema: SchemaRef,
    record: ByteRecord,
    number: i64,
    columns: Vec<StringBuilder>,
    rows: Vec<i64>,
}

impl Batches {
    fn new(table: Table<File>, source: &CsvSource) -> Self {
        let (header, schema) = (source.header.clone(), source.schema.clone());
        let columns = header.columns().iter().map(|_| StringBuilder::new()).collect();
        let record = ByteRecord::new();
        Self { table, header, schema, record, number: 0, columns, rows: vec![] }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.rows.len() < BATCH_ROWS
            && let Some(line) = self.table.read(&mut self.record)?
        {
            self.number += 1;
            let fields: Vec<&str> =
                self.record.iter().map(|field| text(field, line)).collect::<Result<_>>()?;
            match self.header.wide() {
                None => {
                    for (column, field) in self.columns.iter_mut().zip(fields) {
                        append(column, field);
                    }
                    self.rows.push(self.number);
                }
                Some(wide) => {
                    wide.refuse_odd(&fields, line)?;
                    for (row, cell) in wide.cells(&fields, self.number) {
                        for (column, field) in self.columns.iter_mut().zip(cell) {
                            append(column, field);
                        }
                        self.rows.push(row);
                    }
                }
            }
        }
        if self.rows.is_empty() {
            return Ok(None);
        }
        let mut arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        arrays.push(Arc::new(Int64Array::from(std::mem::take(&mut self.rows))));
        Ok(Some(RecordBatch::try_new(self.schema.clone(), arrays)?))
    }
}

/// An empty field is "no value", as Spark's CSV reader has it.
fn append(column: &mut StringBuilder, field: &str) {
    column.append_option((!field.is_empty()).then_some(field));
}

impl PartitionStream for CsvSource {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, source) = (builder.tx(), self.clone());
        builder.spawn(async move {
            let bytes = file(&source.place).await.map_err(|e| external(&e))?;
            let work = on_own_thread(move || {
                let mut batches = Batches::new(Table::open(bytes, source.options)?, &source);
                let mut rows = 0;
                while let Some(batch) = batches.next()? {
                    rows += batch.num_rows() as u64;
                    if sender.blocking_send(Ok(batch)).is_err() {
                        return Ok(());
                    }
                }
                source.rows.get_or_init(|| rows);
                Ok(())
            });
            work.await.map_err(|e| external(&e))
        });
        builder.build()
    }
}

fn external(error: &anyhow::Error) -> DataFusionError {
    DataFusionError::External(format!("{error:#}").into())
}
