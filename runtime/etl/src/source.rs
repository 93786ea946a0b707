//! The files of an input as a streaming table: their columns, plus `_row`, the number of the
//! record.
//!
//! Only a few thousand records of a file are in memory at a time. The engine's own readers are not
//! used because they cannot say where a record stands.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
pub use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{Container, CsvOptions, InputPlan, TableFormat};
use steppe_wire::format::Format;
use steppe_wire::hint::Hinted;

use crate::csv_rows::{CsvRows, Wanted, lines_of};
use crate::formats::{self, sequence};
use crate::objects::{Bytes, Object, begun, unpacked};
use crate::rows::Rows;
use crate::scan::on_own_thread;
use crate::types;

/// Rows that a file may have, as a power of two: `_row` is the file's number and the row's.
const ROW_BITS: u32 = 40;
/// The part of `_row` that is the number in its file.
pub const ROW_MASK: i64 = (1 << ROW_BITS) - 1;

/// What to do about a file with other columns than the first.
const SAME_COLUMNS: &str = "the files of an input have the same columns";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The number of a row among those of all files.
pub fn row_number(file: usize, row: i64) -> i64 {
    ((file as i64) << ROW_BITS) + row
}

/// The file of a row and its number in it.
pub fn row_place(row: i64) -> (usize, i64) {
    ((row >> ROW_BITS) as usize, row & ROW_MASK)
}

/// What a file was found to have.
#[derive(Debug, Clone, Copy)]
struct Read {
    rows: u64,
    /// The number of the last one.
    last: i64,
}

/// The files of an input, of which the first one's columns are known.
#[derive(Debug, Clone)]
pub struct Source {
    plan: Arc<InputPlan>,
    objects: Arc<[Object]>,
    schema: SchemaRef,
    read: Arc<[OnceLock<Read>]>,
    only: Option<Arc<Rows>>,
    /// Columns that are asked for, by their places; all when absent.
    asked: Option<Arc<[usize]>>,
}

impl Source {
    /// Reads the first file's header and checks that the required columns are there.
    pub async fn open(plan: &InputPlan, objects: &[Object]) -> Result<Self> {
        let empty = Arc::new(Schema::empty());
        let read = objects.iter().map(|_| OnceLock::new()).collect();
        let plan = Arc::new(plan.clone());
        let objects = objects.into();
        let mut source = Self { plan, objects, schema: empty, read, only: None, asked: None };
        let first = source.clone();
        let bytes = source.bytes(0).await?;
        let opened = on_own_thread(move || Ok(first.batches(0, bytes)?.0));
        source.schema = opened.await.map_err(|error| source.named(0, &error))?;
        Ok(source)
    }

    /// It with these rows alone.
    pub fn only(&self, rows: Rows) -> Self {
        Self { only: Some(Arc::new(rows)), ..self.clone() }
    }

    /// How many rows there are, once each file was read to its end.
    pub fn rows(&self) -> Option<u64> {
        self.read.iter().map(|read| read.get().map(|read| read.rows)).sum()
    }

    /// Whether a row of this number was read.
    pub fn has(&self, row: i64) -> bool {
        let (file, row) = row_place(row);
        let read = self.read.get(file).and_then(OnceLock::get);
        read.is_some_and(|read| (1..=read.last).contains(&row))
    }

    /// What messages call the file of a row, and its name below the prefix.
    pub fn object(&self, file: usize) -> Option<&Object> {
        self.objects.get(file)
    }

    /// It as a table, read by at most `parts` threads.
    pub fn table(&self, parts: usize) -> Files {
        Files { source: self.clone(), parts: parts.clamp(1, self.objects.len()) }
    }

    /// Whether a column of this name is asked for.
    fn asks(&self, name: &str) -> bool {
        let named = |at: &usize| self.schema.field(*at).name() == name;
        self.asked.as_ref().is_none_or(|asked| asked.iter().any(named))
    }

    /// Where the records of `rows` (ascending) stand: as `file:line`, or `file: record n`, and the
    /// column of the file of a cell.
    pub async fn origins_of(&self, rows: Vec<i64>) -> Result<Vec<(String, Option<String>)>> {
        let mut origins = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|a, b| row_place(*a).0 == row_place(*b).0) {
            let file = row_place(rows[0]).0;
            let name = &self.objects[file].place.name;
            let Some(csv) = self.csv_in_lines().cloned() else {
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
        let (begin, bytes) = object.open().await?;
        let context = || object.place.name.clone();
        let refuse = |defect: Hinted| defect.at(&object.place.name);
        let packed = Format::packed(&self.plan, &object.name, &begin).map_err(refuse)?;
        let (begin, bytes) = if packed {
            let work = move || begun(unpacked(bytes));
            on_own_thread(work).await.with_context(context)?
        } else {
            (begin, bytes)
        };
        match Format::defect(&self.plan, &begin) {
            Some(defect) => Err(refuse(defect).into()),
            None => Ok(bytes),
        }
    }

    /// How CSV is read whose records have lines of their own to be found by.
    fn csv_in_lines(&self) -> Option<&CsvOptions> {
        self.plan.csv.as_ref().filter(|_| self.plan.container.is_lines())
    }

    /// The schema and the rows of a file, which are numbered from 1.
    fn batches(&self, file: usize, bytes: Bytes) -> Result<(SchemaRef, Batches)> {
        let bytes: Bytes = match self.plan.container {
            Container::Lines => bytes,
            Container::Sequence => Box::new(sequence::Lines::open(bytes, self.plan.format)?),
        };
        let wanted = self.only.clone().map(|rows| move |row: i64| rows.has(file, row));
        if let Some(csv) = &self.plan.csv {
            let wanted = wanted.map(|wanted| Box::new(wanted) as Wanted);
            let rows = CsvRows::open(bytes, &self.plan, csv, |name| self.asks(name), wanted)?;
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
            let mask = wanted.as_ref().map(|wanted| BooleanArray::from_unary(&rows, wanted));
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(rows));
            let batch = RecordBatch::try_new(result.clone(), columns)?;
            match mask {
                Some(mask) => Ok(filter_record_batch(&batch, &mask)?),
                None => Ok(batch),
            }
        });
        Ok((schema, Box::new(batches)))
    }

    /// Hands on the rows of a file, in the form of the first one; false when nobody takes them.
    fn scan(&self, file: usize, bytes: Bytes, send: &dyn Fn(RecordBatch) -> bool) -> Result<bool> {
        let (schema, batches) = self.batches(file, bytes)?;
        let order = self.order_of(&schema)?;
        let mut read = Read { rows: 0, last: 0 };
        for batch in batches {
            let batch = batch?;
            read.rows += batch.num_rows() as u64;
            let mut columns: Vec<ArrayRef> =
                order.iter().map(|index| batch.column(*index).clone()).collect();
            let numbers = batch.column(batch.num_columns() - 1);
            let numbers = types::whole(numbers).context("`_row` is a whole number")?;
            read.last = numbers.values().last().copied().unwrap_or(read.last);
            if file > 0 {
                columns.pop();
                let numbers: Int64Array = numbers.unary(|row| row_number(file, row));
                columns.push(Arc::new(numbers));
            }
            if !send(RecordBatch::try_new(self.schema.clone(), columns)?) {
                return Ok(false);
            }
        }
        self.read[file].get_or_init(|| read);
        Ok(true)
    }

    /// Where the columns of the first file stand in one with this schema: files of an input have the
    /// same columns, in whatever order.
    fn order_of(&self, schema: &Schema) -> Result<Vec<usize>> {
        let first = &self.objects[0].place.name;
        let (wanted, found) = (self.schema.fields(), schema.fields());
        if let Some(field) = found.iter().find(|field| wanted.find(field.name()).is_none()) {
            let more = format!(
                "the file has a column `{}`, and {first} has none of that name",
                field.name()
            );
            bail!(Hinted::new(more, SAME_COLUMNS));
        }
        let mut order = Vec::with_capacity(wanted.len());
        for field in wanted {
            let Some((index, own)) = found.find(field.name()) else {
                let less =
                    format!("the file has no column `{}`, and {first} has one", field.name());
                bail!(Hinted::new(less, SAME_COLUMNS));
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

    fn named(&self, file: usize, error: &anyhow::Error) -> Hinted {
        Hinted::of(error.as_ref()).at(&self.objects[file].place.name)
    }
}

/// Columns, and the number of the record.
pub fn numbered(columns: impl Iterator<Item = Field>) -> SchemaRef {
    let row = Field::new(ROW_COLUMN, DataType::Int64, false);
    Arc::new(Schema::new(columns.chain([row]).collect::<Vec<_>>()))
}

/// The files as a table. Columns that a statement does not ask for are not made.
#[derive(Debug)]
pub struct Files {
    source: Source,
    parts: usize,
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.source.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let asked = projection.map(|asked| asked.as_slice().into());
        let source = Source { asked, ..self.source.clone() };
        let part = |first: usize| {
            let files = (first..source.objects.len()).step_by(self.parts).collect();
            Arc::new(Part { source: source.clone(), files }) as Arc<dyn PartitionStream>
        };
        let parts = (0..self.parts).map(part).collect();
        let schema = source.schema.clone();
        Ok(Arc::new(StreamingTableExec::try_new(schema, parts, projection, [], false, limit)?))
    }
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
                let bytes = source.bytes(file).await;
                let bytes = bytes.map_err(|e| external(Hinted::of(e.as_ref())))?;
                let (own, sender) = (source.clone(), sender.clone());
                let send = move |batch| sender.blocking_send(Ok(batch)).is_ok();
                let scanned = on_own_thread(move || own.scan(file, bytes, &send)).await;
                if !scanned.map_err(|e| external(source.named(file, &e)))? {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

fn external(error: Hinted) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
