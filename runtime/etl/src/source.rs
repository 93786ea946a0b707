//! The files of an input as a streaming table: their columns, plus `_row`, the number of the
//! record.
//!
//! Only a few thousand records of a file are in memory at a time. The engine's own readers are not
//! used because they cannot say where a record stands.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use csv::ByteRecord;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
pub use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{CsvOptions, InputPlan, TableFormat};
use steppe_wire::format::Format;

use crate::formats;
use crate::header::{Header, Origin};
use crate::objects::{Bytes, Object, begun, unpacked};
use crate::scan::on_own_thread;
use crate::table::{Options, Table, text};
use crate::types;

/// Rows per batch, about: the cells of a record are never parted.
const BATCH_ROWS: usize = 8_192;
/// Rows that a file may have, as a power of two: `_row` is the file's number and the row's.
const ROW_BITS: u32 = 40;
/// The part of `_row` that is the number in its file.
pub const ROW_MASK: i64 = (1 << ROW_BITS) - 1;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The number of a row among those of all files.
pub fn row_number(file: usize, row: i64) -> i64 {
    ((file as i64) << ROW_BITS) + row
}

/// The file of a row and its number in it.
pub fn row_place(row: i64) -> (usize, i64) {
    ((row >> ROW_BITS) as usize, row & ROW_MASK)
}

/// The files of an input, of which the first one's columns are known.
#[derive(Debug, Clone)]
pub struct Source {
    plan: Arc<InputPlan>,
    objects: Arc<[Object]>,
    schema: SchemaRef,
    rows: Arc<[OnceLock<u64>]>,
}

impl Source {
    /// Reads the first file's header and checks that the required columns are there.
    pub async fn open(plan: &InputPlan, objects: &[Object]) -> Result<Self> {
        let empty = Arc::new(Schema::empty());
        let rows = objects.iter().map(|_| OnceLock::new()).collect();
        let plan = Arc::new(plan.clone());
        let mut source = Self { plan, objects: objects.into(), schema: empty, rows };
        let first = source.clone();
        let bytes = source.bytes(0).await?;
        let opened = on_own_thread(move || Ok(first.batches(bytes)?.0));
        source.schema = opened.await.map_err(|error| source.named(0, &error))?;
        Ok(source)
    }

    /// How many rows there are, once each file was read to its end.
    pub fn rows(&self) -> Option<u64> {
        self.rows.iter().map(|rows| rows.get().copied()).sum()
    }

    /// What messages call the file of a row, and its name below the prefix.
    pub fn object(&self, file: usize) -> Option<&Object> {
        self.objects.get(file)
    }

    /// It as a table, read by at most `parts` threads.
    pub fn table(&self, parts: usize) -> Result<StreamingTable> {
        let parts = parts.clamp(1, self.objects.len());
        let part = |first: usize| {
            let files = (first..self.objects.len()).step_by(parts).collect();
            Arc::new(Part { source: self.clone(), files }) as Arc<dyn PartitionStream>
        };
        Ok(StreamingTable::try_new(self.schema.clone(), (0..parts).map(part).collect())?)
    }

    /// Where the records of `rows` (ascending) stand: as `file:line`, or `file: record n`, and the
    /// column of the file of a cell.
    pub async fn origins_of(&self, rows: Vec<i64>) -> Result<Vec<(String, Option<String>)>> {
        let mut origins = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|a, b| row_place(*a).0 == row_place(*b).0) {
            let file = row_place(rows[0]).0;
            let name = &self.objects[file].place.name;
            let Some(csv) = self.plan.csv.clone() else {
                let told = |row: &i64| (format!("{name}: record {}", row_place(*row).1), None);
                origins.extend(rows.iter().map(told));
                continue;
            };
            let rows: Vec<i64> = rows.iter().map(|row| row_place(*row).1).collect();
            let (plan, bytes) = (self.plan.clone(), self.bytes(file).await?);
            let lines = on_own_thread(move || lines_of(&plan, &csv, bytes, rows)).await?;
            origins.extend(lines.into_iter().map(|(line, cell)| (format!("{name}:{line}"), cell)));
        }
        Ok(origins)
    }

    /// A file's bytes, when it is what the manifest says.
    async fn bytes(&self, file: usize) -> Result<Bytes> {
        let object = &self.objects[file];
        let wanted = self.plan.format;
        let (begin, bytes) = object.open().await?;
        let context = || object.place.name.clone();
        let refuse = |defect: String| anyhow::anyhow!("{}: {defect}", object.place.name);
        let packed = Format::packed(wanted, &object.name, &begin).map_err(refuse)?;
        let (begin, bytes) = if packed {
            let work = move || begun(unpacked(bytes));
            on_own_thread(work).await.with_context(context)?
        } else {
            (begin, bytes)
        };
        match Format::defect(wanted, &begin) {
            Some(defect) => Err(refuse(defect)),
            None => Ok(bytes),
        }
    }

    /// The schema and the rows of a file, which are numbered from 1.
    fn batches(&self, bytes: Bytes) -> Result<(SchemaRef, Batches)> {
        if let Some(csv) = &self.plan.csv {
            let rows = CsvRows::open(bytes, &self.plan, csv)?;
            return Ok((rows.schema.clone(), Box::new(rows)));
        }
        let format = formats::format(self.plan.format)
            .with_context(|| format!("`{}` has no reader", self.plan.format.name()))?;
        let read = format.read(bytes, &self.plan.columns)?;
        if self.plan.format != TableFormat::Json {
            types::check_file(&read.schema, &self.plan.columns)?;
        }
        let fields = read.schema.fields().iter().map(|field| field.as_ref().clone());
        let schema = numbered(fields);
        let (result, mut number) = (schema.clone(), 0);
        let batches = read.batches.map(move |batch| {
            let batch = batch?;
            let rows =
                Int64Array::from_iter_values((number + 1)..=(number + batch.num_rows() as i64));
            number += batch.num_rows() as i64;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(rows));
            Ok(RecordBatch::try_new(result.clone(), columns)?)
        });
        Ok((schema, Box::new(batches)))
    }

    /// Hands on the rows of a file, in the form of the first one; false when nobody takes them.
    fn scan(&self, file: usize, bytes: Bytes, send: &dyn Fn(RecordBatch) -> bool) -> Result<bool> {
        let (schema, batches) = self.batches(bytes)?;
        let order = self.order_of(&schema)?;
        let mut rows = 0;
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            let mut columns: Vec<ArrayRef> =
                order.iter().map(|index| batch.column(*index).clone()).collect();
            if file > 0 {
                columns.pop();
                let numbers = batch.column(batch.num_columns() - 1);
                let numbers = types::whole(numbers).context("`_row` is a whole number")?;
                let numbers: Int64Array = numbers.unary(|row| row_number(file, row));
                columns.push(Arc::new(numbers));
            }
            if !send(RecordBatch::try_new(self.schema.clone(), columns)?) {
                return Ok(false);
            }
        }
        self.rows[file].get_or_init(|| rows);
        Ok(true)
    }

    /// Where the columns of the first file stand in one with this schema: files of an input have the
    /// same columns, in whatever order.
    fn order_of(&self, schema: &Schema) -> Result<Vec<usize>> {
        let first = &self.objects[0].place.name;
        let (wanted, found) = (self.schema.fields(), schema.fields());
        if let Some(field) = found.iter().find(|field| wanted.find(field.name()).is_none()) {
            bail!(
                "the file has a column `{}`, and {first} has none of that name\n\
                 hint: the files of an input have the same columns",
                field.name()
            );
        }
        let mut order = Vec::with_capacity(wanted.len());
        for field in wanted {
            let Some((index, own)) = found.find(field.name()) else {
                bail!(
                    "the file has no column `{}`, and {first} has one\n\
                     hint: the files of an input have the same columns",
                    field.name()
                );
            };
            if own.data_type() != field.data_type() {
                bail!(
                    "column `{}` is {} in the file and {} in {first}",
                    field.name(),
                    types::told(own.data_type()),
                    types::told(field.data_type())
                );
            }
            order.push(index);
        }
        Ok(order)
    }

    fn named(&self, file: usize, error: &anyhow::Error) -> anyhow::Error {
        anyhow::anyhow!("{}: {error:#}", self.objects[file].place.name)
    }
}

/// Columns, and the number of the record.
fn numbered(columns: impl Iterator<Item = Field>) -> SchemaRef {
    let row = Field::new(ROW_COLUMN, DataType::Int64, false);
    Arc::new(Schema::new(columns.chain([row]).collect::<Vec<_>>()))
}

/// Some of the files, one after the other.
#[derive(Debug)]
struct Part {
    source: Source,
    files: Vec<usize>,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.source.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.source.schema.clone(), 2);
        let (sender, source, files) = (builder.tx(), self.source.clone(), self.files.clone());
        builder.spawn(async move {
            for file in files {
                let bytes = source.bytes(file).await.map_err(|e| external(&e))?;
                let (own, sender) = (source.clone(), sender.clone());
                let send = move |batch| sender.blocking_send(Ok(batch)).is_ok();
                let scanned = on_own_thread(move || own.scan(file, bytes, &send)).await;
                if !scanned.map_err(|e| external(&source.named(file, &e)))? {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// The records of a CSV on their way into batches.
struct CsvRows {
    table: Table<Bytes>,
    header: Arc<Header>,
    schema: SchemaRef,
    record: ByteRecord,
    number: i64,
    columns: Vec<StringBuilder>,
    rows: Vec<i64>,
}

fn options(csv: &CsvOptions) -> Result<Options> {
    Ok(Options {
        delimiter: u8::try_from(csv.delimiter)
            .context("the delimiter must be one ASCII character")?,
        skip_lines: csv.skip_lines,
        leave_out_footnotes: csv.leave_out_footnotes,
    })
}

impl CsvRows {
    fn open(bytes: Bytes, plan: &InputPlan, csv: &CsvOptions) -> Result<Self> {
        let table = Table::open(bytes, options(csv)?)?;
        let header = Header::new(table.header.clone(), &plan.columns, csv)
            .with_context(|| format!("line {}", csv.skip_lines + 1))?;
        let columns = header.columns().iter().map(|_| StringBuilder::new()).collect();
        let fields = header.columns().iter().map(|c| Field::new(c, DataType::Utf8, true));
        let schema = numbered(fields);
        let (record, header) = (ByteRecord::new(), Arc::new(header));
        Ok(Self { table, header, schema, record, number: 0, columns, rows: vec![] })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.rows.len() < BATCH_ROWS
            && let Some(line) = self.table.read(&mut self.record)?
        {
            self.number += 1;
            match self.header.wide() {
                None => {
                    for (column, field) in self.columns.iter_mut().zip(&self.record) {
                        append(column, text(field, line)?);
                    }
                    self.rows.push(self.number);
                }
                Some(wide) => {
                    let fields: Vec<&str> =
                        self.record.iter().map(|field| text(field, line)).collect::<Result<_>>()?;
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

impl Iterator for CsvRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// An empty field is "no value", as Spark's CSV reader has it.
fn append(column: &mut StringBuilder, field: &str) {
    column.append_option((!field.is_empty()).then_some(field));
}

/// The lines of the records of `rows` (ascending), and the column of the file of a cell.
fn lines_of(
    plan: &InputPlan,
    csv: &CsvOptions,
    bytes: Bytes,
    rows: Vec<i64>,
) -> Result<Vec<(u64, Option<String>)>> {
    let mut table = Table::open(bytes, options(csv)?)?;
    let header = Header::new(table.header.clone(), &plan.columns, csv)?;
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
}

fn external(error: &anyhow::Error) -> DataFusionError {
    DataFusionError::External(format!("{error:#}").into())
}
