//! Apache ORC: one stripe after another, from a temporary file.
//!
//! A time in ORC is what the clock showed where the file was written, and stays that.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use orc_rust::compression::CompressionType;
use orc_rust::projection::ProjectionMask;
use orc_rust::{ArrowReader, ArrowReaderBuilder, ArrowWriterBuilder, TimestampPrecision};
use steppe_wire::etl::ColumnName;
use steppe_wire::hint::Hinted;

use super::columns::{Columns, Written, by_name, named_types};
use super::spool::Spool;
use super::{BATCH_ROWS, Bytes, Choose, Format, Guarded, Reader, Writer, guarded};

pub(crate) mod tail;

/// Batches that wait until they are written.
const WAITING_MAX: usize = 2;

/// Apache ORC.
pub struct Orc;

impl Format for Orc {
    fn columns(&self, bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>> {
        let file = Spool::new(bytes)?;
        let builder = guarded(|| loaded(file))?;
        Ok(named_types(builder.schema().fields()))
    }

    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader> {
        read(bytes, &by_name(wanted))
    }

    fn writer(&self, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
        let written = Written::new(&schema)?;
        let decimal = |field: &&std::sync::Arc<datafusion::arrow::datatypes::Field>| {
            matches!(field.data_type(), DataType::Decimal128(_, _))
        };
        if let Some(field) = written.schema.fields().iter().find(decimal) {
            let name = field.name();
            bail!(Hinted::new(
                format!("column `{name}` is a decimal, and ORC is not written with decimals here"),
                "cast it to `double` in the SQL, or choose `format = \"parquet\"`"
            ));
        }
        // What writes a stripe must stay on one thread.
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let columns = written.schema.clone();
        let thread = std::thread::Builder::new().name("orc".to_owned());
        let thread = thread.spawn(move || write(columns, out, &receiver))?;
        Ok(Box::new(OrcWriter { written, sender, thread: Some(thread) }))
    }
}

/// Rows of a file: the columns of it that are chosen.
pub fn read(bytes: Bytes, choose: Choose<'_>) -> Result<Reader> {
    let file = Spool::new(bytes)?;
    let batches = guarded(|| open(file, choose))?;
    let rows = batches.reader.total_row_count();
    let schema = batches.columns.schema.clone();
    Ok(Reader { schema, batches: Box::new(Guarded::new(batches, rows)) })
}

fn loaded(file: Spool) -> Result<ArrowReaderBuilder<Spool>> {
    tail::check(&file).context("this is no ORC file")?;
    let builder = ArrowReaderBuilder::try_new(file).context("this is no ORC file")?;
    Ok(builder.with_timestamp_precision(TimestampPrecision::Microsecond))
}

fn open(file: Spool, choose: Choose<'_>) -> Result<Batches> {
    let builder = loaded(file)?;
    let columns = Columns::select(builder.schema().fields(), choose)?;
    let root = builder.file_metadata().root_data_type();
    let ids = columns.projection();
    let ids = ids.iter().map(|index| root.children()[*index].data_type().column_index());
    let mask = ProjectionMask::roots(root, ids.collect::<Vec<_>>());
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    Ok(Batches { reader, columns, rows: 0 })
}

struct Batches {
    reader: ArrowReader<Spool>,
    columns: Columns,
    rows: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match self.reader.next()? {
            Ok(read) => read,
            Err(error) => return Some(Err(damaged(&error.to_string()))),
        };
        let rows = self.columns.rows(&read, self.rows);
        self.rows += read.num_rows() as u64;
        Some(rows)
    }
}

/// What the library says, without saying it twice.
fn damaged(told: &str) -> anyhow::Error {
    if told.contains("decoding timestamp") {
        let hint = "it is not in whole microseconds, or times with a fraction before 1970 are \
                    damaged, as Arrow's C++ library writes them; write the file as Parquet";
        return Hinted::new(told, hint).into();
    }
    anyhow!("{told}")
}

struct OrcWriter {
    written: Written,
    sender: SyncSender<Message>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What the thread that writes is told.
enum Message {
    Rows(RecordBatch),
    Finish,
}

impl OrcWriter {
    /// Why the thread ended.
    fn end(&mut self) -> Result<()> {
        let thread = self.thread.take().context("the ORC file has failed before")?;
        thread.join().map_err(|_| anyhow!("writing ORC panicked; the standard error says where"))?
    }
}

impl Writer for OrcWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.written.rows(batch)?;
        match self.sender.send(Message::Rows(rows)) {
            Ok(()) => Ok(()),
            Err(_) => self.end().and_then(|()| bail!("the ORC file ended too early")),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        // When the thread has ended before, it says why.
        let _ended = self.sender.send(Message::Finish);
        self.end()
    }
}

fn write(schema: SchemaRef, out: File, rows: &Receiver<Message>) -> Result<()> {
    let mut out = BufWriter::new(out);
    let builder = ArrowWriterBuilder::new(&mut out, schema);
    let mut writer = builder.with_compression(CompressionType::Snappy).try_build()?;
    loop {
        match rows.recv() {
            Ok(Message::Rows(rows)) => writer.write(&rows)?,
            Ok(Message::Finish) => break,
            Err(_) => bail!("the ORC file was given up"),
        }
    }
    writer.close()?;
    out.flush()?;
    Ok(())
}
