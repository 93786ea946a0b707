//! Apache Parquet: one row group after another, from a temporary file.
//!
//! Times are written as what Spark's and Hive's `timestamp` is: microseconds in 64 bits that count
//! from 1970 in UTC (`isAdjustedToUTC`). Spark then infers `timestamp`, where without that mark it
//! infers `timestamp_ntz`; Athena reads both as `timestamp`.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::arrow::{ArrowWriter, ProjectionMask};
use datafusion::parquet::basic::{Compression, Type};
use datafusion::parquet::file::properties::WriterProperties;
use steppe_wire::etl::ColumnName;

use super::columns::{Columns, MICROS, Written, batch, by_name, named_types};
use super::spool::Spool;
use super::{BATCH_ROWS, Bytes, Format, Guarded, Reader, Writer, guarded};

/// Bytes of a row group after which the next one begins; it is in memory until then.
const ROW_GROUP_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Apache Parquet.
pub struct Parquet;

impl Format for Parquet {
    fn columns(&self, bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>> {
        let file = Spool::new(bytes)?;
        let metadata = guarded(|| loaded(&file))?;
        Ok(named_types(metadata.schema().fields()))
    }

    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader> {
        let file = Spool::new(bytes)?;
        let (batches, schema, rows) = guarded(|| open(&file, wanted))?;
        Ok(Reader { schema, batches: Box::new(Guarded::new(batches, rows)) })
    }

    fn writer(&self, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
        let written = Written::new(&schema)?;
        let fields = written.schema.fields().iter().map(|field| match field.data_type() {
            time if *time == MICROS => Field::new(field.name(), instant(), true),
            _ => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        // Snappy, because every reader of tables has it, Spark and Athena included.
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, schema.clone(), options)?;
        Ok(Box::new(ParquetWriter { written, schema, writer }))
    }
}

/// Batches of the wanted columns, their schema and how many rows there are.
fn open(file: &Spool, wanted: &[ColumnName]) -> Result<(Batches, SchemaRef, u64)> {
    let metadata = loaded(file)?;
    let columns = Columns::select(metadata.schema().fields(), &by_name(wanted))?;
    let rows = metadata.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows).context("the number of rows is negative")?;
    let projection = columns.projection();
    let old: Vec<usize> =
        projection.iter().copied().filter(|index| is_int96(&metadata, *index)).collect();
    let nanos = match &old[..] {
        [] => None,
        old => Some(reader(file, metadata.clone(), old)?),
    };
    let micros = in_micros(file, metadata, &old)?;
    let at = |index: &usize| projection.binary_search(index).ok();
    let batches = Batches {
        micros: reader(file, micros, &projection)?,
        nanos,
        old: old.iter().filter_map(at).collect(),
        rows: 0,
        columns,
    };
    let schema = batches.columns.schema.clone();
    Ok((batches, schema, rows))
}

fn loaded(file: &Spool) -> Result<ArrowReaderMetadata> {
    // The schema of Arrow that some writers add says nothing of the values; hostile ones lie.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(file, options).context("this is no Parquet file")
}

fn reader(
    file: &Spool,
    metadata: ArrowReaderMetadata,
    columns: &[usize],
) -> Result<ParquetRecordBatchReader> {
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata);
    Ok(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?)
}

/// Whether a column has the times of 96 bits that Hive and older Sparks write.
fn is_int96(metadata: &ArrowReaderMetadata, index: usize) -> bool {
    let fields = metadata.parquet_schema().root_schema().get_fields();
    let field = fields.get(index);
    field.is_some_and(|field| field.is_primitive() && field.get_physical_type() == Type::INT96)
}

/// The same file with columns of 96 bits in microseconds: in nanoseconds the library lets years
/// after 2262 begin again in 1677.
fn in_micros(
    file: &Spool,
    metadata: ArrowReaderMetadata,
    old: &[usize],
) -> Result<ArrowReaderMetadata> {
    if old.is_empty() {
        return Ok(metadata);
    }
    let fields = metadata.schema().fields().iter().enumerate().map(|(index, field)| {
        let field = field.as_ref().clone();
        if old.contains(&index) { field.with_data_type(MICROS) } else { field }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    Ok(ArrowReaderMetadata::load(file, options)?)
}

/// Rows of the wanted columns.
struct Batches {
    micros: ParquetRecordBatchReader,
    /// The columns of 96 bits once more, in nanoseconds.
    nanos: Option<ParquetRecordBatchReader>,
    /// Where these columns stand in the projection.
    old: Vec<usize>,
    columns: Columns,
    rows: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match self.micros.next()? {
            Ok(read) => read,
            Err(error) => return Some(Err(error.into())),
        };
        let rows = self.check_nanos(&read).and_then(|()| self.columns.rows(&read, self.rows));
        self.rows += read.num_rows() as u64;
        Some(rows)
    }
}

impl Batches {
    /// What is finer than microseconds must not be lost without a word. Both counts overflow
    /// alike, so they agree for every year.
    fn check_nanos(&mut self, micros: &RecordBatch) -> Result<()> {
        let Some(nanos) = &mut self.nanos else { return Ok(()) };
        let nanos = nanos.next().context("rows of a column are missing")??;
        for (array, index) in nanos.columns().iter().zip(&self.old) {
            let (fine, coarse) = (array.as_primitive::<TimestampNanosecondType>(), |row: usize| {
                micros.column(*index).as_primitive::<TimestampMicrosecondType>().value(row)
            });
            ensure!(fine.len() == micros.num_rows(), "columns have different numbers of rows");
            let lost = |row: &usize| {
                let same = coarse(*row).wrapping_mul(1_000) == fine.value(*row);
                !same && !micros.column(*index).is_null(*row)
            };
            if let Some(row) = (0..fine.len()).find(lost) {
                let name = micros.schema_ref().field(*index).name().clone();
                let row = self.rows + row as u64 + 1;
                bail!("column `{name}`, row {row}: the time is not in whole microseconds");
            }
        }
        Ok(())
    }
}

struct ParquetWriter {
    written: Written,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
}

/// Times that count from 1970 in UTC.
fn instant() -> DataType {
    DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

impl Writer for ParquetWriter {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.written.rows(rows)?;
        let arrays = rows.columns().iter().map(|array| -> ArrayRef {
            match array.as_primitive_opt::<TimestampMicrosecondType>() {
                Some(times) => Arc::new(times.clone().with_timezone("UTC")),
                None => array.clone(),
            }
        });
        self.writer.write(&batch(&self.schema, arrays.collect(), rows.num_rows())?)?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}
